//! Global orthogonal regularization.

use super::paired::add;
use super::view::view_definition;
use super::{Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::{Cosine, Distances};
use crate::error::Error;
use crate::range::NonNegative;

described! {
    /// Spreads the embeddings of each view as if they were drawn from the sphere at random.
    ///
    /// ```text
    /// L = mean over views of  mean_weight M₁² + moment_weight [ M₂ - 1/D ]₊
    /// M₁, M₂ = means of s and s² over the pairs i ≠ j of a view,  s = 1 - d(x_i, x_j)
    /// ```
    ///
    /// A regularizer: add it to a ranking loss by `weighted_sum`. Each pair is a tuple; all are active while `M₂ > 1/D`.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// X. Zhang, F. X. Yu, S. Kumar, S.-F. Chang, Learning Spread-out Local Feature Descriptors, ICCV 2017, Eq. 5 to 7.
    ///
    /// # Differences
    /// The paper takes negatives only, one view against another. Within each view, all pairs, is the form of
    /// sentence-transformers, whose `aggregation` is the mean over views here.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::GlobalOrthogonal};
    /// // Both pairs parallel in one dimension: M₁² = 1 and M₂ - 1 = 0.
    /// let targets = Targets::Aligned(Aligned::pairs());
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets };
    /// let outcome = Objective::from(GlobalOrthogonal::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 1.0).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct GlobalOrthogonal {
        /// Weight of the squared mean.
        pub mean_weight: NonNegative = NonNegative::literal(1.0),
        /// Weight of the second moment.
        pub moment_weight: NonNegative = NonNegative::literal(1.0),
    }
}

view_definition!(
    GlobalOrthogonal,
    [Target::Pairs, Target::Triplets],
    Some(Cosine {}.into())
);

impl ViewLoss for GlobalOrthogonal {
    fn views(&self) -> (usize, usize) {
        (2, usize::MAX)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let (n, count) = (views.items(), views.embeddings.len());
        let pairs = n * n.saturating_sub(1);
        let scale = 1.0 / (pairs.max(1) as f64);
        let mut total = Evaluation::default();
        for (view, gradient) in gradients.embeddings.iter_mut().enumerate() {
            let distances = Distances::among(views.distance(), views.embeddings[view], views.cols)?;
            let off = |k: usize| !k.is_multiple_of(n + 1);
            let similarity = |k: usize, d: f32| if off(k) { f64::from(1.0 - d) } else { 0.0 };
            let (mut first, mut second) = (0.0, 0.0);
            for (k, &d) in distances.s().iter().enumerate() {
                let s = similarity(k, d);
                first += s * scale;
                second += s * s * scale;
            }
            let excess = second - 1.0 / views.cols as f64;
            let weights = [self.mean_weight, self.moment_weight].map(|w| w.exact() / count as f64);
            let moment = if excess > 0.0 { weights[1] } else { 0.0 };
            let slope = |(k, &d): (usize, &f32)| {
                let s = similarity(k, d);
                let slope = -2.0 * scale * (weights[0] * first + moment * s);
                if off(k) { slope as f32 } else { 0.0 }
            };
            let g: Vec<_> = distances.s().iter().enumerate().map(slope).collect();
            total = total.plus(Evaluation {
                value: weights[0] * first * first + weights[1] * excess.max(0.0),
                tuples: pairs,
                active: if excess > 0.0 { pairs } else { 0 },
            });
            add(gradient, &distances.gradient(&g));
        }
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, count) = (views.items(), views.embeddings.len());
        let mut value = 0.0;
        for view in 0..count {
            let (mut m1, mut m2, mut pairs) = (0.0, 0.0, 0);
            for i in 0..n {
                for j in 0..n {
                    if i != j {
                        let s = 1.0 - views.d((view, i), (view, j));
                        m1 += s;
                        m2 += s * s;
                        pairs += 1;
                    }
                }
            }
            let pairs = f64::from(pairs.max(1));
            value += self.mean_weight.exact() * (m1 / pairs).powi(2);
            value += self.moment_weight.exact() * (m2 / pairs - 1.0 / views.cols as f64).max(0.0);
        }
        value / count as f64
    }
}
