//! The large-margin softmax loss.

use super::class_softmax::{Odds, column_sums, cross_entropy, log_one_plus, reduce};
use super::{Columns, Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;
use std::num::NonZeroU8;

described! {
    /// A linear classifier for which the angle to the right class's proxy counts several times.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale ‖x_i‖ (‖p_c‖ cos θ_c - ‖p_y‖ ψ(θ_y)) ) )         cos θ = 1 - d
    ///
    /// ψ(θ) = (-1)^k cos(margin θ) - 2k         k π ≤ margin θ ≤ (k + 1) π
    /// ```
    ///
    /// The cosine in `ψ` is clamped to `[-1, 1]`, with no slope outside. An anchor is active while some other class has at
    /// least the logit of its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// W. Liu, Y. Wen, Z. Yu, M. Yang, Large-Margin Softmax Loss for Convolutional Neural Networks, ICML 2016, Eq. 4 to 6.
    ///
    /// # Differences
    /// The paper's training anneals from the plain softmax to this; neither here nor in pytorch-metric-learning is that
    /// part of the loss.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{LargeMarginSoftmax, Shape}};
    /// let shape = Shape { dim: 2, classes: 2 };
    /// let mut criterion = Criterion::new(LargeMarginSoftmax::default().into(), shape, 0)?;
    /// criterion.parameters_mut()[0].values = vec![3.0, 0.0, 0.0, 1.0];
    /// // At the other proxy, of norm 3, and at 90° from its own: cos 360° - 2·2 = -3, times norms 2·1, against 2·3.
    /// let batch = Batch { embeddings: Mat::new(&[2.0, 0.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 12.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct LargeMarginSoftmax {
        /// How many times the angle counts.
        pub margin: NonZeroU8 = NonZeroU8::MIN.saturating_add(3),
        /// What logits are multiplied by.
        pub scale: Positive = Positive::literal(1.0),
    }
}

/// The softmax with a multiple of the angle.
pub(super) struct MultipleAngle {
    pub margin: NonZeroU8,
    pub scale: Positive,
    /// Whether logits are multiplied by the norms of the proxies.
    pub proxy_norms: bool,
}

/// What came of an anchor.
struct Anchor {
    terms: Terms,
    target: usize,
    /// `∂/∂‖x‖` and `∂/∂‖p_y‖` of its term.
    of_norms: [f32; 2],
}

impl MultipleAngle {
    /// `ψ` of a cosine, with its slope: `cos mθ` and its derivative are Chebyshev polynomials of `cos θ`.
    fn psi(&self, cos: f64) -> (f64, f64) {
        let c = cos.clamp(-1.0, 1.0);
        let m = self.margin.get();
        let (mut t, mut next_t) = (1.0, c);
        let (mut u, mut next_u) = (0.0, 1.0);
        for _ in 0..m {
            (t, next_t) = (next_t, 2.0 * c * next_t - t);
            (u, next_u) = (next_u, 2.0 * c * next_u - u);
        }
        let m = f64::from(m);
        let k = (c.acos() * m / std::f64::consts::PI).floor().min(m - 1.0);
        let sign = if k % 2.0 == 0.0 { 1.0 } else { -1.0 };
        let slope = if cos == c { sign * m * u } else { 0.0 };
        (sign * t - 2.0 * k, slope)
    }

    /// The term of an anchor of norm `r`, slopes in `g`.
    fn anchor(
        &self,
        d: &[f32],
        target: usize,
        (r, rho): (f32, &[f32]),
        g: &mut [f32],
    ) -> (Anchor, Odds) {
        let scale = self.scale.get();
        let (psi, slope) = self.psi(1.0 - f64::from(d[target]));
        let (psi, slope) = (psi as f32, slope as f32);
        let own = rho[target] * psi;
        for ((z, d), rho) in g.iter_mut().zip(d).zip(rho) {
            *z = scale * r * (rho * (1.0 - d) - own);
        }
        let odds = cross_entropy(g, target, true);
        let mut of_r = -f64::from(odds.miss * own);
        for ((g, d), rho) in g.iter_mut().zip(d).zip(rho) {
            of_r += f64::from(*g * rho * (1.0 - d));
            *g *= -scale * r * rho;
        }
        g[target] = scale * r * rho[target] * odds.miss * slope;
        let of_norms = [scale * of_r as f32, -scale * r * odds.miss * psi];
        let anchor = Anchor {
            terms: Terms::default(),
            target,
            of_norms,
        };
        (anchor, odds)
    }

    pub fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let (pairs, keep) = (matrix.pairs, matrix.reducer.keep());
        let ones = vec![1.0; pairs.cols()];
        let rho = if self.proxy_norms {
            matrix.norms[1]
        } else {
            &ones
        };
        let anchors = pairs.each_anchor(gradients.g, |a, g| {
            let target = pairs.positives(a).next()?;
            let norms = (matrix.norms[0][a], rho);
            let (anchor, odds) = self.anchor(pairs.row(a), target, norms, g);
            let counts = [1, usize::from(odds.beaten)];
            let terms = Terms::whole(odds.value, counts, keep);
            Some(Anchor { terms, ..anchor })
        });
        let terms: Vec<_> = anchors
            .iter()
            .map(|anchor| anchor.as_ref().map_or(Terms::default(), |a| a.terms))
            .collect();
        let (evaluation, weights) = reduce(matrix, &terms, gradients.g);
        for (i, anchor) in anchors.iter().enumerate() {
            let slope = anchor.as_ref().map_or(0.0, |anchor| anchor.of_norms[0]);
            gradients.norms[0][i] = weights[i] as f32 * slope;
        }
        if self.proxy_norms {
            // A proxy at zero has no direction to grow in.
            let inverse: Vec<f32> = rho
                .iter()
                .map(|&rho| if rho > 0.0 { rho.recip() } else { 0.0 })
                .collect();
            let sums = column_sums(gradients.g, pairs.cols(), |i, g, sums| {
                let Some(Anchor {
                    target, of_norms, ..
                }) = &anchors[i]
                else {
                    return;
                };
                let own = sums[*target] + weights[i] * f64::from(of_norms[1]);
                // G = -scale r ρ p, so that the slope in ρ, scale r p cos θ, is -G cos θ / ρ.
                for (((sum, g), d), rho) in sums.iter_mut().zip(g).zip(pairs.row(i)).zip(&inverse) {
                    *sum -= f64::from(g * (1.0 - d) * rho);
                }
                sums[*target] = own;
            });
            gradients.norms[1]
                .iter_mut()
                .zip(sums)
                .for_each(|(g, sum)| *g = sum as f32);
        }
        evaluation
    }

    pub fn reference(&self, batch: &Exact<'_>) -> Vec<Term> {
        let (m, s) = (f64::from(self.margin.get()), self.scale.exact());
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut terms = Vec::new();
        for i in 0..batch.rows() {
            let size = |j: usize| {
                let of_proxy = if self.proxy_norms {
                    norm(batch.column(j))
                } else {
                    1.0
                };
                s * norm(batch.embedding(i)) * of_proxy
            };
            for y in batch.positives(i) {
                let theta = (1.0 - batch.d(i, y)).clamp(-1.0, 1.0).acos();
                let begins = |k: &f64| k * std::f64::consts::PI <= m * theta;
                let mut pieces = (0..self.margin.get()).rev().map(f64::from);
                let k = pieces.find(begins).unwrap_or(0.0);
                let psi = (-1.0_f64).powf(k) * (m * theta).cos() - 2.0 * k;
                let odds = |j: usize| size(j) * (1.0 - batch.d(i, j)) - size(y) * psi;
                let odds = batch.negatives(i).into_iter().map(odds);
                terms.push(Term {
                    anchor: i,
                    group: 0,
                    value: log_one_plus(odds),
                });
            }
        }
        terms
    }
}

impl Definition for LargeMarginSoftmax {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn columns(&self) -> Columns {
        Columns::Proxies { per_class: 1 }
    }
}

impl LargeMarginSoftmax {
    fn softmax(&self) -> MultipleAngle {
        MultipleAngle {
            margin: self.margin,
            scale: self.scale,
            proxy_norms: true,
        }
    }
}

impl MatrixLoss for LargeMarginSoftmax {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        self.softmax().value_and_grad(matrix, gradients)
    }

    fn needs_norms(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        self.softmax().reference(batch)
    }
}
