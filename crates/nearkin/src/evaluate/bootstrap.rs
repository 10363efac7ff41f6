//! Uncertainty of a mean over queries.

use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// What is drawn anew for an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Queries: what to expect of others of the same classes.
    #[default]
    Query,
    /// Classes, each with all its queries: what to expect of other classes. Queries of one class are alike, so that this
    /// interval is the wider one.
    Class,
}

/// Means of the columns with percentile intervals over resampled rows (Efron 1979).
///
/// All columns share each resample, so that differences between them stay paired.
pub fn estimates<const COLUMNS: usize>(
    rows: &[[f32; COLUMNS]],
    resamples: usize,
    seed: u64,
) -> [Estimate; COLUMNS] {
    let found = Groups::of_rows(rows.as_flattened(), COLUMNS).estimates(resamples, seed);
    std::array::from_fn(|column| found[column])
}

/// Sums of rows in groups that are drawn as one, for the mean over rows.
pub(crate) struct Groups {
    columns: usize,
    /// For each group the sums of its columns.
    sums: Vec<f64>,
    /// Rows of each group.
    sizes: Vec<u32>,
}

impl Groups {
    /// Each row a group of its own.
    pub fn of_rows(numbers: &[f32], columns: usize) -> Self {
        Self {
            columns,
            sums: numbers.iter().map(|&x| f64::from(x)).collect(),
            sizes: vec![1; numbers.len() / columns.max(1)],
        }
    }

    /// The rows of each label a group.
    pub fn of_labels(numbers: &[f32], columns: usize, labels: &[u32]) -> Self {
        let mut sums: BTreeMap<u32, (Vec<f64>, u32)> = BTreeMap::new();
        for (row, &label) in numbers.chunks_exact(columns.max(1)).zip(labels) {
            let (sum, size) = sums.entry(label).or_insert_with(|| (vec![0.0; columns], 0));
            add(sum, row.iter().map(|&x| f64::from(x)));
            *size += 1;
        }
        let (sums, sizes): (Vec<Vec<f64>>, Vec<u32>) = sums.into_values().unzip();
        Self {
            columns,
            sums: sums.concat(),
            sizes,
        }
    }

    /// For each column the mean over rows, with the interval over groups drawn anew.
    pub fn estimates(&self, resamples: usize, seed: u64) -> Vec<Estimate> {
        let count = self.sizes.len();
        let value = self.means(0..count);
        let resampled: Vec<Vec<f64>> = (0..resamples)
            .into_par_iter()
            .map(|resample| {
                let mut rng = named_rng(seed, &format!("bootstrap/{resample}"));
                self.means((0..count).map(|_| rng.random_range(0..count)))
            })
            .collect();
        let columns = value.into_iter().enumerate();
        let estimate =
            |(at, value)| Estimate::percentiles(value, resampled.iter().map(|m| m[at]).collect());
        columns.map(estimate).collect()
    }

    /// The mean of each group's rows: as many numbers as groups times columns.
    pub fn group_means(&self) -> Vec<f32> {
        let rows = self.sums.chunks_exact(self.columns.max(1)).zip(&self.sizes);
        rows.flat_map(|(sums, &size)| sums.iter().map(move |s| (s / f64::from(size)) as f32))
            .collect()
    }

    /// The sum of each column over groups, each with its sign.
    pub fn signed_sums(&self, mut sign: impl FnMut(usize) -> f64) -> Vec<f64> {
        let mut sum = vec![0.0; self.columns];
        let rows = self.sums.chunks_exact(self.columns.max(1)).enumerate();
        for (group, sums) in rows {
            let sign = sign(group);
            add(&mut sum, sums.iter().map(|s| sign * s));
        }
        sum
    }

    /// The sum of each column's absolute values over groups.
    pub fn absolute_sums(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.columns];
        for sums in self.sums.chunks_exact(self.columns.max(1)) {
            add(&mut sum, sums.iter().map(|s| s.abs()));
        }
        sum
    }

    fn means(&self, groups: impl Iterator<Item = usize>) -> Vec<f64> {
        let (mut sum, mut rows) = (vec![0.0; self.columns], 0.0);
        for group in groups {
            let sums = &self.sums[group * self.columns..][..self.columns];
            add(&mut sum, sums.iter().copied());
            rows += f64::from(self.sizes[group]);
        }
        sum.iter().map(|s| s / f64::max(rows, 1.0)).collect()
    }
}

fn add(sum: &mut [f64], row: impl Iterator<Item = f64>) {
    sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
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
    fn classes_of_equal_queries_count_once() {
        // Ten classes of forty queries each, all of a class alike: as uncertain as ten queries.
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for class in 0..10 {
            rows.extend([(class % 2) as f32; 40]);
            labels.extend([class; 40]);
        }
        let of_classes = Groups::of_labels(&rows, 1, &labels).estimates(1000, 1)[0];
        let of_queries = Groups::of_rows(&rows, 1).estimates(1000, 1)[0];
        assert_eq!((of_classes.value, of_queries.value), (0.5, 0.5));
        let width = |e: Estimate| e.high - e.low;
        // √40 times as wide, but for the steps of a tenth that ten classes can make.
        let ratio = width(of_classes) / width(of_queries);
        assert!((4.5..8.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn means_are_over_rows_and_group_means_over_each_group() {
        let groups = Groups::of_labels(&[1.0, 10.0, 3.0, 30.0, 8.0, 80.0], 2, &[5, 2, 5]);
        let means: Vec<f64> = groups.estimates(0, 1).iter().map(|e| e.value).collect();
        assert_eq!(means, [4.0, 40.0]);
        assert_eq!(groups.group_means(), [3.0, 30.0, 4.5, 45.0]);
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
