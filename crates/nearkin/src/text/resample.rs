//! Bootstrap intervals of statistics that are no means.

use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use rayon::prelude::*;

use crate::evaluate::Estimate;

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Resamples; 0 for no interval.
    pub resamples: usize,
    /// Decides which items they hold.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 1000,
            seed: 0,
        }
    }
}

impl Bootstrap {
    /// No intervals: for evaluations during training.
    pub const NONE: Self = Self {
        resamples: 0,
        seed: 0,
    };

    /// Each statistic with its 95% percentile interval (Efron 1979); `None` where it is undefined.
    ///
    /// Items lie in strata of these sizes, each resampled in itself. `statistics` is given how often each item is in a
    /// resample. Resamples in which a statistic is undefined say nothing about its interval.
    pub(super) fn estimates<const COLUMNS: usize>(
        self,
        strata: &[usize],
        statistics: impl Fn(&[u32]) -> [Option<f64>; COLUMNS] + Sync,
    ) -> [Option<Estimate>; COLUMNS] {
        let values = statistics(&vec![1; strata.iter().sum()]);
        let resampled: Vec<_> = (0..self.resamples)
            .into_par_iter()
            .map(|resample| statistics(&self.counts(strata, resample)))
            .collect();
        std::array::from_fn(|column| {
            let statistics = resampled.iter().filter_map(|row| row[column]);
            values[column].map(|value| Estimate::percentiles(value, statistics.collect()))
        })
    }

    /// How often each item is drawn, with replacement, in as many draws of each stratum as it has items.
    fn counts(self, strata: &[usize], resample: usize) -> Vec<u32> {
        let mut rng = named_rng(self.seed, &format!("bootstrap/{resample}"));
        let mut counts = Vec::with_capacity(strata.iter().sum());
        for &items in strata {
            let start = counts.len();
            counts.resize(start + items, 0);
            for _ in 0..items {
                counts[start + rng.random_range(0..items)] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::estimates;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_mean() {
        let rows: Vec<[f32; 1]> = (0..60).map(|i| [(i * i % 17) as f32]).collect();
        let mean = |counts: &[u32]| {
            let weighted = rows.iter().zip(counts);
            let sum: f64 = weighted.map(|([x], &c)| f64::from(*x) * f64::from(c)).sum();
            [Some(sum / 60.0)]
        };
        let bootstrap = Bootstrap {
            resamples: 200,
            seed: 5,
        };
        let [estimate] = bootstrap.estimates(&[60], mean);
        let [expected] = estimates(&rows, 200, 5);
        let found = estimate.unwrap();
        for (a, b) in [
            (found.value, expected.value),
            (found.low, expected.low),
            (found.high, expected.high),
        ] {
            assert!((a - b).abs() < 1e-12, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn an_undefined_statistic_has_no_estimate() {
        assert_eq!(
            Bootstrap::default().estimates(&[3], |_| [None, Some(1.0)]),
            [
                None,
                Some(Estimate {
                    value: 1.0,
                    low: 1.0,
                    high: 1.0
                })
            ]
        );
    }

    #[test]
    fn every_stratum_keeps_its_size() {
        let sums = |counts: &[u32]| {
            let (first, second) = counts.split_at(3);
            [first, second].map(|part| Some(f64::from(part.iter().sum::<u32>())))
        };
        for estimate in Bootstrap::default().estimates(&[3, 5], sums) {
            let estimate = estimate.unwrap();
            assert_eq!(estimate.low, estimate.high);
        }
    }
}
