//! The multi-class N-pair loss.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, exponentials};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::{Classes, Pairs};
use crate::range::NonNegative;
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;

described! {
    /// Picks the positive out of one example of every other class, as a softmax would.
    ///
    /// ```text
    /// L = 1/N Σ_i log( 1 + Σ_{j≠i} exp( d(f_i, f_i⁺) - d(f_i, f_j⁺) ) )  +  λ/4 (mean ‖f_i‖² + mean ‖f_i⁺‖²)
    /// ```
    ///
    /// A tuplet needs pairs `(f_i, f_i⁺)` of `N` different classes. The first two examples of each class form one such set
    /// of tuplets, the third and fourth the next, and so on; an odd example is left out, and so is a set of one class,
    /// which has no negatives. A query is active while some negative is at least as near as its positive.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, Eq. 7; symmetric form in
    /// its footnote; norm penalty §3.2.2.
    ///
    /// # Differences
    /// The paper gives no `λ`. Three conventions are in use: TensorFlow's `λ/4 (mean ‖f‖² + mean ‖f⁺‖²)` with 0.002, which
    /// is taken here; 0.001 times the mean of `½(‖f‖² + ‖f⁺‖²)`, the same number; and pytorch-metric-learning, which has
    /// none, normalizes by default (`[distance.dot] normalize = true`) and uses only the first pair of each class. The
    /// paper's symmetric form is a sum, twice the mean that `symmetric` takes here.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::NPair};
    /// // Two classes, all four embeddings equal: each softmax is over two equal logits, so log 2, and λ/4 (1 + 1).
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(NPair::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (2_f32.ln() + 0.001)).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct NPair {
        /// Weight `λ` of the penalty on the squared norms of the embeddings in use.
        pub norm_penalty: NonNegative = NonNegative::literal(0.002),
        /// Average with the same loss with `f` and `f⁺` exchanged.
        pub symmetric: bool = false,
    }
}

/// Pairs of different classes: item `i` of either side belongs to the same class.
struct Tuplets {
    queries: Vec<usize>,
    keys: Vec<usize>,
}

/// The sets of tuplets of a batch.
fn tuplets(classes: &Classes) -> Vec<Tuplets> {
    let mut sets: Vec<Tuplets> = Vec::new();
    for members in classes.iter() {
        for (k, pair) in members.chunks_exact(2).enumerate() {
            if k == sets.len() {
                sets.push(Tuplets {
                    queries: Vec::new(),
                    keys: Vec::new(),
                });
            }
            sets[k].queries.push(pair[0]);
            sets[k].keys.push(pair[1]);
        }
    }
    sets.retain(|set| set.queries.len() > 1);
    sets
}

/// A row of the softmax: one query against the keys of its set, `keys[target]` being its positive.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub keys: &'a [usize],
    pub target: usize,
}

/// `log(1 + Σ exp(d(f, f⁺) - d(f, f_j)))`; its slopes times `weight` go to `g`, the query's row of `G`.
fn term(query: Query<'_>, row: &[f32], g: &mut [f32], weight: f32) -> Evaluation {
    let Query { keys, target } = query;
    let positive = row[keys[target]];
    let distances: Vec<f32> = keys.iter().map(|&key| row[key]).collect();
    let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
    // Of no weight beside 1, and slow to compute with once below the normal numbers.
    let exponent = |d: f32| {
        if nearest - d < -80.0 {
            f32::NEG_INFINITY
        } else {
            nearest - d
        }
    };
    let mut slopes = vec![0.0; keys.len()];
    let sum = exponentials(&distances, exponent, &mut slopes);
    let scale = -weight / sum as f32;
    for (&key, slope) in keys.iter().zip(slopes) {
        g[key] = scale * slope;
    }
    g[keys[target]] += weight;
    let violated = keys
        .iter()
        .enumerate()
        .any(|(j, &key)| j != target && row[key] <= positive);
    Evaluation::of_tuple(f64::from(positive - nearest) + sum.ln(), violated)
}

impl Definition for NPair {
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

/// `λ/4 (mean ‖f‖² + mean ‖f⁺‖²)`, with its gradient added.
pub(super) fn norm_penalty(
    lambda: NonNegative,
    embeddings: &[f32],
    classes: &Classes,
    gradient: &mut [f32],
) -> f64 {
    let sets = tuplets(classes);
    let used: Vec<usize> = sets
        .iter()
        .flat_map(|set| set.queries.iter().chain(&set.keys).copied())
        .collect();
    // 2N embeddings are in use, so mean ‖f‖² + mean ‖f⁺‖² is twice the mean over all of them.
    let weight = lambda.exact() / 2.0 / used.len().max(1) as f64;
    let d = embeddings.len() / classes.rows();
    let mut value = 0.0;
    for i in used {
        let (x, gradient) = (&embeddings[i * d..][..d], &mut gradient[i * d..][..d]);
        for (&x, gradient) in x.iter().zip(gradient) {
            value += weight * f64::from(x).powi(2);
            *gradient += 2.0 * weight as f32 * x;
        }
    }
    value
}

pub(super) fn reference_penalty(lambda: NonNegative, batch: &Exact<'_>) -> f64 {
    let square = |i: usize| batch.embedding(i).iter().map(|x| x * x).sum::<f64>();
    let queries = queries(batch);
    let norms = queries
        .iter()
        .map(|query| square(query.i) + square(query.i_plus));
    lambda.exact() / 4.0 * norms.sum::<f64>() / queries.len().max(1) as f64
}

/// The mean over all queries of a term, which adds its slopes times a weight to the query's row of `G`.
pub(super) fn over_queries(
    pairs: Pairs<'_>,
    symmetric: bool,
    g: &mut [f32],
    term: impl Fn(Query<'_>, &[f32], &mut [f32], f32) -> Evaluation + Sync,
) -> Evaluation {
    let sets = tuplets(pairs.classes());
    let mut queries: Vec<Option<Query<'_>>> = vec![None; pairs.rows()];
    for Tuplets {
        queries: rows,
        keys,
    } in &sets
    {
        for target in 0..keys.len() {
            queries[rows[target]] = Some(Query { keys, target });
            if symmetric {
                queries[keys[target]] = Some(Query { keys: rows, target });
            }
        }
    }
    let weight = 1.0 / queries.iter().flatten().count().max(1) as f64;
    let rows = pairs.each_anchor(g, |a, g| {
        queries[a].map_or(Evaluation::default(), |query| {
            term(query, pairs.row(a), g, weight as f32)
        })
    });
    rows.into_iter()
        .fold(Evaluation::default(), |sum, row| Evaluation {
            value: sum.value + row.value * weight,
            tuples: sum.tuples + row.tuples,
            active: sum.active + row.active,
        })
}

impl MatrixLoss for NPair {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        over_queries(matrix.pairs, self.symmetric, gradients.g, term)
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let mut terms = Vec::new();
        for ExactQuery { i, i_plus, others } in queries(batch) {
            let term = |(j, j_plus): &(usize, usize)| {
                let forward = (batch.d(i, i_plus) - batch.d(i, *j_plus)).exp();
                [forward, (batch.d(i_plus, i) - batch.d(i_plus, *j)).exp()]
            };
            let [sum, swapped] = [0, 1].map(|way| others.iter().map(|o| term(o)[way]).sum::<f64>());
            terms.push(if self.symmetric {
                f64::midpoint(sum.ln_1p(), swapped.ln_1p())
            } else {
                sum.ln_1p()
            });
        }
        let value = terms.iter().sum::<f64>() / terms.len().max(1) as f64;
        vec![Term {
            anchor: 0,
            group: 0,
            value,
        }]
    }
}

/// A query with its positive and the pairs of the other classes of its set, by their definition.
pub(super) struct ExactQuery {
    pub i: usize,
    pub i_plus: usize,
    pub others: Vec<(usize, usize)>,
}

pub(super) fn queries(batch: &Exact<'_>) -> Vec<ExactQuery> {
    let b = batch.rows();
    // rank[i]: how many examples of its class come before example i.
    let before = |i: usize| (0..i).filter(|&j| batch.label(j) == batch.label(i)).count();
    let rank: Vec<_> = (0..b).map(before).collect();
    let pair =
        |i: usize| (0..b).find(|&j| batch.label(j) == batch.label(i) && rank[j] == rank[i] + 1);
    let queries: Vec<_> = (0..b)
        .filter(|&i| rank[i] % 2 == 0)
        .filter_map(|i| Some((i, pair(i)?)))
        .collect();
    let others = |i: usize| {
        let of_set = queries
            .iter()
            .filter(|&&(j, _)| j != i && rank[j] == rank[i]);
        of_set.copied().collect::<Vec<_>>()
    };
    let with_others = queries.iter().map(|&(i, i_plus)| ExactQuery {
        i,
        i_plus,
        others: others(i),
    });
    with_others
        .filter(|query| !query.others.is_empty())
        .collect()
}
