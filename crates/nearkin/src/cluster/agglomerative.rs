//! Agglomerative clustering: the two nearest clusters are merged until one is left.

use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

use super::ClusterError;
use super::condensed::Condensed;

/// The distance of two items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// `1 − cos(x, y)`.
    #[default]
    Cosine,
    /// `‖x − y‖`.
    Euclidean,
}

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
    /// By how much a merge raises the summed squared distance to the centers; Euclidean only.
    Ward,
}

/// How to cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agglomerative {
    /// The distance of two items.
    pub distance: Distance,
    /// The distance of two clusters.
    pub linkage: Linkage,
}

/// Two clusters that became one. Clusters below N are the items; merge m makes cluster N + m.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Merge {
    /// The smaller number.
    pub first: usize,
    /// The larger number.
    pub second: usize,
    /// Their distance.
    pub distance: f32,
    /// Items of the new cluster.
    pub size: usize,
}

/// All merges, from the nearest clusters to the farthest: the rows of scipy's linkage matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dendrogram {
    /// Items, N.
    pub items: usize,
    /// `N − 1` merges.
    pub merges: Vec<Merge>,
}

impl Agglomerative {
    /// Merges the items into one cluster.
    ///
    /// Exact: nearest-neighbor chains (Murtagh 1983; Müllner 2011, algorithm 2) find the merges of the greedy algorithm
    /// in O(N²) time. Memory is `2 N²` bytes, the distances of all pairs in `f32`: 200 MB for 10,000 items.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// There is no item, a number is not finite, or Ward's linkage is asked for with another distance than Euclidean.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Agglomerative, Distance, Linkage}};
    /// let points = [0.0, 0.5, 10.0, 11.0];
    /// let clustering = Agglomerative { distance: Distance::Euclidean, linkage: Linkage::Average };
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
        if embeddings.rows == 0 {
            return Err(ClusterError::Nothing);
        }
        let distances = match self.distance {
            Distance::Cosine => Condensed::cosine(embeddings)?,
            Distance::Euclidean => Condensed::euclidean(embeddings)?,
        };
        Ok(Chains::new(distances, self.linkage).merge_all())
    }
}

/// The state of the nearest-neighbor-chain algorithm.
struct Chains {
    distances: Condensed,
    linkage: Linkage,
    /// Items of the cluster that each place of the matrix stands for.
    sizes: Vec<u32>,
    /// Places that stand for a cluster, in ascending order.
    active: Vec<u32>,
}

impl Chains {
    fn new(distances: Condensed, linkage: Linkage) -> Self {
        let items = distances.items;
        Self {
            distances,
            linkage,
            sizes: vec![1; items],
            active: (0..items as u32).collect(),
        }
    }

    fn merge_all(mut self) -> Dendrogram {
        let items = self.distances.items;
        // Two places and their distance; in the order of the chains, not of distances.
        let mut pairs: Vec<(u32, u32, f32)> = Vec::with_capacity(items.saturating_sub(1));
        let mut chain: Vec<u32> = Vec::new();
        while self.active.len() > 1 {
            let last = *chain.last().unwrap_or(&self.active[0]);
            if chain.is_empty() {
                chain.push(last);
            }
            let before = chain.len().checked_sub(2).map(|at| chain[at]);
            let (nearest, distance) = self.nearest(last, before);
            if Some(nearest) == before {
                chain.truncate(chain.len() - 2);
                self.merge(last.min(nearest), last.max(nearest), distance);
                pairs.push((last.min(nearest), last.max(nearest), distance));
            } else {
                chain.push(nearest);
            }
        }
        pairs.sort_by(|a, b| a.2.total_cmp(&b.2));
        Dendrogram {
            items,
            merges: number(items, &pairs),
        }
    }

    /// The cluster nearest to `place`: among equals `before`, so that chains end, otherwise the first.
    fn nearest(&self, place: u32, before: Option<u32>) -> (u32, f32) {
        let mut best = match before {
            Some(before) => (before, self.distances.get(before, place)),
            None => (place, f32::INFINITY),
        };
        let at = self.active.partition_point(|&other| other < place);
        let (below, above) = (&self.active[..at], &self.active[at + 1..]);
        for &other in below {
            let distance = self.distances.get(other, place);
            if distance < best.1 {
                best = (other, distance);
            }
        }
        for &other in above {
            let distance = self.distances.get(place, other);
            if distance < best.1 {
                best = (other, distance);
            }
        }
        best
    }

    /// Lets `kept` stand for both clusters (Lance and Williams 1967).
    fn merge(&mut self, gone: u32, kept: u32, distance: f32) {
        if let Ok(at) = self.active.binary_search(&gone) {
            self.active.remove(at);
        }
        let (i, j) = (self.size(gone), self.size(kept));
        for at in 0..self.active.len() {
            let other = self.active[at];
            if other == kept {
                continue;
            }
            let [to_i, to_j, ij] = [
                self.distances.get(other, gone),
                self.distances.get(other, kept),
                distance,
            ]
            .map(f64::from);
            let merged = match self.linkage {
                Linkage::Single => to_i.min(to_j),
                Linkage::Complete => to_i.max(to_j),
                Linkage::Average => (i * to_i + j * to_j) / (i + j),
                Linkage::Ward => {
                    let k = self.size(other);
                    let squares = (k + i) * to_i * to_i + (k + j) * to_j * to_j - k * ij * ij;
                    (squares.max(0.0) / (i + j + k)).sqrt()
                }
            };
            self.distances.set(other, kept, merged as f32);
        }
        self.sizes[kept as usize] += self.sizes[gone as usize];
    }

    fn size(&self, place: u32) -> f64 {
        f64::from(self.sizes[place as usize])
    }
}

/// Numbers the clusters of merges that are sorted by distance.
fn number(items: usize, pairs: &[(u32, u32, f32)]) -> Vec<Merge> {
    let mut forest = Forest::new(items);
    let mut cluster: Vec<(usize, usize)> = (0..items).map(|item| (item, 1)).collect();
    let merges = pairs.iter().enumerate().map(|(m, &(a, b, distance))| {
        let [a, b] = [a, b].map(|place| forest.root(place as usize));
        let ((one, one_size), (other, other_size)) = (cluster[a], cluster[b]);
        let size = one_size + other_size;
        cluster[forest.join(a, b)] = (items + m, size);
        Merge {
            first: one.min(other),
            second: one.max(other),
            distance,
            size,
        }
    });
    merges.collect()
}

/// Disjoint sets of items.
struct Forest(Vec<u32>);

impl Forest {
    fn new(items: usize) -> Self {
        Self((0..items as u32).collect())
    }

    fn root(&mut self, mut item: usize) -> usize {
        while self.0[item] as usize != item {
            let above = self.0[item] as usize;
            self.0[item] = self.0[above];
            item = above;
        }
        item
    }

    /// Joins the sets of two roots; the root of both.
    fn join(&mut self, a: usize, b: usize) -> usize {
        self.0[b] = a as u32;
        a
    }
}

impl Dendrogram {
    /// The cluster of each item when `count` clusters are left, numbered in the order of their first items.
    pub fn clusters(&self, count: usize) -> Vec<u32> {
        self.cut(self.items.saturating_sub(count.max(1)))
    }

    /// The cluster of each item when only clusters at most `distance` apart are merged, numbered in the order of their
    /// first items.
    pub fn within(&self, distance: f32) -> Vec<u32> {
        self.cut(
            self.merges
                .partition_point(|merge| merge.distance <= distance),
        )
    }

    /// The clusters after the first `merges`.
    fn cut(&self, merges: usize) -> Vec<u32> {
        let mut forest = Forest::new(self.items);
        // An item of each cluster.
        let mut member: Vec<usize> = (0..self.items).collect();
        for merge in &self.merges[..merges] {
            let [a, b] = [merge.first, merge.second].map(|cluster| forest.root(member[cluster]));
            member.push(forest.join(a, b));
        }
        let mut numbers = std::collections::HashMap::new();
        (0..self.items)
            .map(|item| {
                let next = numbers.len() as u32;
                *numbers.entry(forest.root(item)).or_insert(next)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
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

    /// tests/golden/text.py, function `agglomerative`: rows `(i² · 13 mod 101) / 50 − 1` of three numbers.
    #[test]
    fn merges_are_scipys() {
        let data: Vec<f32> = (0..24)
            .map(|i| (i * i * 13 % 101) as f32 / 50.0 - 1.0)
            .collect();
        let embeddings = Mat::new(&data, 8, 3);
        let of = |distance, linkage| {
            Agglomerative { distance, linkage }
                .cluster(embeddings)
                .unwrap()
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

    #[test]
    fn cuts_are_the_merges_up_to_them() {
        let data = [0.0, 10.0, 0.5, 30.0, 11.0];
        let clustering = Agglomerative {
            distance: Distance::Euclidean,
            linkage: Linkage::Single,
        };
        let dendrogram = clustering.cluster(Mat::new(&data, 5, 1)).unwrap();
        assert_eq!(dendrogram.clusters(5), [0, 1, 2, 3, 4]);
        assert_eq!(dendrogram.clusters(3), [0, 1, 0, 2, 1]);
        assert_eq!(
            (dendrogram.clusters(1), dendrogram.clusters(0)),
            (vec![0; 5], vec![0; 5])
        );
        assert_eq!(dendrogram.within(0.5), [0, 1, 0, 2, 3]);
        assert_eq!(dendrogram.within(9.5), [0, 0, 0, 1, 0]);
        assert_eq!(dendrogram.within(-1.0), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn items_that_are_equal_merge_at_zero_and_one_item_is_a_cluster() {
        let data = [1.0, 2.0].repeat(30);
        for linkage in LINKAGES {
            let clustering = Agglomerative {
                distance: Distance::Euclidean,
                linkage,
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
