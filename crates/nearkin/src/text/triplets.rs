//! Triplets: is the anchor closer to the positive than to the negative?

use nearkin_kernels::Mat;
use serde::Serialize;

use super::error::TextError;
use super::resample::Bootstrap;
use super::similarity::{ByMeasure, pairwise};
use crate::evaluate::{Estimate, estimates};

/// The result on a set of triplets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TripletAccuracy {
    /// Triplets.
    pub triplets: usize,
    /// The share of triplets that are right, by measure.
    pub accuracy: ByMeasure<Estimate>,
}

/// The share of triplets with `s(anchor, positive) > s(anchor, negative)`, with 95% bootstrap intervals over triplets.
///
/// A tie is wrong: embeddings that are all equal tell nothing apart.
///
/// # Shapes
/// - `anchor`, `positive`, `negative`: `[N, D]`
///
/// # Errors
/// The shapes differ, a number is not finite, or there is no triplet.
///
/// # Reference
/// Reimers and Gurevych, Sentence-BERT, 2019, section 4.4.
///
/// ```
/// use nearkin::{Mat, text::{Bootstrap, triplets::triplet_accuracy}};
/// let [anchor, positive, negative] = [[1.0, 0.0], [2.0, 1.0], [0.9, 0.6]];
/// let mats = [&anchor, &positive, &negative].map(|data| Mat::new(data, 1, 2));
/// let result = triplet_accuracy(mats, Bootstrap::default())?;
/// // By direction the positive is closer, by distance the negative.
/// assert_eq!((result.accuracy.cosine.value, result.accuracy.euclidean.value), (1.0, 0.0));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn triplet_accuracy(
    [anchor, positive, negative]: [Mat; 3],
    bootstrap: Bootstrap,
) -> Result<TripletAccuracy, TextError> {
    if anchor.rows == 0 {
        return Err(TextError::TooFew {
            what: "triplets",
            least: 1,
            found: 0,
        });
    }
    let near = pairwise(anchor, positive)?;
    let far = pairwise(anchor, negative)?;
    let right: Vec<[f32; 4]> = near
        .iter()
        .zip(&far)
        .map(|(near, far)| std::array::from_fn(|at| f32::from(u8::from(near[at] > far[at]))))
        .collect();
    Ok(TripletAccuracy {
        triplets: anchor.rows,
        accuracy: ByMeasure::from_array(estimates(&right, bootstrap.resamples, bootstrap.seed)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_wrong_and_each_measure_counts_for_itself() {
        let anchor = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let positive = [1.0, 0.0, 5.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let negative = [1.0, 0.0, 0.9, 0.3, 1.0, 0.0, 0.0, 9.0];
        let mats = [&anchor, &positive, &negative].map(|data| Mat::new(data, 4, 2));
        let result = triplet_accuracy(mats, Bootstrap::NONE).unwrap();
        let values = result.accuracy.iter().map(|(_, estimate)| estimate.value);
        assert_eq!(values.collect::<Vec<_>>(), [0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn no_triplets_and_unequal_counts_are_refused() {
        let one = [1.0, 0.0];
        let empty = Mat::new(&[], 0, 2);
        let mat = Mat::new(&one, 1, 2);
        assert!(triplet_accuracy([empty; 3], Bootstrap::NONE).is_err());
        assert!(triplet_accuracy([mat, mat, empty], Bootstrap::NONE).is_err());
    }
}
