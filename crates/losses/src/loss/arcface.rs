//! The additive angular margin loss.

pub use super::angular_margin::Slope;
use super::angular_margin::{AngularMargin, cos_of_target};
use super::class_softmax::{ClassSoftmax, class_definition, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::{Degrees, Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Classifies by the nearest class proxy, after the angle to the right one has grown by a margin.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale (m(d(x_i, p_y)) - d(x_i, p_c)) ) )
    ///
    /// m(d) = 1 - cos(θ + margin)         θ = arccos(1 - d) ≤ 180° - margin
    ///        d + margin sin(margin)      beyond, so that it goes on growing
    /// ```
    ///
    /// The distance to the right proxy is clamped to `[0, 2]`, with no slope outside. The slope of `m` is
    /// `sin(θ + margin) / sin θ`, which has no bound at `θ = 0`; `sin θ` is taken to be at least 0.001 there, below which
    /// `f32` cannot tell it from zero. An anchor is active while some other proxy is nearer than `m`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// J. Deng, J. Guo, N. Xue, S. Zafeiriou, `ArcFace`: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019,
    /// Eq. 3.
    ///
    /// # Differences
    /// The margin of the paper, 0.5 radians, rounded as in pytorch-metric-learning, whose continuation beyond
    /// `180° - margin` is taken too; the paper has none. `InsightFace` computes `cos(θ + margin)` outside of autograd, so
    /// that the slope of `m` is one: `slope = "detached"`. `sample` is that of X. An et al., Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Arcface, Shape}};
    /// let loss = Arcface { margin: nearkin_losses::range::Degrees::literal(45.0), ..Arcface::default() };
    /// let mut criterion = Criterion::new(loss.into(), Shape { dim: 2, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // At 45° from either proxy; with the margin 90°, so the logits are 64 √½ and 0, a difference of 45.2548.
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 1.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 45.2548).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Arcface {
        /// What distances are multiplied by.
        pub scale: Positive = Positive::literal(64.0),
        /// What is added to the angle of the right class, in degrees.
        pub margin: Degrees = Degrees::literal(28.6),
        /// The gradient: `exact`, or `detached` as in `InsightFace`.
        pub slope: Slope = Slope::Exact,
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(Arcface, Cosine {}, |_| 1, |loss| loss.sample.get());

impl RowLoss for Arcface {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let softmax = ClassSoftmax {
            scale: self.scale.get(),
            with_target: true,
        };
        let margin = AngularMargin::new(self.margin, self.slope);
        softmax.row(row, g, |d| margin.shifted(d))
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        terms(batch, |i, y, c| {
            let cos = [batch, batch.held()].map(|batch| 1.0 - batch.d(i, y[0]));
            let target = cos_of_target(cos, self.margin, self.slope);
            self.scale.exact() * (1.0 - batch.d(i, c[0]) - target)
        })
    }
}
