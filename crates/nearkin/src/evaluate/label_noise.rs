//! Items whose neighbors say that their label is wrong.

use super::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Mat, TopK};
use rand::seq::SliceRandom;
use serde::Serialize;
use std::collections::HashMap;

/// An item whose neighbors are of another class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// The item.
    pub item: usize,
    /// The class that it may be of.
    pub suggested: u32,
    /// How much nearer that class is than its own, from −2 to 2; above 0 the other one is nearer.
    pub suspicion: f32,
    /// How many of the nearest items of other classes are of the suggested one, of as many as its own class has others, at
    /// most k.
    pub agree: usize,
}

/// What was found, the most suspect first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelNoise {
    /// All items but those alone in their class; items that are equally suspect in their order.
    pub suspects: Vec<Suspect>,
    /// Items alone in their class: nothing says whether their label is right.
    pub alone: usize,
}

/// Ranks items by how much their neighbors disagree with their labels.
///
/// ```text
/// r         = min(k, items of i's class − 1)
/// own       = mean cosine of i and the r nearest others of its class
/// other     = (1/r) Σ max(cos(i, j), 0) over those of the r nearest items of other classes that are of class c
/// suspicion = other − own,        c: the class with the largest such sum
/// ```
///
/// An item far from its own class counts as mislabeled only where its nearest others agree on what it is: an odd item among
/// many classes ranks below one in the middle of another class.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `labels`: `N`; similarities are made in blocks of rows
///
/// # Errors
/// A number is not finite, counts differ, there are fewer than two classes, or no class has two items.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::label_noise;
/// // Two groups of three; the fourth item has the label of the other group.
/// let points = [1.0, 0.0, 1.0, 0.1, 1.0, 0.2, 1.0, 0.15, 0.0, 1.0, 0.1, 1.0];
/// let found = label_noise(Mat::new(&points, 6, 2), &[0, 0, 0, 1, 1, 1], 10)?;
/// assert_eq!((found.suspects[0].item, found.suspects[0].suggested), (3, 0));
/// assert!(found.suspects[0].suspicion > 0.0 && found.suspects[1].suspicion < 0.0);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn label_noise(
    embeddings: Mat<'_>,
    labels: &[u32],
    k: usize,
) -> Result<LabelNoise, EvaluateError> {
    if labels.len() != embeddings.rows {
        return Err(EvaluateError::Labels {
            rows: embeddings.rows,
            labels: labels.len(),
        });
    }
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    for &label in labels {
        *sizes.entry(label).or_default() += 1;
    }
    if sizes.len() < 2 {
        return Err(EvaluateError::TooFewClasses {
            needed: 2,
            found: sizes.len(),
        });
    }
    if sizes.values().all(|&size| size < 2) {
        return Err(EvaluateError::NothingRelevant {
            items: labels.len(),
        });
    }
    let search = Search::among(embeddings, Similarity::Cosine)?;
    let found = search.rows(|item, cosines| {
        let depth = k.max(1).min(sizes[&labels[item]] - 1);
        (depth > 0).then(|| suspect(item, cosines, labels, depth))
    });
    let mut suspects: Vec<Suspect> = found.into_iter().flatten().collect();
    suspects.sort_by(|a, b| b.suspicion.total_cmp(&a.suspicion));
    Ok(LabelNoise {
        alone: labels.len() - suspects.len(),
        suspects,
    })
}

fn suspect(item: usize, cosines: &[f32], labels: &[u32], depth: usize) -> Suspect {
    let nearest = |of_own: bool| {
        // The item itself is NaN already.
        let masked = cosines.iter().zip(labels).map(|(&cosine, &label)| {
            if (label == labels[item]) == of_own {
                cosine
            } else {
                f32::NAN
            }
        });
        let mut best = TopK::new(1, depth, cosines.len());
        best.offer_rows(&masked.collect::<Vec<f32>>(), 0);
        best.finish().remove(0)
    };
    let own: f32 = nearest(true).iter().map(|near| near.score).sum();
    // In the order of the nearest of each class, so that of equal sums the nearer class counts.
    let mut others: Vec<(u32, f32, usize)> = Vec::new();
    for near in nearest(false) {
        let label = labels[near.index as usize];
        let cosine = near.score.max(0.0);
        match others.iter_mut().find(|other| other.0 == label) {
            Some(other) => (other.1, other.2) = (other.1 + cosine, other.2 + 1),
            None => others.push((label, cosine, 1)),
        }
    }
    let nearest = others
        .iter()
        .copied()
        .reduce(|a, b| if b.1 > a.1 { b } else { a });
    let (suggested, other, agree) = nearest.unwrap_or((labels[item], 0.0, 0));
    Suspect {
        item,
        suggested,
        suspicion: (other - own) / depth as f32,
        agree,
    }
}

/// Labels of which some were made wrong, to see whether they are found.
#[derive(Clone, Debug, PartialEq)]
pub struct Planted {
    /// The labels, with the wrong ones among them.
    pub labels: Vec<u32>,
    /// The items whose labels are wrong, in order.
    pub items: Vec<usize>,
}

/// How many planted wrong labels are found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recovered {
    /// Wrong labels that were planted.
    pub planted: usize,
    /// Share of as many most suspect items that were planted; precision and recall alike.
    pub precision: f64,
    /// Share of the planted ones found whose own label was suggested.
    pub right_suggestions: f64,
}

impl Planted {
    /// Gives a share of the items, at least one, the label of another item drawn at random, of another class.
    ///
    /// # Errors
    /// There are fewer than two classes.
    pub fn new(labels: &[u32], share: f64, seed: u64) -> Result<Self, EvaluateError> {
        let differs = labels.iter().any(|label| *label != labels[0]);
        if !differs {
            let found = usize::from(!labels.is_empty());
            return Err(EvaluateError::TooFewClasses { needed: 2, found });
        }
        let mut rng = named_rng(seed, "planted labels");
        let count = ((share * labels.len() as f64).round() as usize).clamp(1, labels.len());
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.shuffle(&mut rng);
        let mut items = order[..count].to_vec();
        items.sort_unstable();
        let mut planted = labels.to_vec();
        for &item in &items {
            order.shuffle(&mut rng);
            let other = order.iter().find(|&&other| labels[other] != labels[item]);
            planted[item] = other.map_or(labels[item], |&other| labels[other]);
        }
        Ok(Self {
            labels: planted,
            items,
        })
    }

    /// Compares what was found with what was planted.
    pub fn recovered(&self, found: &LabelNoise, labels: &[u32]) -> Recovered {
        let first = found.suspects.iter().take(self.items.len());
        let hits: Vec<&Suspect> = first
            .filter(|suspect| self.items.binary_search(&suspect.item).is_ok())
            .collect();
        let right = hits.iter().filter(|hit| hit.suggested == labels[hit.item]);
        Recovered {
            planted: self.items.len(),
            precision: hits.len() as f64 / self.items.len().max(1) as f64,
            right_suggestions: right.count() as f64 / hits.len().max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Items around the centers of their classes, of unequal sizes.
    fn mixture(noise: f32) -> (Vec<f32>, Vec<u32>) {
        let mut rng = named_rng(3, "mixture");
        let centers: Vec<f32> = (0..12 * 16).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (mut points, mut labels) = (Vec::new(), Vec::new());
        for class in 0..12u32 {
            for _ in 0..5 + class * 2 {
                let center = &centers[class as usize * 16..][..16];
                points.extend(center.iter().map(|c| c + rng.random_range(-noise..noise)));
                labels.push(class);
            }
        }
        (points, labels)
    }

    /// Slow and plain, in f64: the class, its sum, and the suspicion.
    fn reference(points: &[f32], labels: &[u32], k: usize) -> Vec<Option<[f64; 3]>> {
        let count = labels.len();
        let row = |i: usize| &points[i * 16..][..16];
        let product = |i: usize, j: usize| -> f64 {
            let pairs = row(i).iter().zip(row(j));
            pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let cosine = |i, j| product(i, j) / (product(i, i) * product(j, j)).sqrt();
        let judge = |i: usize| {
            let sorted = |own: bool| {
                let others = (0..count).filter(|&j| j != i && (labels[j] == labels[i]) == own);
                let mut others: Vec<(f64, u32)> =
                    others.map(|j| (cosine(i, j), labels[j])).collect();
                others.sort_by(|a, b| b.0.total_cmp(&a.0));
                others
            };
            let own = sorted(true);
            let r = k.min(own.len());
            if r == 0 {
                return None;
            }
            let mean: f64 = own[..r].iter().map(|o| o.0).sum::<f64>() / r as f64;
            let foreign = &sorted(false)[..r];
            let sum = |class: u32| {
                let of = foreign.iter().filter(|f| f.1 == class);
                of.map(|f| f.0.max(0.0)).sum::<f64>() / r as f64
            };
            let classes = (0..12u32).chain([40]);
            let best = classes
                .map(|c| (c, sum(c)))
                .reduce(|a, b| if b.1 > a.1 { b } else { a })?;
            Some([f64::from(best.0), best.1, best.1 - mean])
        };
        (0..count).map(judge).collect()
    }

    #[test]
    fn suspicions_are_those_of_all_pairs() {
        let (points, mut labels) = mixture(0.9);
        labels[0] = 11;
        labels.push(40);
        let points = [points, vec![0.3; 16]].concat();
        let matrix = Mat::new(&points, labels.len(), 16);
        let found = label_noise(matrix, &labels, 4).unwrap();
        assert_eq!(found.alone, 1);
        let expected = reference(&points, &labels, 4);
        assert_eq!(found.suspects.len(), labels.len() - 1);
        for suspect in &found.suspects {
            let [class, other, suspicion] = expected[suspect.item].unwrap();
            assert!((f64::from(suspect.suspicion) - suspicion).abs() < 1e-5);
            // Where all others are on the far side, no class is better than another.
            if other > 0.0 {
                assert_eq!(f64::from(suspect.suggested), class);
            }
        }
        assert!(
            found
                .suspects
                .is_sorted_by(|a, b| a.suspicion >= b.suspicion)
        );
    }

    #[test]
    fn planted_labels_are_found_in_classes_that_are_apart() {
        let (points, labels) = mixture(0.6);
        let planted = Planted::new(&labels, 0.08, 5).unwrap();
        let wrong = (0..labels.len()).filter(|&i| planted.labels[i] != labels[i]);
        assert_eq!(wrong.collect::<Vec<_>>(), planted.items);
        assert_eq!(planted.items.len(), 15);
        let matrix = Mat::new(&points, labels.len(), 16);
        let found = label_noise(matrix, &planted.labels, 10).unwrap();
        let recovered = planted.recovered(&found, &labels);
        assert!(recovered.precision > 0.9, "{recovered:?}");
        assert!(recovered.right_suggestions > 0.9, "{recovered:?}");
        // Labels drawn anew say nothing of the vectors, so that little is found.
        let flat = vec![1.0; points.len()];
        let blind = label_noise(Mat::new(&flat, labels.len(), 16), &planted.labels, 10).unwrap();
        assert!(planted.recovered(&blind, &labels).precision < 0.5);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let matrix = Mat::new(&[1.0, 2.0, 3.0], 3, 1);
        let error = |labels: &[u32]| label_noise(matrix, labels, 5).unwrap_err();
        assert_eq!(
            error(&[1, 1, 1]),
            EvaluateError::TooFewClasses {
                needed: 2,
                found: 1
            }
        );
        assert_eq!(
            error(&[1, 2, 3]),
            EvaluateError::NothingRelevant { items: 3 }
        );
        assert_eq!(error(&[1]), EvaluateError::Labels { rows: 3, labels: 1 });
        assert!(Planted::new(&[4, 4], 0.5, 0).is_err());
    }
}
