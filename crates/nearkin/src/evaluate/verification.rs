//! Verification: are two items of the same class?

use super::bootstrap::Estimate;
use super::lfw::{FARTHEST, FoldScores, over_folds};
use super::roc::{Rates, Roc, order};
use super::{EvaluateError, check_finite};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Mat, normalize_rows};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The most points of a curve that are told.
const CURVE: usize = 200;

/// How verification is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerificationOptions {
    /// The rates of false accepts at which true accepts are told, the first for the folds.
    pub fars: Vec<f64>,
    /// The largest distance there can be, up to which the folds seek their thresholds: 4 for squared ones of unit vectors.
    pub farthest: f64,
    /// Bootstrap resamples of pairs behind an interval; 0 for none.
    pub resamples: usize,
    /// Decides resamples.
    pub seed: u64,
}

impl Default for VerificationOptions {
    fn default() -> Self {
        Self {
            fars: vec![1e-3, 1e-2, 1e-1],
            farthest: FARTHEST,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// How well a threshold on distance tells pairs of the same class from others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Pairs of the same class.
    pub same: usize,
    /// Pairs of different classes.
    pub different: usize,
    /// Area under the ROC curve, ties counting one half.
    pub auc: Estimate,
    /// The rate at which false accepts and false rejects are equal.
    pub equal_error: Estimate,
    /// TAR@FAR over all pairs.
    pub accepted: Vec<Accepted>,
    /// The ROC curve: at most 200 of its points, both ends among them.
    pub roc: Vec<Rates>,
    /// Thresholds chosen on other folds, LFW's protocol.
    pub folds: FoldScores,
    /// The mean distance of the same and of different ones: squared ones of unit vectors, or scores of pairs.
    pub mean_distance: [f64; 2],
}

/// True accepts at a rate of false accepts, the threshold chosen on the same pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accepted {
    /// The most false accepts.
    pub far: f64,
    /// The share of the same that is accepted.
    pub tar: Estimate,
    /// FNMR@FMR, the share of the same that is not: 1 − `tar`.
    pub fnmr: Estimate,
    /// The threshold on the distance; none where not even the nearest pair may be accepted.
    pub threshold: Option<f64>,
}

/// A threshold with what it was worth on the pairs that chose it: what `nearkin verify` answers by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Accepted are squared distances of unit vectors up to this, or scores of a network of pairs.
    pub threshold: f64,
    /// The share of different pairs that it accepted.
    pub far: f64,
    /// The most of them that it was to accept; files of before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far_asked: Option<f64>,
    /// The share of pairs of the same that it accepted.
    pub tar: f64,
    /// Pairs of the same behind it.
    pub same: usize,
    /// Pairs of different ones behind it.
    pub different: usize,
    /// What they were.
    pub data: String,
}

impl Calibration {
    /// Below which the rate of false accepts is with 95 % confidence, where the different pairs are too few to tell the rate
    /// that was asked for from zero: fewer than 1/FAR, so that not one of them may be accepted. None where they are enough.
    ///
    /// ```text
    /// 1 − 0.05^(1/n)     of n different pairs, none accepted; near 3/n
    /// ```
    ///
    /// # Reference
    /// C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, Biometrika 26,
    /// 1934: the one-sided limit for no event.
    ///
    /// ```
    /// use nearkin::evaluate::calibrate;
    /// let kept = calibrate(&[0.1, 1.0, 1.2], &[true, false, false], 0.001, "made")?;
    /// let bound = kept.and_then(|kept| kept.unproven_far());
    /// assert!(bound.is_some_and(|bound| (bound - (1.0 - 0.05_f64.sqrt())).abs() < 1e-12));
    /// # Ok::<(), nearkin::evaluate::EvaluateError>(())
    /// ```
    pub fn unproven_far(&self) -> Option<f64> {
        /// How often the true rate is beyond the bound.
        const DOUBT: f64 = 0.05;
        let pairs = self.different as f64;
        let too_few = self.far_asked.is_some_and(|far| pairs * far < 1.0);
        too_few.then(|| 1.0 - DOUBT.powf(pairs.recip()))
    }
}

/// Squared distances of unit vectors, from 0 to 4: `‖u − v‖² = 2 − 2 u·v`.
///
/// # Shapes
/// - `first`, `second`: `[pairs, D]`, of any length
///
/// # Errors
/// The shapes differ or a number is not finite.
pub fn squared_distances(first: Mat, second: Mat) -> Result<Vec<f32>, EvaluateError> {
    if first.rows != second.rows {
        return Err(EvaluateError::Labels {
            rows: first.rows,
            labels: second.rows,
        });
    }
    if first.cols != second.cols {
        return Err(EvaluateError::Width {
            query: first.cols,
            gallery: second.cols,
        });
    }
    let [u, v] = [first, second].map(|side| {
        check_finite(side)?;
        let mut unit = side.data.to_vec();
        normalize_rows(side.data, side.cols, &mut unit, &mut vec![0.0; side.rows]);
        Ok(unit)
    });
    let (u, v) = (u?, v?);
    let rows = u
        .chunks_exact(first.cols.max(1))
        .zip(v.chunks_exact(first.cols.max(1)));
    let distance = |(u, v): (&[f32], &[f32])| {
        let squares = u.iter().zip(v).map(|(u, v)| f64::from(u - v).powi(2));
        squares.sum::<f64>() as f32
    };
    Ok(rows.map(distance).collect())
}

/// Measures verification on pairs; `fold_of` says the fold of each, from 0.
///
/// # Errors
/// As [`Roc::new`] and [`over_folds`].
///
/// ```
/// use nearkin::evaluate::{VerificationOptions, verification};
/// let (distances, same) = ([0.2, 1.8, 0.2, 1.5], [true, false, true, false]);
/// let found = verification(&distances, &same, &[0, 0, 1, 1], &VerificationOptions::default())?;
/// assert_eq!((found.auc.value, found.equal_error.value, found.folds.accuracy.mean), (1.0, 0.0, 1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn verification(
    distances: &[f32],
    same: &[bool],
    fold_of: &[usize],
    options: &VerificationOptions,
) -> Result<Verification, EvaluateError> {
    let order = order(distances, same)?;
    let far = options.fars.first().copied().unwrap_or(1e-3);
    let folds = over_folds(distances, same, fold_of, (far, options.farthest))?;
    let whole = Roc::weighted(&order, distances, same, |_| 1.0);
    let numbers = |roc: &Roc| {
        let rates = options.fars.iter().map(|&far| roc.accepted_at(far).rate);
        [roc.auc(), roc.equal_error().rate]
            .into_iter()
            .chain(rates)
            .collect::<Vec<f64>>()
    };
    let resampled: Vec<Vec<f64>> = (0..options.resamples)
        .into_par_iter()
        .map(|resample| {
            let drawn = draw(same, options.seed, resample);
            numbers(&Roc::weighted(&order, distances, same, |pair| {
                f64::from(drawn[pair])
            }))
        })
        .collect();
    let values = numbers(&whole);
    let estimate =
        |at: usize| Estimate::percentiles(values[at], resampled.iter().map(|r| r[at]).collect());
    let accepted = options.fars.iter().enumerate().map(|(at, &far)| {
        let tar = estimate(2 + at);
        Accepted {
            far,
            tar,
            fnmr: Estimate {
                value: 1.0 - tar.value,
                low: 1.0 - tar.high,
                high: 1.0 - tar.low,
            },
            threshold: Some(whole.accepted_at(far).threshold).filter(|t| t.is_finite()),
        }
    });
    let positives = same.iter().filter(|same| **same).count();
    Ok(Verification {
        same: positives,
        different: same.len() - positives,
        auc: estimate(0),
        equal_error: estimate(1),
        accepted: accepted.collect(),
        roc: whole.thinned(CURVE),
        folds,
        mean_distance: [true, false].map(|kind| mean(distances, same, kind)),
    })
}

/// The threshold that accepts at most `far` of the different pairs; none where not even the nearest pair may be accepted.
///
/// # Errors
/// As [`Roc::new`].
pub fn calibrate(
    distances: &[f32],
    same: &[bool],
    far: f64,
    data: &str,
) -> Result<Option<Calibration>, EvaluateError> {
    let roc = Roc::new(distances, same)?;
    let threshold = roc.accepted_at(far).threshold;
    let (mistaken, accepted) = roc.rates(threshold);
    let positives = same.iter().filter(|same| **same).count();
    Ok(threshold.is_finite().then(|| Calibration {
        threshold,
        far: mistaken,
        far_asked: Some(far),
        tar: accepted,
        same: positives,
        different: same.len() - positives,
        data: data.to_owned(),
    }))
}

/// How often a resample draws each pair; as many of each kind as there are, so that no resample is of one kind.
fn draw(same: &[bool], seed: u64, resample: usize) -> Vec<u32> {
    let mut rng = named_rng(seed, &format!("bootstrap/{resample}"));
    let mut drawn = vec![0; same.len()];
    for kind in [true, false] {
        let of: Vec<usize> = (0..same.len()).filter(|&pair| same[pair] == kind).collect();
        for _ in 0..of.len() {
            drawn[of[rng.random_range(0..of.len())]] += 1;
        }
    }
    drawn
}

fn mean(distances: &[f32], same: &[bool], kind: bool) -> f64 {
    let of = distances
        .iter()
        .zip(same)
        .filter(|(_, same)| **same == kind);
    let (sum, count) = of.fold((0.0, 0.0), |(sum, count), (&d, _)| {
        (sum + f64::from(d), count + 1.0)
    });
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_of_directions_and_intervals_hold_the_value() {
        let u = Mat::new(&[2.0, 0.0, 0.0, 3.0, 1.0, 0.0], 3, 2);
        let v = Mat::new(&[5.0, 0.0, 4.0, 0.0, -1.0, 0.0], 3, 2);
        assert_eq!(squared_distances(u, v).unwrap(), [0.0, 2.0, 4.0]);
        let distances: Vec<f32> = (0..200).map(|i| ((i * 37) % 100) as f32 / 50.0).collect();
        let same: Vec<bool> = distances
            .iter()
            .enumerate()
            .map(|(i, d)| i % 3 != 0 && *d < 1.3)
            .collect();
        let fold_of: Vec<usize> = (0..200).map(|i| i / 20).collect();
        let found =
            verification(&distances, &same, &fold_of, &VerificationOptions::default()).unwrap();
        for estimate in [found.auc, found.equal_error, found.accepted[2].tar] {
            assert!(
                estimate.low <= estimate.value && estimate.value <= estimate.high,
                "{estimate:?}"
            );
            assert!(estimate.low < estimate.high, "{estimate:?}");
        }
        assert!(found.mean_distance[0] < found.mean_distance[1]);
    }

    #[test]
    fn a_calibration_keeps_what_its_threshold_was_worth() {
        let (distances, same) = ([0.1, 0.2, 0.3, 0.4, 0.5], [true, false, true, false, false]);
        let found = calibrate(&distances, &same, 0.4, "made").unwrap().unwrap();
        assert!((found.threshold - 0.3).abs() < 1e-6);
        assert_eq!((found.tar, found.same, found.different), (1.0, 2, 3));
        assert!((found.far - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((found.far_asked, found.unproven_far()), (Some(0.4), None));
        let rare = calibrate(&distances, &same, 0.3, "made").unwrap().unwrap();
        let bound = rare.unproven_far().unwrap();
        assert!((bound - 0.631_6).abs() < 1e-4, "{bound}");
        assert_eq!(
            calibrate(&[0.1, 0.2], &[false, true], 0.0, "made").unwrap(),
            None
        );
    }
}
