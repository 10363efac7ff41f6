//! Dropout whose mask is a function of a seed: nothing is kept for the way back.

use crate::dispatch::dispatch;
use crate::parallel::GRAIN;
use rayon::prelude::*;

/// Each number is dropped with probability `rate`; the others are scaled so that the mean stays.
///
/// ```text
/// yᵢ = xᵢ mᵢ / (1 − rate)        mᵢ = 0 with probability rate, else 1
/// ```
///
/// The mask depends on the seed and on the place i alone. The map is linear, so that the gradient passes through
/// [`apply`](Self::apply) as the numbers did.
///
/// # Reference
/// Srivastava et al., *Dropout*, 2014, in its inverted form.
///
/// ```
/// let dropout = nearkin_kernels::Dropout { seed: 7, rate: 0.5 };
/// let mut y = [0.0; 1000];
/// dropout.apply(&[1.0; 1000], &mut y);
/// assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Decides the mask.
    pub seed: u64,
    /// Share of the numbers that are dropped, in [0, 1).
    pub rate: f32,
}

impl Dropout {
    /// Overwrites `y`.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn apply(&self, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "input and output lengths differ");
        if x.len() <= GRAIN {
            return self.apply_from(0, x, y);
        }
        y.par_chunks_mut(GRAIN)
            .zip(x.par_chunks(GRAIN))
            .enumerate()
            .for_each(|(i, (y, x))| self.apply_from(i * GRAIN, x, y));
    }

    /// The piece of a longer row of numbers that begins at place `start`.
    pub(crate) fn apply_from(&self, start: usize, x: &[f32], y: &mut [f32]) {
        masked(*self, start as u32, x, y);
    }
}

dispatch! {
    fn masked(dropout: Dropout, start: u32, x: &[f32], y: &mut [f32]) = masked_body;
}

#[inline(always)]
fn masked_body<const FMA: bool>(dropout: Dropout, start: u32, x: &[f32], y: &mut [f32]) {
    let (low, high) = (dropout.seed as u32, (dropout.seed >> 32) as u32);
    // Exact enough: the smallest rate that drops anything is 2⁻³².
    let threshold = (f64::from(dropout.rate) * 4_294_967_296.0) as u32;
    let scale = 1.0 / (1.0 - dropout.rate);
    for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
        let place = start.wrapping_add(i as u32);
        let random = mix(mix(place ^ low).wrapping_add(high));
        *y = if random >= threshold { x * scale } else { 0.0 };
    }
}

/// A bijection of 32 bits in which every input bit moves about half of the output bits.
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_dropped_is_the_rate_and_the_mean_stays() {
        for rate in [0.0, 0.1, 0.5] {
            let mut y = vec![9.0; 200_000];
            Dropout { seed: 3, rate }.apply(&vec![1.0; 200_000], &mut y);
            let dropped = y.iter().filter(|&&y| y == 0.0).count() as f32 / 200_000.0;
            assert!((dropped - rate).abs() < 0.004, "{dropped} at {rate}");
            assert!((y.iter().sum::<f32>() / 200_000.0 - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn masks_of_other_seeds_are_independent_and_of_one_seed_equal() {
        let mask = |seed| {
            let mut y = vec![0.0; 100_000];
            Dropout { seed, rate: 0.5 }.apply(&vec![0.5; 100_000], &mut y);
            y
        };
        let (one, two) = (mask(1), mask(2));
        assert_eq!(one, mask(1));
        let agree = one.iter().zip(&two).filter(|(a, b)| a == b).count();
        assert!((49_000..51_000).contains(&agree), "{agree}");
        let next = one.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((49_000..51_000).contains(&next), "{next}");
    }

    #[test]
    fn pieces_of_a_row_are_masked_as_the_whole() {
        let dropout = Dropout { seed: 5, rate: 0.3 };
        let (mut whole, mut piece) = (vec![0.0; 50_000], vec![0.0; 10_000]);
        dropout.apply(&vec![1.0; 50_000], &mut whole);
        dropout.apply_from(37_000, &vec![1.0; 10_000], &mut piece);
        assert_eq!(whole[37_000..47_000], piece);
    }
}
