//! What every kernel is run on: one table of lengths, one generator of values.

/// Lengths around every block size that the kernels use.
pub(crate) const LENGTHS: [usize; 18] = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 172, 255, 257];

/// `n` numbers of both signs and of magnitudes from 2^-12 to 2^3, so that the order of a sum shows in its bits.
pub(crate) fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    next();
    (0..n)
        .map(|_| {
            let bits = next();
            let unit = (bits >> 40) as f32 / (1u64 << 24) as f32 + 0.5;
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            sign * unit * 2f32.powi(((bits >> 8) % 15) as i32 - 12)
        })
        .collect()
}

/// The bits of each number: equality of these is equality of answers.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
