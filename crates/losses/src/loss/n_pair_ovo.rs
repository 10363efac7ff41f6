//! The one-vs-one N-pair loss.

use super::n_pair::{ExactQuery, Query, norm_penalty, over_queries, queries, reference_penalty};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, softplus};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Classes;
use crate::range::NonNegative;
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;

described! {
    /// Keeps the positive nearer than one example of every other class, each by itself.
    ///
    /// ```text
    /// L = 1/N Σ_i Σ_{j≠i} log( 1 + exp( d(f_i, f_i⁺) - d(f_i, f_j⁺) ) )  +  λ/4 (mean ‖f_i‖² + mean ‖f_i⁺‖²)
    /// ```
    ///
    /// Pairs `(f_i, f_i⁺)` are formed as for `n_pair`. A query is active while some negative is at least as near as its
    /// positive.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, Eq. 8; norm penalty §3.2.2.
    ///
    /// # Differences
    /// The penalty is that of `n_pair`. For two classes the loss is that of `n_pair`, for more it is larger.
    /// pytorch-metric-learning and sentence-transformers do not have it.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::NPairOvo, range::NonNegative};
    /// // Three classes, all embeddings equal: two negatives each, at log 2.
    /// let objective = Objective::from(NPairOvo { norm_penalty: NonNegative::literal(0.0) });
    /// let batch = Mat::new(&[1.0; 6], 6, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1, 2, 2], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 4_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct NPairOvo {
        /// Weight `λ` of the penalty on the squared norms of the embeddings in use.
        pub norm_penalty: NonNegative = NonNegative::literal(0.002),
    }
}

/// `Σ_j log(1 + exp(d(f, f⁺) - d(f, f_j)))`; its slopes times `weight` go to `g`, the query's row of `G`.
fn term(query: Query<'_>, row: &[f32], g: &mut [f32], weight: f32) -> Evaluation {
    let positive = query.keys[query.target];
    let mut term = Evaluation {
        tuples: 1,
        ..Evaluation::default()
    };
    for &key in query.keys.iter().filter(|&&key| key != positive) {
        let gap = row[positive] - row[key];
        let (value, sigmoid) = softplus(gap);
        term.value += f64::from(value);
        term.active |= usize::from(gap >= 0.0);
        g[key] -= weight * sigmoid;
        g[positive] += weight * sigmoid;
    }
    term
}

impl Definition for NPairOvo {
    fn default_distance(&self) -> Option<Distance> {
        Some(Dot::default().into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }

    fn embedding_term(&self, embeddings: &[f32], classes: &Classes, gradient: &mut [f32]) -> f64 {
        norm_penalty(self.norm_penalty, embeddings, classes, gradient)
    }

    fn embedding_reference(&self, batch: &Exact<'_>) -> f64 {
        reference_penalty(self.norm_penalty, batch)
    }
}

impl MatrixLoss for NPairOvo {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        over_queries(matrix.pairs, false, gradients.g, term)
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let queries = queries(batch);
        let mut sum = 0.0;
        for ExactQuery { i, i_plus, others } in &queries {
            for (_, j_plus) in others {
                sum += (batch.d(*i, *i_plus) - batch.d(*i, *j_plus)).exp().ln_1p();
            }
        }
        vec![Term {
            anchor: 0,
            group: 0,
            value: sum / queries.len().max(1) as f64,
        }]
    }
}
