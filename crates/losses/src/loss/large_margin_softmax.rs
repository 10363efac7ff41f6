//! The large-margin softmax loss.

use super::class_softmax::class_definition;
use super::multiple_angle::MultipleAngle;
use super::{Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::Term;
use crate::tuples::Tuples;
use std::num::NonZeroU8;

described! {
    /// A linear classifier for which the angle to the right class's proxy counts several times.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale ‖x_i‖ (‖p_c‖ cos θ_c - ‖p_y‖ ψ(θ_y)) ) )         cos θ = 1 - d
    ///
    /// ψ(θ) = (-1)^k cos(margin θ) - 2k         k π ≤ margin θ ≤ (k + 1) π
    /// ```
    ///
    /// The cosine in `ψ` is clamped to `[-1, 1]`, with no slope outside. An anchor is active while some other class has at
    /// least the logit of its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// W. Liu, Y. Wen, Z. Yu, M. Yang, Large-Margin Softmax Loss for Convolutional Neural Networks, ICML 2016, Eq. 4 to 6.
    ///
    /// # Differences
    /// The paper's training anneals from the plain softmax to this; neither here nor in pytorch-metric-learning is that
    /// part of the loss.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{LargeMarginSoftmax, Shape}};
    /// let shape = Shape { dim: 2, classes: 2 };
    /// let mut criterion = Criterion::new(LargeMarginSoftmax::default().into(), shape, 0)?;
    /// criterion.parameters_mut()[0].values = vec![3.0, 0.0, 0.0, 1.0];
    /// // At the other proxy, of norm 3, and at 90° from its own: cos 360° - 2·2 = -3, times norms 2·1, against 2·3.
    /// let batch = Batch { embeddings: Mat::new(&[2.0, 0.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 12.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct LargeMarginSoftmax {
        /// How many times the angle counts.
        pub margin: NonZeroU8 = NonZeroU8::MIN.saturating_add(3),
        /// What logits are multiplied by.
        pub scale: Positive = Positive::literal(1.0),
    }
}

class_definition!(LargeMarginSoftmax, Cosine {}, |_| 1, |_| 1.0);

impl LargeMarginSoftmax {
    fn softmax(&self) -> MultipleAngle {
        MultipleAngle {
            margin: self.margin,
            scale: self.scale,
            proxy_norms: true,
        }
    }
}

impl MatrixLoss for LargeMarginSoftmax {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        self.softmax().value_and_grad(matrix, gradients)
    }

    fn needs_norms(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        self.softmax().reference(batch)
    }
}
