//! Losses that are sums over anchors: each sees one row of `S`.

use super::{Definition, Evaluation};
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::reducer::{Keep, Term, TermReducer, Terms};
use crate::tuples::{KeptPairs, Tuples};
use rayon::prelude::*;
use std::ops::Range;

/// A loss that is a sum over anchors.
///
/// It runs in blocks of rows, so that memory is bounded however many columns there are, and every reducer applies.
/// [`row`](Self::row) is fused and in `f32`; [`reference`](Self::reference) is the formula of the paper in `f64`, tuple
/// by tuple. Neither calls the other.
pub trait RowLoss: Definition {
    /// The terms of one anchor, with their slopes `∂/∂S` added to `g`, its row of `G`, which comes filled with zeros.
    ///
    /// A loss that averages positive and negative pairs apart returns both, and says so in [`apart`](Self::apart).
    /// Others leave the second at its default.
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2];

    /// Whether positives and negatives are reduced apart: the first terms then own the slopes of the positives' columns,
    /// the second those of the negatives'.
    fn apart(&self) -> bool {
        false
    }

    /// What the divisor reducer divides by, from the terms of all anchors; `None` for their number.
    fn divisor(&self, _anchors: &[[Terms; 2]]) -> Option<f64> {
        None
    }

    /// The same from a list of terms.
    fn reference_divisor(&self, _terms: &[Term]) -> Option<f64> {
        None
    }

    /// A number for each row that the terms of other anchors need too, such as the crowd of its negatives: computed once.
    fn prepare(&self, _row: &Row<'_>) -> Option<f64> {
        None
    }

    /// Whether the loss needs `S[p][n]`, the distances among the columns, so that it cannot be used against references.
    fn needs_square(&self) -> bool {
        false
    }

    /// Whether slopes of one anchor's terms fall on rows of other anchors. Each row collects what falls on it, and since
    /// the terms of different anchors may weigh differently, the loss multiplies slopes by [`Row::weight`] itself.
    fn lends_slopes(&self) -> bool {
        false
    }

    /// The terms by the definition. Those of a loss that is reduced apart are in groups 0 and 1.
    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term>;
}

/// One anchor with its distances.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The pair matrix, or a block of its rows.
    pub pairs: Pairs<'a>,
    /// The anchor: a row of `pairs`.
    pub a: usize,
    /// The tuples that take part.
    pub tuples: &'a Tuples,
    /// Their pairs.
    pub kept: &'a KeptPairs<'a>,
    /// Which terms count, by their value.
    pub keep: Keep,
    /// What the loss [prepared](RowLoss::prepare) of each row; empty if nothing.
    pub prepared: &'a [f64],
    /// Weights of the anchors' terms, once known.
    weights: Option<&'a [f64]>,
}

impl<'a> Row<'a> {
    /// Distances to every column.
    #[must_use]
    pub fn d(&self) -> &'a [f32] {
        self.pairs.row(self.a)
    }

    /// Positives that take part, ascending.
    pub fn positives(&self) -> impl Iterator<Item = usize> + Clone + use<'a> {
        self.kept.positives(self.a)
    }

    /// Calls `f` on the negatives that take part, as ranges in ascending order.
    pub fn negatives(&self, f: impl FnMut(Range<usize>)) {
        self.kept.negatives(self.a, f);
    }

    /// What the terms of an anchor are multiplied by, for losses that lend slopes; one where the driver does it.
    #[must_use]
    pub fn weight(&self, anchor: usize) -> f32 {
        self.weights.map_or(1.0, |weights| weights[anchor] as f32)
    }

    /// The terms of a loss with one for each anchor, made of `[tuples, active]`; its slopes are in `g`.
    pub fn whole(&self, value: f64, counts: [usize; 2], g: &mut [f32]) -> [Terms; 2] {
        let terms = Terms::whole(value, counts, self.keep);
        if terms.kept == 0 {
            g.fill(0.0);
        }
        [terms, Terms::default()]
    }

    /// No term: an anchor without positives or without negatives.
    #[must_use]
    pub fn nothing() -> [Terms; 2] {
        [Terms::default(); 2]
    }
}

/// A row loss with what decides its terms.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub loss: &'a dyn RowLoss,
    pub reducer: &'a dyn TermReducer,
    /// Labels of the anchors of the whole batch.
    pub labels: &'a [u32],
}

/// The terms of the anchors reduced: the value and the weights of the rows of `G`.
pub(crate) struct Reduced {
    pub evaluation: Evaluation,
    /// Weights of the first and of the second terms of each anchor.
    weights: [Vec<f64>; 2],
}

impl Reduced {
    /// The weight of the anchors, where they [weigh alike](Rows::weigh_alike).
    pub fn weight(&self) -> f32 {
        self.weights[0].first().map_or(1.0, |&weight| weight as f32)
    }
}

impl Rows<'_> {
    /// The terms of each anchor of a block, slopes in `g`, whatever it held; and how many pairs take part, of how many.
    pub fn terms(
        &self,
        pairs: Pairs<'_>,
        tuples: &Tuples,
        g: &mut [f32],
    ) -> (Vec<[Terms; 2]>, [usize; 2]) {
        self.weighted_terms(pairs, tuples, None, g)
    }

    fn weighted_terms(
        &self,
        pairs: Pairs<'_>,
        tuples: &Tuples,
        weights: Option<&[f64]>,
        g: &mut [f32],
    ) -> (Vec<[Terms; 2]>, [usize; 2]) {
        let kept = tuples.pairs(pairs);
        let row = |a, prepared| Row {
            pairs,
            a,
            tuples,
            kept: &kept,
            keep: self.reducer.keep(),
            prepared,
            weights,
        };
        let prepare = |a| self.loss.prepare(&row(a, &[]));
        let prepared: Option<Vec<f64>> = (0..pairs.rows())
            .into_par_iter()
            .with_min_len(8)
            .map(prepare)
            .collect();
        let prepared = prepared.unwrap_or_default();
        let terms = pairs.each_anchor(g, |a, g| {
            g.fill(0.0);
            self.loss.row(&row(a, &prepared), g)
        });
        (terms, kept.counts())
    }

    /// The value, from the terms of all anchors of the batch.
    pub fn reduce(&self, anchors: &[[Terms; 2]]) -> Reduced {
        let divisor = self.loss.divisor(anchors);
        let mut evaluation = Evaluation::default();
        let groups = if self.loss.apart() { 2 } else { 1 };
        let mut weights = [Vec::new(), Vec::new()];
        for (group, weights) in weights.iter_mut().enumerate().take(groups) {
            let terms: Vec<_> = anchors.iter().map(|anchor| anchor[group]).collect();
            *weights = self.reducer.weights(&terms, self.labels, divisor);
            for (terms, weight) in terms.iter().zip(&*weights) {
                evaluation.value += terms.value * weight;
                evaluation.tuples += terms.tuples;
                evaluation.active += terms.active;
            }
        }
        Reduced {
            evaluation,
            weights,
        }
    }

    /// Whether every slope is multiplied by the same number in the end.
    pub fn weigh_alike(&self) -> bool {
        self.reducer.is_even() && !self.loss.apart() && !self.loss.lends_slopes()
    }

    /// Multiplies the slopes of a block by the weights of their anchors, all but the factor that it returns: what all slopes
    /// have in common is cheaper to multiply into the gradient of the points.
    pub fn weigh(
        &self,
        reduced: &Reduced,
        (pairs, tuples): (Pairs<'_>, &Tuples),
        g: &mut [f32],
    ) -> f32 {
        let [first, second] = &reduced.weights;
        match (self.loss.apart(), alike(first), alike(second)) {
            (false, Some(weight), _) => return weight as f32,
            (true, Some(of_positives), Some(of_negatives)) if of_negatives > 0.0 => {
                let ratio = (of_positives / of_negatives) as f32;
                pairs.each_anchor(g, |a, g| pairs.positives(a).for_each(|p| g[p] *= ratio));
                return of_negatives as f32;
            }
            _ => {}
        }
        if self.loss.lends_slopes() {
            self.weighted_terms(pairs, tuples, Some(first), g);
            return 1.0;
        }
        let cols = pairs.cols().max(1);
        g.par_chunks_exact_mut(cols)
            .with_min_len(8)
            .enumerate()
            .for_each(|(a, g)| {
                let anchor = pairs.first() + a;
                if !self.loss.apart() {
                    let weight = first[anchor] as f32;
                    return g.iter_mut().for_each(|g| *g *= weight);
                }
                let (of_positives, of_negatives) = (first[anchor] as f32, second[anchor] as f32);
                for range in pairs.negatives(a) {
                    g[range].iter_mut().for_each(|g| *g *= of_negatives);
                }
                pairs.positives(a).for_each(|p| g[p] *= of_positives);
            });
        1.0
    }
}

/// The weight of all anchors, if it is the same.
fn alike(weights: &[f64]) -> Option<f64> {
    let first = *weights.first()?;
    weights
        .iter()
        .all(|&weight| weight == first)
        .then_some(first)
}
