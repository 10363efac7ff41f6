//! The contrastive tension loss.

use super::paired::Paired;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views, softplus};
use crate::described::described;
use crate::distance::Dot;
use crate::error::Error;

described! {
    /// Tells, of two encoders' embeddings, those of the same item from those of different items, by their dot product.
    ///
    /// ```text
    /// L = Σ_{i same} log( 1 + exp(d(u_i, v_i)) ) + Σ_{i different} log( 1 + exp(-d(u_i, v_i)) )         d(u, v) = -u·v
    /// ```
    ///
    /// A pair is of the same item if its score is at least ½. A sum, not a mean: its size grows with the batch. A pair is active
    /// while its logit `-d` has the wrong sign or is zero.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`, one of each encoder; scores: `[n, 1]`, 0 or 1
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// F. Carlsson, A. C. Gyllensten, E. Gogoulou, E. Ylipää Hellqvist, M. Sahlgren, Semantic Re-tuning with Contrastive
    /// Tension, ICLR 2021, §3.
    ///
    /// # Differences
    /// None: `ContrastiveTensionLoss` of sentence-transformers is the same. The paper draws seven pairs of different items for
    /// each of the same, which is up to the data here.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::ContrastiveTension};
    /// // Orthogonal embeddings of the same item, logit 0: log 2.
    /// let targets = Targets::Aligned(Aligned { scores: Some(&[1.0]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0, 0.0, 1.0], 2, 2), targets };
    /// let outcome = Objective::from(ContrastiveTension::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ContrastiveTension {}
}

view_definition!(
    ContrastiveTension,
    [Target::Scores],
    Some(Dot::default().into())
);

impl ViewLoss for ContrastiveTension {
    fn needs(&self, _views: usize) -> Needs {
        Needs::scores(1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let paired = Paired::new(views, [0, 1])?;
        let mut total = Evaluation::default();
        let mut slopes = paired.d().to_vec();
        for (i, slope) in slopes.iter_mut().enumerate() {
            let sign = if views.scores_of(i)[0] >= 0.5 {
                1.0
            } else {
                -1.0
            };
            let wrong = sign * *slope;
            let (value, sigmoid) = softplus(wrong);
            *slope = sign * sigmoid;
            total = total.plus(Evaluation::of_tuple(f64::from(value), wrong >= 0.0));
        }
        paired.pull(&slopes, gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let mut sum = 0.0;
        for i in 0..views.items() {
            let same = 1.0 / (1.0 + views.d((0, i), (1, i)).exp());
            let likelihood = if views.scores_of(i)[0] >= 0.5 {
                same
            } else {
                1.0 - same
            };
            sum -= likelihood.ln();
        }
        sum
    }
}
