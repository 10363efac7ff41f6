//! The margin MSE loss.

use super::paired::mean_over_gaps;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Dot;
use crate::error::Error;

described! {
    /// Fits how much closer the positive is than each negative to a teacher's margins.
    ///
    /// ```text
    /// L = 1/(n k) Σ_i Σ_k ( d(q_i, n_ik) - d(q_i, p_i) - m_ik )²
    /// ```
    ///
    /// The scores are the teacher's margins `m`, one for each negative. Over the dot product `d(q, n) - d(q, p)` is
    /// `q·p - q·n`. A triplet is active while its margin is off by more than 0.1.
    ///
    /// # Shapes
    /// - embeddings: three or more views `[n, D]`: queries, positives, `k` sets of negatives; scores: `[n, k]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// S. Hofstätter, S. Althammer, M. Schröder, M. Sertkan, A. Hanbury, Improving Efficient Neural Ranking Models with
    /// Cross-Architecture Knowledge Distillation, arXiv 2020, Eq. 6.
    ///
    /// # Differences
    /// sentence-transformers takes also the `k + 1` scores of positive and negatives, and subtracts them itself.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::MarginMse};
    /// // Query 1, positive 3, negative 1, so a margin of 3 - 1, and the teacher says 1.5.
    /// let targets = Targets::Aligned(Aligned { views: 3, scores: Some(&[1.5]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 3.0, 1.0], 3, 1), targets };
    /// let outcome = Objective::from(MarginMse::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.25).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MarginMse {}
}

view_definition!(MarginMse, [Target::Scores], Some(Dot::default().into()));

impl ViewLoss for MarginMse {
    fn views(&self) -> (usize, usize) {
        (3, usize::MAX)
    }

    fn needs(&self, views: usize) -> Needs {
        Needs::scores(views - 2)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        mean_over_gaps(views, gradients, |i, k, gap| {
            let off = gap - views.scores_of(i)[k];
            (off * off, 2.0 * off, off.abs() > 0.1)
        })
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (mut sum, mut terms) = (0.0, 0);
        for i in 0..views.items() {
            for (k, m) in views.scores_of(i).iter().enumerate() {
                let margin = views.d((0, i), (k + 2, i)) - views.d((0, i), (1, i));
                sum += (margin - m).powi(2);
                terms += 1;
            }
        }
        sum / f64::from(terms)
    }
}
