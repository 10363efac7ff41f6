//! Merges over a graph of nearest neighbors, for more items than a matrix of all pairs has room for.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;

use nearkin_kernels::Mat;

use super::agglomerative::Linkage;
use super::dendrogram::Forest;
use super::distance::squared_distance;
use crate::evaluate::EvaluateError;
use crate::search::{Search, Similarity};

/// The merges of average linkage, for unit rows, or of Ward's: an item of each cluster, and their distance.
///
/// In rounds: the graph joins each cluster to its nearest; the nearest pair that it joins is merged until half of the clusters
/// are left, and inherits the neighbors of both.
pub(super) fn merge(
    rows: Mat,
    linkage: Linkage,
    neighbors: NonZeroUsize,
) -> Result<Vec<(u32, u32, f32)>, EvaluateError> {
    let mut clusters: Vec<Cluster> = (0..rows.rows).map(|item| Cluster::of(rows, item)).collect();
    let mut pairs = Vec::with_capacity(rows.rows.saturating_sub(1));
    while clusters.len() > 1 {
        let near = nearest(&clusters, linkage, neighbors.get())?;
        Round::new(clusters.as_mut_slice(), linkage, near).halve(&mut pairs);
        clusters.retain(|cluster| !cluster.is_gone);
    }
    Ok(pairs)
}

struct Cluster {
    mean: Vec<f32>,
    size: u32,
    /// One of its items.
    item: u32,
    /// The distance of its last merge.
    height: f32,
    is_gone: bool,
}

impl Cluster {
    fn of(rows: Mat, item: usize) -> Self {
        Self {
            mean: rows.data[item * rows.cols..(item + 1) * rows.cols].to_vec(),
            size: 1,
            item: item as u32,
            height: 0.0,
            is_gone: false,
        }
    }

    /// Exact, from the means alone.
    ///
    /// ```text
    /// average, of unit vectors:  mean of 1 − ⟨u, v⟩ over all pairs = 1 − ⟨c_A, c_B⟩
    /// Ward:                      √(2 |A| |B| / (|A| + |B|)) ‖c_A − c_B‖
    /// ```
    fn distance(&self, other: &Self, linkage: Linkage) -> f32 {
        if linkage == Linkage::Ward {
            let [a, b] = [self.size, other.size].map(f64::from);
            let square = squared_distance(&self.mean, &other.mean);
            return (2.0 * a * b / (a + b) * square).sqrt() as f32;
        }
        let pairs = self.mean.iter().zip(&other.mean);
        let product: f64 = pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        (1.0 - product).max(0.0) as f32
    }

    /// Takes the items of another.
    fn take(&mut self, other: &mut Self, distance: f32) {
        let share = f64::from(other.size) / (f64::from(self.size) + f64::from(other.size));
        for (mean, &x) in self.mean.iter_mut().zip(&other.mean) {
            *mean += ((f64::from(x) - f64::from(*mean)) * share) as f32;
        }
        self.size += other.size;
        self.height = distance.max(self.height).max(other.height);
        (other.is_gone, other.mean) = (true, Vec::new());
    }
}

/// The clusters whose means are nearest to each; every edge is known at both of its ends.
fn nearest(
    clusters: &[Cluster],
    linkage: Linkage,
    neighbors: usize,
) -> Result<Vec<Vec<u32>>, EvaluateError> {
    let means: Vec<f32> = clusters.iter().flat_map(|c| &c.mean).copied().collect();
    let means = Mat::new(&means, clusters.len(), clusters[0].mean.len());
    let similarity = match linkage {
        Linkage::Ward => Similarity::Euclidean,
        _ => Similarity::Dot,
    };
    let search = Search::among(means, similarity)?;
    let mut near: Vec<Vec<u32>> = search.map(neighbors, |_, found| {
        found.iter().map(|neighbor| neighbor.index).collect()
    });
    // Those found come first in each list.
    let found: Vec<usize> = near.iter().map(Vec::len).collect();
    for (from, found) in found.into_iter().enumerate() {
        for at in 0..found {
            let to = near[from][at] as usize;
            near[to].push(from as u32);
        }
    }
    Ok(near)
}

/// A cluster and the nearest that the graph joins it to; outdated once either has another size.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    distance: f32,
    pair: [u32; 2],
    sizes: [u32; 2],
}

impl Eq for Candidate {}

impl Ord for Candidate {
    /// A heap gives the nearest first, and among equals that of the smaller places.
    fn cmp(&self, other: &Self) -> Ordering {
        let nearer = other.distance.total_cmp(&self.distance);
        nearer.then_with(|| other.pair.cmp(&self.pair))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Round<'c> {
    clusters: &'c mut [Cluster],
    linkage: Linkage,
    near: Vec<Vec<u32>>,
    forest: Forest,
    heap: BinaryHeap<Candidate>,
}

impl<'c> Round<'c> {
    fn new(clusters: &'c mut [Cluster], linkage: Linkage, near: Vec<Vec<u32>>) -> Self {
        let forest = Forest::new(clusters.len());
        let mut round = Self {
            clusters,
            linkage,
            near,
            forest,
            heap: BinaryHeap::new(),
        };
        for place in 0..round.clusters.len() {
            round.offer(place as u32);
        }
        round
    }

    /// Merges until half of the clusters are left. Every cluster has a neighbor, so the graph's parts are no more than that.
    fn halve(mut self, pairs: &mut Vec<(u32, u32, f32)>) {
        let mut left = self.clusters.len();
        let enough = left / 2;
        while left > enough {
            let Some(candidate) = self.heap.pop() else {
                break;
            };
            let [place, other] = candidate.pair;
            let current = [place, other].map(|p| self.size(p));
            if current == candidate.sizes.map(Some) {
                let (kept, gone) = (place.min(other), place.max(other));
                pairs.push(self.merge(kept, gone, candidate.distance));
                self.offer(kept);
                left -= 1;
            } else if current[0] == Some(candidate.sizes[0]) {
                self.offer(place);
            }
        }
    }

    fn size(&self, place: u32) -> Option<u32> {
        let cluster = &self.clusters[place as usize];
        (!cluster.is_gone).then_some(cluster.size)
    }

    /// Puts a cluster in the heap beside the nearest of its neighbors.
    fn offer(&mut self, place: u32) {
        let mut near = std::mem::take(&mut self.near[place as usize]);
        for other in &mut near {
            *other = self.forest.root(*other as usize) as u32;
        }
        near.sort_unstable();
        near.dedup();
        near.retain(|&other| other != place);
        let own = &self.clusters[place as usize];
        let distances = near.iter().map(|&other| {
            let cluster = &self.clusters[other as usize];
            let distance = own.distance(cluster, self.linkage);
            (distance, other, cluster.size)
        });
        let best = distances.min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((distance, other, size)) = best {
            self.heap.push(Candidate {
                distance,
                pair: [place, other],
                sizes: [own.size, size],
            });
        }
        self.near[place as usize] = near;
    }

    fn merge(&mut self, kept: u32, gone: u32, distance: f32) -> (u32, u32, f32) {
        let (before, after) = self.clusters.split_at_mut(gone as usize);
        let (kept_cluster, gone_cluster) = (&mut before[kept as usize], &mut after[0]);
        let items = (kept_cluster.item, gone_cluster.item);
        kept_cluster.take(gone_cluster, distance);
        let height = kept_cluster.height;
        self.forest.join(kept as usize, gone as usize);
        let inherited = std::mem::take(&mut self.near[gone as usize]);
        self.near[kept as usize].extend(inherited);
        (items.0, items.1, height)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agglomerative, ClusterError, Dendrogram, Distance};
    use super::*;
    use crate::evaluate::adjusted_rand_index;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    const ROADS: [(Linkage, Distance); 3] = [
        (Linkage::Average, Distance::Cosine),
        (Linkage::Ward, Distance::Euclidean),
        (Linkage::Single, Distance::Cosine),
    ];

    fn groups(count: usize, dim: usize, groups: usize) -> Vec<f32> {
        let mut rng = named_rng(9, "neighbor graph");
        let centers: Vec<f32> = (0..groups * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        (0..count * dim)
            .map(|at| centers[at / dim % groups * dim + at % dim] + rng.random_range(-0.3..0.3))
            .collect()
    }

    fn cluster(
        data: Mat,
        (linkage, distance): (Linkage, Distance),
        memory: u64,
        neighbors: usize,
    ) -> Dendrogram {
        let clustering = Agglomerative {
            distance,
            linkage,
            memory,
            neighbors: neighbors.try_into().unwrap(),
        };
        assert_eq!(
            clustering.is_exact(data.rows),
            memory > 0 || linkage == Linkage::Single
        );
        clustering.cluster(data).unwrap()
    }

    #[test]
    fn a_graph_of_all_pairs_gives_the_exact_merges() {
        let data = groups(150, 4, 5);
        let data = Mat::new(&data, 150, 4);
        for road in ROADS {
            let exact = cluster(data, road, 1 << 20, 1);
            let found = cluster(data, road, 0, 150);
            for (found, exact) in found.merges.iter().zip(&exact.merges) {
                assert!((found.distance - exact.distance).abs() < 1e-5, "{road:?}");
                let numbers = |merge: &super::super::Merge| (merge.first, merge.second, merge.size);
                assert_eq!(numbers(found), numbers(exact), "{road:?}");
            }
        }
    }

    #[test]
    fn a_graph_of_few_neighbors_gives_nearly_the_exact_clusters() {
        let data = groups(1200, 8, 20);
        let data = Mat::new(&data, 1200, 8);
        for road in ROADS {
            let [exact, found] = [u64::MAX, 0].map(|memory| cluster(data, road, memory, 10));
            let merges = &found.merges;
            assert!(
                merges
                    .windows(2)
                    .all(|pair| pair[0].distance <= pair[1].distance)
            );
            assert_eq!((merges.len(), merges[1198].size), (1199, 1200));
            let agreement = adjusted_rand_index(&found.clusters(20), &exact.clusters(20));
            assert!(agreement > 0.98, "{road:?}: {agreement}");
        }
    }

    #[test]
    fn parts_that_the_graph_leaves_apart_are_joined_all_the_same() {
        // Ten places with twenty items each: no item is a neighbor of one elsewhere.
        let data: Vec<f32> = (0..200).flat_map(|i| [1.0, (i % 10) as f32]).collect();
        for road in ROADS {
            let found = cluster(Mat::new(&data, 200, 2), road, 0, 3);
            let expected: Vec<u32> = (0..200).map(|i| i % 10).collect();
            assert_eq!(found.clusters(10), expected, "{road:?}");
            assert_eq!(found.merges[198].size, 200);
        }
    }

    #[test]
    fn what_needs_all_pairs_says_that_there_is_no_room() {
        for (linkage, distance) in [
            (Linkage::Complete, Distance::Cosine),
            (Linkage::Average, Distance::Euclidean),
        ] {
            let clustering = Agglomerative {
                distance,
                linkage,
                memory: 11,
                ..Agglomerative::default()
            };
            let error = clustering.cluster(Mat::new(&[1.0; 3], 3, 1)).unwrap_err();
            let (items, bytes, memory) = (3, 12, 11);
            assert_eq!(
                error,
                ClusterError::NoRoom {
                    items,
                    bytes,
                    memory
                }
            );
        }
    }
}
