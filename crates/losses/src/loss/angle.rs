//! The angle-optimized loss.

use super::order::{ordered, ordered_reference};
use super::paired::add;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::error::Error;
use crate::range::Positive;

described! {
    /// Orders pairs by their gold scores, as the `CoSENT` loss does, by the angles of embeddings taken as complex vectors.
    ///
    /// ```text
    /// L = log[ 1 + Σ_{y_i > y_j} exp( scale (s_j - s_i) ) ],  s = |Σ_k Re(u_k v̄_k) + Im(u_k v̄_k)| / (‖u‖ ‖v‖)
    /// ```
    ///
    /// The first half of the components are the real parts, the second half the imaginary parts; an odd one is real. A zero
    /// vector has `s = 0`. A pair is active while one of lower score is at least as close.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; scores: `[n, 1]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// X. Li, J. Li, AnglE-optimized Text Embeddings, ACL 2024, Eq. 7; its other two terms are losses of their own.
    ///
    /// # Differences
    /// The absolute value of the sum, not the sum of absolute values, as in the authors' code and sentence-transformers.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::Angle};
    /// // Real numbers of one sign, all with s = 1, a tie: log(1 + exp(0)).
    /// let targets = Targets::Aligned(Aligned { scores: Some(&[0.0, 1.0]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets };
    /// let outcome = Objective::from(Angle::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Angle {
        /// Inverse temperature of the softmax.
        pub scale: Positive = Positive::literal(20.0),
    }
}

view_definition!(Angle, [Target::Scores], None);

/// `v` turned so that `u·turned = Σ_k Re(u_k v̄_k) + Im(u_k v̄_k)`; with `back`, `u` turned so that `v·turned` is that.
fn turned(v: &[f32], back: bool) -> Vec<f32> {
    let real = v.len().div_ceil(2);
    let sign = if back { -1.0 } else { 1.0 };
    let at = |k: usize| v.get(k).copied().unwrap_or(0.0);
    let first = (0..real).map(|k| v[k] - sign * at(real + k));
    first
        .chain((real..v.len()).map(|k| v[k] + sign * v[k - real]))
        .collect()
}

fn product(u: &[f32], v: &[f32]) -> f64 {
    let products = u.iter().zip(v).map(|(&u, &v)| f64::from(u) * f64::from(v));
    products.sum()
}

/// `s` without the absolute value, and `1 / (‖u‖ ‖v‖)`.
fn similarity(u: &[f32], v: &[f32]) -> (f64, f64) {
    let norms = product(u, u).sqrt() * product(v, v).sqrt();
    let inverse = if norms > 0.0 { norms.recip() } else { 0.0 };
    (product(u, &turned(v, false)) * inverse, inverse)
}

impl ViewLoss for Angle {
    fn needs(&self, _views: usize) -> Needs {
        Needs::scores(1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let n = views.items();
        let rows: Vec<_> = (0..n)
            .map(|i| [0, 1].map(|view| views.row(view, i)))
            .collect();
        let similarities: Vec<_> = rows.iter().map(|[u, v]| similarity(u, v)).collect();
        let d: Vec<_> = similarities.iter().map(|(s, _)| -s.abs() as f32).collect();
        let (evaluation, slopes) = ordered(self.scale.exact(), &d, views);
        for (i, &(s, inverse)) in similarities.iter().enumerate() {
            let slope = -f64::from(slopes[i]) * if s < 0.0 { -1.0 } else { 1.0 };
            if inverse <= 0.0 {
                continue;
            }
            for (view, other, back) in [(0, 1, false), (1, 0, true)] {
                let x = rows[i][view];
                let along = s / product(x, x);
                let pull = |(&t, &x): (&f32, &f32)| {
                    (slope * (f64::from(t) * inverse - along * f64::from(x))) as f32
                };
                let gradient: Vec<_> = turned(rows[i][other], back)
                    .iter()
                    .zip(x)
                    .map(pull)
                    .collect();
                add(&mut gradients.embeddings[view][i * views.cols..], &gradient);
            }
        }
        Ok(evaluation)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let half = views.cols.div_ceil(2);
        let parts = |x: &[f64], k: usize| (x[k], x.get(half + k).copied().unwrap_or(0.0));
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let d = |i: usize| {
            let (u, v) = (views.row(0, i), views.row(1, i));
            let mut sum = 0.0;
            for k in 0..half {
                let ((a, b), (c, d)) = (parts(u, k), parts(v, k));
                sum += (a * c + b * d) + (b * c - a * d);
            }
            let norms = norm(u) * norm(v);
            if norms > 0.0 {
                -(sum / norms).abs()
            } else {
                0.0
            }
        };
        let d: Vec<_> = (0..views.items()).map(d).collect();
        ordered_reference(self.scale.exact(), &d, views)
    }
}
