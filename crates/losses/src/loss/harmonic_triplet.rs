//! The harmonic triplet loss.

use super::{Definition, Row, RowLoss, hinge};
use crate::described::described;
use crate::distance::{Distance, SquaredL2};
use crate::exact::Exact;
use crate::miner::{Miner, SemiHard};
use crate::range::NonNegative;
use crate::reducer::{MeanNonzero, Reducer, Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Trains a new model whose embeddings can be compared with those of an old one: triplets mix the two.
    ///
    /// ```text
    /// L = mean over (a, p, n) with a, p or n new of [ d(a, p) - d(a, n) + margin ]₊
    /// ```
    ///
    /// The batch is the pool of both: its first half are embeddings of the old model, its second half those of the new one,
    /// each with a label. Aligned pairs with labels are such a batch, the first view being the old model's. The roles of a
    /// triplet may come from either; only triplets that are all old, about which nothing can be done, are left out. The
    /// gradient is that of all rows, and whoever holds the old model fixed does not use that of its half. Against references,
    /// all rows are new and the references may be of either model; triplets with an old anchor are then missing.
    ///
    /// # Shapes
    /// - embeddings: `[2 B, D]`, old and then new, labels: `[2 B]`
    /// - value: a number, gradient: `[2 B, D]`
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
    /// appendix on harmonic embedding; the loss of a triplet is its Eq. 3.
    ///
    /// # Differences
    /// The paper shows in a figure alone which roles are mixed; all are here. Semi-hard negatives are taken from the union of
    /// both models, as in the paper. As for `triplet_margin`, the mean over violated triplets stands for its sum.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::HarmonicTriplet, miner::All};
    /// // Old embeddings of items of classes 0 and 1, then the new ones, all at angle 0°: each triplet costs the margin.
    /// let objective = Objective::from(HarmonicTriplet::default()).with_miner(All {});
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 1, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.2).abs() < 1e-6);
    /// assert_eq!(outcome.tuples, 8); // four anchors, one positive of the other model, two negatives
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct HarmonicTriplet {
        /// Required gap `d(a, n) - d(a, p)`.
        pub margin: NonNegative = NonNegative::literal(0.2),
    }
}

impl HarmonicTriplet {
    /// The terms of an old anchor, one by one; its triplets have another member at or beyond `old`.
    fn visited(&self, row: &Row<'_>, old: usize, g: &mut [f32]) -> Terms {
        let d = row.d();
        let mut terms = Terms::default();
        let mut visit = |p: usize, n: usize| {
            if p.max(n) < old {
                return;
            }
            let violation = d[p] - d[n] + self.margin.get();
            let counts = terms.add(violation.max(0.0), violation > 0.0, row.keep);
            let slope = counts * f32::from(violation > 0.0);
            g[p] += slope;
            g[n] -= slope;
        };
        match row.tuples {
            Tuples::Triplets(_) | Tuples::Tuplets { .. } => {
                for tuplet in row.kept.tuplets(row.a) {
                    let negatives = tuplet[2..].iter();
                    negatives.for_each(|&n| visit(tuplet[1] as usize, n as usize));
                }
            }
            Tuples::Band { low, high } => {
                for p in row.pairs.positives(row.a) {
                    let inside = |n: &usize| d[*n] > d[p] + low && d[*n] <= d[p] + high;
                    let negatives = row.pairs.negatives(row.a).flatten();
                    negatives.filter(inside).for_each(|n| visit(p, n));
                }
            }
            Tuples::All | Tuples::Pairs(_) => {
                for p in row.positives() {
                    row.negatives(|range| range.for_each(|n| visit(p, n)));
                }
            }
        }
        terms
    }

    /// All of them at once: new negatives with every positive, old ones with new positives.
    fn summed(&self, row: &Row<'_>, old: usize, g: &mut [f32]) -> Terms {
        let (d, margin) = (row.d(), self.margin.get());
        let mut with_all = hinge::Anchor::new(d, row.positives(), margin);
        let mut with_new = hinge::Anchor::new(d, row.positives().filter(|&p| p >= old), margin);
        row.negatives(|range| {
            let middle = range.start.max(old.min(range.end));
            with_new.add(d, range.start..middle, None, g);
            with_all.add(d, middle..range.end, None, g);
        });
        [with_all.finish(g), with_new.finish(g)].into_iter().sum()
    }
}

impl Definition for HarmonicTriplet {
    fn default_distance(&self) -> Option<Distance> {
        Some(SquaredL2::default().into())
    }

    fn default_miner(&self) -> Option<Miner> {
        Some(SemiHard::default().into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        Some(MeanNonzero {}.into())
    }
}

impl RowLoss for HarmonicTriplet {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let old = if row.pairs.is_square() {
            row.pairs.rows() / 2
        } else {
            0
        };
        // Every triplet of a new anchor has a new member.
        let old = if row.a < old { old } else { 0 };
        let at_once = matches!(row.tuples, Tuples::All | Tuples::Pairs(_));
        let terms = if at_once && !row.keep.is_selective() {
            self.summed(row, old, g)
        } else {
            self.visited(row, old, g)
        };
        [terms, Terms::default()]
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let old = if batch.is_square() {
            batch.rows() / 2
        } else {
            0
        };
        let mut triplets = batch.triplets(tuples);
        triplets.retain(|triplet| triplet.iter().any(|&i| i >= old));
        let term = |[a, p, n]: [usize; 3]| Term {
            anchor: a,
            group: 0,
            value: (batch.d(a, p) - batch.d(a, n) + self.margin.exact()).max(0.0),
        };
        triplets.into_iter().map(term).collect()
    }
}
