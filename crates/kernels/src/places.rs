//! Places of numbers among a few thresholds.

use crate::dispatch::dispatch;

/// Numbers that are compared side by side: four registers of AVX-512, so that comparisons do not wait for one another.
const LANES: usize = 64;

/// nᵢ = how many of the thresholds are ≤ xᵢ, in any order of the thresholds; on the calling thread alone.
///
/// Compares with every threshold, which for a few dozen is faster than a search that branches.
///
/// # Panics
/// When the lengths of `x` and `places` differ.
///
/// ```
/// let mut places = [0; 3];
/// nearkin_kernels::places(&[1.0, 2.0], &[0.5, 1.0, 7.0], &mut places);
/// assert_eq!(places, [0, 1, 2]);
/// ```
pub fn places(thresholds: &[f32], x: &[f32], places: &mut [u32]) {
    assert_eq!(x.len(), places.len(), "input and output lengths differ");
    places_piece(thresholds, x, places);
}

dispatch! {
    fn places_piece(thresholds: &[f32], x: &[f32], places: &mut [u32]) = places_body;
}

#[inline(always)]
fn places_body<const FMA: bool>(thresholds: &[f32], x: &[f32], places: &mut [u32]) {
    let mut whole = x.chunks_exact(LANES);
    let mut out = places.chunks_exact_mut(LANES);
    for (x, out) in whole.by_ref().zip(out.by_ref()) {
        let mut lanes = [0.0; LANES];
        lanes.copy_from_slice(x);
        let mut counts = [0_u32; LANES];
        for &threshold in thresholds {
            for (count, x) in counts.iter_mut().zip(&lanes) {
                *count += u32::from(threshold <= *x);
            }
        }
        out.copy_from_slice(&counts);
    }
    for (out, &x) in out.into_remainder().iter_mut().zip(whole.remainder()) {
        *out = thresholds.iter().map(|&t| u32::from(t <= x)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[test]
    fn places_are_those_of_the_definition_at_odd_lengths() {
        for (count, len) in [(0, 5), (1, 64), (7, 63), (40, 333)] {
            let mut thresholds = random(count, 1);
            thresholds.extend([f32::NEG_INFINITY, f32::NAN]);
            let mut x = random(len, 2);
            // Ties, and numbers that are none.
            x[0] = thresholds[0];
            x[len - 1] = f32::NAN;
            let mut found = vec![9; len];
            places(&thresholds, &x, &mut found);
            let expected = |x: &f32| thresholds.iter().filter(|&t| t <= x).count() as u32;
            assert_eq!(found, x.iter().map(expected).collect::<Vec<_>>());
        }
    }
}
