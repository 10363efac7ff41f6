//! The normalized temperature-scaled cross entropy.

use super::{Definition, Row, RowLoss, picks};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Picks each positive out of the negatives of its anchor by a softmax of cosines.
    ///
    /// ```text
    /// L = mean over (a, p) of log( 1 + Σ_n exp( (d(a, p) - d(a, n)) / temperature ) )
    /// ```
    ///
    /// Other positives are not in the denominator. A pair is active while some negative is at least as near as the positive.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A Simple Framework for Contrastive Learning of Visual Representations
    /// (`SimCLR`), ICML 2020, Eq. 1.
    ///
    /// # Differences
    /// The paper has two views of each image and unique labels; with several positives each is a term of its own here, as in
    /// pytorch-metric-learning, whose temperature 0.07 is the default; the paper tunes its own for each data set.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::NtXent};
    /// // All four embeddings equal: one positive and two negatives at the same distance.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(NtXent::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct NtXent {
        /// Temperature `τ` of the softmax.
        pub temperature: Positive = Positive::literal(0.07),
    }
}

impl Definition for NtXent {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for NtXent {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let scale = 1.0 / self.temperature.get();
        picks::picks(row, scale, |d| (d, 1.0), g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        picks::reference(batch, tuples, 1.0 / self.temperature.exact(), |d| d)
    }
}
