//! The softmax cross entropy of a linear classifier.

use super::class_softmax::{class_definition, column_sums, cross_entropy, reduce, terms};
use super::{Evaluation, Matrix, MatrixGradients, MatrixLoss, Shape};
use crate::described::described;
use crate::distance::Dot;
use crate::exact::Exact;
use crate::parameter::{ParameterSpec, Start};
use crate::range::Fraction;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// A plain linear classifier over the embeddings: the baseline that metric learning has to beat.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( d(x_i, w_y) - b_y - d(x_i, w_c) + b_c ) )         d(x, w) = -x·w
    /// ```
    ///
    /// An anchor is active while some other class has at least the logit of its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies `w`: `[classes, D]`, bias `b`: `[classes]`, both learned
    /// - value: a number, gradients: `[B, D]` and those of both parameters
    ///
    /// # Reference
    /// J. S. Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs, Neurocomputing 1990.
    ///
    /// # Differences
    /// None: `Linear` and `CrossEntropyLoss` of PyTorch, but for the starting values, which are normal here.
    /// `sample` is that of X. An et al., Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Shape, Softmax}};
    /// let mut criterion = Criterion::new(Softmax::default().into(), Shape { dim: 1, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![3.0, 1.0];
    /// criterion.parameters_mut()[1].values = vec![0.0, 2.0];
    /// // Logits 3 and 1 + 2: log 2.
    /// let batch = Batch { embeddings: Mat::new(&[1.0], 1, 1), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Softmax {
        /// Learn a number for each class that is added to its logit, starting from zero.
        pub bias: bool = true,
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(Softmax, Dot::default(), |_| 1, |loss| loss.sample.get(), {
    fn learned(&self, shape: Shape) -> Vec<ParameterSpec> {
        let bias = ParameterSpec {
            name: "bias",
            shape: [1, shape.classes],
            start: Start::Constant(0.0),
        };
        self.bias.then_some(bias).into_iter().collect()
    }
});

impl MatrixLoss for Softmax {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let (pairs, keep) = (matrix.pairs, matrix.reducer.keep());
        // A column is the proxy of a class, which need not have the same number.
        let class = |c: usize| matrix.column_labels[c] as usize;
        let bias = matrix.parameters.first();
        let bias: Vec<f32> = (0..pairs.cols())
            .map(|c| bias.map_or(0.0, |bias| bias[class(c)]))
            .collect();
        let terms = pairs.each_anchor(gradients.g, |a, g| {
            let Some(y) = pairs.positives(a).next() else {
                return Terms::default();
            };
            let (d, own) = (pairs.row(a), pairs.at(a, y));
            for ((z, d), b) in g.iter_mut().zip(d).zip(&bias) {
                *z = (own - d) + (b - bias[y]);
            }
            let odds = cross_entropy(g, y, (true, -1.0));
            g[y] = odds.miss;
            Terms::whole(odds.value, [1, usize::from(odds.beaten)], keep)
        });
        let (evaluation, _) = reduce(matrix, &terms, gradients.g);
        if let Some(of_bias) = gradients.parameters.first_mut() {
            // A bias is a distance with the other sign, the same for every anchor.
            let sums = column_sums(gradients.g, pairs.cols(), |_, g, sums| {
                sums.iter_mut()
                    .zip(g)
                    .for_each(|(sum, &g)| *sum -= f64::from(g));
            });
            let sums = sums.into_iter().enumerate();
            sums.for_each(|(c, sum)| of_bias[class(c)] += sum as f32);
        }
        evaluation
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        terms(batch, |i, y, c| {
            let logit = |c: usize| {
                let class = batch.label_of_column(c) as usize;
                let bias = if self.bias {
                    batch.parameter(0)[class]
                } else {
                    0.0
                };
                bias - batch.d(i, c)
            };
            logit(c[0]) - logit(y[0])
        })
    }
}
