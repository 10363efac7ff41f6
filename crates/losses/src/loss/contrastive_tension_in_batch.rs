//! The contrastive tension loss with the negatives of the batch.

use super::candidates::{Block, Candidates};
use super::view::view_definition;
use super::{Evaluation, Shape, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Cosine;
use crate::error::Error;
use crate::parameter::{ParameterSpec, Start};
use crate::range::Positive;

described! {
    /// Picks the embedding of an item by another encoder out of those of the batch, in both directions, at a learned scale.
    ///
    /// ```text
    /// L = 1/2n Σ_i [ log Σ_j exp( s (d(u_i, v_i) - d(u_i, v_j)) ) + log Σ_j exp( s (d(u_i, v_i) - d(u_j, v_i)) ) ]
    /// ```
    ///
    /// The logarithm of `s` is learned, starting from that of `scale`. An item is active, in either direction, while some other
    /// candidate is at least as near as its own.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`, one of each encoder; nothing else
    /// - `log s`: `[1, 1]`, learned
    /// - value: a number, gradients: that of each view and that of `log s`
    ///
    /// # Reference
    /// F. Carlsson, A. C. Gyllensten, E. Gogoulou, E. Ylipää Hellqvist, M. Sahlgren, Semantic Re-tuning with Contrastive
    /// Tension, ICLR 2021, §3, in the form of `ContrastiveTensionLossInBatchNegatives` of sentence-transformers.
    ///
    /// # Differences
    /// None to sentence-transformers; the paper has pairs alone (`contrastive_tension`). A. Radford et al., Learning
    /// Transferable Visual Models From Natural Language Supervision, ICML 2021, have the same loss and clip `s` at 100.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{ContrastiveTensionInBatch, Shape};
    /// let shape = Shape { dim: 1, classes: 1 };
    /// let mut criterion = Criterion::new(ContrastiveTensionInBatch::default().into(), shape, 0)?;
    /// // All four embeddings equal: two equal candidates, so log 2, at any scale.
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets: Targets::Aligned(Aligned::pairs()) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// assert!(outcome.parameters[0][0].abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ContrastiveTensionInBatch {
        /// Inverse temperature of the softmax at the start.
        pub scale: Positive = Positive::literal(20.0),
    }
}

view_definition!(
    ContrastiveTensionInBatch,
    [Target::Pairs],
    Some(Cosine {}.into()),
    {
        fn learned(&self, _shape: Shape) -> Vec<ParameterSpec> {
            vec![ParameterSpec {
                name: "log_scale",
                shape: [1, 1],
                start: Start::Constant(self.scale.exact().ln() as f32),
            }]
        }
    }
);

impl ViewLoss for ContrastiveTensionInBatch {
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let n = views.items();
        let scale = views.parameters[0][0].exp();
        let weight = (0.5 / n as f64) as f32;
        let mut block = Block::new(views, 0, 1..2)?;
        let mut total = Evaluation::default();
        for i in 0..n {
            let mut forward = Candidates::default();
            forward.push(block.row(i).iter().copied(), |_, _| 0.0);
            total = total.plus(forward.pick([i, i], scale, weight));
            let mut backward = Candidates::default();
            backward.push(block.column(n, i), |_, _| 0.0);
            total = total.plus(backward.pick([i, i], scale, weight));
            block.add_row(i, &forward.slopes);
            block.add_column(i, &backward.slopes);
        }
        // The value sees distances only as s d, so that s ∂L/∂s = Σ d ∂L/∂d.
        let entries = block.g.iter().zip(block.s());
        let of_log_scale: f64 = entries.map(|(&g, &d)| f64::from(g) * f64::from(d)).sum();
        gradients.parameters[0][0] += of_log_scale as f32;
        block.pull(gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, s) = (views.items(), views.parameters[0][0].exp());
        let mut value = 0.0;
        for i in 0..n {
            let own = views.d((0, i), (1, i));
            let odds = |u: usize, v: usize| (s * (own - views.d((0, u), (1, v)))).exp();
            let forward: f64 = (0..n).map(|j| odds(i, j)).sum();
            let backward: f64 = (0..n).map(|j| odds(j, i)).sum();
            value += (forward.ln() + backward.ln()) / (2 * n) as f64;
        }
        value
    }
}
