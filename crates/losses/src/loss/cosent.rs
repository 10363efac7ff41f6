//! The `CoSENT` loss.

use super::order::{ordered, ordered_reference};
use super::paired::Paired;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Cosine;
use crate::error::Error;
use crate::range::Positive;

described! {
    /// Orders pairs by their gold scores: of any two, the one with the higher score should be the closer.
    ///
    /// ```text
    /// L = log[ 1 + Σ_{y_i > y_j} exp( scale (d(u_i, v_i) - d(u_j, v_j)) ) ]
    /// ```
    ///
    /// The sum over pairs of pairs takes `n log n` steps. A pair is active while one of lower score is at least as close.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; scores: `[n, 1]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// J. Su, `CoSENT`: a more effective sentence embedding scheme than Sentence-BERT, 2022 (in Chinese), kexue.fm/archives/8847.
    ///
    /// # Differences
    /// None: `CoSENTLoss` of sentence-transformers is the same, with `n²` entries in memory.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::Cosent};
    /// // Both pairs are at distance 0, in the wrong order by no more than a tie: log(1 + exp(0)).
    /// let targets = Targets::Aligned(Aligned { scores: Some(&[0.0, 1.0]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets };
    /// let outcome = Objective::from(Cosent::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Cosent {
        /// Inverse temperature of the softmax.
        pub scale: Positive = Positive::literal(20.0),
    }
}

view_definition!(Cosent, [Target::Scores], Some(Cosine {}.into()));

impl ViewLoss for Cosent {
    fn needs(&self, _views: usize) -> Needs {
        Needs::scores(1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let paired = Paired::new(views, [0, 1])?;
        let (evaluation, slopes) = ordered(self.scale.exact(), paired.d(), views);
        paired.pull(&slopes, gradients);
        Ok(evaluation)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let d: Vec<_> = (0..views.items())
            .map(|i| views.d((0, i), (1, i)))
            .collect();
        ordered_reference(self.scale.exact(), &d, views)
    }
}
