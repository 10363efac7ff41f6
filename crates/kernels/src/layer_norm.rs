//! Layer normalization of the rows of x (+ residual).

use crate::dispatch::{dispatch, fma};
use crate::linear::sum_rows;
use crate::parallel::{Shared, for_each, rows_per_part, rows_per_piece};
use crate::reduce::{LANES, add_lanes, moments};

/// Layer normalization over the last dimension, with an optional residual added first:
///
/// ```text
/// v = x + residual
/// y = γ (v − mean v) / √(var v + ε) + β
/// ```
///
/// # Shapes
/// - `x`, `residual`, `y`: `[rows, D]`; `gamma`, `beta`: `[D]`
///
/// # Reference
/// Ba, Kiros and Hinton, *Layer Normalization*, 2016, equations 3 and 4 (the variance is the biased one).
///
/// ```
/// use nearkin_kernels::LayerNorm;
/// let norm = LayerNorm { gamma: &[1.0, 1.0], beta: &[0.0, 1.0], epsilon: 0.0 };
/// let mut y = [0.0; 2];
/// let stats = norm.forward(&[1.0, 5.0], None, &mut y);
/// assert_eq!((y, stats.mean[0], stats.inverse_std[0]), ([-1.0, 2.0], 3.0, 0.5));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// Scale γ, `[D]`.
    pub gamma: &'a [f32],
    /// Shift β, `[D]`.
    pub beta: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f32,
}

/// What [`LayerNorm::forward`] measured in each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowStatistics {
    /// Mean of each row.
    pub mean: Vec<f32>,
    /// 1 / √(variance + ε) of each row.
    pub inverse_std: Vec<f32>,
}

/// Where [`LayerNorm::backward`] writes; everything is overwritten.
#[derive(Debug)]
pub struct LayerNormGradients<'a> {
    /// Gradient of x + residual, and so of each of the two, `[rows, D]`.
    pub dx: &'a mut [f32],
    /// Gradient of γ, `[D]`.
    pub dgamma: &'a mut [f32],
    /// Gradient of β, `[D]`.
    pub dbeta: &'a mut [f32],
}

impl LayerNorm<'_> {
    /// Overwrites `y` and returns the statistics that [`backward`](Self::backward) needs.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn forward(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) -> RowStatistics {
        let cols = self.gamma.len();
        let rows = self.rows(x, residual);
        assert_eq!(y.len(), x.len(), "y and x differ in length");
        let (mut mean, mut inverse_std) = (vec![0.0; rows], vec![0.0; rows]);
        let (outputs, means, inverses) = (
            Shared::new(y),
            Shared::new(&mut mean),
            Shared::new(&mut inverse_std),
        );
        let piece = rows_per_piece(cols);
        for_each(rows.div_ceil(piece), true, |i| {
            let (start, n) = (i * piece, piece.min(rows - i * piece));
            let span = start * cols..(start + n) * cols;
            // SAFETY: pieces are disjoint ranges of rows.
            let (y, mean, inverse_std) = unsafe {
                (
                    outputs.slice(span.start, span.len()),
                    means.slice(start, n),
                    inverses.slice(start, n),
                )
            };
            forward_rows(
                *self,
                &x[span.clone()],
                residual.map(|r| &r[span]),
                y,
                mean,
                inverse_std,
            );
        });
        RowStatistics { mean, inverse_std }
    }

    /// Gradients from the inputs of [`forward`](Self::forward), the gradient of its output and its statistics.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn backward(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        dy: &[f32],
        stats: &RowStatistics,
        grads: LayerNormGradients,
    ) {
        let cols = self.gamma.len();
        let rows = self.rows(x, residual);
        assert_eq!(
            (dy.len(), grads.dx.len()),
            (x.len(), x.len()),
            "dy, dx and x differ in length"
        );
        assert_eq!(
            (stats.mean.len(), stats.inverse_std.len()),
            (rows, rows),
            "one statistic per row"
        );
        let part = rows_per_part(rows, cols);
        let parts = rows.div_ceil(part);
        let mut partial = vec![0.0; parts * 2 * cols];
        let (outputs, partials) = (Shared::new(grads.dx), Shared::new(&mut partial));
        for_each(parts, true, |i| {
            let (start, end) = (i * part, rows.min((i + 1) * part));
            // SAFETY: parts are disjoint ranges of rows.
            let dx = unsafe { outputs.slice(start * cols, (end - start) * cols) };
            // SAFETY: each part has its own sums.
            let sums = unsafe { partials.slice(i * 2 * cols, 2 * cols) };
            for row in start..end {
                let span = row * cols..(row + 1) * cols;
                let input = RowInput {
                    gamma: self.gamma,
                    x: &x[span.clone()],
                    residual: residual.map(|r| &r[span.clone()]),
                    dy: &dy[span],
                    mean: stats.mean[row],
                    inverse_std: stats.inverse_std[row],
                };
                backward_row(input, &mut dx[(row - start) * cols..][..cols], sums);
            }
        });
        let mut sums = vec![0.0; 2 * cols];
        sum_rows(&partial, 2 * cols, &mut sums);
        grads.dgamma.copy_from_slice(&sums[..cols]);
        grads.dbeta.copy_from_slice(&sums[cols..]);
    }

    fn rows(&self, x: &[f32], residual: Option<&[f32]>) -> usize {
        let cols = self.gamma.len();
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} numbers are not rows of {cols}",
            x.len()
        );
        assert_eq!(self.beta.len(), cols, "gamma and beta differ in length");
        assert!(
            residual.is_none_or(|r| r.len() == x.len()),
            "x and residual differ in length"
        );
        x.len() / cols
    }
}

/// One row of the backward pass.
#[derive(Clone, Copy)]
struct RowInput<'a> {
    gamma: &'a [f32],
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    dy: &'a [f32],
    mean: f32,
    inverse_std: f32,
}

dispatch! {
    fn forward_rows(norm: LayerNorm, x: &[f32], residual: Option<&[f32]>, y: &mut [f32], mean: &mut [f32], inverse_std: &mut [f32])
        = forward_rows_body;
    fn backward_row(input: RowInput, dx: &mut [f32], sums: &mut [f32]) = backward_row_body;
}

#[inline(always)]
fn forward_rows_body<const FMA: bool>(
    norm: LayerNorm,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
    mean: &mut [f32],
    inverse_std: &mut [f32],
) {
    let cols = norm.gamma.len();
    for (i, y) in y.chunks_exact_mut(cols).enumerate() {
        let x = &x[i * cols..][..cols];
        if let Some(r) = residual {
            // The output row holds the sum until it is normalized in place.
            for ((y, &x), &r) in y.iter_mut().zip(x).zip(&r[i * cols..][..cols]) {
                *y = x + r;
            }
        }
        let [m, variance] = moments::<FMA>(if residual.is_some() { y } else { x });
        let inverse = 1.0 / (variance + norm.epsilon).sqrt();
        let affine = |v: f32, g: f32, b: f32| fma::<FMA>((v - m) * inverse, g, b);
        let factors = norm.gamma.iter().zip(norm.beta);
        if residual.is_some() {
            y.iter_mut()
                .zip(factors)
                .for_each(|(y, (&g, &b))| *y = affine(*y, g, b));
        } else {
            y.iter_mut()
                .zip(x)
                .zip(factors)
                .for_each(|((y, &x), (&g, &b))| *y = affine(x, g, b));
        }
        (mean[i], inverse_std[i]) = (m, inverse);
    }
}

/// With v̂ = (v − mean) / std and g = γ dy: dv = (g − mean g − v̂ mean(g v̂)) / std.
#[inline(always)]
fn backward_row_body<const FMA: bool>(input: RowInput, dx: &mut [f32], sums: &mut [f32]) {
    let RowInput {
        gamma,
        x,
        residual,
        dy,
        mean,
        inverse_std,
    } = input;
    if let Some(r) = residual {
        // dx holds v until it is overwritten.
        dx.iter_mut()
            .zip(x)
            .zip(r)
            .for_each(|((v, &x), &r)| *v = x + r);
    }
    let v = if residual.is_some() { &*dx } else { x };
    let [mean_g, mean_gv] =
        row_sums::<FMA>(RowInput { x: v, ..input }, sums).map(|sum| sum / x.len() as f32);
    let gradient = |v: f32, gamma: f32, dy: f32| {
        let centered = fma::<FMA>(gamma, dy, -mean_g);
        inverse_std * fma::<FMA>(-(v - mean) * inverse_std, mean_gv, centered)
    };
    let factors = gamma.iter().zip(dy);
    if residual.is_some() {
        dx.iter_mut()
            .zip(factors)
            .for_each(|(dx, (&g, &dy))| *dx = gradient(*dx, g, dy));
    } else {
        dx.iter_mut()
            .zip(x)
            .zip(factors)
            .for_each(|((dx, &v), (&g, &dy))| *dx = gradient(v, g, dy));
    }
}

/// Adds dy v̂ and dy to `sums`; returns Σ g and Σ g v̂ of the row.
#[inline(always)]
fn row_sums<const FMA: bool>(row: RowInput, sums: &mut [f32]) -> [f32; 2] {
    let (dgamma, dbeta) = sums.split_at_mut(row.gamma.len());
    let (mut lanes_g, mut lanes_gv) = ([0.0; LANES], [0.0; LANES]);
    let ((x, x_rest), (dy, dy_rest)) = (row.x.as_chunks::<LANES>(), row.dy.as_chunks::<LANES>());
    let (gamma, gamma_rest) = row.gamma.as_chunks::<LANES>();
    let (dgamma, dgamma_rest) = dgamma.as_chunks_mut::<LANES>();
    let (dbeta, dbeta_rest) = dbeta.as_chunks_mut::<LANES>();
    for ((((x, dy), gamma), dgamma), dbeta) in x.iter().zip(dy).zip(gamma).zip(dgamma).zip(dbeta) {
        for l in 0..LANES {
            let v = (x[l] - row.mean) * row.inverse_std;
            dgamma[l] = fma::<FMA>(dy[l], v, dgamma[l]);
            dbeta[l] += dy[l];
            let g = gamma[l] * dy[l];
            lanes_g[l] += g;
            lanes_gv[l] = fma::<FMA>(g, v, lanes_gv[l]);
        }
    }
    for l in 0..x_rest.len() {
        let v = (x_rest[l] - row.mean) * row.inverse_std;
        dgamma_rest[l] = fma::<FMA>(dy_rest[l], v, dgamma_rest[l]);
        dbeta_rest[l] += dy_rest[l];
        let g = gamma_rest[l] * dy_rest[l];
        lanes_g[l] += g;
        lanes_gv[l] = fma::<FMA>(g, v, lanes_gv[l]);
    }
    [add_lanes(lanes_g), add_lanes(lanes_gv)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    const EPSILON: f32 = 1e-3;

    fn reference(v: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let d = gamma.len() as f64;
        let mut y = Vec::new();
        for row in v.chunks(gamma.len()) {
            let mean = row.iter().sum::<f64>() / d;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / d;
            let std = (variance + f64::from(EPSILON)).sqrt();
            y.extend(
                row.iter()
                    .zip(gamma)
                    .zip(beta)
                    .map(|((v, g), b)| g * (v - mean) / std + b),
            );
        }
        y
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (rows, cols) in [(0, 5), (1, 1), (3, 5), (4, 33), (5, 67)] {
            let (x, r, dy) = (
                random(rows * cols, 1),
                random(rows * cols, 2),
                random(rows * cols, 3),
            );
            let (gamma, beta) = (random(cols, 4), random(cols, 5));
            let norm = LayerNorm {
                gamma: &gamma,
                beta: &beta,
                epsilon: EPSILON,
            };
            for residual in [None, Some(&r[..])] {
                let v: Vec<f32> = x
                    .iter()
                    .zip(&r)
                    .map(|(x, r)| x + residual.map_or(0.0, |_| *r))
                    .collect();
                let (v64, g64, b64) = (to_f64(&v), to_f64(&gamma), to_f64(&beta));
                let mut y = vec![9.0; x.len()];
                let stats = norm.forward(&x, residual, &mut y);
                assert_close(&y, &reference(&v64, &g64, &b64), 1e-5);

                let (mut dx, mut dgamma, mut dbeta) =
                    (vec![9.0; x.len()], vec![9.0; cols], vec![9.0; cols]);
                let grads = LayerNormGradients {
                    dx: &mut dx,
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                };
                norm.backward(&x, residual, &dy, &stats, grads);
                assert_close(
                    &dx,
                    &central_differences(&v, |v| weighted(&reference(v, &g64, &b64), &dy)),
                    1e-4,
                );
                assert_close(
                    &dgamma,
                    &central_differences(&gamma, |g| weighted(&reference(&v64, g, &b64), &dy)),
                    1e-5,
                );
                assert_close(
                    &dbeta,
                    &central_differences(&beta, |b| weighted(&reference(&v64, &g64, b), &dy)),
                    1e-5,
                );
            }
        }
    }

    #[test]
    fn a_large_offset_does_not_spoil_the_variance() {
        let x: Vec<f32> = (0..4096).map(|i| 10_000.0 + (i % 2) as f32).collect();
        let (gamma, beta) = (vec![1.0; 4096], vec![0.0; 4096]);
        let mut y = vec![0.0; 4096];
        LayerNorm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 0.0,
        }
        .forward(&x, None, &mut y);
        assert!(
            y.iter()
                .enumerate()
                .all(|(i, y)| (y - if i % 2 == 0 { -1.0 } else { 1.0 }).abs() < 1e-2)
        );
    }
}
