//! The softmax over candidates out of several views, in which some are left out and others weigh more.

use super::class_softmax::exp_in_place;
use super::paired::add;
use super::{Evaluation, ViewGradients, Views};
use crate::described::words;
use crate::distance::Distances;
use crate::error::Error;
use crate::lanes::{largest, total};
use crate::scratch;
use rayon::prelude::*;
use std::ops::Range;

words! {
    /// Which candidates are too similar to a query to be negatives: they are probably positives that nobody marked.
    pub enum MarginStrategy {
        /// None.
        None = "none",
        /// Those whose similarity is above that of the positive less the margin.
        Absolute = "absolute",
        /// Those whose similarity is above that of the positive less the margin times its absolute value.
        Relative = "relative",
    }
}

impl MarginStrategy {
    /// The similarity above which a candidate is left out.
    pub(super) fn threshold(self, of_positive: f32, margin: f32) -> f32 {
        match self {
            Self::None => f32::INFINITY,
            Self::Absolute => of_positive - margin,
            Self::Relative => of_positive - of_positive.abs() * margin,
        }
    }

    /// The same by the definition.
    pub(super) fn leaves_out(self, similarity: f64, of_positive: f64, margin: f64) -> bool {
        match self {
            Self::None => false,
            Self::Absolute => similarity > of_positive - margin,
            Self::Relative => similarity > of_positive - of_positive.abs() * margin,
        }
    }
}

/// Below this logit, from the largest, a candidate has no part in a sum of `f32`; numbers far below would be slow.
const SMALLEST: f32 = -80.0;

/// Slopes that one task clears.
const CHUNK: usize = 1 << 13;

/// Just above its exponential.
const NOTHING: f32 = 2e-35;

/// A view of queries and the views of their candidates.
pub(super) type Kind = (usize, Range<usize>);

/// Blocks whose rows, one after another, are the candidates of the queries.
pub(super) struct Blocks<'a>(Vec<Block<'a>>);

impl<'a> Blocks<'a> {
    pub fn new(views: &Views<'a, f32>, kinds: Vec<Kind>) -> Result<Self, Error> {
        let kinds = kinds.into_iter();
        let blocks = kinds.map(|(query, others)| Block::new(views, query, others));
        Ok(Self(blocks.collect::<Result<_, _>>()?))
    }

    /// The first, which holds the positive pairs, and the others.
    pub fn split(&self) -> (&Block<'a>, &[Block<'a>]) {
        (&self.0[0], &self.0[1..])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Block<'a>> {
        self.0.iter()
    }

    /// The sum of the terms of all queries, in parallel: `term` leaves the slopes of row `i` of all blocks, one after
    /// another, in the candidates that it is given empty.
    pub fn each_row(
        &mut self,
        term: impl Fn(&Self, usize, &mut Candidates) -> Evaluation + Sync,
    ) -> Evaluation {
        let mut slopes: Vec<_> = self
            .0
            .iter_mut()
            .map(|b| std::mem::take(&mut b.g))
            .collect();
        let mut rows: Vec<Vec<&mut [f32]>> = Vec::new();
        for (g, block) in slopes.iter_mut().zip(&self.0) {
            let each = g.chunks_exact_mut(block.columns);
            rows.resize_with(each.len(), Vec::new);
            rows.iter_mut().zip(each).for_each(|(row, g)| row.push(g));
        }
        let of_row = |list: &mut Candidates, (i, row): (usize, Vec<&mut [f32]>)| {
            list.clear();
            let found = term(self, i, list);
            let mut at = 0;
            for g in row {
                let own = at..at + g.len();
                at = own.end;
                g.copy_from_slice(&list.slopes[own]);
            }
            found
        };
        let rows = rows.into_par_iter().enumerate().with_min_len(8);
        let found: Vec<_> = rows.map_init(Candidates::default, of_row).collect();
        let blocks = self.0.iter_mut().zip(slopes);
        blocks.for_each(|(block, g)| block.g = g);
        found
            .into_iter()
            .fold(Evaluation::default(), Evaluation::plus)
    }

    /// Adds slopes to row `i` of all blocks.
    pub fn add_row(&mut self, i: usize, mut slopes: &[f32]) {
        for block in &mut self.0 {
            let (own, rest) = slopes.split_at(block.columns);
            block.add_row(i, own);
            slopes = rest;
        }
    }

    /// Adds slopes to column `j` of the first block.
    pub fn add_column(&mut self, j: usize, slopes: &[f32]) {
        self.0[0].add_column(j, slopes);
    }

    /// Adds the gradients of the views.
    pub fn pull(self, gradients: &mut ViewGradients<'_>) {
        self.0.into_iter().for_each(|block| block.pull(gradients));
    }
}

/// Distances of the rows of one view to the rows of others, with their slopes.
pub(super) struct Block<'a> {
    query: usize,
    others: Range<usize>,
    distances: Distances<'a>,
    /// `∂L/∂S`, shape `[n, n · others]`.
    pub g: Vec<f32>,
    /// Candidates of a query.
    pub columns: usize,
}

impl<'a> Block<'a> {
    pub fn new(views: &Views<'a, f32>, query: usize, others: Range<usize>) -> Result<Self, Error> {
        let candidates = views.embeddings[others.clone()].concat();
        let queries = views.embeddings[query];
        let distances = Distances::between(views.distance(), queries, &candidates, views.cols)?;
        let mut g = scratch::take(distances.s().len());
        g.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.0));
        Ok(Self {
            query,
            g,
            columns: candidates.len() / views.cols,
            others,
            distances,
        })
    }

    pub fn s(&self) -> &[f32] {
        self.distances.s()
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.s()[i * self.columns..][..self.columns]
    }

    /// Adds slopes to row `i`.
    pub fn add_row(&mut self, i: usize, slopes: &[f32]) {
        add(&mut self.g[i * self.columns..], slopes);
    }

    /// The distances of the first `n` queries to candidate `j`.
    pub fn column(&self, n: usize, j: usize) -> impl Iterator<Item = f32> {
        (0..n).map(move |i| self.s()[i * self.columns + j])
    }

    /// Adds slopes to column `j`.
    pub fn add_column(&mut self, j: usize, slopes: &[f32]) {
        for (i, slope) in slopes.iter().enumerate() {
            self.g[i * self.columns + j] += slope;
        }
    }

    /// Adds the gradients of the views.
    pub fn pull(self, gradients: &mut ViewGradients<'_>) {
        let (of_queries, of_others) = self.distances.gradients(&self.g, true);
        add(gradients.embeddings[self.query], &of_queries);
        let views = gradients.embeddings[self.others].iter_mut();
        let parts = of_others.chunks_exact(of_queries.len());
        views.zip(parts).for_each(|(sum, part)| add(sum, part));
        [self.g, of_queries, of_others]
            .into_iter()
            .for_each(scratch::keep);
    }
}

/// The candidates of one query.
#[derive(Default)]
pub(super) struct Candidates {
    d: Vec<f32>,
    /// What is added to the logit of each; `-∞` leaves it out.
    extra: Vec<f32>,
    /// `∂/∂d` of the term.
    pub slopes: Vec<f32>,
}

impl Candidates {
    pub fn len(&self) -> usize {
        self.d.len()
    }

    fn clear(&mut self) {
        self.d.clear();
        self.extra.clear();
        self.slopes.clear();
    }

    /// Appends candidates; `extra(j, d)` is added to the logit of the `j`-th of them, and `-∞` leaves it out.
    pub fn push(&mut self, d: impl Iterator<Item = f32>, extra: impl Fn(usize, f32) -> f32) {
        let first = self.d.len();
        self.d.extend(d);
        let pushed = self.d[first..].iter().enumerate();
        self.extra.extend(pushed.map(|(j, &d)| extra(j, d)));
    }

    /// Appends candidates but those that a guide has more similar than `most`, by its cosine distances, and number `own`.
    pub fn push_guided(&mut self, d: &[f32], guide: &[f32], (most, own): (f32, usize)) {
        let first = self.d.len();
        self.d.extend_from_slice(d);
        let extra = |&guide: &f32| {
            if 1.0 - guide > most {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        };
        self.extra.extend(guide.iter().map(extra));
        self.extra[first + own] = f32::NEG_INFINITY;
    }

    /// `weight log Σ_j exp(scale (d_target - d_j) + extra_j)`, with its slopes in `slopes`. The same pair as the target
    /// may come again as `again`, which makes the term no more active.
    pub fn pick(&mut self, [target, again]: [usize; 2], scale: f32, weight: f32) -> Evaluation {
        let own = self.d[target];
        self.extra[target] = 0.0;
        let Self { d, extra, slopes } = self;
        slopes.clear();
        let each = d.iter().zip(&*extra);
        slopes.extend(each.map(|(d, extra)| scale * (own - d) + extra));
        let top = largest(slopes);
        for z in slopes.iter_mut() {
            *z = (*z - top).max(SMALLEST);
        }
        let sum = exp_in_place(slopes, 0.0);
        let factor = -weight * scale / sum as f32;
        for slope in slopes.iter_mut() {
            *slope = if *slope > NOTHING {
                *slope * factor
            } else {
                0.0
            };
        }
        // As minus the sum of the others, so that a target that is all but certain keeps its digits.
        slopes[target] = 0.0;
        slopes[target] = -total(slopes) as f32;
        let near = |(&d, &extra): (&f32, &f32)| u32::from(d <= own && extra > f32::NEG_INFINITY);
        let nearer: u32 = d.iter().zip(&*extra).map(near).sum();
        let near = |j: usize| near((&d[j], &extra[j]));
        let same = near(target) + if again == target { 0 } else { near(again) };
        Evaluation::of_tuple(
            f64::from(weight) * (f64::from(top) + sum.ln()),
            nearer > same,
        )
    }
}
