//! What is asked of every index.

use super::{ByLabels, CompressedAt, CompressionOptions};
use crate::evaluate::relevance::Relevance;
use crate::evaluate::{EvaluateError, Hits};
use nearkin_encoder::parameters::named_rng;
use nearkin_index::{Flat, Index, Neighbor};
use nearkin_kernels::Mat;
use rand::seq::index::sample;
use rayon::prelude::*;
use std::collections::HashSet;
use std::time::Instant;

/// Cosines as close as this share of the way to the nearest are equal: in a narrow cone of vectors all cosines are near one.
const TIE: f64 = 1e-6;
/// Seconds that a speed is measured for at least.
const TIMED: f64 = 0.2;

/// What is asked of every index, and what is right.
pub(super) struct Asked<'a> {
    labels: Option<&'a [u32]>,
    ks: &'a [usize],
    /// The items that search.
    pub queries: Side,
    /// All others.
    pub gallery: Side,
    /// The nearest of the gallery to each query, as many as the largest K.
    exact: Vec<Vec<Neighbor>>,
}

/// Some of the items, with their vectors.
pub(super) struct Side {
    pub items: Vec<usize>,
    numbers: Vec<f32>,
    dim: usize,
}

impl Side {
    fn of(embeddings: Mat, items: Vec<usize>) -> Self {
        let dim = embeddings.cols;
        let row = |&item: &usize| &embeddings.data[item * dim..(item + 1) * dim];
        Self {
            numbers: items.iter().flat_map(row).copied().collect(),
            items,
            dim,
        }
    }

    pub fn vectors(&self) -> Mat<'_> {
        Mat::new(&self.numbers, self.items.len(), self.dim)
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.numbers[at * self.dim..(at + 1) * self.dim]
    }
}

impl<'a> Asked<'a> {
    pub fn new(
        embeddings: Mat,
        labels: Option<&'a [u32]>,
        options: &'a CompressionOptions,
    ) -> Result<Self, EvaluateError> {
        let (count, mut rng) = (embeddings.rows, named_rng(options.seed, "compressions"));
        let mut searches = vec![false; count];
        for item in sample(&mut rng, count, options.searching(count)) {
            searches[item] = true;
        }
        let (queries, gallery) = (0..count).partition(|&item| searches[item]);
        let mut asked = Self {
            labels,
            ks: &options.ks,
            queries: Side::of(embeddings, queries),
            gallery: Side::of(embeddings, gallery),
            exact: Vec::new(),
        };
        let deepest = options.ks.iter().copied().max().unwrap_or(0);
        let index = Flat::new(asked.gallery.vectors()).map_err(EvaluateError::Index)?;
        asked.exact = asked.search(&index, deepest)?;
        Ok(asked)
    }

    fn search(&self, index: &dyn Index, k: usize) -> Result<Vec<Vec<Neighbor>>, EvaluateError> {
        let found = index.search(self.queries.vectors(), k);
        found.map_err(EvaluateError::Index)
    }

    pub fn measure(
        &self,
        index: &dyn Index,
    ) -> Result<(Vec<CompressedAt>, Option<ByLabels>), EvaluateError> {
        let (mut at, mut lists) = (Vec::new(), Vec::new());
        for &k in self.ks {
            // The search that warms up is also the one that is judged.
            let found = self.search(index, k)?;
            let (start, mut searched) = (Instant::now(), 0);
            while searched == 0 || start.elapsed().as_secs_f64() < TIMED {
                self.search(index, k)?;
                searched += self.queries.items.len();
            }
            at.push(CompressedAt {
                k,
                queries_per_second: searched as f64 / start.elapsed().as_secs_f64(),
                recall: self.recall(&found, k),
            });
            lists.push((k, found));
        }
        let labels = self
            .labels
            .and_then(|labels| self.by_labels(labels, &lists));
        Ok((at, labels))
    }

    /// The share of the `k` truly nearest among what was found.
    fn recall(&self, found: &[Vec<Neighbor>], k: usize) -> f64 {
        let lists = found.par_iter().zip(&self.exact).enumerate();
        let shares = lists.map(|(query, (found, exact))| {
            let nearest: HashSet<u32> = exact[..k].iter().map(|n| n.index).collect();
            let cosine = |n: &Neighbor| {
                let item = self.gallery.row(n.index as usize);
                cosine(self.queries.row(query), item)
            };
            let last = cosine(&exact[k - 1]);
            let bar = last - TIE * (1.0 - last);
            let right = |n: &&Neighbor| nearest.contains(&n.index) || cosine(n) >= bar;
            found.iter().filter(right).count() as f64 / k as f64
        });
        let shares: Vec<f64> = shares.collect();
        shares.iter().sum::<f64>() / shares.len() as f64
    }

    /// Scores by the labels, from the lists of each K; `None` where no query has an item of its class in the index.
    fn by_labels(&self, labels: &[u32], lists: &[(usize, Vec<Vec<Neighbor>>)]) -> Option<ByLabels> {
        let gallery = &self.gallery.items;
        let wanted = Relevance::Classes(labels).wanted(&self.queries.items, gallery);
        let counts = wanted.counts();
        let mean = |lists: &[Vec<Neighbor>], score: &dyn Fn(&Hits) -> f32| {
            let measured = (0..counts.len()).filter(|&query| counts[query] > 0);
            let scores = measured.map(|query| {
                let items = lists[query].iter().map(|n| gallery[n.index as usize]);
                f64::from(score(&wanted.hits(query, items)))
            });
            let scores: Vec<f64> = scores.collect();
            scores.iter().sum::<f64>() / scores.len() as f64
        };
        let relevant = counts.iter().copied().max().filter(|&most| most > 0)?;
        let (_, shortest) = lists.iter().min_by_key(|(k, _)| *k)?;
        let (deepest, longest) = lists.iter().max_by_key(|(k, _)| *k)?;
        Some(ByLabels {
            recall_at_1: mean(shortest, &|hits| hits.at(1)[0]),
            map_at_r: (relevant <= *deepest).then(|| mean(longest, &|hits| hits.at_relevant()[1])),
        })
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut squares) = (0.0, [0.0; 2]);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    let norms: f64 = squares[0].sqrt() * squares[1].sqrt();
    if norms > 0.0 { dot / norms } else { 0.0 }
}
