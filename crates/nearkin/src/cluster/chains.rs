//! Merges by nearest-neighbor chains, over the distances of all pairs.

use super::agglomerative::Linkage;
use super::condensed::Condensed;
use super::dendrogram::Dendrogram;

/// The state of the nearest-neighbor-chain algorithm.
pub(super) struct Chains {
    distances: Condensed,
    linkage: Linkage,
    /// Items of the cluster that each place of the matrix stands for.
    sizes: Vec<u32>,
    /// Places that stand for a cluster, in ascending order.
    active: Vec<u32>,
}

impl Chains {
    pub fn new(distances: Condensed, linkage: Linkage) -> Self {
        let items = distances.items;
        Self {
            distances,
            linkage,
            sizes: vec![1; items],
            active: (0..items as u32).collect(),
        }
    }

    pub fn merge_all(mut self) -> Dendrogram {
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
        Dendrogram::of_pairs(items, pairs)
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
