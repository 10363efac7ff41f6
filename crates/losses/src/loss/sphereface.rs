//! The angular softmax loss of `SphereFace`.

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
    /// A classifier by angle to class proxies, for which the angle to the right one counts several times.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale ‖x_i‖ (cos θ_c - ψ(θ_y)) ) )         cos θ = 1 - d
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
    /// W. Liu, Y. Wen, Z. Yu, M. Li, B. Raj, L. Song, `SphereFace`: Deep Hypersphere Embedding for Face Recognition,
    /// CVPR 2017, §3.
    ///
    /// # Differences
    /// As in pytorch-metric-learning, without the annealing from the plain softmax that the paper trains with.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Shape, Sphereface}};
    /// let mut criterion = Criterion::new(Sphereface::default().into(), Shape { dim: 2, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![3.0, 0.0, 0.0, 1.0];
    /// // At the other proxy, and at 90° from its own: cos 360° - 2·2 = -3 against 1, times the norm 4.
    /// let batch = Batch { embeddings: Mat::new(&[4.0, 0.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 16.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Sphereface {
        /// How many times the angle counts.
        pub margin: NonZeroU8 = NonZeroU8::MIN.saturating_add(3),
        /// What logits are multiplied by.
        pub scale: Positive = Positive::literal(1.0),
    }
}

class_definition!(Sphereface, Cosine {}, |_| 1, |_| 1.0);

impl Sphereface {
    fn softmax(&self) -> MultipleAngle {
        MultipleAngle {
            margin: self.margin,
            scale: self.scale,
            proxy_norms: false,
        }
    }
}

impl MatrixLoss for Sphereface {
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
