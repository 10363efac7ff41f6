//! The margin loss with a learned boundary.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, Shape};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::parameter::{ParameterSpec, Start};
use crate::range::{NonNegative, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::{KeptPairs, Tuples};

described! {
    /// Keeps positives inside a boundary and negatives outside it, where the boundary is learned.
    ///
    /// ```text
    /// L = 1/V Σ_a { Σ_p [ α + d(a, p) - β_a ]₊ + Σ_n [ α + β_a - d(a, n) ]₊ }  +  ν mean β_a
    /// ```
    ///
    /// `V` is the number of pairs with a term above zero, the active ones. `β_a` is one number for all, or one for each
    /// class; a label beyond the classes of the training data keeps the boundary that all start from.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`; learned: `beta`, `[1, 1]` or `[classes, 1]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl, Sampling Matters in Deep Embedding Learning, ICCV 2017, Eq. 5 to 7;
    /// the divisor is that of the authors' code.
    ///
    /// # Differences
    /// Each pair counts once, as in the paper. pytorch-metric-learning sums over triplets, so that without a miner a pair
    /// counts once for each triplet it is part of; it also learns the boundary only if asked to, and weighs that of a class
    /// by its triplets. The paper's boundary of each single image is left out.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, distance::L2, loss::Margin};
    /// // Points 0, 1.5 and 4 on a line: the positives are 0.2 + 1.5 - 1.2 too far, either way; the negatives are far enough.
    /// let batch = Mat::new(&[0.0, 1.5, 4.0], 3, 1);
    /// let outcome = Objective::from(Margin { learn: false, ..Margin::default() })
    ///     .with_distance(L2 { normalize: false })
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.5).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Margin {
        /// Distance `α` that a pair keeps from the boundary.
        pub margin: NonNegative = NonNegative::literal(0.2),
        /// The boundary `β`, or where it starts.
        pub beta: Positive = Positive::literal(1.2),
        /// Learn the boundary.
        pub learn: bool = true,
        /// One learned boundary for each class.
        pub per_class: bool = false,
        /// Weight `ν` of the mean boundary.
        pub nu: NonNegative = NonNegative::literal(0.0),
    }
}

/// The pairs of an anchor: the sum of their terms, how many there are, those above zero, and the slope of the boundary.
#[derive(Clone, Copy, Default)]
struct Anchor {
    value: f64,
    pairs: usize,
    active: usize,
    of_beta: f64,
}

impl Margin {
    /// Where the boundary of a label is among the learned ones, if it is.
    fn place(&self, label: u32, learned: usize) -> Option<usize> {
        let place = if self.per_class { label as usize } else { 0 };
        (place < learned).then_some(place)
    }

    fn anchor(
        &self,
        d: &[f32],
        (kept, a): (&KeptPairs<'_>, usize),
        beta: f32,
        g: &mut [f32],
    ) -> Anchor {
        let (inner, outer) = (beta - self.margin.get(), beta + self.margin.get());
        let mut anchor = Anchor::default();
        for p in kept.positives(a) {
            let excess = d[p] - inner;
            anchor.pairs += 1;
            if excess > 0.0 {
                anchor.value += f64::from(excess);
                anchor.active += 1;
                anchor.of_beta -= 1.0;
                g[p] = 1.0;
            }
        }
        kept.negatives(a, |range| {
            anchor.pairs += range.len();
            for (g, &d) in g[range.clone()].iter_mut().zip(&d[range]) {
                let excess = outer - d;
                if excess > 0.0 {
                    anchor.value += f64::from(excess);
                    anchor.active += 1;
                    anchor.of_beta += 1.0;
                    *g = -1.0;
                }
            }
        });
        anchor
    }
}

impl Definition for Margin {
    fn default_distance(&self) -> Option<Distance> {
        Some(L2::default().into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }

    fn learned(&self, shape: Shape) -> Vec<ParameterSpec> {
        let count = if self.per_class { shape.classes } else { 1 };
        let beta = ParameterSpec {
            name: "beta",
            shape: [count, 1],
            start: Start::Constant(self.beta.get()),
        };
        if self.learn { vec![beta] } else { Vec::new() }
    }
}

impl MatrixLoss for Margin {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let pairs = matrix.pairs;
        let kept = matrix.tuples.pairs(pairs);
        let learned = matrix.parameters.first().copied().unwrap_or_default();
        let place = |a: usize| self.place(matrix.labels[a], learned.len());
        let beta = |a: usize| place(a).map_or(self.beta.get(), |k| learned[k]);
        let anchors = pairs.each_anchor(gradients.g, |a, g| {
            self.anchor(pairs.row(a), (&kept, a), beta(a), g)
        });
        let mut evaluation = Evaluation::default();
        for anchor in &anchors {
            evaluation.value += anchor.value;
            evaluation.tuples += anchor.pairs;
            evaluation.active += anchor.active;
        }
        if evaluation.tuples == 0 {
            return evaluation;
        }
        let share = 1.0 / evaluation.active.max(1) as f64;
        let nu = self.nu.exact() / anchors.len() as f64;
        evaluation.value *= share;
        pairs.each_anchor(gradients.g, |_, g| {
            for g in g {
                *g *= share as f32;
            }
        });
        for (a, anchor) in anchors.iter().enumerate() {
            evaluation.value += nu * f64::from(beta(a));
            if let Some(k) = place(a) {
                gradients.parameters[0][k] += (share * anchor.of_beta + nu) as f32;
            }
        }
        evaluation
    }

    fn needs_square(&self) -> bool {
        false
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (alpha, pairs) = (self.margin.exact(), batch.pairs(tuples));
        let beta = |a: usize| {
            let learned = if self.learn { batch.parameter(0) } else { &[] };
            let class = if self.per_class {
                batch.label(a) as usize
            } else {
                0
            };
            learned.get(class).copied().unwrap_or(self.beta.exact())
        };
        let [mut sum, mut violated] = [0.0; 2];
        for &(i, j) in &pairs {
            let y = if batch.label(i) == batch.label_of_column(j) {
                1.0
            } else {
                -1.0
            };
            let term = (alpha + y * (batch.d(i, j) - beta(i))).max(0.0);
            sum += term;
            violated += f64::from(u8::from(term > 0.0));
        }
        let mean = (0..batch.rows()).map(beta).sum::<f64>() / batch.rows().max(1) as f64;
        let value = if pairs.is_empty() {
            0.0
        } else {
            sum / f64::max(violated, 1.0) + self.nu.exact() * mean
        };
        vec![Term {
            anchor: 0,
            group: 0,
            value,
        }]
    }
}
