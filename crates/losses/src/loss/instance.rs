//! The instance loss.

use super::class_softmax::{ClassSoftmax, class_definition, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::{Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Classifies images and texts by one learned matrix that both share; each image with its texts is a class.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( gamma (d(x_i, p_y) - d(x_i, p_c)) ) )
    /// ```
    ///
    /// The batch holds the embeddings of both kinds, each with the number of its group for a label. An anchor is active
    /// while some other proxy is at least as near as its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies, the rows of the matrix: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// Z. Zheng, L. Zheng, M. Garrett, Y. Yang, M. Xu, Y.-D. Shen, Dual-Path Convolutional Image-Text Embeddings with Instance
    /// Loss, ACM TOMM 2020.
    ///
    /// # Differences
    /// The paper has inner products as they are, which are `[distance.dot]` and `gamma = 1`; cosines times 64 are those of
    /// pytorch-metric-learning. Its `InstanceLoss` has no matrix, though: the number of a class among those of the batch
    /// is taken for a column of the batch, so that an item is drawn to whichever item has that place. `sample` is that of
    /// X. An et al., Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{Instance, Shape};
    /// let mut criterion = Criterion::new(Instance::default().into(), Shape { dim: 2, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // An image and a text of the first group, one at its proxy, one as near to the other: the mean of 0 and log 2.
    /// let embeddings = Mat::new(&[1.0, 0.0, 1.0, 1.0], 2, 2);
    /// let batch = Batch { embeddings, targets: Targets::Labels(&[0, 0]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln() / 2.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Instance {
        /// What distances are multiplied by.
        pub gamma: Positive = Positive::literal(64.0),
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(Instance, Cosine {}, |_| 1, |loss| loss.sample.get());

impl RowLoss for Instance {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let softmax = ClassSoftmax {
            scale: self.gamma.get(),
            with_target: true,
        };
        softmax.row(row, g, |d| (d, 1.0))
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let gamma = self.gamma.exact();
        terms(batch, |i, y, c| {
            gamma * (batch.d(i, y[0]) - batch.d(i, c[0]))
        })
    }
}
