//! The softmax over class proxies for which the angle to the right one counts several times.

use super::class_softmax::{Odds, column_sums, cross_entropy, reduce, terms};
use super::{Evaluation, Matrix, MatrixGradients};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use std::num::NonZeroU8;

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
        let odds = cross_entropy(g, target, (true, 1.0));
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
        terms(batch, |i, y, c| {
            let size = |j: usize| {
                let of_proxy = if self.proxy_norms {
                    norm(batch.column(j))
                } else {
                    1.0
                };
                s * norm(batch.embedding(i)) * of_proxy
            };
            let (y, c) = (y[0], c[0]);
            let theta = (1.0 - batch.d(i, y)).clamp(-1.0, 1.0).acos();
            let begins = |k: &f64| k * std::f64::consts::PI <= m * theta;
            let mut pieces = (0..self.margin.get()).rev().map(f64::from);
            let k = pieces.find(begins).unwrap_or(0.0);
            let psi = (-1.0_f64).powf(k) * (m * theta).cos() - 2.0 * k;
            size(c) * (1.0 - batch.d(i, c)) - size(y) * psi
        })
    }
}
