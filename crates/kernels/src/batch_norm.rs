//! Batch normalization, with the residual addition and ReLU that follow it in residual networks.

use crate::activation::relu_scalar;
use crate::dispatch::{dispatch, fma};
use crate::linear::sum_rows;
use crate::parallel::{Shared, for_each, map_parts, rows_per_part, rows_per_piece};

/// Batch normalization over all but the last dimension:
///
/// ```text
/// y = [relu] (γ (x − mean) / √(variance + ε) + β + residual)
/// ```
///
/// # Shapes
/// - `x`, `residual`, `y`: `[rows, C]` with rows = batch × height × width; `gamma`, `beta`: `[C]`
///
/// # Reference
/// Ioffe and Szegedy, *Batch Normalization*, 2015, algorithms 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Scale γ, `[C]`.
    pub gamma: &'a [f32],
    /// Shift β, `[C]`.
    pub beta: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f32,
    /// Whether max(·, 0) is applied last.
    pub relu: bool,
}

/// What [`BatchNorm::forward`] measured in each channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchStatistics {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Biased variance (divided by the number of rows) of each channel.
    pub variance: Vec<f32>,
    /// 1 / √(variance + ε) of each channel.
    pub inverse_std: Vec<f32>,
}

/// Where [`BatchNorm::backward`] writes; everything is overwritten.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Gradient of x, `[rows, C]`.
    pub dx: &'a mut [f32],
    /// Gradient of the residual, `[rows, C]`.
    pub dresidual: Option<&'a mut [f32]>,
    /// Gradient of γ, `[C]`.
    pub dgamma: &'a mut [f32],
    /// Gradient of β, `[C]`.
    pub dbeta: &'a mut [f32],
}

/// y = x · scale + shift (+ residual), per channel.
#[derive(Clone, Copy)]
struct Affine<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    relu: bool,
}

/// dx = a dz + b (x − mean) + c, per channel.
#[derive(Clone, Copy)]
struct InputFactors<'a> {
    relu: bool,
    mean: &'a [f32],
    a: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
}

impl BatchNorm<'_> {
    /// Normalizes by the statistics of `x` itself, which are returned; overwrites `y`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    ///
    /// ```
    /// use nearkin_kernels::BatchNorm;
    /// let norm = BatchNorm { gamma: &[1.0], beta: &[0.0], epsilon: 0.0, relu: true };
    /// let mut y = [0.0; 2];
    /// let stats = norm.forward(&[1.0, 5.0], None, &mut y);
    /// assert_eq!((y, stats.mean[0], stats.variance[0]), ([0.0, 1.0], 3.0, 4.0));
    /// ```
    pub fn forward(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) -> BatchStatistics {
        let stats = self.statistics(x);
        self.apply(x, [&stats.mean, &stats.inverse_std], residual, y);
        stats
    }

    /// Normalizes by given statistics; overwrites `y`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn inference(
        &self,
        x: &[f32],
        mean: &[f32],
        variance: &[f32],
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let inverse_std: Vec<f32> = variance
            .iter()
            .map(|v| 1.0 / (v + self.epsilon).sqrt())
            .collect();
        self.apply(x, [mean, &inverse_std], residual, y);
    }

    /// Gradients, from the input and output of [`forward`](Self::forward) and its statistics.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn backward(
        &self,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        stats: &BatchStatistics,
        grads: BatchNormGradients,
    ) {
        let (rows, cols) = (self.rows(x), self.gamma.len());
        assert_eq!(
            [y.len(), dy.len(), grads.dx.len()],
            [x.len(); 3],
            "x, y, dy and dx differ in length"
        );
        assert_eq!(
            [stats.mean.len(), stats.inverse_std.len()],
            [cols; 2],
            "one statistic per channel"
        );
        self.parameter_gradients([x, y, dy], stats, grads.dgamma, grads.dbeta);
        // dx = γ/σ (dz − mean dz − x̂ mean(dz x̂)) = a dz + b (x − mean) + c, per channel.
        let scale = |c: usize| self.gamma[c] * stats.inverse_std[c];
        let share = |c: usize| scale(c) / rows as f32;
        let slope = |c: usize| -share(c) * stats.inverse_std[c] * grads.dgamma[c];
        let factors = InputFactors {
            relu: self.relu,
            mean: &stats.mean,
            a: &(0..cols).map(scale).collect::<Vec<_>>(),
            b: &(0..cols).map(slope).collect::<Vec<_>>(),
            c: &(0..cols)
                .map(|c| -share(c) * grads.dbeta[c])
                .collect::<Vec<_>>(),
        };
        let (dx, dresidual) = (Shared::new(grads.dx), grads.dresidual.map(Shared::new));
        let piece = rows_per_piece(cols);
        for_each(rows.div_ceil(piece), true, |i| {
            let span = i * piece * cols..rows.min((i + 1) * piece) * cols;
            let inputs = [&x[span.clone()], &y[span.clone()], &dy[span.clone()]];
            // SAFETY: pieces are disjoint ranges of rows.
            let dx = unsafe { dx.slice(span.start, span.len()) };
            // SAFETY: as above.
            let dresidual = dresidual.map(|d| unsafe { d.slice(span.start, span.len()) });
            input_gradient(factors, inputs, dx, dresidual);
        });
    }

    /// dγ = Σ dz x̂ and dβ = Σ dz, where dz is dy let through by the ReLU.
    fn parameter_gradients(
        &self,
        [x, y, dy]: [&[f32]; 3],
        stats: &BatchStatistics,
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let (rows, cols) = (self.rows(x), self.gamma.len());
        let part = rows_per_part(rows, cols);
        let sums = map_parts(rows.div_ceil(part), |i| {
            let span = i * part * cols..rows.min((i + 1) * part) * cols;
            let inputs = [&x[span.clone()], &y[span.clone()], &dy[span]];
            let mut sums = vec![0.0; 2 * cols];
            gradient_sums(self.relu, inputs, &stats.mean, &mut sums);
            sums
        });
        let mut total = vec![0.0; 2 * cols];
        sum_rows(&sums.concat(), 2 * cols, &mut total);
        let (products, plain) = total.split_at(cols);
        dbeta.copy_from_slice(plain);
        for ((dgamma, product), inverse) in dgamma.iter_mut().zip(products).zip(&stats.inverse_std)
        {
            *dgamma = product * inverse;
        }
    }

    fn apply(
        &self,
        x: &[f32],
        [mean, inverse_std]: [&[f32]; 2],
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let (rows, cols) = (self.rows(x), self.gamma.len());
        assert_eq!(y.len(), x.len(), "x and y differ in length");
        assert!(
            residual.is_none_or(|r| r.len() == x.len()),
            "x and residual differ in length"
        );
        assert_eq!(
            [mean.len(), inverse_std.len()],
            [cols; 2],
            "one statistic per channel"
        );
        let scale: Vec<f32> = self
            .gamma
            .iter()
            .zip(inverse_std)
            .map(|(g, i)| g * i)
            .collect();
        let shift: Vec<f32> = self
            .beta
            .iter()
            .zip(mean)
            .zip(&scale)
            .map(|((b, m), s)| b - m * s)
            .collect();
        let affine = Affine {
            scale: &scale,
            shift: &shift,
            relu: self.relu,
        };
        let piece = rows_per_piece(cols);
        let y = Shared::new(y);
        for_each(rows.div_ceil(piece), true, |i| {
            let span = i * piece * cols..rows.min((i + 1) * piece) * cols;
            // SAFETY: pieces are disjoint ranges of rows.
            let y = unsafe { y.slice(span.start, span.len()) };
            affine_rows(affine, &x[span.clone()], residual.map(|r| &r[span]), y);
        });
    }

    /// Moments of each part about its own first row, combined as in Chan, Golub and LeVeque, *Updating Formulae and
    /// a Pairwise Algorithm for Computing Sample Variances*, 1979.
    fn statistics(&self, x: &[f32]) -> BatchStatistics {
        let (rows, cols) = (self.rows(x), self.gamma.len());
        let part = rows_per_part(rows, cols);
        let moments = map_parts(rows.div_ceil(part), |i| {
            let rows = &x[i * part * cols..rows.min((i + 1) * part) * cols];
            let mut sums = vec![0.0; 2 * cols];
            shifted_moments(rows, &mut sums);
            let (pivot, n) = (&rows[..cols], (rows.len() / cols) as f64);
            let channel = |c: usize| {
                let (sum, squares) = (f64::from(sums[c]), f64::from(sums[cols + c]));
                (
                    f64::from(pivot[c]) + sum / n,
                    (squares - sum * sum / n).max(0.0),
                )
            };
            (n, (0..cols).map(channel).collect::<Vec<_>>())
        });
        let mut stats = BatchStatistics::default();
        for c in 0..cols {
            let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
            for (n, channels) in &moments {
                let (part_mean, part_squares) = channels[c];
                let delta = part_mean - mean;
                squares += part_squares + delta * delta * count * n / (count + n);
                count += n;
                mean += delta * n / count;
            }
            let variance = squares / f64::max(count, 1.0);
            stats.mean.push(mean as f32);
            stats.variance.push(variance as f32);
            stats
                .inverse_std
                .push((1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32);
        }
        stats
    }

    fn rows(&self, x: &[f32]) -> usize {
        let cols = self.gamma.len();
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} numbers are not rows of {cols}",
            x.len()
        );
        assert_eq!(self.beta.len(), cols, "gamma and beta differ in length");
        x.len() / cols
    }
}

dispatch! {
    fn shifted_moments(x: &[f32], sums: &mut [f32]) = shifted_moments_body;
    fn affine_rows(affine: Affine, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) = affine_rows_body;
    fn gradient_sums(relu: bool, xydy: [&[f32]; 3], mean: &[f32], sums: &mut [f32]) = gradient_sums_body;
    fn input_gradient(factors: InputFactors, xydy: [&[f32]; 3], dx: &mut [f32], dresidual: Option<&mut [f32]>)
        = input_gradient_body;
}

/// Σ (x − pivot) and Σ (x − pivot)² per channel, with the first row as pivot.
#[inline(always)]
fn shifted_moments_body<const FMA: bool>(x: &[f32], sums: &mut [f32]) {
    let (sum, squares) = sums.split_at_mut(sums.len() / 2);
    let pivot = &x[..sum.len()];
    for row in x.chunks_exact(pivot.len()) {
        for (((sum, squares), &x), &pivot) in
            sum.iter_mut().zip(squares.iter_mut()).zip(row).zip(pivot)
        {
            let d = x - pivot;
            *sum += d;
            *squares = fma::<FMA>(d, d, *squares);
        }
    }
}

#[inline(always)]
fn affine_rows_body<const FMA: bool>(
    affine: Affine,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    let cols = affine.scale.len();
    let clip = |y: f32| if affine.relu { relu_scalar(y) } else { y };
    for (i, y) in y.chunks_exact_mut(cols).enumerate() {
        let row = y
            .iter_mut()
            .zip(&x[i * cols..][..cols])
            .zip(affine.scale)
            .zip(affine.shift);
        match residual {
            Some(residual) => {
                for ((((y, &x), &scale), &shift), &r) in row.zip(&residual[i * cols..][..cols]) {
                    *y = clip(fma::<FMA>(x, scale, shift) + r);
                }
            }
            None => {
                row.for_each(|(((y, &x), &scale), &shift)| *y = clip(fma::<FMA>(x, scale, shift)));
            }
        }
    }
}

/// Σ dz (x − mean) and Σ dz per channel, where dz is dy let through by the ReLU.
#[inline(always)]
fn gradient_sums_body<const FMA: bool>(
    relu: bool,
    [x, y, dy]: [&[f32]; 3],
    mean: &[f32],
    sums: &mut [f32],
) {
    let cols = mean.len();
    let (products, plain) = sums.split_at_mut(cols);
    for ((x, y), dy) in x
        .chunks_exact(cols)
        .zip(y.chunks_exact(cols))
        .zip(dy.chunks_exact(cols))
    {
        let sums = products.iter_mut().zip(plain.iter_mut()).zip(mean);
        for (((((product, plain), &mean), &x), &y), &dy) in sums.zip(x).zip(y).zip(dy) {
            let dz = if relu && y <= 0.0 { 0.0 } else { dy };
            *product = fma::<FMA>(dz, x - mean, *product);
            *plain += dz;
        }
    }
}

/// dx = a dz + b (x − mean) + c, and dz itself for the residual.
#[inline(always)]
fn input_gradient_body<const FMA: bool>(
    factors: InputFactors,
    [x, y, dy]: [&[f32]; 3],
    dx: &mut [f32],
    dresidual: Option<&mut [f32]>,
) {
    let InputFactors {
        relu,
        mean,
        a,
        b,
        c,
    } = factors;
    let cols = a.len();
    for (i, dx) in dx.chunks_exact_mut(cols).enumerate() {
        let span = i * cols..(i + 1) * cols;
        let inputs = x[span.clone()].iter().zip(&y[span.clone()]).zip(&dy[span]);
        let factors = a.iter().zip(b).zip(c).zip(mean);
        for ((dx, ((&x, &y), &dy)), (((&a, &b), &c), &mean)) in
            dx.iter_mut().zip(inputs).zip(factors)
        {
            let dz = if relu && y <= 0.0 { 0.0 } else { dy };
            *dx = fma::<FMA>(a, dz, fma::<FMA>(b, x - mean, c));
        }
    }
    if let Some(dresidual) = dresidual {
        for ((dresidual, &y), &dy) in dresidual.iter_mut().zip(y).zip(dy) {
            *dresidual = if relu && y <= 0.0 { 0.0 } else { dy };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    const EPSILON: f32 = 1e-3;

    /// The definition in f64: y and the (mean, biased variance) of each channel.
    fn reference(
        x: &[f64],
        gamma: &[f64],
        beta: &[f64],
        residual: &[f64],
        relu: bool,
    ) -> (Vec<f64>, Vec<[f64; 2]>) {
        let (cols, rows) = (gamma.len(), (x.len() / gamma.len()) as f64);
        let mut y = vec![0.0; x.len()];
        let mut stats = Vec::new();
        for c in 0..cols {
            let channel: Vec<f64> = x.iter().skip(c).step_by(cols).copied().collect();
            let mean = channel.iter().sum::<f64>() / rows;
            let variance = channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
            for (i, x) in channel.iter().enumerate() {
                let at = i * cols + c;
                let z = gamma[c] * (x - mean) / (variance + f64::from(EPSILON)).sqrt()
                    + beta[c]
                    + residual[at];
                y[at] = if relu { z.max(0.0) } else { z };
            }
            stats.push([mean, variance]);
        }
        (y, stats)
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (rows, cols) in [(1, 1), (2, 3), (7, 33), (40, 5)] {
            let (x, r, dy) = (
                random(rows * cols, 1),
                random(rows * cols, 2),
                random(rows * cols, 3),
            );
            let (gamma, beta) = (random(cols, 4), random(cols, 5));
            let zero = vec![0.0; x.len()];
            for (relu, residual) in [
                (false, None),
                (true, None),
                (false, Some(&r)),
                (true, Some(&r)),
            ] {
                let (x64, g64, b64, r64) = (
                    to_f64(&x),
                    to_f64(&gamma),
                    to_f64(&beta),
                    to_f64(residual.unwrap_or(&zero)),
                );
                let norm = BatchNorm {
                    gamma: &gamma,
                    beta: &beta,
                    epsilon: EPSILON,
                    relu,
                };
                let residual = residual.map(|r| &r[..]);
                let mut y = vec![9.0; x.len()];
                let stats = norm.forward(&x, residual, &mut y);
                let (want, want_stats) = reference(&x64, &g64, &b64, &r64, relu);
                assert_close(&y, &want, 1e-5);
                assert_close(
                    &stats.mean,
                    &want_stats.iter().map(|s| s[0]).collect::<Vec<_>>(),
                    1e-6,
                );
                assert_close(
                    &stats.variance,
                    &want_stats.iter().map(|s| s[1]).collect::<Vec<_>>(),
                    1e-6,
                );

                let mut inferred = vec![9.0; x.len()];
                norm.inference(&x, &stats.mean, &stats.variance, residual, &mut inferred);
                assert_close(&inferred, &want, 1e-5);

                let [mut dx, mut dr] = [vec![9.0; x.len()], vec![9.0; x.len()]];
                let [mut dgamma, mut dbeta] = [vec![9.0; cols], vec![9.0; cols]];
                let grads = BatchNormGradients {
                    dx: &mut dx,
                    dresidual: residual.map(|_| &mut dr[..]),
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                };
                norm.backward(&x, &y, &dy, &stats, grads);
                let value = |x: &[f64], g: &[f64], b: &[f64], r: &[f64]| {
                    weighted(&reference(x, g, b, r, relu).0, &dy)
                };
                assert_close(
                    &dx,
                    &central_differences(&x, |x| value(x, &g64, &b64, &r64)),
                    2e-4,
                );
                assert_close(
                    &dgamma,
                    &central_differences(&gamma, |g| value(&x64, g, &b64, &r64)),
                    2e-5,
                );
                assert_close(
                    &dbeta,
                    &central_differences(&beta, |b| value(&x64, &g64, b, &r64)),
                    2e-5,
                );
                if let Some(r) = residual {
                    assert_close(
                        &dr,
                        &central_differences(r, |r| value(&x64, &g64, &b64, r)),
                        2e-5,
                    );
                }
            }
        }
    }

    #[test]
    fn many_parts_and_a_large_offset_keep_the_variance() {
        let (rows, cols) = (20_001, 7);
        let x: Vec<f32> = random(rows * cols, 6).iter().map(|x| 1000.0 + x).collect();
        let (gamma, beta) = (vec![1.0; cols], vec![0.0; cols]);
        let mut y = vec![0.0; x.len()];
        let norm = BatchNorm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 0.0,
            relu: false,
        };
        let stats = norm.forward(&x, None, &mut y);
        let (_, want) = reference(
            &to_f64(&x),
            &[1.0; 7],
            &[0.0; 7],
            &vec![0.0; x.len()],
            false,
        );
        for (c, want) in want.iter().enumerate() {
            assert!(
                (f64::from(stats.variance[c]) / want[1] - 1.0).abs() < 1e-4,
                "{} {want:?}",
                stats.variance[c]
            );
        }
        assert_eq!(
            norm.forward(&x, None, &mut y),
            stats,
            "the same bits in every run"
        );
    }
}
