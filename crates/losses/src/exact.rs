//! The batch as the references see it: raw embeddings in `f64`, every pair and triplet spelled out.
//!
//! Simple, slow, and of one piece with no fast path: tests hold the fused losses against it.

use crate::distance::{PairDistance, unit};
use crate::tuples::Tuples;

/// What the anchors are compared with.
#[derive(Clone, Debug)]
pub struct ExactColumns {
    /// Vectors `[C, D]`, row-major.
    pub vectors: Vec<f64>,
    /// Label of each.
    pub labels: Vec<u32>,
    /// Column of row 0 of the batch, if the batch is among the columns.
    pub own: Option<usize>,
}

/// A batch in `f64`.
pub struct Exact<'a> {
    embeddings: &'a [f64],
    cols: usize,
    labels: &'a [u32],
    columns: ExactColumns,
    parameters: Vec<Vec<f64>>,
    s: Vec<f64>,
    held: Option<&'a Exact<'a>>,
    /// Whether the points are the embeddings divided by their norms.
    normalize: bool,
}

impl<'a> Exact<'a> {
    /// Embeddings `[B, D]`, row-major, `D = cols`, with one label for each row, compared among themselves.
    pub fn new(
        embeddings: &'a [f64],
        cols: usize,
        labels: &'a [u32],
        distance: &dyn PairDistance,
    ) -> Self {
        let columns = ExactColumns {
            vectors: embeddings.to_vec(),
            labels: labels.to_vec(),
            own: Some(0),
        };
        Self::against(embeddings, cols, labels, columns, distance)
    }

    /// The same, compared with references or class proxies.
    pub fn against(
        embeddings: &'a [f64],
        cols: usize,
        labels: &'a [u32],
        columns: ExactColumns,
        distance: &dyn PairDistance,
    ) -> Self {
        let s = embeddings
            .chunks_exact(cols)
            .flat_map(|x| {
                let others = columns.vectors.chunks_exact(cols);
                others.map(|y| distance.reference(x, y)).collect::<Vec<_>>()
            })
            .collect();
        Self {
            embeddings,
            cols,
            labels,
            columns,
            parameters: Vec::new(),
            s,
            held: None,
            normalize: distance.normalize(),
        }
    }

    /// A batch with learned proxies of no class after it, where `d` is known among all of them.
    pub fn with_proxies(
        embeddings: &'a [f64],
        cols: usize,
        labels: &'a [u32],
        proxies: &[f64],
        distance: &dyn PairDistance,
    ) -> Self {
        let vectors = [embeddings, proxies].concat();
        let mut all = labels.to_vec();
        // The proxies have no class, and no reference asks for it.
        all.resize(vectors.len() / cols, u32::MAX);
        let s = Exact::new(&vectors, cols, &all, distance).s;
        let columns = ExactColumns {
            vectors,
            labels: all,
            own: Some(0),
        };
        let batch = Self::against(embeddings, cols, labels, columns, distance);
        Self { s, ..batch }
    }

    /// With values for the loss's own learned parameters, in the order in which it declares them.
    #[must_use]
    pub fn with_parameters(self, parameters: Vec<Vec<f64>>) -> Self {
        Self { parameters, ..self }
    }

    /// With what a loss treats as a constant of its gradient read from another batch: differences of references that
    /// share one such batch are the gradient with those parts held.
    #[must_use]
    pub fn held_at(self, held: &'a Exact<'a>) -> Self {
        let held = Some(held);
        Self { held, ..self }
    }

    /// Where a loss reads what it treats as a constant of its gradient: this batch, unless another was
    /// [given](Self::held_at).
    #[must_use]
    pub fn held(&self) -> &Exact<'a> {
        self.held.unwrap_or(self)
    }

    /// Whether rows and columns are the same items.
    #[must_use]
    pub fn is_square(&self) -> bool {
        self.columns.own == Some(0) && self.rows() == self.columns()
    }

    /// `B`, the number of anchors.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// `C`, the number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns.labels.len()
    }

    /// Embedding `i`, as it came.
    #[must_use]
    pub fn embedding(&self, i: usize) -> &'a [f64] {
        &self.embeddings[i * self.cols..(i + 1) * self.cols]
    }

    /// The vector of column `j`, as it came.
    #[must_use]
    pub fn column(&self, j: usize) -> &[f64] {
        &self.columns.vectors[j * self.cols..(j + 1) * self.cols]
    }

    /// The points that the distance compares: those of the anchors, then those of the columns.
    #[must_use]
    pub fn points(&self) -> [Vec<Vec<f64>>; 2] {
        let point = |x: &[f64]| if self.normalize { unit(x) } else { x.to_vec() };
        [self.embeddings, &self.columns.vectors]
            .map(|v| v.chunks_exact(self.cols).map(point).collect())
    }

    /// `D`, the width of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.cols
    }

    /// The loss's own learned parameter `k`.
    #[must_use]
    pub fn parameter(&self, k: usize) -> &[f64] {
        &self.parameters[k]
    }

    /// `y_i`, of a row.
    #[must_use]
    pub fn label(&self, i: usize) -> u32 {
        self.labels[i]
    }

    /// The label of column `j`.
    #[must_use]
    pub fn label_of_column(&self, j: usize) -> u32 {
        self.columns.labels[j]
    }

    /// `d(i, j)` of row `i` and column `j`; with proxies after the batch, of columns `i` and `j`.
    #[must_use]
    pub fn d(&self, i: usize, j: usize) -> f64 {
        self.s[i * self.columns() + j]
    }

    /// Every column but that of `a` itself.
    #[must_use]
    pub fn others(&self, a: usize) -> Vec<usize> {
        let own = self.columns.own.map(|own| own + a);
        (0..self.columns()).filter(|&j| Some(j) != own).collect()
    }

    /// Positives of `a`: the other columns with its label.
    #[must_use]
    pub fn positives(&self, a: usize) -> Vec<usize> {
        let mut columns = self.others(a);
        columns.retain(|&j| self.columns.labels[j] == self.labels[a]);
        columns
    }

    /// Negatives of `a`: the columns with another label.
    #[must_use]
    pub fn negatives(&self, a: usize) -> Vec<usize> {
        let mut columns = self.others(a);
        columns.retain(|&j| self.columns.labels[j] != self.labels[a]);
        columns
    }

    /// Every triplet `(a, p, n)` that takes part.
    #[must_use]
    pub fn triplets(&self, tuples: &Tuples) -> Vec<[usize; 3]> {
        match tuples {
            Tuples::Triplets(list) => return list.iter().map(|t| t.map(|i| i as usize)).collect(),
            Tuples::Tuplets { width, indices } => return triplets_of_tuplets(*width, indices),
            _ => {}
        }
        let mut triplets = Vec::new();
        for a in 0..self.rows() {
            for p in self.positives(a) {
                for n in self.negatives(a) {
                    let gap = self.d(a, n) - self.d(a, p);
                    let kept = match tuples {
                        Tuples::Band { low, high } => {
                            gap > f64::from(*low) && gap <= f64::from(*high)
                        }
                        Tuples::Pairs(mask) => mask.contains(a, p) && mask.contains(a, n),
                        _ => true,
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
    #[must_use]
    pub fn pairs(&self, tuples: &Tuples) -> Vec<(usize, usize)> {
        let every = (0..self.rows()).flat_map(|a| self.others(a).into_iter().map(move |j| (a, j)));
        match tuples {
            Tuples::All => every.collect(),
            Tuples::Pairs(mask) => every.filter(|&(a, j)| mask.contains(a, j)).collect(),
            _ => {
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

    /// The positives and the negatives of `a` that take part.
    #[must_use]
    pub fn kept(&self, a: usize, tuples: &Tuples) -> [Vec<usize>; 2] {
        let pairs = self.pairs(tuples);
        let of_a = pairs
            .into_iter()
            .filter(|pair| pair.0 == a)
            .map(|pair| pair.1);
        let (positives, negatives) = of_a.partition(|&j| self.columns.labels[j] == self.labels[a]);
        [positives, negatives]
    }
}

fn triplets_of_tuplets(width: usize, indices: &[u32]) -> Vec<[usize; 3]> {
    let split = |t: &[u32]| {
        let [a, p] = [t[0] as usize, t[1] as usize];
        t[2..]
            .iter()
            .map(|&n| [a, p, n as usize])
            .collect::<Vec<_>>()
    };
    indices.chunks_exact(width).flat_map(split).collect()
}
