//! Where to cut a tree of merges, by items whose classes are known.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ClusterError;
use super::dendrogram::Dendrogram;
use crate::evaluate::EvaluateError;

/// Agreement with classes that a cut is chosen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutScore {
    /// Of pairs of items, [`crate::evaluate::pairwise_f1`]; large classes count more.
    #[default]
    PairwiseF1,
    /// Of items, the F1 of [`crate::evaluate::b_cubed`].
    BCubedF1,
}

/// A place to cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cut {
    /// For [`Dendrogram::within`]: halfway between the last merge below and the first above.
    pub distance: f32,
    /// Clusters that are left.
    pub clusters: usize,
    /// The score, from 0 to 1.
    pub score: f64,
}

impl Dendrogram {
    /// The cut whose clusters agree best with the classes; among equals that of the smallest distance.
    ///
    /// All cuts are looked at in one pass over the merges: each adds the pairs of its two clusters, and the smaller count of classes
    /// goes into the larger, so that it takes O(N log N) time.
    ///
    /// # Errors
    /// There is not one label for each item.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Agglomerative, CutScore, Distance}};
    /// let points = [0.0, 1.0, 10.0, 12.0, 13.0];
    /// let clustering = Agglomerative { distance: Distance::Euclidean, ..Agglomerative::default() };
    /// let tree = clustering.cluster(Mat::new(&points, 5, 1))?;
    /// // Merges at 1, 1, 2.5 and about 11.2: after three the clusters are the classes.
    /// let cut = tree.best_cut(&[7, 7, 3, 3, 3], CutScore::PairwiseF1)?;
    /// assert_eq!((cut.clusters, cut.score), (2, 1.0));
    /// assert!(cut.distance > 2.5 && cut.distance < 11.0);
    /// # Ok::<(), nearkin::cluster::ClusterError>(())
    /// ```
    pub fn best_cut(&self, labels: &[u32], by: CutScore) -> Result<Cut, ClusterError> {
        if labels.len() != self.items {
            let (rows, labels) = (self.items, labels.len());
            return Err(EvaluateError::Labels { rows, labels }.into());
        }
        let mut agreement = Agreement::of_items(labels);
        let mut best = Cut {
            distance: self.after(0),
            clusters: self.items,
            score: agreement.score(by),
        };
        for (at, merge) in self.merges.iter().enumerate() {
            agreement.merge(merge.first, merge.second);
            let next = self.merges.get(at + 1);
            // Merges at one distance cannot be told apart by a cut.
            if next.is_none_or(|next| next.distance > merge.distance) {
                let score = agreement.score(by);
                if score > best.score {
                    best = Cut {
                        distance: self.after(at + 1),
                        clusters: self.items - at - 1,
                        score,
                    };
                }
            }
        }
        Ok(best)
    }

    /// A distance that takes in the first `merges` merges and no other, as far from both sides as can be.
    fn after(&self, merges: usize) -> f32 {
        let last = merges.checked_sub(1).map(|at| self.merges[at].distance);
        match (last, self.merges.get(merges)) {
            (None, None) => 0.0,
            (Some(last), None) => last,
            // Below a merge at 0 there is no distance but a negative one.
            (None, Some(next)) if next.distance <= 0.0 => -1.0,
            (last, Some(next)) => {
                let last = last.unwrap_or(0.0);
                let middle = last + (next.distance - last) / 2.0;
                if middle < next.distance { middle } else { last }
            }
        }
    }
}

/// Sums over the clusters so far, from which the scores are.
struct Agreement {
    items: f64,
    /// Pairs of one class.
    same: f64,
    class_sizes: HashMap<u32, f64>,
    /// How many items of each class are in each cluster; empty for those that were merged.
    counts: Vec<HashMap<u32, f64>>,
    sizes: Vec<f64>,
    /// Pairs of one cluster and one class, and of one cluster.
    right: f64,
    together: f64,
    /// `Σ_Ω Σ_c n² / |Ω|` and `Σ_Ω Σ_c n² / |c|`, where a cluster Ω has n items of class c.
    precision: f64,
    recall: f64,
    /// `Σ_c n²` of each cluster.
    squares: Vec<f64>,
}

impl Agreement {
    fn of_items(labels: &[u32]) -> Self {
        let mut class_sizes = HashMap::new();
        for label in labels {
            *class_sizes.entry(*label).or_insert(0.0) += 1.0;
        }
        // In the order of items, so that sums have the same bits.
        let of_item = |label| 1.0 / class_sizes[label];
        Self {
            items: labels.len() as f64,
            same: class_sizes.values().map(|n| n * (n - 1.0) / 2.0).sum(),
            counts: labels
                .iter()
                .map(|&label| HashMap::from([(label, 1.0)]))
                .collect(),
            sizes: vec![1.0; labels.len()],
            right: 0.0,
            together: 0.0,
            precision: labels.len() as f64,
            recall: labels.iter().map(of_item).sum(),
            squares: vec![1.0; labels.len()],
            class_sizes,
        }
    }

    fn merge(&mut self, first: usize, second: usize) {
        let [a, b] = [first, second].map(|cluster| std::mem::take(&mut self.counts[cluster]));
        let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
        let mut small: Vec<(u32, f64)> = small.into_iter().collect();
        small.sort_unstable_by_key(|(class, _)| *class);
        let mut shared = 0.0;
        for (class, count) in small {
            let own = large.entry(class).or_insert(0.0);
            shared += *own * count;
            self.recall += 2.0 * *own * count / self.class_sizes[&class];
            *own += count;
        }
        let [m, n] = [first, second].map(|cluster| self.sizes[cluster]);
        let [p, q] = [first, second].map(|cluster| self.squares[cluster]);
        let squares = p + q + 2.0 * shared;
        self.right += shared;
        self.together += m * n;
        self.precision += squares / (m + n) - p / m - q / n;
        self.counts.push(large);
        self.sizes.push(m + n);
        self.squares.push(squares);
    }

    fn score(&self, by: CutScore) -> f64 {
        match by {
            CutScore::PairwiseF1 if self.right > 0.0 => {
                2.0 * self.right / (self.together + self.same)
            }
            CutScore::PairwiseF1 => 0.0,
            CutScore::BCubedF1 => {
                let [p, r] = [self.precision, self.recall].map(|sum| sum / self.items);
                2.0 * p * r / (p + r)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agglomerative, Distance, Linkage};
    use super::*;
    use crate::evaluate::{b_cubed, pairwise_f1};
    use nearkin_encoder::parameters::named_rng;
    use nearkin_kernels::Mat;
    use rand::RngExt;

    fn tree(data: &[f32], dim: usize) -> Dendrogram {
        let clustering = Agglomerative {
            distance: Distance::Euclidean,
            linkage: Linkage::Average,
            ..Agglomerative::default()
        };
        let rows = data.len() / dim;
        clustering.cluster(Mat::new(data, rows, dim)).unwrap()
    }

    #[test]
    fn one_pass_finds_the_cut_that_trying_all_finds() {
        let (count, dim) = (120, 2);
        for seed in 0..5 {
            let mut rng = named_rng(seed, "best cut");
            let labels: Vec<u32> = (0..count).map(|i| (i * i % 7) as u32).collect();
            // Rounded, so that distances repeat.
            let data: Vec<f32> = (0..count * dim)
                .map(|at| {
                    let center = labels[at / dim] as f32 * 1.5;
                    ((center + rng.random_range(-1.5..1.5)) * 4.0_f32).round() / 4.0
                })
                .collect();
            let tree = tree(&data, dim);
            for by in [CutScore::PairwiseF1, CutScore::BCubedF1] {
                let score = |clusters: &[u32], classes: &[u32]| match by {
                    CutScore::PairwiseF1 => pairwise_f1(clusters, classes),
                    CutScore::BCubedF1 => b_cubed(clusters, classes).f1,
                };
                let distances = tree.merges.iter().map(|merge| merge.distance);
                let tried = std::iter::once(-1.0).chain(distances);
                let best = tried.map(|d| score(&tree.within(d), &labels));
                let best = best.fold(0.0, f64::max);
                let cut = tree.best_cut(&labels, by).unwrap();
                let clusters = tree.within(cut.distance);
                assert!((cut.score - best).abs() < 1e-9, "{by:?}: {cut:?} {best}");
                assert!((score(&clusters, &labels) - best).abs() < 1e-9, "{by:?}");
                let left = clusters.iter().max().map(|&last| last as usize + 1);
                assert_eq!(left, Some(cut.clusters));
            }
        }
    }

    #[test]
    fn classes_of_one_item_are_cut_below_all_merges() {
        let by = CutScore::BCubedF1;
        for data in [[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]] {
            let tree = tree(&data, 1);
            let cut = tree.best_cut(&[0, 1, 2], by).unwrap();
            assert_eq!((cut.clusters, cut.score), (3, 1.0));
            assert_eq!(tree.within(cut.distance), [0, 1, 2]);
            let all = tree.best_cut(&[5; 3], by).unwrap();
            assert_eq!((all.clusters, tree.within(all.distance)), (1, vec![0; 3]));
        }
        let one = tree(&[1.0], 1).best_cut(&[4], by).unwrap();
        assert_eq!((one.clusters, one.score), (1, 1.0));
        let error = tree(&[1.0], 1).best_cut(&[4, 4], by).unwrap_err();
        assert!(error.to_string().contains('2'), "{error}");
    }
}
