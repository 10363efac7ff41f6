//! No choice: everything takes part.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;

described! {
    /// Every pair and every triplet that the labels allow.
    ///
    /// ```text
    /// (a, p): y_a = y_p, a ≠ p        (a, n): y_a ≠ y_n
    /// ```
    ///
    /// # Reference
    /// Called "batch all" in A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss, 2017, Eq. 6.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::TripletMargin, miner::All};
    /// let objective = Objective::from(TripletMargin::default()).with_miner(All {});
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 6.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 4 * 1 * 2); // anchors, positives of each, negatives of each
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct All {}
}

impl TupleMiner for All {
    fn mine(&self, _pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        Tuples::All
    }

    fn reference(&self, _batch: &Exact<'_>) -> Tuples {
        Tuples::All
    }
}
