//! Binary pairs, such as duplicates: can a threshold on likeness tell them from the others?

use nearkin_kernels::Mat;
use serde::Serialize;

use super::error::{TextError, check_count};
use super::folds::Fold;
use super::resample::Bootstrap;
use super::similarity::{ByMeasure, pairwise};
use crate::evaluate::Estimate;

/// The result on a set of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BinaryPairs {
    /// Pairs.
    pub pairs: usize,
    /// Those that belong together.
    pub positives: usize,
    /// Scores by measure.
    pub scores: ByMeasure<PairScores>,
}

/// How well a threshold on one measure tells pairs apart; a pair is taken for positive where `likeness ≥ threshold`.
///
/// Thresholds are chosen on the very pairs that are scored, as is the custom of this evaluation: accuracy and F1 are
/// what the measure allows, not what a threshold fixed beforehand would reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairScores {
    /// Average precision, `Σ (Rₖ − Rₖ₋₁) Pₖ` over the distinct likenesses from the largest down.
    pub average_precision: Estimate,
    /// The best accuracy of any threshold.
    pub accuracy: Estimate,
    /// A threshold of that accuracy, half way to the next likeness.
    pub accuracy_threshold: f64,
    /// The best F1 of any threshold.
    pub f1: Estimate,
    /// A threshold of that F1.
    pub f1_threshold: f64,
    /// Precision at [`Self::f1_threshold`].
    pub precision: Estimate,
    /// Recall at [`Self::f1_threshold`].
    pub recall: Estimate,
}

/// Scores the likeness of labeled pairs, with 95% bootstrap intervals over pairs.
///
/// The best thresholds are sought anew in each resample. Equal likenesses fall on one side of every threshold; of
/// thresholds equally good the highest is taken. These are the definitions of sentence-transformers'
/// `BinaryClassificationEvaluator` (6.2), whose thresholds on distances are ours negated.
///
/// # Shapes
/// - `first`, `second`: `[N, D]`, `positive`: `N`
///
/// # Errors
/// The shapes differ, a number is not finite, or there is no positive pair.
///
/// ```
/// use nearkin::{Mat, text::{Bootstrap, pairs::binary_pairs}};
/// let (u, v) = ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 0.1, 1.0, 1.0, 0.1, 1.0]);
/// let labels = [true, true, false];
/// let result = binary_pairs(Mat::new(&u, 3, 2), Mat::new(&v, 3, 2), &labels, Bootstrap::default())?;
/// assert_eq!(result.scores.cosine.average_precision.value, 1.0);
/// assert_eq!(result.scores.cosine.f1.value, 1.0);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn binary_pairs(
    first: Mat,
    second: Mat,
    positive: &[bool],
    bootstrap: Bootstrap,
) -> Result<BinaryPairs, TextError> {
    let positives = check_positives(first.rows, positive)?;
    let likeness = pairwise(first, second)?;
    let scores: [PairScores; 4] = std::array::from_fn(|measure| {
        let own = likeness.iter().map(|row| row[measure]).collect();
        Ranking::new(own, positive).scores(bootstrap)
    });
    Ok(BinaryPairs {
        pairs: first.rows,
        positives,
        scores: ByMeasure::from_array(scores),
    })
}

fn check_positives(pairs: usize, positive: &[bool]) -> Result<usize, TextError> {
    check_count("labels", "pair", pairs, positive.len())?;
    match positive.iter().filter(|positive| **positive).count() {
        0 => Err(TextError::TooFew {
            what: "positive pairs",
            least: 1,
            found: 0,
        }),
        positives => Ok(positives),
    }
}

/// As [`binary_pairs`], of likenesses that come from anywhere, such as a cross-encoder or tf-idf.
///
/// # Errors
/// Counts differ, a likeness is not finite, or there is no positive pair.
///
/// ```
/// use nearkin::text::{Bootstrap, pairs::threshold_scores};
/// let found = threshold_scores(&[0.9, 0.2, 0.4], &[true, false, false], Bootstrap::default())?;
/// assert_eq!((found.f1.value, found.f1_threshold), (1.0, 0.65));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn threshold_scores(
    likeness: &[f64],
    positive: &[bool],
    bootstrap: Bootstrap,
) -> Result<PairScores, TextError> {
    check_positives(likeness.len(), positive)?;
    check_likeness(likeness)?;
    Ok(Ranking::new(likeness.to_vec(), positive).scores(bootstrap))
}

fn check_likeness(likeness: &[f64]) -> Result<(), TextError> {
    match likeness.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(row) => Err(TextError::Setting {
            setting: "likeness",
            reason: format!("that of pair {row} is {}", likeness[row]),
        }),
    }
}

/// How well a threshold chosen on other pairs tells pairs apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Pairs that were tested.
    pub pairs: usize,
    /// The share of pairs on the right side of the threshold that has the best accuracy on the other folds.
    pub accuracy: Estimate,
    /// F1 of the threshold that has the best F1 on the other folds, over the tested pairs of all folds.
    pub f1: Estimate,
}

/// Tests each fold with the thresholds that are best on its training part, with 95% bootstrap intervals over pairs: the
/// cross-topic protocol, where the folds are [topics](super::folds::leave_one_group_out).
///
/// # Errors
/// Counts differ, a likeness is not finite, or a training part has no positive pair.
///
/// # Reference
/// Reimers and Gurevych, Sentence-BERT, 2019, section 4.3.
///
/// ```
/// use nearkin::text::{Bootstrap, folds::k_fold, pairs::held_out};
/// let likeness: Vec<f64> = (0..40).map(f64::from).collect();
/// let positive: Vec<bool> = (0..40).map(|i| i >= 20).collect();
/// let found = held_out(&likeness, &positive, &k_fold(40, 4, 0)?, Bootstrap::default())?;
/// assert!(found.accuracy.value >= 0.95);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn held_out(
    likeness: &[f64],
    positive: &[bool],
    folds: &[Fold],
    bootstrap: Bootstrap,
) -> Result<HeldOut, TextError> {
    check_positives(likeness.len(), positive)?;
    check_likeness(likeness)?;
    // Of each tested pair: whether it is positive, and what either threshold takes it for.
    let mut tested: Vec<[bool; 3]> = Vec::with_capacity(likeness.len());
    for fold in folds {
        let own: Vec<f64> = fold.train.iter().map(|&pair| likeness[pair]).collect();
        let labels: Vec<bool> = fold.train.iter().map(|&pair| positive[pair]).collect();
        check_positives(own.len(), &labels)?;
        let (_, accuracy, f1) = Ranking::new(own, &labels).sweep(&vec![1; labels.len()]);
        let takes = |pair: usize| [accuracy, f1].map(|best| likeness[pair] >= best.threshold);
        tested.extend(fold.test.iter().map(|&pair| {
            let [accuracy, f1] = takes(pair);
            [positive[pair], accuracy, f1]
        }));
    }
    let statistics = |counts: &[u32]| {
        let (mut total, mut right, mut found, mut both) = (0.0, 0.0, 0.0, 0.0);
        for (&count, [is, accuracy, f1]) in counts.iter().zip(&tested) {
            let count = f64::from(count);
            total += count;
            right += count * f64::from(u8::from(is == accuracy));
            found += count * f64::from(u8::from(*is && *f1));
            both += count * f64::from(u8::from(*is) + u8::from(*f1));
        }
        [
            (total > 0.0).then(|| right / total),
            (both > 0.0).then(|| 2.0 * found / both),
        ]
    };
    let [accuracy, f1] = bootstrap.estimates(&[tested.len()], statistics);
    let (Some(accuracy), Some(f1)) = (accuracy, f1) else {
        return Err(TextError::TooFew {
            what: "pairs to test",
            least: 1,
            found: tested.len(),
        });
    };
    let pairs = tested.len();
    Ok(HeldOut {
        pairs,
        accuracy,
        f1,
    })
}

/// Pairs from the most alike to the least, sorted once for all resamples.
struct Ranking<'l> {
    likeness: Vec<f64>,
    positive: &'l [bool],
    order: Vec<u32>,
}

/// The best that a threshold can do.
#[derive(Clone, Copy, Default)]
struct Best {
    value: f64,
    threshold: f64,
    precision: f64,
    recall: f64,
}

impl<'l> Ranking<'l> {
    fn new(likeness: Vec<f64>, positive: &'l [bool]) -> Self {
        let mut order: Vec<u32> = (0..likeness.len() as u32).collect();
        order.sort_by(|&a, &b| likeness[b as usize].total_cmp(&likeness[a as usize]));
        Self {
            likeness,
            positive,
            order,
        }
    }

    fn scores(&self, bootstrap: Bootstrap) -> PairScores {
        let count = self.likeness.len();
        let statistics = |counts: &[u32]| {
            let (average_precision, accuracy, f1) = self.sweep(counts);
            [
                average_precision,
                accuracy.value,
                f1.value,
                f1.precision,
                f1.recall,
            ]
        };
        let (_, accuracy_best, f1_best) = self.sweep(&vec![1; count]);
        // A resample without a positive pair has neither precision nor recall.
        let defined = |counts: &[u32]| {
            let found = statistics(counts);
            let any = (counts.iter().zip(self.positive)).any(|(&count, &is)| is && count > 0);
            found.map(|value| any.then_some(value))
        };
        let estimates = bootstrap.estimates(&[count], defined);
        let nothing = Estimate {
            value: 0.0,
            low: 0.0,
            high: 0.0,
        };
        let [average_precision, accuracy, f1, precision, recall] =
            estimates.map(|estimate| estimate.unwrap_or(nothing));
        PairScores {
            average_precision,
            accuracy,
            accuracy_threshold: accuracy_best.threshold,
            f1,
            f1_threshold: f1_best.threshold,
            precision,
            recall,
        }
    }

    /// Average precision, best accuracy and best F1 where pair i is there `counts[i]` times: one pass down the ranking.
    fn sweep(&self, counts: &[u32]) -> (f64, Best, Best) {
        let share = |only_positive: bool| -> f64 {
            let pairs = counts.iter().zip(self.positive);
            let counted = pairs.filter(|(_, is)| !only_positive || **is);
            counted.map(|(&count, _)| f64::from(count)).sum()
        };
        let (total, positives) = (share(false), share(true));
        let mut accuracy = Best {
            value: (total - positives) / total,
            threshold: self
                .order
                .first()
                .map_or(0.0, |&i| self.likeness[i as usize].next_up()),
            ..Best::default()
        };
        let (mut average_precision, mut f1) = (0.0, Best::default());
        let (mut found, mut taken, mut recall_before) = (0.0, 0.0, 0.0);
        for (at, &i) in self.order.iter().enumerate() {
            let (count, likeness) = (f64::from(counts[i as usize]), self.likeness[i as usize]);
            taken += count;
            found += count * f64::from(u8::from(self.positive[i as usize]));
            let next = self.order.get(at + 1).map(|&j| self.likeness[j as usize]);
            if next == Some(likeness) || taken == 0.0 {
                continue;
            }
            let (precision, recall) = (found / taken, found / positives);
            average_precision += precision * (recall - recall_before);
            recall_before = recall;
            let candidate = |value| Best {
                value,
                threshold: between(likeness, next),
                precision,
                recall,
            };
            let right = (found + (total - positives) - (taken - found)) / total;
            if right > accuracy.value {
                accuracy = candidate(right);
            }
            let harmonic = 2.0 * found / (taken + positives);
            if harmonic > f1.value {
                f1 = candidate(harmonic);
            }
        }
        (average_precision, accuracy, f1)
    }
}

/// A threshold that takes `likeness` and leaves out the next smaller one.
fn between(likeness: f64, next: Option<f64>) -> f64 {
    let middle = next.map_or(likeness, |next| f64::midpoint(likeness, next));
    // Of two neighbors among the floats the middle is one of them.
    if Some(middle) == next {
        likeness
    } else {
        middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// Likenesses in eighths, with many ties, and labels that agree with them most of the time.
    fn sample(count: usize, seed: u64) -> (Vec<f64>, Vec<bool>) {
        let mut rng = named_rng(seed, "pairs");
        let likeness = (0..count).map(|_| f64::from(rng.random_range(-8..=8)) / 8.0);
        let likeness: Vec<f64> = likeness.collect();
        let label = |&l: &f64| l + rng.random_range(-1.0..1.0) > 0.2;
        let labels = likeness.iter().map(label).collect();
        (likeness, labels)
    }

    /// Slow and plain: every threshold tried on every pair.
    fn reference(likeness: &[f64], positive: &[bool]) -> (f64, f64, f64) {
        let mut thresholds = likeness.to_vec();
        thresholds.push(f64::INFINITY);
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let positives = positive.iter().filter(|p| **p).count() as f64;
        let (mut ap, mut accuracy, mut f1, mut before) = (0.0, 0.0f64, 0.0f64, 0.0);
        for threshold in thresholds {
            let count = |is: bool, taken: bool| {
                let pairs = likeness.iter().zip(positive);
                pairs
                    .filter(|(l, p)| **p == is && (**l >= threshold) == taken)
                    .count() as f64
            };
            let (hit, false_alarm) = (count(true, true), count(false, true));
            accuracy = accuracy.max((hit + count(false, false)) / likeness.len() as f64);
            if hit + false_alarm > 0.0 {
                let (precision, recall) = (hit / (hit + false_alarm), hit / positives);
                ap += precision * (recall - before);
                before = recall;
                if hit > 0.0 {
                    f1 = f1.max(2.0 * precision * recall / (precision + recall));
                }
            }
        }
        (ap, accuracy, f1)
    }

    #[test]
    fn one_pass_finds_what_trying_every_threshold_finds() {
        for seed in 0..30 {
            let (likeness, positive) = sample(40, seed);
            let (ap, accuracy, f1) = Ranking::new(likeness.clone(), &positive).sweep(&[1; 40]);
            let expected = reference(&likeness, &positive);
            assert!((ap - expected.0).abs() < 1e-12, "AP {ap} {expected:?}");
            assert!((accuracy.value - expected.1).abs() < 1e-12, "{expected:?}");
            assert!((f1.value - expected.2).abs() < 1e-12, "{expected:?}");
            let at = |threshold: f64| likeness.iter().map(move |l| *l >= threshold);
            let right = at(accuracy.threshold)
                .zip(&positive)
                .filter(|(t, p)| t == *p);
            assert!((right.count() as f64 / 40.0 - accuracy.value).abs() < 1e-12);
            let taken = at(f1.threshold).filter(|taken| *taken).count() as f64;
            let hit = at(f1.threshold)
                .zip(&positive)
                .filter(|(t, p)| *t && **p)
                .count();
            assert!((hit as f64 / taken - f1.precision).abs() < 1e-12);
        }
    }

    #[test]
    fn a_count_is_that_many_copies() {
        let (likeness, positive) = sample(30, 99);
        let counts: Vec<u32> = (0..30).map(|i| i * 7 % 4).collect();
        let copies = |i: usize| std::iter::repeat_n(i, counts[i] as usize);
        let rows: Vec<usize> = (0..30).flat_map(copies).collect();
        let own: Vec<f64> = rows.iter().map(|&i| likeness[i]).collect();
        let labels: Vec<bool> = rows.iter().map(|&i| positive[i]).collect();
        let expected = reference(&own, &labels);
        let (ap, accuracy, f1) = Ranking::new(likeness, &positive).sweep(&counts);
        for (found, expected) in [
            (ap, expected.0),
            (accuracy.value, expected.1),
            (f1.value, expected.2),
        ] {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn the_scores_are_those_of_sentence_transformers() {
        // tests/golden/text.py, function `binary`
        let likeness = [0.9, 0.8, 0.8, 0.7, 0.55, 0.5, 0.5, 0.3, 0.1, -0.2];
        let labels = [1, 1, 0, 1, 0, 1, 0, 0, 1, 0].map(|label| label == 1);
        let (ap, accuracy, f1) = Ranking::new(likeness.to_vec(), &labels).sweep(&[1; 10]);
        assert!((ap - 0.708_730_158_730_158_8).abs() < 1e-12, "{ap}");
        assert!((accuracy.value - 0.7).abs() < 1e-12 && (accuracy.threshold - 0.625).abs() < 1e-12);
        assert!((f1.value - 5.0 / 7.0).abs() < 1e-12 && (f1.threshold + 0.05).abs() < 1e-12);
    }

    #[test]
    fn labels_are_counted_and_a_positive_one_is_needed() {
        let data = [1.0, 2.0];
        let mat = Mat::new(&data, 2, 1);
        assert!(binary_pairs(mat, mat, &[true], Bootstrap::NONE).is_err());
        assert!(binary_pairs(mat, mat, &[false; 2], Bootstrap::NONE).is_err());
    }
}
