//! How Q4_0, Q4_1, Q5_0 and Q5_1 choose their numbers: one division, one rounding, no search.

/// A line through codes: `d * q + m`.
pub(super) struct Affine {
    pub(super) d: f32,
    pub(super) m: f32,
}

impl Affine {
    /// From the smallest number, code 0, to the largest, code `top`; NaN if one of them is.
    pub(super) fn of(values: &[f32; 32], top: f32) -> Affine {
        let (mut m, mut max) = (values[0], values[0]);
        for v in values {
            m = if *v < m || v.is_nan() { *v } else { m };
            max = if *v > max || v.is_nan() { *v } else { max };
        }
        Affine { d: (max - m) / top, m }
    }
}

/// `(v - m) / d + offset`, cut to a whole number of 0..=`top`. Where `d` is 0 the quotient is 0 too. The division is one multiplication by
/// `1 / d`, as in ggml, whose bytes these are.
#[inline(always)]
pub(super) fn codes(values: &[f32; 32], d: f32, m: f32, offset: f32, top: u8) -> [u8; 32] {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    // A float that is cut to a byte saturates, and NaN becomes 0.
    values.map(|v| (((v - m) * inverse + offset) as u8).min(top))
}
