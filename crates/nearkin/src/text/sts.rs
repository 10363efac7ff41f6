//! Semantic textual similarity: does the likeness of two embeddings rank pairs as people do?

use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

use super::correlation::{Order, weighted_pearson};
use super::error::{TextError, check_count};
use super::resample::Bootstrap;
use super::similarity::{ByMeasure, pairwise};
use crate::evaluate::Estimate;

/// Both correlations of one measure with the gold scores; `None` where either does not vary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlations {
    /// Spearman's, of ranks: the one to report.
    pub spearman: Option<Estimate>,
    /// Pearson's, of the values.
    pub pearson: Option<Estimate>,
}

/// The result on one set of scored pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sts {
    /// Pairs.
    pub pairs: usize,
    /// Correlations by measure.
    pub correlations: ByMeasure<Correlations>,
}

/// How subsets, such as the sources of a year's task, become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// One correlation over all pairs together: that of the Sentence-BERT paper.
    #[default]
    All,
    /// The mean of the subsets' correlations.
    Mean,
    /// The mean of the subsets' correlations, weighted by their pairs.
    Wmean,
}

/// Correlates the likeness of each pair's embeddings with its gold score, with 95% bootstrap intervals over pairs.
///
/// # Shapes
/// - `first`, `second`: `[N, D]`, `gold`: `N`
///
/// # Errors
/// The shapes differ, or a number is not finite.
///
/// # Reference
/// Reimers and Gurevych, Sentence-BERT, 2019, section 4; ties get average ranks.
///
/// ```
/// use nearkin::{Mat, text::{Bootstrap, sts::sts}};
/// let (u, v) = ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 0.1, 0.5, 0.5, -1.0, 0.2]);
/// let result = sts(Mat::new(&u, 3, 2), Mat::new(&v, 3, 2), &[5.0, 3.0, 0.5], Bootstrap::default())?;
/// assert_eq!(result.correlations.cosine.spearman.map(|r| r.value), Some(1.0));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn sts(first: Mat, second: Mat, gold: &[f64], bootstrap: Bootstrap) -> Result<Sts, TextError> {
    let subsets = vec![0; gold.len()];
    sts_of_subsets(
        first,
        second,
        Scores {
            gold,
            subsets: &subsets,
        },
        Aggregation::All,
        bootstrap,
    )
}

/// Gold scores and the subset of each pair.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The score of each pair, on any scale.
    pub gold: &'a [f64],
    /// The subset of each pair, numbered from 0.
    pub subsets: &'a [u32],
}

/// As [`sts`], for pairs from several subsets, which the bootstrap resamples each for itself.
///
/// A mean is undefined where one subset's correlation is.
///
/// # Errors
/// The shapes differ, or a number is not finite.
pub fn sts_of_subsets(
    first: Mat,
    second: Mat,
    scores: Scores,
    aggregation: Aggregation,
    bootstrap: Bootstrap,
) -> Result<Sts, TextError> {
    check_count("gold scores", "pair", first.rows, scores.gold.len())?;
    check_count("subsets", "pair", first.rows, scores.subsets.len())?;
    let likeness = pairwise(first, second)?;
    let mut columns = Vec::with_capacity(4);
    for measure in 0..4 {
        let own: Vec<f64> = likeness.iter().map(|row| row[measure]).collect();
        columns.push(correlate(&own, scores, aggregation, bootstrap)?);
    }
    let pairs = first.rows;
    let nothing = Correlations {
        spearman: None,
        pearson: None,
    };
    let column = |at: usize| columns.get(at).copied().unwrap_or(nothing);
    Ok(Sts {
        pairs,
        correlations: ByMeasure::from_array(std::array::from_fn(column)),
    })
}

/// As [`sts_of_subsets`], of likenesses that come from anywhere, such as a cross-encoder or tf-idf.
///
/// # Errors
/// Counts differ, or a number is not finite.
///
/// ```
/// use nearkin::text::{Bootstrap, sts::{Aggregation, Scores, correlate}};
/// let scores = Scores { gold: &[5.0, 3.0, 0.5], subsets: &[0, 0, 0] };
/// let found = correlate(&[0.9, 0.1, 0.3], scores, Aggregation::All, Bootstrap::default())?;
/// assert_eq!(found.spearman.map(|r| r.value), Some(0.5));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn correlate(
    likeness: &[f64],
    scores: Scores,
    aggregation: Aggregation,
    bootstrap: Bootstrap,
) -> Result<Correlations, TextError> {
    check_count("gold scores", "pair", likeness.len(), scores.gold.len())?;
    check_count("subsets", "pair", likeness.len(), scores.subsets.len())?;
    for values in [likeness, scores.gold] {
        if let Some(row) = values.iter().position(|score| !score.is_finite()) {
            let value = values[row];
            return Err(TextError::GoldScore { row, value });
        }
    }
    let groups = groups(scores.subsets, aggregation);
    let of = |values: &[f64], rows: &Vec<usize>| rows.iter().map(|&row| values[row]).collect();
    let tasks = groups
        .iter()
        .map(|rows| Task::new(of(likeness, rows), of(scores.gold, rows)));
    let tasks: Vec<Task> = tasks.collect();
    let [spearman, pearson] = combined(&tasks, aggregation, bootstrap);
    Ok(Correlations { spearman, pearson })
}

/// The rows of each subset that has a correlation of its own.
fn groups(subsets: &[u32], aggregation: Aggregation) -> Vec<Vec<usize>> {
    if aggregation == Aggregation::All {
        return vec![(0..subsets.len()).collect()];
    }
    let mut groups = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (row, &subset) in subsets.iter().enumerate() {
        groups.entry(subset).or_default().push(row);
    }
    groups.into_values().collect()
}

/// Likeness and gold scores of one subset, sorted once for all resamples.
struct Task {
    likeness: Vec<f64>,
    gold: Vec<f64>,
    likeness_order: Order,
    gold_order: Order,
}

impl Task {
    fn new(likeness: Vec<f64>, gold: Vec<f64>) -> Self {
        Self {
            likeness_order: Order::new(&likeness),
            gold_order: Order::new(&gold),
            likeness,
            gold,
        }
    }

    /// Spearman's and Pearson's correlation where pair i counts `counts[i]` times.
    fn correlations(&self, counts: &[u32]) -> [Option<f64>; 2] {
        let ranks = [&self.likeness_order, &self.gold_order].map(|order| order.ranks(counts));
        [
            weighted_pearson(&ranks[0], &ranks[1], counts),
            weighted_pearson(&self.likeness, &self.gold, counts),
        ]
    }
}

/// Means of the tasks' correlations, each resampled in itself.
fn combined(
    tasks: &[Task],
    aggregation: Aggregation,
    bootstrap: Bootstrap,
) -> [Option<Estimate>; 2] {
    let weight = |task: &Task| match aggregation {
        Aggregation::Wmean => task.gold.len() as f64,
        Aggregation::All | Aggregation::Mean => 1.0,
    };
    let total: f64 = tasks.iter().map(weight).sum();
    let sizes: Vec<usize> = tasks.iter().map(|task| task.gold.len()).collect();
    bootstrap.estimates(&sizes, |counts| {
        let mut rest = counts;
        let mut means = [Some(0.0); 2];
        for task in tasks {
            let (own, others) = rest.split_at(task.gold.len());
            rest = others;
            for (mean, correlation) in means.iter_mut().zip(task.correlations(own)) {
                *mean = mean
                    .zip(correlation)
                    .map(|(m, r)| m + r * weight(task) / total);
            }
        }
        means
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::correlation::{pearson, spearman};
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    const DIM: usize = 6;

    /// Pairs of noisy copies, and scores from 0 to 5 in halves: with ties.
    fn pairs(count: usize) -> (Vec<f32>, Vec<f32>, Vec<f64>) {
        let mut rng = named_rng(3, "sts");
        let (mut first, mut second, mut gold) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let noise: f32 = rng.random_range(0.0..2.0);
            for _ in 0..DIM {
                let x: f32 = rng.random_range(-1.0..1.0);
                first.push(x);
                second.push(x + noise * rng.random_range(-1.0..1.0f32));
            }
            gold.push((10.0 - 5.0 * f64::from(noise)).round() / 2.0);
        }
        (first, second, gold)
    }

    fn mats<'a>(first: &'a [f32], second: &'a [f32]) -> (Mat<'a>, Mat<'a>) {
        let rows = first.len() / DIM;
        (Mat::new(first, rows, DIM), Mat::new(second, rows, DIM))
    }

    #[test]
    fn all_pairs_together_are_one_correlation_of_each_measure() {
        let (u, v, gold) = pairs(90);
        let (first, second) = mats(&u, &v);
        let result = sts(first, second, &gold, Bootstrap::default()).unwrap();
        let likeness = pairwise(first, second).unwrap();
        for (at, (_, found)) in result.correlations.iter().enumerate() {
            let own: Vec<f64> = likeness.iter().map(|row| row[at]).collect();
            let (spearman, pearson) = (
                spearman(&own, &gold).unwrap(),
                pearson(&own, &gold).unwrap(),
            );
            let (s, p) = (found.spearman.unwrap(), found.pearson.unwrap());
            assert!((s.value - spearman).abs() < 1e-12 && (p.value - pearson).abs() < 1e-12);
            assert!(
                s.low < s.value && s.value < s.high && s.high - s.low < 0.5,
                "{s:?}"
            );
        }
        assert!(result.correlations.euclidean.spearman.unwrap().value > 0.5);
    }

    #[test]
    fn means_of_subsets_are_means_of_their_correlations() {
        let (u, v, gold) = pairs(60);
        let (first, second) = mats(&u, &v);
        let subsets: Vec<u32> = (0..60).map(|row| u32::from(row % 4 == 1) * 7).collect();
        let part = |subset: u32| {
            let keep = |row: &usize| subsets[*row] == subset;
            let rows: Vec<usize> = (0..60).filter(keep).collect();
            let pick = |from: &[f32]| -> Vec<f32> {
                rows.iter()
                    .flat_map(|&r| from[r * DIM..(r + 1) * DIM].to_vec())
                    .collect()
            };
            let (u, v) = (pick(&u), pick(&v));
            let gold: Vec<f64> = rows.iter().map(|&row| gold[row]).collect();
            let (first, second) = mats(&u, &v);
            sts(first, second, &gold, Bootstrap::NONE)
                .unwrap()
                .correlations
                .cosine
                .spearman
                .unwrap()
                .value
        };
        let scores = Scores {
            gold: &gold,
            subsets: &subsets,
        };
        for (aggregation, expected) in [
            (Aggregation::Mean, f64::midpoint(part(0), part(7))),
            (Aggregation::Wmean, 0.75 * part(0) + 0.25 * part(7)),
        ] {
            let result =
                sts_of_subsets(first, second, scores, aggregation, Bootstrap::NONE).unwrap();
            let found = result.correlations.cosine.spearman.unwrap().value;
            assert!(
                (found - expected).abs() < 1e-12,
                "{aggregation:?}: {found} {expected}"
            );
        }
    }

    #[test]
    fn gold_scores_that_do_not_vary_have_no_correlation_and_nan_is_refused() {
        let (u, v, _) = pairs(4);
        let (first, second) = mats(&u, &v);
        let constant = sts(first, second, &[2.0; 4], Bootstrap::default()).unwrap();
        assert_eq!(
            constant.correlations.cosine,
            Correlations {
                spearman: None,
                pearson: None
            }
        );
        let error = sts(first, second, &[1.0, f64::NAN, 0.0, 0.0], Bootstrap::NONE).unwrap_err();
        assert!(error.to_string().contains("gold score 1 is NaN"));
        assert!(sts(first, second, &[1.0; 3], Bootstrap::NONE).is_err());
    }
}
