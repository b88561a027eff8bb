//! The arithmetic: one file per kernel, each with a naive twin that says in a few lines what it computes.
//!
//! Every output element has one order of additions. It depends on the length of the sum and on nothing else: not on how
//! many rows are computed together, not on how they are cut, not on the thread that computes them, not on the
//! instructions of the machine. Sums of `f32` products run over [`LANES`] accumulators that a fixed tree adds up; norms
//! and softmax are summed in `f64`; a product and a sum are never contracted into one rounding. This is why a prefill, a
//! token by token decode and a batch give the same bits, and why a test may demand it.

pub mod activation;
pub mod attention;
pub mod matmul;
pub mod norm;
pub mod rope;
pub mod softmax;
pub mod widen;

#[cfg(test)]
pub(crate) mod seeds;

/// Accumulators of a sum of `f32` products: element `k` goes to accumulator `k % LANES`.
pub const LANES: usize = 16;

/// The instructions that a kernel is compiled for. Which ones run changes the time and no bit of the answer.
///
/// A value stands for instructions that this machine has: only [`Isa::all`] and [`Isa::best`] make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// What every machine of the compilation target has.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// The fastest instructions of this machine.
    pub fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Isa(Kind::Avx2);
        }
        Isa::PORTABLE
    }

    /// Everything that this machine can run, portable first.
    pub fn all() -> Vec<Isa> {
        let mut all = vec![Isa::PORTABLE];
        if Isa::best() != Isa::PORTABLE {
            all.push(Isa::best());
        }
        all
    }
}

/// Compiles one body twice: for every machine of the target, and for x86-64 with AVX2. The compiler may use wider
/// registers in the second; it may not reorder or contract floating point operations in either.
macro_rules! per_isa {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::kernel::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) {
                $body($($arg),*)
            }
            match isa.0 {
                $crate::kernel::Kind::Portable => $body($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind is made by `Isa::best` alone, after it detected AVX2.
                $crate::kernel::Kind::Avx2 => unsafe { avx2($($arg),*) },
            }
        }
    };
}
pub(crate) use per_isa;

/// Adds up the accumulators of a sum: halves onto halves, until one is left.
#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `R` sums of products at once: `w` with each of `x`, all of one length.
#[inline(always)]
fn dots<const R: usize>(w: &[f32], x: [&[f32]; R]) -> [f32; R] {
    let (w_blocks, w_tail) = w.as_chunks::<LANES>();
    let x = x.map(|x| x.as_chunks::<LANES>());
    let x_blocks = x.map(|(blocks, _)| &blocks[..w_blocks.len()]);
    let mut lanes = [[0f32; LANES]; R];
    for (block, w) in w_blocks.iter().enumerate() {
        for r in 0..R {
            let x = &x_blocks[r][block];
            for l in 0..LANES {
                lanes[r][l] += w[l] * x[l];
            }
        }
    }
    for r in 0..R {
        let x_tail = &x[r].1[..w_tail.len()];
        for l in 0..w_tail.len() {
            lanes[r][l] += w_tail[l] * x_tail[l];
        }
    }
    lanes.map(tree)
}

/// The order of [`dots`], element by element.
#[cfg(test)]
fn naive_dot(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for k in 0..w.len() {
        lanes[k % LANES] += w[k] * x[k];
    }
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|l| lanes[l] += lanes[l + half]);
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_keep_the_order_of_the_naive_sum_at_every_length() {
        for n in seeds::LENGTHS {
            let w = seeds::values(n as u64, n);
            let x: Vec<Vec<f32>> = (0..4).map(|r| seeds::values(100 + r, n)).collect();
            let got = dots(&w, [&x[0][..], &x[1], &x[2], &x[3]]);
            for r in 0..4 {
                assert_eq!(got[r].to_bits(), naive_dot(&w, &x[r]).to_bits(), "length {n}, row {r}");
                assert_eq!(got[r].to_bits(), dots(&w, [&x[r][..]])[0].to_bits(), "length {n}, row {r} alone");
                assert_eq!(got[r].to_bits(), dots(&x[r], [&w[..]])[0].to_bits(), "length {n}, row {r} swapped");
            }
        }
    }
}
