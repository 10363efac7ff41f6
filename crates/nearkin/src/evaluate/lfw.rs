//! The protocol of Labeled Faces in the Wild: thresholds chosen on nine folds, tested on the tenth.

use super::EvaluateError;
use serde::Serialize;

/// Steps of the thresholds that accuracy is sought at, as shares of the farthest: 0.01 on squared distances from 0 to 4.
const ACCURACY_STEP: f64 = 0.0025;
/// The same for a rate of false accepts.
const RATE_STEP: f64 = 0.000_25;
/// The largest squared distance of two unit vectors.
pub const FARTHEST: f64 = 4.0;

/// A mean over folds with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverFolds {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of the folds as they are (not of a sample), as the protocol's programs print it.
    pub std: f64,
}

/// What thresholds chosen on other folds reach.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldScores {
    /// Folds.
    pub folds: usize,
    /// The share of pairs on the right side of the threshold.
    pub accuracy: OverFolds,
    /// The threshold of accuracy in each fold, on squared distances of unit vectors or on scores of pairs.
    pub thresholds: Vec<f64>,
    /// VAL: the share of the same that is accepted at the false accepts asked for.
    pub accepted: OverFolds,
    /// FAR: the share of different ones that was accepted by it.
    pub mistaken: f64,
    /// The false accepts asked for.
    pub far: f64,
}

/// LFW's protocol on squared distances of unit vectors, or on others up to `farthest`, 4 for those; a pair is accepted where
/// `distance < threshold`.
///
/// ```text
/// accuracy:  thresholds 0, 0.01, … 3.99; the first of the best on the other folds
/// VAL:       thresholds 0, 0.001, … 3.999; FAR = far on the other folds, by linear interpolation; threshold 0, and so a VAL
///            of 0, where none of them reaches it
/// ```
///
/// With another `farthest` these are as many thresholds, from 0 to that. A score may be the farthest itself, as a softmax
/// rounds to 1, which no threshold below accepts: where FAR is never reached, VAL is then that of the last threshold.
///
/// `fold_of` says the fold of each pair, from 0.
///
/// # Errors
/// Counts differ, there are fewer than two folds, or a fold has pairs of one kind alone.
///
/// # Reference
/// Schroff, Kalenichenko and Philbin, *FaceNet*, 2015, sections 4 and 5.6; grids and interpolation as in the evaluator that
/// implementations of it share.
pub fn over_folds(
    distances: &[f32],
    same: &[bool],
    fold_of: &[usize],
    (far, farthest): (f64, f64),
) -> Result<FoldScores, EvaluateError> {
    let pairs = Counted::new(distances, same, fold_of, farthest)?;
    let (mut accuracies, mut thresholds) = (Vec::new(), Vec::new());
    let (mut accepted, mut mistaken) = (Vec::new(), Vec::new());
    for fold in 0..pairs.folds {
        let threshold = pairs.most_accurate(fold);
        accuracies.push(pairs.accuracy(threshold, |of| of == fold));
        thresholds.push(threshold);
        let threshold = pairs.at_rate(fold, far);
        let (same, different) = pairs.rates(threshold, |of| of == fold);
        accepted.push(same);
        mistaken.push(different);
    }
    Ok(FoldScores {
        folds: pairs.folds,
        accuracy: OverFolds::of(&accuracies),
        thresholds,
        accepted: OverFolds::of(&accepted),
        mistaken: OverFolds::of(&mistaken).mean,
        far,
    })
}

impl OverFolds {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Self {
            mean,
            std: (squares / count).sqrt(),
        }
    }
}

/// Distances of each fold, of the same and of different ones, rising.
struct Counted {
    folds: usize,
    farthest: f64,
    same: Vec<Vec<f64>>,
    different: Vec<Vec<f64>>,
}

impl Counted {
    fn new(
        distances: &[f32],
        same: &[bool],
        fold_of: &[usize],
        farthest: f64,
    ) -> Result<Self, EvaluateError> {
        super::roc::order(distances, same)?;
        if fold_of.len() != same.len() {
            return Err(EvaluateError::Labels {
                rows: same.len(),
                labels: fold_of.len(),
            });
        }
        // Every fold has a pair: a number beyond them is refused before room is made for it.
        let last = fold_of.iter().copied().max().unwrap_or(0);
        if last >= same.len() {
            return Err(EvaluateError::Folds {
                folds: last.saturating_add(1),
                fold: same.len(),
            });
        }
        let folds = last + 1;
        let mut counted = Self {
            folds,
            farthest,
            same: vec![Vec::new(); folds],
            different: vec![Vec::new(); folds],
        };
        for ((&distance, &same), &fold) in distances.iter().zip(same).zip(fold_of) {
            let kind = if same {
                &mut counted.same
            } else {
                &mut counted.different
            };
            kind[fold].push(f64::from(distance));
        }
        for kind in [&mut counted.same, &mut counted.different] {
            for (fold, distances) in kind.iter_mut().enumerate() {
                if folds < 2 || distances.is_empty() {
                    return Err(EvaluateError::Folds { folds, fold });
                }
                distances.sort_by(f64::total_cmp);
            }
        }
        Ok(counted)
    }

    /// Accepted and all of one kind, in the folds that are `meant`.
    fn count(kind: &[Vec<f64>], threshold: f64, meant: impl Fn(usize) -> bool) -> (usize, usize) {
        let folds = kind.iter().enumerate().filter(|(fold, _)| meant(*fold));
        folds.fold((0, 0), |(accepted, all), (_, distances)| {
            let below = distances.partition_point(|&d| d < threshold);
            (accepted + below, all + distances.len())
        })
    }

    fn accuracy(&self, threshold: f64, meant: impl Fn(usize) -> bool + Copy) -> f64 {
        let (accepted, same) = Self::count(&self.same, threshold, meant);
        let (mistaken, different) = Self::count(&self.different, threshold, meant);
        (accepted + different - mistaken) as f64 / (same + different) as f64
    }

    /// The shares of the same and of different ones that are accepted.
    fn rates(&self, threshold: f64, meant: impl Fn(usize) -> bool + Copy) -> (f64, f64) {
        let share = |(accepted, all): (usize, usize)| accepted as f64 / all as f64;
        let different = Self::count(&self.different, threshold, meant);
        (
            share(Self::count(&self.same, threshold, meant)),
            share(different),
        )
    }

    /// The first of the thresholds that are most accurate without this fold.
    fn most_accurate(&self, fold: usize) -> f64 {
        let mut best = (0.0, f64::NEG_INFINITY);
        for threshold in self.grid(ACCURACY_STEP) {
            let accuracy = self.accuracy(threshold, |of| of != fold);
            if accuracy > best.1 {
                best = (threshold, accuracy);
            }
        }
        best.0
    }

    /// The threshold that accepts `far` of the different ones without this fold; where none accepts so many 0, as the protocol's
    /// programs have it, but the last one of scores, which may reach the farthest.
    fn at_rate(&self, fold: usize, far: f64) -> f64 {
        let mut before: Option<(f64, f64)> = None;
        for threshold in self.grid(RATE_STEP) {
            let (_, rate) = self.rates(threshold, |of| of != fold);
            if rate >= far {
                return match before {
                    Some((lower, at)) if rate > lower => {
                        at + (far - lower) / (rate - lower) * (threshold - at)
                    }
                    _ => threshold,
                };
            }
            before = Some((rate, threshold));
        }
        let of_vectors = self.farthest.total_cmp(&FARTHEST).is_eq();
        let last = before.filter(|_| !of_vectors);
        last.map_or(0.0, |(_, threshold)| threshold)
    }

    /// Thresholds from 0 on below the farthest.
    fn grid(&self, share: f64) -> impl Iterator<Item = f64> {
        let (count, step) = (share.recip().round() as usize, share * self.farthest);
        (0..count).map(move |i| i as f64 * step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], want: &[f64]) {
        assert_eq!(found.len(), want.len());
        let apart = found.iter().zip(want).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-9, "{found:?}");
    }

    #[test]
    fn a_threshold_is_chosen_without_the_fold_that_it_is_tested_on() {
        // In fold 0 the kinds are told apart at 1.0, in fold 1 at 2.0.
        let distances = [0.905, 1.1, 1.905, 2.1];
        let same = [true, false, true, false];
        let found = over_folds(&distances, &same, &[0, 0, 1, 1], (0.5, FARTHEST)).unwrap();
        assert_close(&found.thresholds, &[1.91, 0.91]);
        // At 1.91 both pairs of fold 0 are accepted, at 0.91 none of fold 1.
        assert_eq!(
            found.accuracy,
            OverFolds {
                mean: 0.5,
                std: 0.0
            }
        );
        // FAR 0.5 of the other fold lies half way between 2.099 and 2.100, and between 1.100 and 1.101.
        assert_eq!(
            found.accepted,
            OverFolds {
                mean: 0.5,
                std: 0.5
            }
        );
        assert_eq!(found.mistaken, 0.5);
    }

    #[test]
    fn scores_that_all_but_reach_the_farthest_are_told_apart() {
        let (distances, same) = ([0.1, 1.0, 0.2, 1.0], [true, false, true, false]);
        let found = over_folds(&distances, &same, &[0, 0, 1, 1], (0.1, 1.0)).unwrap();
        assert_eq!((found.accepted.mean, found.mistaken), (1.0, 0.0));
    }

    #[test]
    fn a_rate_that_no_threshold_on_vectors_reaches_accepts_none() {
        let (distances, same) = ([0.1, 4.0, 0.2, 4.0], [true, false, true, false]);
        let found = over_folds(&distances, &same, &[0, 0, 1, 1], (0.1, FARTHEST)).unwrap();
        assert_eq!((found.accepted.mean, found.mistaken), (0.0, 0.0));
    }

    #[test]
    fn thresholds_reach_as_far_as_the_distances_do() {
        let of = |factor: f32| {
            let distances = [0.226, 0.275, 0.476, 0.525].map(|d: f32| d * factor);
            let same = [true, false, true, false];
            let reach = (0.5, f64::from(factor));
            over_folds(&distances, &same, &[0, 0, 1, 1], reach).unwrap()
        };
        let (one, eight) = (of(1.0), of(8.0));
        assert_close(&one.thresholds, &[0.4775, 0.2275]);
        assert_close(&eight.thresholds, &[8.0 * 0.4775, 8.0 * 0.2275]);
        assert_eq!(
            (one.accuracy, one.accepted),
            (eight.accuracy, eight.accepted)
        );
    }

    #[test]
    fn kinds_far_apart_are_told_without_mistakes() {
        let distances: Vec<f32> = (0..40)
            .map(|i| if i % 2 == 0 { 0.3 } else { 1.7 })
            .collect();
        let same: Vec<bool> = (0..40).map(|i| i % 2 == 0).collect();
        let fold_of: Vec<usize> = (0..40).map(|i| i / 4).collect();
        let found = over_folds(&distances, &same, &fold_of, (1e-3, FARTHEST)).unwrap();
        assert_eq!(
            (found.folds, found.accuracy.mean, found.accepted.mean),
            (10, 1.0, 1.0)
        );
        assert_close(&found.thresholds, &[0.31; 10]);
    }

    #[test]
    fn folds_of_one_kind_are_refused() {
        let error = over_folds(
            &[0.1, 0.2, 0.3],
            &[true, false, true],
            &[0, 0, 1],
            (0.1, FARTHEST),
        );
        assert!(error.unwrap_err().to_string().contains("fold 1"));
        let error = over_folds(
            &[0.1, 0.2],
            &[true, false],
            &[0, usize::MAX],
            (0.1, FARTHEST),
        );
        assert!(error.unwrap_err().to_string().contains("two folds"));
        let error = over_folds(&[0.1, 0.2], &[true, false], &[0, 0], (0.1, FARTHEST));
        assert!(error.unwrap_err().to_string().contains("two folds"));
    }
}
