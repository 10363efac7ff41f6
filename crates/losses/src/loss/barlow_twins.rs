//! Redundancy reduction between two views.

use super::view::view_definition;
use super::{Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::error::Error;
use crate::range::{NonNegative, Positive};
use nearkin_kernels::{Beta, Mat, MatMut, gemm};

described! {
    /// Makes each component of one view go with the same component of the other, and with no other component.
    ///
    /// ```text
    /// L = Σ_j (1 - C_jj)² + lambda Σ_{j≠k} C_jk²         C = 1/n Ûᵀ V̂
    ///
    /// û_ij = (u_ij - mean_j) / √(var_j + epsilon), over the batch, and the same for v
    /// ```
    ///
    /// `var` divides by `n`. Memory: one matrix `[D, D]` and the standardized views. No negatives are needed. Each component is
    /// a tuple, and active while its correlation `C_jj` is below 0.9.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// J. Zbontar, L. Jing, I. Misra, Y. `LeCun`, S. Deny, Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML
    /// 2021, Eq. 1 and 2.
    ///
    /// # Differences
    /// `lambda` is that of the paper's text; its code has 0.0051. Eq. 2 has no `epsilon`; that of the code is PyTorch's batch
    /// normalization's. Neither sentence-transformers nor pytorch-metric-learning has this loss.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::BarlowTwins};
    /// // One component, whose views go in opposite directions: C = -1, so (1 + 1)².
    /// let batch = Batch { embeddings: Mat::new(&[3.0, 7.0, 5.0, 1.0], 4, 1), targets: Targets::Aligned(Aligned::pairs()) };
    /// let outcome = Objective::from(BarlowTwins::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 4.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct BarlowTwins {
        /// Weight of the redundancy reduction, `λ` in the paper.
        pub lambda: NonNegative = NonNegative::literal(0.005),
        /// Added to variances before their root.
        pub epsilon: Positive = Positive::literal(0.00001),
    }
}

view_definition!(BarlowTwins, [Target::Pairs], None);

/// A view of mean zero and variance one in each component.
struct Standardized {
    /// `[n, D]`, row-major.
    z: Vec<f32>,
    /// `1 / √(var + epsilon)` of each component.
    inverse: Vec<f64>,
}

/// For each component the sum over the rows of what `term` makes of its number and place.
fn sums(view: &[f32], cols: usize, term: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; cols];
    for (i, row) in view.chunks_exact(cols).enumerate() {
        for (j, (sum, &x)) in sums.iter_mut().zip(row).enumerate() {
            *sum += term(i * cols + j, f64::from(x));
        }
    }
    sums
}

impl Standardized {
    fn new(view: &[f32], cols: usize, epsilon: f64) -> Self {
        let n = (view.len() / cols) as f64;
        let mean = sums(view, cols, |_, x| x / n);
        let inverse: Vec<f64> = sums(view, cols, |k, x| (x - mean[k % cols]).powi(2) / n)
            .into_iter()
            .map(|variance| (variance + epsilon).sqrt().recip())
            .collect();
        let rows = view.chunks_exact(cols);
        let z = rows.flat_map(|row| {
            let entry = |(j, &x): (usize, &f32)| ((f64::from(x) - mean[j]) * inverse[j]) as f32;
            row.iter().enumerate().map(entry).collect::<Vec<_>>()
        });
        Self {
            z: z.collect(),
            inverse,
        }
    }

    /// Adds to `gradient` that of the view, from that of what it was made to be.
    fn pull(&self, of_z: &[f32], gradient: &mut [f32]) {
        let cols = self.inverse.len();
        let n = (of_z.len() / cols) as f64;
        let shift = sums(of_z, cols, |_, g| g / n);
        let along = sums(of_z, cols, |k, g| g * f64::from(self.z[k]) / n);
        for (k, (sum, &g)) in gradient.iter_mut().zip(of_z).enumerate() {
            let j = k % cols;
            let rest = f64::from(g) - shift[j] - f64::from(self.z[k]) * along[j];
            *sum += (rest * self.inverse[j]) as f32;
        }
    }
}

impl BarlowTwins {
    /// The value of correlations, which become their slopes.
    fn terms(&self, c: &mut [f32], cols: usize) -> Evaluation {
        let mut total = Evaluation {
            tuples: cols,
            ..Evaluation::default()
        };
        for (k, c) in c.iter_mut().enumerate() {
            let own = k % (cols + 1) == 0;
            let (off, weight) = if own {
                (*c - 1.0, 1.0)
            } else {
                (*c, self.lambda.exact())
            };
            total.value += weight * f64::from(off).powi(2);
            total.active += usize::from(own && *c < 0.9);
            *c = 2.0 * weight as f32 * off;
        }
        total
    }
}

impl ViewLoss for BarlowTwins {
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let (n, cols, epsilon) = (views.items(), views.cols, self.epsilon.exact());
        let [u, v] = [0, 1].map(|view| Standardized::new(views.embeddings[view], cols, epsilon));
        let (of_u, of_v) = (Mat::new(&u.z, n, cols), Mat::new(&v.z, n, cols));
        let inverse = (n as f32).recip();
        let mut c = vec![0.0; cols * cols];
        gemm(
            MatMut::new(&mut c, cols, cols),
            Beta::Overwrite,
            inverse,
            of_u.t(),
            of_v,
        );
        let total = self.terms(&mut c, cols);
        let slopes = Mat::new(&c, cols, cols);
        let mut of_z = vec![0.0; n * cols];
        gemm(
            MatMut::new(&mut of_z, n, cols),
            Beta::Overwrite,
            inverse,
            of_v,
            slopes.t(),
        );
        u.pull(&of_z, gradients.embeddings[0]);
        gemm(
            MatMut::new(&mut of_z, n, cols),
            Beta::Overwrite,
            inverse,
            of_u,
            slopes,
        );
        v.pull(&of_z, gradients.embeddings[1]);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, d) = (views.items(), views.cols);
        let column = |view: usize, j: usize| {
            let x: Vec<_> = (0..n).map(|i| views.row(view, i)[j]).collect();
            let mean = x.iter().sum::<f64>() / n as f64;
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let deviation = (var + self.epsilon.exact()).sqrt();
            x.into_iter()
                .map(|x| (x - mean) / deviation)
                .collect::<Vec<_>>()
        };
        let mut value = 0.0;
        for j in 0..d {
            for k in 0..d {
                let product = column(0, j)
                    .iter()
                    .zip(column(1, k))
                    .map(|(u, v)| u * v)
                    .sum::<f64>();
                let c = product / n as f64;
                value += if j == k {
                    (1.0 - c).powi(2)
                } else {
                    self.lambda.exact() * c * c
                };
            }
        }
        value
    }
}
