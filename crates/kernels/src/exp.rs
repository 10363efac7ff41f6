//! The exponential function.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{GRAIN, for_pieces};

/// yᵢ = exp(xᵢ), within 2 units in the last place.
///
/// # Panics
/// When the lengths differ.
pub fn exp(x: &[f32], y: &mut [f32]) {
    for_pieces(x, y, GRAIN, exp_piece);
}

dispatch! {
    fn exp_piece(x: &[f32], y: &mut [f32]) = exp_body;
}

#[inline(always)]
fn exp_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = exp_scalar::<FMA>(x);
    }
}

/// exp(x) without branches, so that a loop around it vectorizes; `FMA` says whether the hardware fuses `a * b + c`.
///
/// exp(x) = 2ⁿ exp(r) with n = round(x / ln 2) and |r| ≤ ln 2 / 2, where the Taylor polynomial of degree 7 is exact
/// to f32. 2ⁿ is applied as two factors because n itself goes beyond the exponents of normal numbers.
#[inline(always)]
pub fn exp_scalar<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
    const LN_2_HIGH: f32 = 0.693_359_4; // 355 / 512, so that n * LN_2_HIGH is exact
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Beyond these exp is exactly 0 and infinity; written so that NaN stays NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let gone = x < -104.0;
    // Not the exponent of something below all numbers, at which some processors stop for as long as a hundred products take.
    let x = if gone { 0.0 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -LN_2_HIGH, x);
    let r = fma::<FMA>(n, -LN_2_LOW, r);
    let mut p = 1.0 / 5040.0;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = fma::<FMA>(p, r, c);
    }
    let n = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .cast_signed();
    let half = n >> 1;
    let power = p * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if gone { 0.0 } else { power }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_error_is_within_two_units_over_the_normal_range() {
        let x: Vec<f32> = (0..200_003)
            .map(|i| -87.3 + i as f32 * (176.0 / 200_003.0))
            .collect();
        let mut y = vec![0.0; x.len()];
        exp(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let truth = f64::from(x).exp();
            assert!(
                (f64::from(y) - truth).abs() <= 2e-7 * truth,
                "exp({x}) = {y}, not {truth}"
            );
        }
    }

    #[test]
    fn extremes_are_those_of_the_definition() {
        let x = [
            f32::NEG_INFINITY,
            -104.0,
            -1e30,
            -0.0,
            0.0,
            88.8,
            1e30,
            f32::INFINITY,
            f32::NAN,
        ];
        let mut y = [9.0; 9];
        exp(&x, &mut y);
        assert_eq!(
            y[..8],
            [
                0.0,
                0.0,
                0.0,
                1.0,
                1.0,
                f32::INFINITY,
                f32::INFINITY,
                f32::INFINITY
            ]
        );
        assert!(y[8].is_nan());
    }

    #[test]
    fn results_below_the_normal_range_are_rounded_not_flushed() {
        for x in [-88.0f32, -95.5, -103.0] {
            let mut y = [0.0];
            exp(&[x], &mut y);
            assert!(
                (f64::from(y[0]) - f64::from(x).exp()).abs() <= 1.5e-45,
                "exp({x}) = {}",
                y[0]
            );
        }
    }
}
