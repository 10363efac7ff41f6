//! The batch as the references see it: raw embeddings in `f64`, every pair and triplet spelled out.
//!
//! Simple, slow, and of one piece with no fast path: tests hold the fused losses against it.

use crate::distance::PairDistance;
use crate::tuples::Tuples;

/// A batch in `f64`.
pub struct Exact<'a> {
    embeddings: &'a [f64],
    cols: usize,
    labels: &'a [u32],
    s: Vec<f64>,
}

impl<'a> Exact<'a> {
    /// Embeddings `[B, D]`, row-major, `D = cols`, with one label for each row.
    pub fn new(
        embeddings: &'a [f64],
        cols: usize,
        labels: &'a [u32],
        distance: &dyn PairDistance,
    ) -> Self {
        let rows: Vec<_> = embeddings.chunks_exact(cols).collect();
        let s = rows
            .iter()
            .flat_map(|x| rows.iter().map(|y| distance.reference(x, y)))
            .collect();
        Self {
            embeddings,
            cols,
            labels,
            s,
        }
    }

    /// `B`.
    pub fn size(&self) -> usize {
        self.labels.len()
    }

    /// Embedding `i`, as it came.
    pub fn embedding(&self, i: usize) -> &'a [f64] {
        &self.embeddings[i * self.cols..(i + 1) * self.cols]
    }

    /// `y_i`.
    pub fn label(&self, i: usize) -> u32 {
        self.labels[i]
    }

    /// `d(i, j)`.
    pub fn d(&self, i: usize, j: usize) -> f64 {
        self.s[i * self.size() + j]
    }

    /// Positives of `a`: the others with its label.
    pub fn positives(&self, a: usize) -> Vec<usize> {
        (0..self.size())
            .filter(|&p| p != a && self.labels[p] == self.labels[a])
            .collect()
    }

    /// Negatives of `a`: those with another label.
    pub fn negatives(&self, a: usize) -> Vec<usize> {
        (0..self.size())
            .filter(|&n| self.labels[n] != self.labels[a])
            .collect()
    }

    /// Every triplet `(a, p, n)` that takes part.
    pub fn triplets(&self, tuples: &Tuples) -> Vec<[usize; 3]> {
        if let Tuples::Triplets(list) = tuples {
            return list
                .iter()
                .map(|triplet| triplet.map(|index| index as usize))
                .collect();
        }
        let mut triplets = Vec::new();
        for a in 0..self.size() {
            for p in self.positives(a) {
                for n in self.negatives(a) {
                    let gap = self.d(a, n) - self.d(a, p);
                    let kept = match tuples {
                        Tuples::All | Tuples::Triplets(_) => true,
                        Tuples::Band { low, high } => {
                            gap > f64::from(*low) && gap <= f64::from(*high)
                        }
                        Tuples::Pairs(mask) => mask.contains(a, p) && mask.contains(a, n),
                    };
                    if kept {
                        triplets.push([a, p, n]);
                    }
                }
            }
        }
        triplets
    }

    /// Every pair `(a, j)` that takes part, positive and negative, each once.
    pub fn pairs(&self, tuples: &Tuples) -> Vec<(usize, usize)> {
        let every = (0..self.size())
            .flat_map(|a| (0..self.size()).map(move |j| (a, j)))
            .filter(|(a, j)| a != j);
        match tuples {
            Tuples::All => every.collect(),
            Tuples::Pairs(mask) => every.filter(|&(a, j)| mask.contains(a, j)).collect(),
            Tuples::Band { .. } | Tuples::Triplets(_) => {
                let triplets = self.triplets(tuples);
                let mut pairs: Vec<_> = triplets
                    .iter()
                    .flat_map(|&[a, p, n]| [(a, p), (a, n)])
                    .collect();
                pairs.sort_unstable();
                pairs.dedup();
                pairs
            }
        }
    }
}
