//! The proxy-NCA loss.

use super::class_softmax::{ClassSoftmax, class_definition};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::SquaredL2;
use crate::exact::Exact;
use crate::range::{Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Draws each embedding to the proxy of its class and away from the proxies of all others.
    ///
    /// ```text
    /// L = 1/B Σ_i -log( exp(-scale d(x_i, p_y)) / Σ_{c≠y} exp(-scale d(x_i, p_c)) )
    /// ```
    ///
    /// With `plus_plus` the right class is part of the denominator, which makes it a softmax; without, the value can be
    /// negative. A batch compared with one class alone has no terms without `plus_plus`. An anchor is active while some
    /// other proxy is at least as near as its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// Y. Movshovitz-Attias, A. Toshev, T. K. Leung, S. Ioffe, S. Singh, No Fuss Distance Metric Learning using Proxies,
    /// ICCV 2017, §3. `plus_plus` is the proxy assignment probability of E. W. Teh, T. DeVries, G. W. Taylor,
    /// `ProxyNCA++`, ECCV 2020, §3, where `scale` is one over the temperature.
    ///
    /// # Differences
    /// The loss of this name in pytorch-metric-learning is that with `plus_plus = true`. `sample` is that of X. An et al.,
    /// Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{ProxyNca, Shape}};
    /// let shape = Shape { dim: 2, classes: 2 };
    /// let mut criterion = Criterion::new(ProxyNca::default().into(), shape, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // At the other proxy, and at √2 from its own: 2 - 0.
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ProxyNca {
        /// What distances are multiplied by.
        pub scale: Positive = Positive::literal(1.0),
        /// Count the right class in the denominator.
        pub plus_plus: bool = false,
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(ProxyNca, SquaredL2::default(), |_| 1, |loss| loss
    .sample
    .get());

impl RowLoss for ProxyNca {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let softmax = ClassSoftmax {
            scale: self.scale.get(),
            with_target: self.plus_plus,
        };
        softmax.row(row, g, |d| (d, 1.0))
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let mut terms = Vec::new();
        for x in 0..batch.rows() {
            for y in batch.positives(x) {
                let mut z = batch.negatives(x);
                if z.is_empty() && !self.plus_plus {
                    continue;
                }
                if self.plus_plus {
                    z.push(y);
                }
                // -log(a / Σ b) = log Σ (b / a), relative to the largest, which far points do not leave as 0 / 0.
                let odds = |&z: &usize| self.scale.exact() * (batch.d(x, y) - batch.d(x, z));
                let top = z.iter().map(odds).fold(f64::MIN, f64::max);
                let sum: f64 = z.iter().map(|z| (odds(z) - top).exp()).sum();
                let value = top + sum.ln();
                terms.push(Term {
                    anchor: x,
                    group: 0,
                    value,
                });
            }
        }
        terms
    }
}
