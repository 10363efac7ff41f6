//! The signal-to-noise ratio contrastive loss.

use super::{Contrastive, Definition, Row, RowLoss};
use crate::described::described;
use crate::distance::{Distance, Snr};
use crate::exact::Exact;
use crate::range::NonNegative;
use crate::reducer::{MeanNonzero, Reducer, Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Contrastive loss in terms of the noise that turns one embedding into another.
    ///
    /// ```text
    /// L = mean over positives of [ d - positive_margin ]₊ + mean over negatives of [ negative_margin - d ]₊
    /// d(a, j) = Var(x_a - x_j) / Var(x_a)
    /// ```
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// T. Yuan, W. Deng, J. Tang, Y. Tang, B. Chen, Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric
    /// Learning, CVPR 2019, Eq. 10.
    ///
    /// # Differences
    /// Without the paper's penalty on the mean of the components, as in pytorch-metric-learning, whose defaults these are.
    /// `contrastive` over the same distance squares its terms.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::SnrContrastive};
    /// // Equal positives cost nothing; the negative differs by a constant, which is no noise at all, so each pays 1.
    /// let batch = Mat::new(&[1.0, -1.0, 1.0, -1.0, 2.0, 0.0], 3, 2);
    /// let outcome = Objective::from(SnrContrastive::default())
    ///     .with_distance(nearkin_losses::distance::Snr { normalize: false })
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 1.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SnrContrastive {
        /// Distance below which a positive costs nothing.
        pub positive_margin: NonNegative = NonNegative::literal(0.0),
        /// Distance beyond which a negative costs nothing.
        pub negative_margin: NonNegative = NonNegative::literal(1.0),
    }
}

impl SnrContrastive {
    fn of_pairs(&self) -> Contrastive {
        Contrastive {
            positive_margin: self.positive_margin,
            negative_margin: self.negative_margin,
            squared: false,
        }
    }
}

impl Definition for SnrContrastive {
    fn default_distance(&self) -> Option<Distance> {
        Some(Snr::default().into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        Some(MeanNonzero {}.into())
    }
}

impl RowLoss for SnrContrastive {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        self.of_pairs().row(row, g)
    }

    fn apart(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        self.of_pairs().reference(batch, tuples)
    }
}
