//! Classification by the nearest labeled items.

use super::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often neighbors vote for the right class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KNearest {
    /// The share of items whose class wins.
    pub accuracy: f64,
    /// The mean over the classes of the share of their items: BAC.
    pub balanced: f64,
}

/// Classifies items by the vote of their k nearest references: Euclidean distance of vectors as they are, equal weights.
///
/// A tied vote goes to the smallest label, as in scikit-learn; neighbors of equal distance to the smaller index. Classes
/// without an item to classify do not count in the balanced accuracy.
///
/// # Shapes
/// - `references`, `items`: `[N, D]` with the class of each row
///
/// # Errors
/// A number is not finite, counts or widths differ, or there is nothing to classify or to classify by.
///
/// # Reference
/// A. Medela, A. Picon, Constellation Loss, 2019, §4: a plain k-NN, with scikit-learn's k of 5.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::k_nearest;
/// let references = (Mat::new(&[0.0, 1.0, 10.0, 11.0], 4, 1), &[0, 0, 1, 1][..]);
/// let found = k_nearest(references, (Mat::new(&[0.5, 9.0, 2.0], 3, 1), &[0, 1, 1]), 2)?;
/// assert_eq!((found.accuracy, found.balanced), (2.0 / 3.0, 0.75));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn k_nearest(
    (references, known): (Mat<'_>, &[u32]),
    (items, labels): (Mat<'_>, &[u32]),
    k: usize,
) -> Result<KNearest, EvaluateError> {
    for (matrix, labels) in [(references, known), (items, labels)] {
        if labels.len() != matrix.rows {
            return Err(EvaluateError::Labels {
                rows: matrix.rows,
                labels: labels.len(),
            });
        }
    }
    if references.rows == 0 || items.rows == 0 {
        return Err(EvaluateError::Sides {
            queries: items.rows,
            gallery: references.rows,
        });
    }
    let search = Search::new(items, references, Similarity::Euclidean)?;
    let right = search.map(k, |item, neighbors| {
        let mut votes = BTreeMap::<u32, usize>::new();
        for neighbor in neighbors {
            *votes.entry(known[neighbor.index as usize]).or_default() += 1;
        }
        let winner = votes.iter().fold((u32::MAX, 0), |best, (&label, &count)| {
            if count > best.1 { (label, count) } else { best }
        });
        winner.0 == labels[item]
    });
    let mut of_class = BTreeMap::<u32, [usize; 2]>::new();
    for (&label, &right) in labels.iter().zip(&right) {
        let [hits, all] = of_class.entry(label).or_default();
        (*hits, *all) = (*hits + usize::from(right), *all + 1);
    }
    let recalls = of_class
        .values()
        .map(|[hits, all]| *hits as f64 / *all as f64);
    Ok(KNearest {
        accuracy: right.iter().filter(|right| **right).count() as f64 / labels.len() as f64,
        balanced: recalls.sum::<f64>() / of_class.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_ties_and_balance_are_those_of_scikit_learn() {
        // import numpy as np
        // from sklearn.neighbors import KNeighborsClassifier
        // from sklearn.metrics import accuracy_score, balanced_accuracy_score
        // X = np.array([[i * 37 % 50, i * i % 23] for i in range(60)], dtype=float); y = np.array([i * i % 7 for i in range(60)])
        // Q = np.array([[i * 29 % 50 + .37, i * i % 19 + .11] for i in range(40)]); z = np.array([i * i % 5 for i in range(40)])
        // for k in (1, 4, 5):
        //     p = KNeighborsClassifier(k).fit(X, y).predict(Q); print(accuracy_score(z, p), balanced_accuracy_score(z, p))
        let point = |a: usize, b: usize| [a as f32, b as f32];
        let references: Vec<f32> = (0..60)
            .flat_map(|i| point(i * 37 % 50, i * i % 23))
            .collect();
        let known: Vec<u32> = (0..60).map(|i| i * i % 7).collect();
        let items: Vec<f32> = (0..40)
            .flat_map(|i| [(i * 29 % 50) as f32 + 0.37, (i * i % 19) as f32 + 0.11])
            .collect();
        let labels: Vec<u32> = (0..40).map(|i| i * i % 5).collect();
        for (k, accuracy, balanced) in GOLDEN {
            let found = k_nearest(
                (Mat::new(&references, 60, 2), &known),
                (Mat::new(&items, 40, 2), &labels),
                k,
            )
            .unwrap();
            assert!(
                (found.accuracy - accuracy).abs() < 1e-9,
                "k = {k}: {found:?}"
            );
            assert!(
                (found.balanced - balanced).abs() < 1e-9,
                "k = {k}: {found:?}"
            );
        }
    }

    const GOLDEN: [(usize, f64, f64); 3] = [
        (1, 0.2, 0.229_166_666_666_666_66),
        (4, 0.15, 0.145_833_333_333_333_34),
        (5, 0.325, 0.333_333_333_333_333_3),
    ];

    #[test]
    fn nothing_to_classify_by_is_an_error() {
        let (none, one) = (Mat::new(&[], 0, 1), Mat::new(&[0.0], 1, 1));
        let error = k_nearest((none, &[]), (one, &[0]), 1).unwrap_err();
        let want = EvaluateError::Sides {
            queries: 1,
            gallery: 0,
        };
        assert_eq!(error, want);
    }
}
