//! The triplet loss.

use super::{Definition, Row, RowLoss, hinge};
use crate::described::described;
use crate::distance::{Distance, SquaredL2};
use crate::exact::Exact;
use crate::miner::{Miner, SemiHard};
use crate::range::NonNegative;
use crate::reducer::{MeanNonzero, Reducer, Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Keeps every negative farther from the anchor than the positive by a margin.
    ///
    /// ```text
    /// L = mean over (a, p, n) of [ d(a, p) - d(a, n) + margin ]₊
    /// ```
    ///
    /// All triplets are summed exactly without visiting each: `O(B² log K)` for classes of `K`. With `smooth` or `swap`
    /// they are visited, in `O(B² K)` time and no memory beyond `G`, in vector instructions unless both are set.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR
    /// 2015, Eq. 3 (squared distances of unit vectors, margin 0.2, semi-hard negatives). `smooth`: K. Sohn, NIPS 2016,
    /// Eq. 4, there without a margin over dot products. `swap`: the anchor swap of V. Balntas et al., Learning Local Feature
    /// Descriptors with Triplets and Shallow Convolutional Neural Networks, BMVC 2016.
    ///
    /// # Differences
    /// Eq. 3 is a sum; the mean over violated triplets is the default here, `[reducer.sum]` is the paper's. Squared or
    /// plain distance is the distance's choice: pytorch-metric-learning has `l2` and margin 0.05 by default,
    /// sentence-transformers un-normalized `l2` and margin 5.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::TripletMargin, miner::All};
    /// // Angles 0°, 90° and 180°: d² is 2 to the positive and 4 to the negative, and the other way round 2 and 2.
    /// let objective = Objective::from(TripletMargin::default()).with_miner(All {});
    /// let batch = Mat::new(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 3, 2);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.2).abs() < 1e-6); // one of two triplets violated, by 2 - 2 + 0.2
    /// assert_eq!((outcome.tuples, outcome.active), (2, 0.5));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct TripletMargin {
        /// Required gap `d(a, n) - d(a, p)`.
        pub margin: NonNegative = NonNegative::literal(0.2),
        /// `log(1 + exp(·))` in place of the hinge: every triplet keeps pulling.
        pub smooth: bool = false,
        /// Use `d(p, n)` where it is smaller than `d(a, n)`.
        pub swap: bool = false,
    }
}

impl Definition for TripletMargin {
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

impl RowLoss for TripletMargin {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let margin = self.margin.get();
        let terms = hinge::Terms {
            margin,
            smooth: self.smooth,
            swap: self.swap,
        };
        let sum = match row.tuples {
            Tuples::Triplets(_) | Tuples::Tuplets { .. } => hinge::listed(row, terms, g),
            Tuples::All | Tuples::Pairs(_)
                if self.smooth && !self.swap && !row.keep.is_selective() =>
            {
                hinge::summed_softly(row, margin, g)
            }
            Tuples::All if self.swap && !self.smooth && !row.keep.is_selective() => {
                hinge::swapped(row, margin, g)
            }
            _ if self.smooth || self.swap || row.keep.is_selective() => {
                hinge::visited(row, terms, g)
            }
            _ => hinge::summed(row, margin, g),
        };
        [sum, Terms::default()]
    }

    fn needs_square(&self) -> bool {
        self.swap
    }

    fn lends_slopes(&self) -> bool {
        self.swap
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let mut terms = Vec::new();
        for [a, p, n] in batch.triplets(tuples) {
            let d_n = if self.swap {
                batch.d(a, n).min(batch.d(p, n))
            } else {
                batch.d(a, n)
            };
            let violation = batch.d(a, p) - d_n + self.margin.exact();
            let value = if self.smooth {
                violation.exp().ln_1p()
            } else {
                violation.max(0.0)
            };
            terms.push(Term {
                anchor: a,
                group: 0,
                value,
            });
        }
        terms
    }
}
