//! Triplets by where their negative lies.

use super::TupleMiner;
use crate::described::{described, words};
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;

words! {
    /// Which triplets are kept.
    pub enum Kind {
        /// Those that violate the margin.
        All = "all",
        /// Those whose negative is at most as far as the positive.
        Hard = "hard",
        /// Those whose negative is farther than the positive and violates the margin.
        SemiHard = "semi_hard",
        /// Those that do not violate the margin.
        Easy = "easy",
    }
}

described! {
    /// All triplets whose negative lies in a band around the positive.
    ///
    /// ```text
    /// all: gap ≤ margin    hard: gap ≤ 0    semi_hard: 0 < gap ≤ margin    easy: gap > margin
    /// where gap = d(a, n) - d(a, p)
    /// ```
    ///
    /// # Reference
    /// The miner `TripletMarginMiner` of pytorch-metric-learning, after FaceNet, CVPR 2015, Eq. 4.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss, miner::TripletMargin};
    /// // Points 0, 2 | 1, 5 on a line; gaps from 0: -1, 3; from 2: -1, 1; from 1: -3, -3; from 5: 1, -1.
    /// let objective = Objective::from(loss::TripletMargin::default())
    ///     .with_miner(TripletMargin::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 2.0, 1.0, 5.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 5); // the gaps of at most 0.2
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct TripletMargin {
        /// Required gap `d(a, n) - d(a, p)`.
        pub margin: NonNegative = NonNegative::literal(0.2),
        /// `all`, `hard`, `semi_hard` or `easy`.
        pub kind: Kind = Kind::All,
    }
}

impl TripletMargin {
    fn band(&self) -> Tuples {
        let margin = self.margin.get();
        let (low, high) = match self.kind {
            Kind::All => (f32::NEG_INFINITY, margin),
            Kind::Hard => (f32::NEG_INFINITY, 0.0),
            Kind::SemiHard => (0.0, margin),
            Kind::Easy => (margin, f32::INFINITY),
        };
        Tuples::Band { low, high }
    }
}

impl TupleMiner for TripletMargin {
    fn mine(&self, _pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        self.band()
    }

    fn reference(&self, _batch: &Exact<'_>) -> Tuples {
        self.band()
    }
}
