//! Variance-invariance-covariance regularization.

use super::paired::add;
use super::view::view_definition;
use super::{Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::error::Error;
use crate::range::{NonNegative, Positive};
use rayon::prelude::*;

described! {
    /// Pulls the views together, keeps the spread of each component at one and decorrelates the components.
    ///
    /// ```text
    /// L = λ/n Σ_i ‖u_i - v_i‖² / k  +  μ w [ v(U) + v(V) ]  +  ν [ c(U) + c(V) ]
    /// v(Z) = 1/D Σ_j [ 1 - √(Var(z_j) + ε) ]₊,   c(Z) = 1/D Σ_{j≠k} Cov(z_j, z_k)²
    /// ```
    ///
    /// `Var` and `Cov` divide by `n - 1`; a single pair has neither. `k` is `D` with `mean_components`, else 1, and `w` is ½ with
    /// `halve_variance`, else 1. No negatives are needed. A pair is active while it is farther apart than 0.1 in the mean square.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// A. Bardes, J. Ponce, Y. `LeCun`, `VICReg`: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, ICLR
    /// 2022, Eq. 1 to 6.
    ///
    /// # Differences
    /// The paper's text has `k = 1` and `w = 1`. Its code, as pytorch-metric-learning, has `k = D` and `w = ½`, for which its
    /// weights 25, 25 and 1 were tuned: these are the defaults.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::Vicreg};
    /// // One item, off by 2 in one component of two: 25 · 4 / 2, and no variance to speak of.
    /// let targets = Targets::Aligned(Aligned::pairs());
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0, 1.0, 2.0], 2, 2), targets };
    /// let outcome = Objective::from(Vicreg::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 50.0).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Vicreg {
        /// Weight `λ` of the invariance.
        pub invariance: NonNegative = NonNegative::literal(25.0),
        /// Weight `μ` of the variance.
        pub variance: NonNegative = NonNegative::literal(25.0),
        /// Weight `ν` of the covariance.
        pub covariance: NonNegative = NonNegative::literal(1.0),
        /// Added to variances before their root.
        pub epsilon: Positive = Positive::literal(0.0001),
        /// Average squared distances over the components, rather than add them up.
        pub mean_components: bool = true,
        /// Take half of the variance terms.
        pub halve_variance: bool = true,
    }
}

view_definition!(Vicreg, [Target::Pairs], None);

impl Vicreg {
    fn invariance_factor(&self, views: &Views<'_, f32>) -> f64 {
        let components = if self.mean_components { views.cols } else { 1 };
        self.invariance.exact() / (views.items() * components) as f64
    }

    /// Variance and covariance terms of one view, gradient added.
    fn spread(&self, view: &[f32], cols: usize, gradient: &mut [f32]) -> f64 {
        let n = view.len() / cols;
        if n < 2 {
            return 0.0;
        }
        let centered = centered(view, cols);
        let covariance = products(&centered, cols, (n - 1) as f64);
        let weight = self.variance.exact() * if self.halve_variance { 0.5 } else { 1.0 };
        let weight = weight / cols as f64;
        // `∂L/∂Cov`, of which the diagonal is the variances.
        let mut slopes = vec![0.0; cols * cols];
        let mut value = 0.0;
        for (k, (slope, &c)) in slopes.iter_mut().zip(&covariance).enumerate() {
            if k % (cols + 1) == 0 {
                let deviation = (c + self.epsilon.exact()).sqrt();
                if deviation < 1.0 {
                    value += weight * (1.0 - deviation);
                    *slope = -weight / (2.0 * deviation);
                }
            } else {
                let share = self.covariance.exact() / cols as f64;
                value += share * c * c;
                *slope = 2.0 * share * c;
            }
        }
        // The mean has no say: the centered rows sum to zero, and so does what they pull.
        let factor = 2.0 / (n - 1) as f64;
        let rows = centered.par_chunks_exact(cols);
        let rows = rows
            .zip(gradient.par_chunks_exact_mut(cols))
            .with_min_len(8);
        rows.for_each_init(
            || vec![0.0; cols],
            |pull, (x, gradient)| {
                // `∂L/∂Cov` is symmetric, so that its rows may be added up in place of its columns.
                pull.fill(0.0);
                for (slopes, x) in slopes.chunks_exact(cols).zip(x) {
                    pull.iter_mut().zip(slopes).for_each(|(p, s)| *p += s * x);
                }
                let each = gradient.iter_mut().zip(&*pull);
                each.for_each(|(gradient, pull)| *gradient += (factor * pull) as f32);
            },
        );
        value
    }
}

/// The rows less their mean.
fn centered(view: &[f32], cols: usize) -> Vec<f64> {
    let n = view.len() / cols;
    let mut mean = vec![0.0; cols];
    for row in view.chunks_exact(cols) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, &x)| *m += f64::from(x) / n as f64);
    }
    let rows = view.chunks_exact(cols);
    rows.flat_map(|row| row.iter().zip(&mean).map(|(&x, m)| f64::from(x) - m))
        .collect()
}

/// `XᵀX / divisor`.
fn products(x: &[f64], cols: usize, divisor: f64) -> Vec<f64> {
    let mut products = vec![0.0; cols * cols];
    let each = products
        .par_chunks_exact_mut(cols)
        .with_min_len(8)
        .enumerate();
    each.for_each(|(a, products)| {
        for row in x.chunks_exact(cols) {
            let each = products.iter_mut().zip(row);
            each.for_each(|(p, b)| *p += row[a] * b);
        }
        for product in products {
            *product /= divisor;
        }
    });
    products
}

impl ViewLoss for Vicreg {
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let factor = self.invariance_factor(views);
        let mut total = Evaluation::default();
        for i in 0..views.items() {
            let pair = views.row(0, i).iter().zip(views.row(1, i));
            let gaps: Vec<_> = pair.map(|(u, v)| u - v).collect();
            let square: f64 = gaps.iter().map(|&gap| f64::from(gap).powi(2)).sum();
            for (view, sign) in [(0, 2.0), (1, -2.0)] {
                let pull: Vec<_> = gaps
                    .iter()
                    .map(|gap| (sign * factor) as f32 * gap)
                    .collect();
                add(&mut gradients.embeddings[view][i * views.cols..], &pull);
            }
            total = total.plus(Evaluation::of_tuple(
                factor * square,
                square > 0.01 * views.cols as f64,
            ));
        }
        for view in 0..2 {
            total.value += self.spread(
                views.embeddings[view],
                views.cols,
                gradients.embeddings[view],
            );
        }
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, d) = (views.items(), views.cols);
        let mut value = 0.0;
        for (u, v) in views.embeddings[0].iter().zip(views.embeddings[1]) {
            let k = if self.mean_components { d } else { 1 };
            value += self.invariance.exact() * (u - v).powi(2) / (n * k) as f64;
        }
        if n < 2 {
            return value;
        }
        let w = if self.halve_variance { 0.5 } else { 1.0 };
        for z in 0..2 {
            let mean = |j: usize| (0..n).map(|i| views.row(z, i)[j]).sum::<f64>() / n as f64;
            let means: Vec<_> = (0..d).map(mean).collect();
            for j in 0..d {
                for k in 0..d {
                    let product = |i: usize| {
                        let x = views.row(z, i);
                        (x[j] - means[j]) * (x[k] - means[k])
                    };
                    let cov = (0..n).map(product).sum::<f64>() / (n - 1) as f64;
                    value += if j == k {
                        let short = (1.0 - (cov + self.epsilon.exact()).sqrt()).max(0.0);
                        self.variance.exact() * w * short / d as f64
                    } else {
                        self.covariance.exact() * cov * cov / d as f64
                    };
                }
            }
        }
        value
    }
}
