//! A few labeled items of each class, and whether they are enough.

use super::EvaluateError;
use super::davies_bouldin::davies_bouldin;
use super::draws::OverDraws;
use super::k_nn::{KNearest, k_nearest};
use super::silhouette::silhouette;
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::collections::BTreeMap;

/// Vectors with the class of each row.
#[derive(Clone, Copy, Debug)]
pub struct Labeled<'a> {
    /// `[N, D]`.
    pub vectors: Mat<'a>,
    /// The class of each.
    pub labels: &'a [u32],
}

/// Where the labeled items come from.
#[derive(Clone, Copy, Debug)]
pub enum References<'a> {
    /// Items of their own, such as those that trained.
    Given(Labeled<'a>),
    /// So many of each class, drawn at random from the items themselves; the others are classified.
    Drawn {
        /// References of each class.
        shots: usize,
        /// Draws.
        draws: usize,
        /// Decides the draws.
        seed: u64,
    },
}

/// The constellation paper's table, for one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FewShot {
    /// The share of items that k-NN puts into their class.
    pub accuracy: OverDraws,
    /// The mean over classes of that share.
    pub balanced: OverDraws,
    /// Silhouette of the true classes over all items.
    pub silhouette: f64,
    /// Davies–Bouldin index of the true classes over all items.
    pub davies_bouldin: f64,
    /// Items that were classified, in each draw.
    pub items: usize,
    /// Classes with too few items to have any left to classify.
    pub excluded: usize,
    /// Neighbors that vote.
    pub k: usize,
}

/// Measures k-NN on `items`, and how compact their classes are, by Euclidean distances of the vectors as they are.
///
/// With drawn references k is the largest odd number up to the shots, so that no vote needs more references than a class
/// has, and that two classes never tie: of two neighbors the nearer one would decide only where its label is the smaller.
///
/// # Errors
/// A number is not finite, counts or widths differ, there are fewer than two classes, or no class has more than the shots.
///
/// # Reference
/// A. Medela, A. Picon, Constellation Loss, `arXiv:1905.10675`, 2019, §4 and table 1: k-NN accuracy, BAC, Davies–Bouldin and
/// silhouette over ten splits.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{Labeled, References, few_shot};
/// let points = [0.0, 0.1, 0.2, 9.0, 9.1, 9.2];
/// let items = Labeled { vectors: Mat::new(&points, 6, 1), labels: &[0, 0, 0, 1, 1, 1] };
/// let found = few_shot(items, References::Drawn { shots: 1, draws: 10, seed: 0 }, 5)?;
/// assert_eq!((found.accuracy.mean, found.items, found.k), (1.0, 4, 1));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn few_shot(
    items: Labeled<'_>,
    references: References<'_>,
    k: usize,
) -> Result<FewShot, EvaluateError> {
    let Labeled { vectors, labels } = items;
    let compact = (
        silhouette(vectors, labels)?,
        davies_bouldin(vectors, labels)?,
    );
    let (found, classified, excluded, k) = match references {
        References::Given(given) => {
            let known = (given.vectors, given.labels);
            (
                vec![k_nearest(known, (vectors, labels), k)?],
                labels.len(),
                0,
                k,
            )
        }
        References::Drawn { shots, draws, seed } => {
            let k = largest_odd(k.min(shots));
            let sizes = sizes(labels);
            let used = sizes.values().filter(|size| **size > shots);
            let left: usize = used.clone().map(|size| size - shots).sum();
            if left == 0 {
                return Err(EvaluateError::TooFewShots { shots });
            }
            let excluded = sizes.len() - used.count();
            let draw = |draw: usize| of_draw(items, shots, k, (seed, draw));
            (0..draws)
                .map(draw)
                .collect::<Result<_, _>>()
                .map(|found| (found, left, excluded, k))?
        }
    };
    let over = |number: &dyn Fn(&KNearest) -> f64| {
        OverDraws::of(&found.iter().map(number).collect::<Vec<_>>())
    };
    Ok(FewShot {
        accuracy: over(&|found| found.accuracy),
        balanced: over(&|found| found.balanced),
        silhouette: compact.0,
        davies_bouldin: compact.1,
        items: classified,
        excluded,
        k,
    })
}

fn sizes(labels: &[u32]) -> BTreeMap<u32, usize> {
    let mut sizes = BTreeMap::new();
    for &label in labels {
        *sizes.entry(label).or_insert(0) += 1;
    }
    sizes
}

/// References of each class drawn at random; of a class without more all are left out.
fn of_draw(
    items: Labeled<'_>,
    shots: usize,
    k: usize,
    (seed, draw): (u64, usize),
) -> Result<KNearest, EvaluateError> {
    let mut order: Vec<usize> = (0..items.labels.len()).collect();
    order.shuffle(&mut named_rng(seed, &format!("few-shot/{draw}")));
    let sizes = sizes(items.labels);
    let mut taken = BTreeMap::<u32, usize>::new();
    let (mut references, mut rest) = (Side::default(), Side::default());
    for item in order {
        let label = items.labels[item];
        if sizes[&label] <= shots {
            continue;
        }
        let taken = taken.entry(label).or_default();
        *taken += 1;
        let side = if *taken <= shots {
            &mut references
        } else {
            &mut rest
        };
        let dim = items.vectors.cols;
        side.labels.push(label);
        side.vectors
            .extend_from_slice(&items.vectors.data[item * dim..][..dim]);
    }
    let dim = items.vectors.cols;
    let [known, asked] = [&references, &rest].map(|side| {
        (
            Mat::new(&side.vectors, side.labels.len(), dim),
            &side.labels[..],
        )
    });
    k_nearest(known, asked, k)
}

#[derive(Default)]
struct Side {
    vectors: Vec<f32>,
    labels: Vec<u32>,
}

/// The largest odd number up to `k`, and at least 1.
fn largest_odd(k: usize) -> usize {
    k.saturating_sub(1) / 2 * 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 2 lies between the others, and class 7 has one item.
    const POINTS: [f32; 11] = [0.0, 0.1, 0.2, 4.0, 4.1, 4.2, 4.3, 9.0, 9.1, 9.3, 30.0];
    const LABELS: [u32; 11] = [0, 0, 0, 2, 2, 2, 2, 5, 5, 5, 7];

    #[test]
    fn draws_leave_classes_without_more_out_and_the_seed_decides() {
        let items = Labeled {
            vectors: Mat::new(&POINTS, 11, 1),
            labels: &LABELS,
        };
        let drawn = |shots, seed| {
            few_shot(
                items,
                References::Drawn {
                    shots,
                    draws: 4,
                    seed,
                },
                5,
            )
        };
        let found = drawn(2, 1).unwrap();
        assert_eq!(
            (found.accuracy.mean, found.balanced.mean, found.k),
            (1.0, 1.0, 1)
        );
        assert_eq!((found.items, found.excluded), (4, 1));
        assert_eq!(
            found.silhouette,
            silhouette(items.vectors, &LABELS).unwrap()
        );
        let few = drawn(3, 1).unwrap();
        // Of three classes none is left but one item of class 2.
        assert_eq!((few.items, few.excluded), (1, 3));
        assert_eq!(
            drawn(4, 1).unwrap_err(),
            EvaluateError::TooFewShots { shots: 4 }
        );
        // Classes that overlap: another draw, another share.
        let mixed = Labeled {
            labels: &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0],
            ..items
        };
        let accuracy = |seed| {
            let references = References::Drawn {
                shots: 2,
                draws: 5,
                seed,
            };
            few_shot(mixed, references, 5).unwrap().accuracy
        };
        let found: Vec<OverDraws> = (0..6).map(accuracy).collect();
        assert_eq!(found, (0..6).map(accuracy).collect::<Vec<_>>());
        assert!(
            found
                .iter()
                .any(|over| over.mean != found[0].mean && over.std > 0.0),
            "{found:?}"
        );
    }

    #[test]
    fn given_references_classify_every_item() {
        let items = Labeled {
            vectors: Mat::new(&POINTS, 11, 1),
            labels: &LABELS,
        };
        let given = Labeled {
            vectors: Mat::new(&[0.0, 4.0, 9.0], 3, 1),
            labels: &[0, 2, 5],
        };
        let found = few_shot(items, References::Given(given), 1).unwrap();
        assert_eq!((found.items, found.accuracy.draws), (11, 1));
        assert_eq!(
            (found.accuracy.mean, found.balanced.mean),
            (10.0 / 11.0, 0.75)
        );
    }

    #[test]
    fn drawn_references_vote_by_an_odd_number() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(largest_odd), [1, 1, 1, 3, 3, 5]);
    }
}
