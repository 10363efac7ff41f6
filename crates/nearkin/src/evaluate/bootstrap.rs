//! Uncertainty of a mean over queries.

use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A mean with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The 2.5th percentile of resampled means.
    pub low: f64,
    /// The 97.5th percentile of resampled means.
    pub high: f64,
}

impl fmt::Display for Estimate {
    /// `0.512 [0.498, 0.526]`, or the mean alone where no interval was asked for.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.3}", self.value)?;
        if self.low < self.high {
            write!(f, " [{:.3}, {:.3}]", self.low, self.high)?;
        }
        Ok(())
    }
}

impl Estimate {
    /// A statistic with the 2.5th and 97.5th percentile of what resamples gave; without any, no interval.
    pub(crate) fn percentiles(value: f64, mut resampled: Vec<f64>) -> Self {
        resampled.sort_by(f64::total_cmp);
        let at = |share: f64| match resampled.len() {
            0 => value,
            n => resampled[((n - 1) as f64 * share).round() as usize],
        };
        Self {
            value,
            low: at(0.025),
            high: at(0.975),
        }
    }
}

/// Means of the columns with percentile intervals over resampled rows (Efron 1979).
///
/// All columns share each resample, so that differences between them stay paired.
pub fn estimates<const COLUMNS: usize>(
    rows: &[[f32; COLUMNS]],
    resamples: usize,
    seed: u64,
) -> [Estimate; COLUMNS] {
    let count = rows.len().max(1) as f64;
    let mean = |sum: [f64; COLUMNS]| sum.map(|s| s / count);
    let add = |mut sum: [f64; COLUMNS], row: &[f32; COLUMNS]| {
        sum.iter_mut()
            .zip(row)
            .for_each(|(s, &x)| *s += f64::from(x));
        sum
    };
    let value = mean(rows.iter().fold([0.0; COLUMNS], add));
    let resampled: Vec<[f64; COLUMNS]> = (0..resamples)
        .into_par_iter()
        .map(|resample| {
            let mut rng = named_rng(seed, &format!("bootstrap/{resample}"));
            let draws = (0..rows.len()).map(|_| &rows[rng.random_range(0..rows.len())]);
            mean(draws.fold([0.0; COLUMNS], add))
        })
        .collect();
    std::array::from_fn(|column| {
        Estimate::percentiles(value[column], resampled.iter().map(|m| m[column]).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_coin_is_that_of_its_binomial() {
        let rows: Vec<[f32; 1]> = (0..400).map(|i| [(i % 2) as f32]).collect();
        let [estimate] = estimates(&rows, 1000, 1);
        assert_eq!(estimate.value, 0.5);
        // 1.96 · √(0.25 / 400) = 0.049
        assert!(
            (estimate.value - estimate.low - 0.049).abs() < 0.008,
            "{estimate:?}"
        );
        assert!(
            (estimate.high - estimate.value - 0.049).abs() < 0.008,
            "{estimate:?}"
        );
    }

    #[test]
    fn the_seed_decides() {
        let rows: Vec<[f32; 1]> = (0..50).map(|i| [i as f32]).collect();
        assert_eq!(estimates(&rows, 100, 1), estimates(&rows, 100, 1));
        assert_ne!(estimates(&rows, 100, 1), estimates(&rows, 100, 2));
    }

    #[test]
    fn without_resamples_there_is_no_interval() {
        let [estimate] = estimates(&[[0.25], [0.75]], 0, 1);
        assert_eq!(estimate.to_string(), "0.500");
    }
}
