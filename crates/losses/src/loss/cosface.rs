//! The large margin cosine loss.

use super::class_softmax::{ClassSoftmax, class_definition, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::{Fraction, NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Classifies by the nearest class proxy, after the distance to the right one has grown by a margin.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale (d(x_i, p_y) + margin - d(x_i, p_c)) ) )
    /// ```
    ///
    /// An anchor is active while some other proxy is nearer than its own plus the margin.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// H. Wang, Y. Wang, Z. Zhou, X. Ji, D. Gong, J. Zhou, Z. Li, W. Liu, `CosFace`: Large Margin Cosine Loss for Deep Face
    /// Recognition, CVPR 2018, Eq. 4.
    ///
    /// # Differences
    /// Scale and margin are those of the paper and of pytorch-metric-learning; `InsightFace`'s recipes take a margin of 0.4.
    /// `sample` is that of X. An et al., Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Cosface, Shape}};
    /// let shape = Shape { dim: 2, classes: 2 };
    /// let mut criterion = Criterion::new(Cosface::default().into(), shape, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // As near to the other proxy as to its own: log(1 + exp(64 · 0.35)), and exp(-22.4) is lost in f32.
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 1.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 22.4).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Cosface {
        /// What distances are multiplied by.
        pub scale: Positive = Positive::literal(64.0),
        /// What is added to the distance of the right class.
        pub margin: NonNegative = NonNegative::literal(0.35),
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(Cosface, Cosine {}, |_| 1, |loss| loss.sample.get());

impl RowLoss for Cosface {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let softmax = ClassSoftmax {
            scale: self.scale.get(),
            with_target: true,
        };
        let margin = self.margin.get();
        softmax.row(row, g, |d| (d + margin, 1.0))
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let (s, m) = (self.scale.exact(), self.margin.exact());
        terms(batch, |i, y, c| {
            let cos = |j: usize| 1.0 - batch.d(i, j);
            s * (cos(c[0]) - (cos(y[0]) - m))
        })
    }
}
