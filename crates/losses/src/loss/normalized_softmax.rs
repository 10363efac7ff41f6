//! The normalized softmax loss.

use super::class_softmax::{ClassSoftmax, class_definition, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::{Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Classifies embeddings by the nearest of one learned proxy for each class.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( (d(x_i, p_y) - d(x_i, p_c)) / temperature ) )
    /// ```
    ///
    /// An anchor is active while some other proxy is at least as near as its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// A. Zhai, H.-Y. Wu, Classification is a Strong Baseline for Deep Metric Learning, BMVC 2019, §3.
    ///
    /// # Differences
    /// None in the value; pytorch-metric-learning has the same default. `sample` is that of X. An et al., Partial FC,
    /// ICCVW 2021.
    ///
    /// The instance loss is the same with a factor in place of the temperature: see `instance`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{NormalizedSoftmax, Shape};
    /// let shape = Shape { dim: 2, classes: 2 };
    /// let mut criterion = Criterion::new(NormalizedSoftmax::default().into(), shape, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // As near to the other proxy as to its own: log 2.
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 1.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct NormalizedSoftmax {
        /// What distances are divided by.
        pub temperature: Positive = Positive::literal(0.05),
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(NormalizedSoftmax, Cosine {}, |_| 1, |loss| loss
    .sample
    .get());

impl RowLoss for NormalizedSoftmax {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let softmax = ClassSoftmax {
            scale: self.temperature.exact().recip() as f32,
            with_target: true,
        };
        softmax.row(row, g, |d| (d, 1.0))
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let t = self.temperature.exact();
        terms(batch, |i, y, c| (batch.d(i, y[0]) - batch.d(i, c[0])) / t)
    }
}
