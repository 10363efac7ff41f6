//! The additive angular margin loss.

use super::class_softmax::{ClassSoftmax, log_one_plus};
use super::{Columns, Definition, Row, RowLoss};
use crate::described::{described, words};
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::range::{Degrees, Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

words! {
    /// What the gradient of an angular margin is.
    pub enum Slope {
        /// The derivative of the value.
        Exact = "exact",
        /// One, as if the margin were added to the cosine.
        Detached = "detached",
    }
}

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

/// The margin `m(d)`.
#[derive(Clone, Copy)]
pub(super) struct AngularMargin {
    radians: f32,
    sin: f32,
    cos: f32,
    slope: Slope,
}

impl AngularMargin {
    /// Below this the sine of an angle is lost in the rounding of its cosine.
    const SMALLEST_SIN: f32 = 1e-3;

    pub fn new(margin: Degrees, slope: Slope) -> Self {
        let radians = margin.exact().to_radians();
        Self {
            radians: radians as f32,
            sin: radians.sin() as f32,
            cos: radians.cos() as f32,
            slope,
        }
    }

    /// `m(d)` with its slope.
    pub fn shifted(self, d: f32) -> (f32, f32) {
        let inside = (0.0..=2.0).contains(&d);
        let d = d.clamp(0.0, 2.0);
        // cos(θ + m) = cos θ cos m - sin θ sin m, where sin² θ = 1 - (1 - d)².
        let (cos_theta, sin_theta) = (1.0 - d, (d * (2.0 - d)).sqrt());
        let (shifted, slope) = if cos_theta >= -self.cos {
            let ratio = cos_theta / sin_theta.max(Self::SMALLEST_SIN);
            (
                1.0 - cos_theta * self.cos + sin_theta * self.sin,
                self.cos + self.sin * ratio,
            )
        } else {
            (d + self.radians * self.sin, 1.0)
        };
        match self.slope {
            Slope::Detached => (shifted, 1.0),
            Slope::Exact if inside => (shifted, slope),
            Slope::Exact => (shifted, 0.0),
        }
    }
}

/// The cosine of the right class with the margin, by its definition.
fn cos_with_margin(cos: f64, margin: Degrees) -> f64 {
    let m = margin.exact().to_radians();
    let theta = cos.clamp(-1.0, 1.0).acos();
    if theta <= std::f64::consts::PI - m {
        (theta + m).cos()
    } else {
        theta.cos() - m * m.sin()
    }
}

/// The same as the gradient sees it: with a detached slope, the margin is a constant, that of the held cosine.
pub(super) fn cos_of_target([cos, held]: [f64; 2], margin: Degrees, slope: Slope) -> f64 {
    match slope {
        Slope::Exact => cos_with_margin(cos, margin),
        Slope::Detached => cos + (cos_with_margin(held, margin) - held),
    }
}

impl Definition for Arcface {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn columns(&self) -> Columns {
        Columns::Proxies { per_class: 1 }
    }

    fn sampled(&self) -> f32 {
        self.sample.get()
    }
}

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
        let s = self.scale.exact();
        let mut terms = Vec::new();
        for i in 0..batch.rows() {
            for p in batch.positives(i) {
                let cos = [batch, batch.held()].map(|batch| 1.0 - batch.d(i, p));
                let target = cos_of_target(cos, self.margin, self.slope);
                let odds = |j: usize| s * (1.0 - batch.d(i, j) - target);
                let odds = batch.negatives(i).into_iter().map(odds);
                terms.push(Term {
                    anchor: i,
                    group: 0,
                    value: log_one_plus(odds),
                });
            }
        }
        terms
    }
}
