//! The arithmetic: one file per kernel, each with a naive twin that says in a few lines what it computes.
//!
//! Every output element has one order of additions. It depends on the length of the sum and on nothing else: not on how
//! many rows are computed together, not on how they are cut, not on the thread that computes them, not on the
//! instructions of the machine. Sums of `f32` products run over sixteen accumulators that a fixed tree adds up; norms
//! and softmax are summed in `f64`; a product and a sum are never contracted into one rounding. This is why a prefill, a
//! token by token decode and a batch give the same bits, and why a test may demand it.

pub mod activation;
pub mod attention;
mod lanes;
pub mod matmul;
pub mod norm;
mod order;
pub mod rope;
pub mod softmax;
pub mod widen;

#[cfg(test)]
pub(crate) mod seeds;

use order::Order;

/// The instructions that a kernel is compiled for. Which ones run changes the time and no bit of the answer.
///
/// A value stands for instructions that this machine has: only [`Isa::all`] and [`Isa::best`] make one. Three constants beside them, which
/// neither of the two ever names, stand for other arithmetic on any machine: the answers are as correct, and their last bits others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(crate) Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    Other(Order),
}

impl Isa {
    /// What every machine of the compilation target has.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// Products and sums fused into one rounding, for bounds to be tried on. Slow.
    pub const FUSED: Isa = Isa(Kind::Other(Order::Fused));

    /// Sums of products from the last to the first, for bounds to be tried on. Slow.
    pub const REVERSED: Isa = Isa(Kind::Other(Order::Reversed));

    /// Sums of products one after the other, for bounds to be tried on. Slow, and the least accurate of all.
    pub const SEQUENTIAL: Isa = Isa(Kind::Other(Order::Sequential));

    /// The fastest instructions of this machine.
    pub fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            return Isa(Kind::Avx512);
        } else if std::arch::is_x86_feature_detected!("avx2") {
            return Isa(Kind::Avx2);
        }
        Isa::PORTABLE
    }

    /// Everything that this machine can run, portable first, the fastest last.
    pub fn all() -> Vec<Isa> {
        let mut all = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                all.push(Isa(Kind::Avx2));
            }
            if has_avx512() {
                all.push(Isa(Kind::Avx512));
            }
        }
        all
    }
}

/// Whether the machine has every part of AVX-512 that a kernel is compiled for.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
}

/// Compiles one body three times: for every machine of the target, and for x86-64 with AVX2 and with AVX-512. The compiler may use
/// wider registers there; it may neither reorder nor contract floating point operations anywhere.
///
/// What takes time in a body is written as loops: a closure that is handed to an iterator's method is compiled for every machine of the
/// target unless the method is inlined.
macro_rules! per_isa {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::kernel::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            $(#[$meta])*
            fn avx2($($arg: $ty),*) {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            $(#[$meta])*
            fn avx512($($arg: $ty),*) {
                $body($($arg),*)
            }
            match isa.0 {
                $crate::kernel::Kind::Portable | $crate::kernel::Kind::Other(_) => $body($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind is made by `Isa` alone, after it detected AVX2.
                $crate::kernel::Kind::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind is made by `Isa` alone, after it detected all four parts.
                $crate::kernel::Kind::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(crate) use per_isa;
