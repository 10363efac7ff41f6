//! Agglomerative clustering: the two nearest clusters are merged until one is left.

use std::num::NonZeroUsize;

use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

use super::chains::Chains;
use super::condensed::Condensed;
use super::dendrogram::Dendrogram;
use super::distance::{Distance, Points};
use super::spanning_tree::spanning_tree;
use super::{ClusterError, check_some, neighbor_graph};

/// The distance of two clusters, from those of their items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// The mean over all pairs.
    #[default]
    Average,
    /// The largest.
    Complete,
    /// The smallest.
    Single,
    /// By how much a merge raises the summed squared distance to the centers, `√(2 |A| |B| / (|A| + |B|)) ‖c_A − c_B‖` (Ward
    /// 1963, as scipy scales it); Euclidean only. It grows with the clusters, so cut at a count rather than at a distance.
    Ward,
}

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agglomerative {
    /// The distance of two items.
    pub distance: Distance,
    /// The distance of two clusters.
    pub linkage: Linkage,
    /// Bytes that the distances of all pairs may take: 4 GiB, enough for 46,340 items.
    pub memory: u64,
    /// Nearest neighbors of each cluster that it may merge with, where there is no room for all pairs.
    pub neighbors: NonZeroUsize,
}

impl Default for Agglomerative {
    fn default() -> Self {
        Self {
            distance: Distance::default(),
            linkage: Linkage::default(),
            memory: 4 << 30,
            neighbors: NonZeroUsize::MIN.saturating_add(29),
        }
    }
}

impl Agglomerative {
    /// Merges the items into one cluster.
    ///
    /// Exact while the distances of all pairs, `2 N²` bytes in `f32` (200 MB for 10,000 items), take no more than `memory`:
    /// nearest-neighbor chains (Murtagh 1983; Müllner 2011, algorithm 2) find the merges of the greedy algorithm in O(N²) time.
    ///
    /// For more items, single linkage is still exact: its merges are the edges of a minimum spanning tree (Gower and Ross 1969),
    /// found row by row in O(N) memory. Average linkage of cosine distances and Ward's merge over a graph: the distance of any
    /// two clusters is that of their means, so it is exact, but a cluster merges only with those that the graph joins it
    /// to. The graph has the `neighbors` nearest of each cluster, exactly, and is made anew whenever half of the clusters are
    /// left. A pair outside it merges later than it should, and a merge below one that it contains is raised to that.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// There is no item, a number is not finite, Ward's linkage is asked for with another distance than Euclidean, or complete
    /// linkage, or average linkage of Euclidean distances, of more items than `memory` has room for.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Agglomerative, Distance}};
    /// let points = [0.0, 0.5, 10.0, 11.0];
    /// let clustering = Agglomerative { distance: Distance::Euclidean, ..Agglomerative::default() };
    /// let dendrogram = clustering.cluster(Mat::new(&points, 4, 1))?;
    /// assert_eq!(dendrogram.merges.iter().map(|m| m.distance).collect::<Vec<_>>(), [0.5, 1.0, 10.25]);
    /// assert_eq!(dendrogram.clusters(2), [0, 0, 1, 1]);
    /// assert_eq!(dendrogram.within(0.7), [0, 0, 1, 2]);
    /// # Ok::<(), nearkin::cluster::ClusterError>(())
    /// ```
    pub fn cluster(&self, embeddings: Mat) -> Result<Dendrogram, ClusterError> {
        if self.linkage == Linkage::Ward && self.distance != Distance::Euclidean {
            return Err(ClusterError::Ward);
        }
        check_some(embeddings)?;
        let items = embeddings.rows;
        let points = Points::new(embeddings, self.distance)?;
        if self.has_room(items) {
            return Ok(Chains::new(Condensed::new(&points), self.linkage).merge_all());
        }
        match (self.linkage, self.distance) {
            (Linkage::Single, _) => {
                let edges = spanning_tree(&points, &vec![0.0; items]);
                Ok(Dendrogram::of_pairs(items, edges))
            }
            (Linkage::Average, Distance::Cosine) | (Linkage::Ward, Distance::Euclidean) => {
                let pairs = neighbor_graph::merge(points.mat(), self.linkage, self.neighbors)?;
                Ok(Dendrogram::of_pairs(items, pairs))
            }
            _ => Err(ClusterError::NoRoom {
                items,
                bytes: Condensed::bytes(items),
                memory: self.memory,
            }),
        }
    }

    /// Whether the merges of so many items are those of the greedy algorithm.
    pub fn is_exact(&self, items: usize) -> bool {
        self.has_room(items) || self.linkage == Linkage::Single
    }

    fn has_room(&self, items: usize) -> bool {
        Condensed::bytes(items) <= self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{groups, letters};
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    const LINKAGES: [Linkage; 4] = [
        Linkage::Average,
        Linkage::Complete,
        Linkage::Single,
        Linkage::Ward,
    ];

    /// Slow and plain: the two nearest clusters by the definition of the linkage, again and again.
    fn reference(data: &[f32], dim: usize, linkage: Linkage) -> Vec<(f64, usize)> {
        let point = |i: usize| &data[i * dim..(i + 1) * dim];
        let square =
            |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let wide = |i: usize| -> Vec<f64> { point(i).iter().map(|&x| f64::from(x)).collect() };
        let center = |cluster: &[usize]| -> Vec<f64> {
            (0..dim)
                .map(|d| cluster.iter().map(|&i| wide(i)[d]).sum::<f64>() / cluster.len() as f64)
                .collect()
        };
        let apart = |a: &[usize], b: &[usize]| {
            let pairs = a.iter().flat_map(|&i| b.iter().map(move |&j| (i, j)));
            let distances = pairs.map(|(i, j)| square(&wide(i), &wide(j)).sqrt());
            match linkage {
                Linkage::Average => distances.sum::<f64>() / (a.len() * b.len()) as f64,
                Linkage::Complete => distances.fold(0.0, f64::max),
                Linkage::Single => distances.fold(f64::INFINITY, f64::min),
                Linkage::Ward => {
                    let share = 2.0 * (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64;
                    (share * square(&center(a), &center(b))).sqrt()
                }
            }
        };
        let mut clusters: Vec<Vec<usize>> = (0..data.len() / dim).map(|i| vec![i]).collect();
        let mut merges = Vec::new();
        while clusters.len() > 1 {
            let pairs =
                (0..clusters.len()).flat_map(|a| (a + 1..clusters.len()).map(move |b| (a, b)));
            let distances = pairs.map(|(a, b)| (apart(&clusters[a], &clusters[b]), a, b));
            let (distance, a, b) = distances.min_by(|x, y| x.0.total_cmp(&y.0)).unwrap();
            let gone = clusters.remove(b);
            clusters[a].extend(gone);
            merges.push((distance, clusters[a].len()));
        }
        merges
    }

    #[test]
    fn chains_find_the_merges_of_the_greedy_algorithm() {
        let mut rng = named_rng(6, "agglomerative");
        for linkage in LINKAGES {
            let data: Vec<f32> = (0..40 * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
            let clustering = Agglomerative {
                distance: Distance::Euclidean,
                linkage,
                ..Agglomerative::default()
            };
            let found = clustering.cluster(Mat::new(&data, 40, 3)).unwrap();
            for (merge, (distance, size)) in found.merges.iter().zip(reference(&data, 3, linkage)) {
                assert!(
                    (f64::from(merge.distance) - distance).abs() < 1e-5,
                    "{linkage:?}: {merge:?} {distance}"
                );
                assert_eq!(merge.size, size, "{linkage:?}");
            }
        }
    }

    /// tests/golden/cluster.py, function `agglomerative`: rows `(i² · 13 mod 101) / 50 − 1` of three numbers.
    #[test]
    fn merges_are_scipys() {
        let data: Vec<f32> = (0..24)
            .map(|i| (i * i * 13 % 101) as f32 / 50.0 - 1.0)
            .collect();
        let embeddings = Mat::new(&data, 8, 3);
        let of = |distance, linkage| {
            let clustering = Agglomerative {
                distance,
                linkage,
                ..Agglomerative::default()
            };
            clustering.cluster(embeddings).unwrap()
        };
        for (found, expected) in [
            (
                of(Distance::Cosine, Linkage::Average),
                [
                    (2, 7, 0.020_081, 2),
                    (0, 1, 0.155_504, 2),
                    (4, 5, 0.194_814, 2),
                    (6, 8, 0.450_529, 3),
                    (3, 10, 0.543_228, 3),
                    (11, 12, 0.986_454, 6),
                    (9, 13, 1.325_124, 8),
                ],
            ),
            (
                of(Distance::Euclidean, Linkage::Ward),
                [
                    (2, 7, 0.397_492, 2),
                    (0, 1, 0.694_262, 2),
                    (3, 4, 0.772_01, 2),
                    (6, 8, 0.841_823, 3),
                    (5, 10, 1.258_253, 3),
                    (11, 12, 1.780_973, 6),
                    (9, 13, 2.747_156, 8),
                ],
            ),
        ] {
            for (merge, (first, second, distance, size)) in found.merges.iter().zip(expected) {
                assert_eq!(
                    (merge.first, merge.second, merge.size),
                    (first, second, size)
                );
                assert!(
                    (merge.distance - distance).abs() < 1e-5,
                    "{merge:?} {distance}"
                );
            }
        }
    }

    /// tests/golden/cluster.py, function `cuts`.
    #[test]
    fn cuts_are_those_of_scikit_learn() {
        let of = |distance, linkage, shift| {
            let clustering = Agglomerative {
                distance,
                linkage,
                ..Agglomerative::default()
            };
            clustering.cluster(Mat::new(&groups(shift), 60, 2)).unwrap()
        };
        for (linkage, expected) in [
            (
                Linkage::Ward,
                "abcabdabeabdabeabcabeabeabcabcabcabdabfabeabdabeabcabfabdabd",
            ),
            (
                Linkage::Average,
                "abcabdabeabdabeabcabeabeabbabcabcabdabfabeabdabeabcabfabdabd",
            ),
            (
                Linkage::Complete,
                "abcabdabeabdabeabcabeabeabbabcabcabdabfabeabdabeabcabfabdabd",
            ),
            (
                Linkage::Single,
                "abbabcabbabcabdabbabbabbabbabbabbabcabeabfabcabdabbabeabcabc",
            ),
        ] {
            let found = of(Distance::Euclidean, linkage, 0.0).clusters(6);
            assert_eq!(
                letters(found.into_iter().map(Some)),
                expected,
                "{linkage:?}"
            );
        }
        let found = of(Distance::Cosine, Linkage::Average, 3.0).within(0.03);
        assert_eq!(
            letters(found.into_iter().map(Some)),
            "abaccaccdcbacbdcbacbaccdcbccbcabacbacbdcbacbacbdcbacbdccacba"
        );
    }

    #[test]
    fn items_that_are_equal_merge_at_zero_and_one_item_is_a_cluster() {
        let data = [1.0, 2.0].repeat(30);
        for linkage in LINKAGES {
            let clustering = Agglomerative {
                distance: Distance::Euclidean,
                linkage,
                ..Agglomerative::default()
            };
            let found = clustering.cluster(Mat::new(&data, 30, 2)).unwrap();
            assert!(found.merges.iter().all(|merge| merge.distance == 0.0));
            assert_eq!(found.merges[28].size, 30);
        }
        let one = Agglomerative::default()
            .cluster(Mat::new(&data[..2], 1, 2))
            .unwrap();
        assert_eq!((one.merges.len(), one.clusters(1)), (0, vec![0]));
    }

    #[test]
    fn ward_needs_euclidean_distances() {
        let clustering = Agglomerative {
            distance: Distance::Cosine,
            linkage: Linkage::Ward,
            ..Agglomerative::default()
        };
        assert!(
            clustering
                .cluster(Mat::new(&[1.0], 1, 1))
                .unwrap_err()
                .to_string()
                .contains("euclidean")
        );
        assert!(
            Agglomerative::default()
                .cluster(Mat::new(&[], 0, 1))
                .is_err()
        );
    }
}
