//! Pearson's and Spearman's correlation.

/// Pearson's correlation of paired values; `None` where it is undefined.
///
/// ```text
/// r = Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²)
/// ```
///
/// It is undefined where all `x` or all `y` are equal: such values say nothing about order, so neither agreement nor
/// its absence can be measured. Other programs give NaN there.
///
/// # Panics
/// When the lengths differ.
///
/// ```
/// use nearkin::text::correlation::pearson;
/// assert_eq!(pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]), Some(1.0));
/// assert_eq!(pearson(&[1.0, 1.0], &[2.0, 4.0]), None);
/// ```
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    weighted_pearson(x, y, &vec![1; x.len()])
}

/// Spearman's correlation: Pearson's correlation of the ranks, where equal values share their average rank.
///
/// Undefined as [`pearson`] is.
///
/// # Panics
/// When the lengths differ.
///
/// ```
/// use nearkin::text::correlation::spearman;
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 100.0]), Some(1.0));
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// The rank of each value, from 1; equal values share their average rank.
///
/// ```
/// use nearkin::text::correlation::ranks;
/// assert_eq!(ranks(&[0.5, 0.1, 0.5, 0.9]), [2.5, 1.0, 2.5, 4.0]);
/// ```
pub fn ranks(values: &[f64]) -> Vec<f64> {
    Order::new(values).ranks(&vec![1; values.len()])
}

/// Pearson's correlation where pair i counts `counts[i]` times.
pub(super) fn weighted_pearson(x: &[f64], y: &[f64], counts: &[u32]) -> Option<f64> {
    assert!(
        x.len() == y.len() && x.len() == counts.len(),
        "correlation of {} and {} values",
        x.len(),
        y.len()
    );
    let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let mean = |values: &[f64]| {
        let weighted = values.iter().zip(counts);
        weighted
            .map(|(v, &count)| v * f64::from(count))
            .sum::<f64>()
            / total
    };
    let (x_mean, y_mean) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), &count) in x.iter().zip(y).zip(counts) {
        let (dx, dy, count) = (x - x_mean, y - y_mean, f64::from(count));
        xx += count * dx * dx;
        yy += count * dy * dy;
        xy += count * dx * dy;
    }
    // The sum of squares of equal values is rounding alone.
    (varies(x, counts) && varies(y, counts))
        .then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
        .filter(|correlation| correlation.is_finite())
}

fn varies(values: &[f64], counts: &[u32]) -> bool {
    let mut present = values.iter().zip(counts).filter(|(_, count)| **count > 0);
    let first = present.next();
    present.any(|(value, _)| first.is_some_and(|(first, _)| first != value))
}

/// Values sorted once, so that the ranks of every resample cost a pass instead of a sort.
pub(super) struct Order {
    /// Indices from the smallest value to the largest.
    sorted: Vec<u32>,
    /// Where each run of equal values ends in `sorted`.
    ends: Vec<u32>,
}

impl Order {
    pub fn new(values: &[f64]) -> Self {
        let mut sorted: Vec<u32> = (0..values.len() as u32).collect();
        sorted.sort_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]));
        let ends = (1..=sorted.len()).filter(|&end| {
            let value = |at: usize| values[sorted[at] as usize];
            end == sorted.len() || value(end - 1) != value(end)
        });
        Self {
            ends: ends.map(|end| end as u32).collect(),
            sorted,
        }
    }

    /// The rank of each value where value i is there `counts[i]` times.
    pub fn ranks(&self, counts: &[u32]) -> Vec<f64> {
        let mut ranks = vec![0.0; counts.len()];
        let (mut start, mut below) = (0, 0.0);
        for &end in &self.ends {
            let run = &self.sorted[start..end as usize];
            let here: f64 = run.iter().map(|&i| f64::from(counts[i as usize])).sum();
            for &i in run {
                ranks[i as usize] = below + f64::midpoint(here, 1.0);
            }
            below += here;
            start = end as usize;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /*
    from scipy.stats import pearsonr, spearmanr
    x = [0.1, 0.4, 0.4, 0.35, 0.9, -0.2, 0.4, 0.05]
    y = [0.0, 2.5, 3.0, 3.0, 5.0, 1.0, 2.5, 0.5]
    pearsonr(x, y).statistic, spearmanr(x, y).statistic
    */
    const X: [f64; 8] = [0.1, 0.4, 0.4, 0.35, 0.9, -0.2, 0.4, 0.05];
    const Y: [f64; 8] = [0.0, 2.5, 3.0, 3.0, 5.0, 1.0, 2.5, 0.5];
    const PEARSON: f64 = 0.896_385_374_601_489_7;
    const SPEARMAN: f64 = 0.765_490_437_403_431_9;

    #[test]
    fn both_are_scipys() {
        assert!((pearson(&X, &Y).unwrap() - PEARSON).abs() < 1e-12);
        assert!((spearman(&X, &Y).unwrap() - SPEARMAN).abs() < 1e-12);
    }

    #[test]
    fn values_that_do_not_vary_have_no_correlation() {
        // The mean of three times 0.1 is not 0.1.
        assert_eq!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[0.3; 3]), None);
        assert_eq!(pearson(&[], &[]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
    }

    #[test]
    fn a_count_is_that_many_copies() {
        let counts = [0, 3, 1, 2, 0, 1, 1, 4];
        let copies = |values: &[f64]| -> Vec<f64> {
            let pairs = values.iter().zip(counts);
            pairs
                .flat_map(|(&v, count)| std::iter::repeat_n(v, count as usize))
                .collect()
        };
        let (x, y) = (copies(&X), copies(&Y));
        let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-12;
        assert!(close(weighted_pearson(&X, &Y, &counts), pearson(&x, &y)));
        let (a, b) = (Order::new(&X).ranks(&counts), Order::new(&Y).ranks(&counts));
        assert!(close(weighted_pearson(&a, &b, &counts), spearman(&x, &y)));
    }

    #[test]
    fn ranks_are_those_of_counting() {
        for (rank, &value) in ranks(&X).iter().zip(&X) {
            let below = X.iter().filter(|x| **x < value).count() as f64;
            let equal = X.iter().filter(|x| **x == value).count() as f64;
            assert_eq!(*rank, below + f64::midpoint(equal, 1.0));
        }
    }
}
