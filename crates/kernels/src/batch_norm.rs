//! Batch normalization, with the residual addition and ReLU that follow it in residual networks.

use crate::activation::relu_scalar;
use crate::dispatch::{dispatch, fma};
use crate::linear::sum_rows;
use crate::parallel::{Shared, for_each, map_parts, rows_per_part, rows_per_piece};
use std::ops::Range;

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

/// What [`BatchNorm::forward`] measured in each channel, or [`BatchNorm::given`] was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchStatistics {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Biased variance (divided by the number of rows) of each channel.
    pub variance: Vec<f32>,
    /// 1 / √(variance + ε) of each channel.
    pub inverse_std: Vec<f32>,
    /// Whether they are constants, which x does not move.
    pub given: bool,
}

/// Where [`BatchNorm::backward`] writes.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// On entry the gradient of y, `[rows, C]`. On return the gradient of the residual if `dx` is given, else of x:
    /// maps are large, and this one is of no more use.
    pub dy: &'a mut [f32],
    /// Gradient of x, `[rows, C]`; overwritten.
    pub dx: Option<&'a mut [f32]>,
    /// Gradient of γ, `[C]`; overwritten.
    pub dgamma: &'a mut [f32],
    /// Gradient of β, `[C]`; overwritten.
    pub dbeta: &'a mut [f32],
}

/// y = x · scale + shift (+ residual), per channel.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub relu: bool,
}

/// dx = scale dz + b (x − mean) + c, per channel.
#[derive(Clone, Copy)]
pub(crate) struct InputFactors<'a> {
    pub affine: Affine<'a>,
    pub mean: &'a [f32],
    pub b: &'a [f32],
    pub c: &'a [f32],
}

impl<'a> InputFactors<'a> {
    /// mean, b and c of each channel.
    pub fn offsets(self) -> impl Iterator<Item = (&'a f32, (&'a f32, &'a f32))> {
        self.mean.iter().zip(self.b.iter().zip(self.c))
    }
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
        let stats = self.given(mean, variance);
        self.apply(x, [mean, &stats.inverse_std], residual, y);
    }

    /// [`inference`](Self::inference) over its own input, for callers that need it no more.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn inference_in_place(
        &self,
        mean: &[f32],
        variance: &[f32],
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let stats = self.given(mean, variance);
        self.for_rows(
            [mean, &stats.inverse_std],
            residual,
            y,
            |affine, _, residual, y| {
                affine_rows_in_place(affine, residual, y);
            },
        );
    }

    /// Given statistics, for [`backward`](Self::backward) after [`inference`](Self::inference).
    pub fn given(&self, mean: &[f32], variance: &[f32]) -> BatchStatistics {
        let deviations = variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt());
        BatchStatistics {
            mean: mean.to_vec(),
            variance: variance.to_vec(),
            inverse_std: deviations.collect(),
            given: true,
        }
    }

    /// Gradients, from the input of [`forward`](Self::forward), its statistics, and, where a ReLU followed a residual
    /// sum, its output `y`. Without a residual the sign of y is told from x, which saves reading it.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn backward(
        &self,
        x: &[f32],
        y: Option<&[f32]>,
        stats: &BatchStatistics,
        grads: BatchNormGradients,
    ) {
        let (rows, cols) = (self.rows(x), self.gamma.len());
        let lens = [
            Some(grads.dy.len()),
            y.map(<[f32]>::len),
            grads.dx.as_ref().map(|dx| dx.len()),
        ];
        assert!(
            lens.into_iter().flatten().all(|len| len == x.len()),
            "x and y, dy or dx differ in length"
        );
        let [scale, shift] = self.scale_and_shift(&stats.mean, &stats.inverse_std);
        let affine = Affine {
            scale: &scale,
            shift: &shift,
            relu: self.relu,
        };
        parameter_gradients(affine, [x, grads.dy], y, stats, [grads.dgamma, grads.dbeta]);
        let [b, c] = input_slopes(&scale, stats, rows, [grads.dgamma, grads.dbeta]);
        let factors = InputFactors {
            affine,
            mean: &stats.mean,
            b: &b,
            c: &c,
        };
        let (dy, dx) = (Shared::new(grads.dy), grads.dx.map(Shared::new));
        let piece = rows_per_piece(cols);
        for_each(rows.div_ceil(piece), true, |i| {
            let span = i * piece * cols..rows.min((i + 1) * piece) * cols;
            // SAFETY: pieces are disjoint ranges of rows.
            let dy = unsafe { dy.slice(span.start, span.len()) };
            // SAFETY: as above.
            let dx = dx.map(|dx| unsafe { dx.slice(span.start, span.len()) });
            input_gradient(factors, &x[span.clone()], y.map(|y| &y[span]), dy, dx);
        });
    }

    /// γ / σ and β − mean γ / σ.
    pub(crate) fn scale_and_shift(&self, mean: &[f32], inverse_std: &[f32]) -> [Vec<f32>; 2] {
        assert_eq!(
            [mean.len(), inverse_std.len()],
            [self.gamma.len(); 2],
            "one statistic per channel"
        );
        let scale: Vec<f32> = self
            .gamma
            .iter()
            .zip(inverse_std)
            .map(|(g, i)| g * i)
            .collect();
        let shifts = self.beta.iter().zip(mean).zip(&scale);
        let shift = shifts.map(|((b, m), s)| b - m * s).collect();
        [scale, shift]
    }

    fn apply(
        &self,
        x: &[f32],
        [mean, inverse_std]: [&[f32]; 2],
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        assert_eq!(y.len(), x.len(), "x and y differ in length");
        self.for_rows(
            [mean, inverse_std],
            residual,
            y,
            |affine, span, residual, y| {
                affine_rows(affine, &x[span], residual, y);
            },
        );
    }

    /// `work` on pieces of rows of `y`: the affine map, the piece's place, and its part of the residual.
    fn for_rows(
        &self,
        [mean, inverse_std]: [&[f32]; 2],
        residual: Option<&[f32]>,
        y: &mut [f32],
        work: impl Fn(Affine, Range<usize>, Option<&[f32]>, &mut [f32]) + Sync + Send,
    ) {
        let (rows, cols) = (self.rows(y), self.gamma.len());
        assert!(
            residual.is_none_or(|r| r.len() == y.len()),
            "y and residual differ in length"
        );
        let [scale, shift] = self.scale_and_shift(mean, inverse_std);
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
            work(affine, span.clone(), residual.map(|r| &r[span]), y);
        });
    }

    /// Moments of each part about its own first row, combined as in Chan, Golub and LeVeque, *Updating Formulae and
    /// a Pairwise Algorithm for Computing Sample Variances*, 1979.
    pub(crate) fn statistics(&self, x: &[f32]) -> BatchStatistics {
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

    pub(crate) fn rows(&self, x: &[f32]) -> usize {
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

/// dγ = Σ dz x̂ and dβ = Σ dz, where dz is dy let through by the ReLU.
fn parameter_gradients(
    affine: Affine,
    [x, dy]: [&[f32]; 2],
    y: Option<&[f32]>,
    stats: &BatchStatistics,
    [dgamma, dbeta]: [&mut [f32]; 2],
) {
    let cols = affine.scale.len();
    let rows = x.len() / cols;
    let part = rows_per_part(rows, cols);
    let sums = map_parts(rows.div_ceil(part), |i| {
        let span = i * part * cols..rows.min((i + 1) * part) * cols;
        let (inputs, y) = ([&x[span.clone()], &dy[span.clone()]], y.map(|y| &y[span]));
        let mut sums = vec![0.0; 2 * cols];
        gradient_sums(affine, &stats.mean, inputs, y, &mut sums);
        sums
    });
    add_up(&sums, stats, [dgamma, dbeta]);
}

/// dγ and dβ from each part's Σ dz (x − mean) and Σ dz.
pub(crate) fn add_up(sums: &[Vec<f32>], stats: &BatchStatistics, [dgamma, dbeta]: [&mut [f32]; 2]) {
    let cols = dbeta.len();
    let mut total = vec![0.0; 2 * cols];
    sum_rows(&sums.concat(), 2 * cols, &mut total);
    let (products, plain) = total.split_at(cols);
    dbeta.copy_from_slice(plain);
    for ((dgamma, product), inverse) in dgamma.iter_mut().zip(products).zip(&stats.inverse_std) {
        *dgamma = product * inverse;
    }
}

/// b and c of dx = γ/σ (dz − mean dz − x̂ mean(dz x̂)) = scale dz + b (x − mean) + c, per channel.
pub(crate) fn input_slopes(
    scale: &[f32],
    stats: &BatchStatistics,
    rows: usize,
    [dgamma, dbeta]: [&[f32]; 2],
) -> [Vec<f32>; 2] {
    if stats.given {
        return [vec![0.0; scale.len()], vec![0.0; scale.len()]];
    }
    let share = |c: usize| scale[c] / rows as f32;
    let slope = |c: usize| -share(c) * stats.inverse_std[c] * dgamma[c];
    let channels = 0..scale.len();
    [
        channels.clone().map(slope).collect(),
        channels.map(|c| -share(c) * dbeta[c]).collect(),
    ]
}

dispatch! {
    fn shifted_moments(x: &[f32], sums: &mut [f32]) = shifted_moments_body;
    fn affine_rows(affine: Affine, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) = affine_rows_body;
    fn affine_rows_in_place(affine: Affine, residual: Option<&[f32]>, y: &mut [f32]) = affine_rows_in_place_body;
    fn gradient_sums(affine: Affine, mean: &[f32], xdy: [&[f32]; 2], y: Option<&[f32]>, sums: &mut [f32])
        = gradient_sums_body;
    fn input_gradient(factors: InputFactors, x: &[f32], y: Option<&[f32]>, dy: &mut [f32], dx: Option<&mut [f32]>)
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

#[inline(always)]
fn affine_rows_in_place_body<const FMA: bool>(
    affine: Affine,
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    let cols = affine.scale.len();
    let clip = |y: f32| if affine.relu { relu_scalar(y) } else { y };
    for (i, y) in y.chunks_exact_mut(cols).enumerate() {
        let row = y.iter_mut().zip(affine.scale).zip(affine.shift);
        match residual {
            Some(residual) => {
                for (((y, &scale), &shift), &r) in row.zip(&residual[i * cols..][..cols]) {
                    *y = clip(fma::<FMA>(*y, scale, shift) + r);
                }
            }
            None => {
                row.for_each(|((y, &scale), &shift)| *y = clip(fma::<FMA>(*y, scale, shift)));
            }
        }
    }
}

/// dz: what the ReLU behind `y` lets through of `dy`.
#[inline(always)]
fn through_relu(relu: bool, y: f32, dy: f32) -> f32 {
    if relu && y <= 0.0 { 0.0 } else { dy }
}

/// Σ dz (x − mean) and Σ dz per channel.
#[inline(always)]
fn gradient_sums_body<const FMA: bool>(
    affine: Affine,
    mean: &[f32],
    [x, dy]: [&[f32]; 2],
    y: Option<&[f32]>,
    sums: &mut [f32],
) {
    let cols = mean.len();
    let (products, plain) = sums.split_at_mut(cols);
    for (i, (x, dy)) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)).enumerate() {
        let places = products
            .iter_mut()
            .zip(plain.iter_mut())
            .zip(x)
            .zip(dy)
            .zip(mean);
        let add = |product: &mut f32, plain: &mut f32, [x, dy, mean, y]: [f32; 4]| {
            let dz = through_relu(affine.relu, y, dy);
            *product = fma::<FMA>(dz, x - mean, *product);
            *plain += dz;
        };
        if let Some(y) = y {
            let y = &y[i * cols..][..cols];
            for (((((product, plain), &x), &dy), &mean), &y) in places.zip(y) {
                add(product, plain, [x, dy, mean, y]);
            }
        } else {
            let places = places.zip(affine.scale).zip(affine.shift);
            for ((((((product, plain), &x), &dy), &mean), &scale), &shift) in places {
                add(product, plain, [x, dy, mean, fma::<FMA>(x, scale, shift)]);
            }
        }
    }
}

/// dz and from it dx = scale dz + b (x − mean) + c, which takes the place of dz where it has none of its own.
#[inline(always)]
fn input_gradient_body<const FMA: bool>(
    factors: InputFactors,
    x: &[f32],
    y: Option<&[f32]>,
    dy: &mut [f32],
    mut dx: Option<&mut [f32]>,
) {
    let InputFactors { affine, mean, b, c } = factors;
    let cols = mean.len();
    for (i, dy) in dy.chunks_exact_mut(cols).enumerate() {
        let span = i * cols..(i + 1) * cols;
        let x = &x[span.clone()];
        if let Some(y) = y {
            for (dy, &y) in dy.iter_mut().zip(&y[span.clone()]) {
                *dy = through_relu(affine.relu, y, *dy);
            }
        } else {
            let maps = affine.scale.iter().zip(affine.shift);
            for ((dy, &x), (&scale, &shift)) in dy.iter_mut().zip(x).zip(maps) {
                *dy = through_relu(affine.relu, fma::<FMA>(x, scale, shift), *dy);
            }
        }
        let factors = affine.scale.iter().zip(b).zip(c).zip(mean);
        let gradient =
            |dz: f32, x: f32, (((&scale, &b), &c), &mean): (((&f32, &f32), &f32), &f32)| {
                fma::<FMA>(scale, dz, fma::<FMA>(b, x - mean, c))
            };
        match &mut dx {
            Some(dx) => {
                for (((dx, &dz), &x), factors) in dx[span].iter_mut().zip(&*dy).zip(x).zip(factors)
                {
                    *dx = gradient(dz, x, factors);
                }
            }
            None => {
                for ((dy, &x), factors) in dy.iter_mut().zip(x).zip(factors) {
                    *dy = gradient(*dy, x, factors);
                }
            }
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
                let mut over = x.clone();
                norm.inference_in_place(&stats.mean, &stats.variance, residual, &mut over);
                assert_eq!(over, inferred);

                let (mut dx, mut dr) = (vec![9.0; x.len()], dy.clone());
                let [mut dgamma, mut dbeta] = [vec![9.0; cols], vec![9.0; cols]];
                let grads = BatchNormGradients {
                    dy: &mut dr,
                    dx: residual.map(|_| &mut dx[..]),
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                };
                norm.backward(&x, residual.map(|_| &y[..]), &stats, grads);
                let dx = if residual.is_some() { &dx } else { &dr };
                let value = |x: &[f64], g: &[f64], b: &[f64], r: &[f64]| {
                    weighted(&reference(x, g, b, r, relu).0, &dy)
                };
                assert_close(
                    dx,
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
    fn given_statistics_are_constants_on_the_way_back() {
        let (rows, cols) = (7, 33);
        let (x, r, dy) = (
            random(rows * cols, 1),
            random(rows * cols, 2),
            random(rows * cols, 3),
        );
        let (gamma, beta, mean) = (random(cols, 4), random(cols, 5), random(cols, 6));
        let variance: Vec<f32> = random(cols, 7).iter().map(|v| 1.5 + v).collect();
        let norm = BatchNorm {
            gamma: &gamma,
            beta: &beta,
            epsilon: EPSILON,
            relu: true,
        };
        let value = |x: &[f64], gamma: &[f64], beta: &[f64], r: &[f64]| {
            let of = |i: usize| {
                let (c, std) = (
                    i % cols,
                    (f64::from(variance[i % cols]) + f64::from(EPSILON)).sqrt(),
                );
                (gamma[c] * (x[i] - f64::from(mean[c])) / std + beta[c] + r[i]).max(0.0)
            };
            (0..x.len()).map(of).collect::<Vec<_>>()
        };
        let (x64, g64, b64, r64) = (to_f64(&x), to_f64(&gamma), to_f64(&beta), to_f64(&r));
        let mut y = vec![9.0; x.len()];
        norm.inference(&x, &mean, &variance, Some(&r), &mut y);
        assert_close(&y, &value(&x64, &g64, &b64, &r64), 1e-5);
        let (mut dx, mut dr) = (vec![9.0; x.len()], dy.clone());
        let [mut dgamma, mut dbeta] = [vec![9.0; cols], vec![9.0; cols]];
        let grads = BatchNormGradients {
            dy: &mut dr,
            dx: Some(&mut dx),
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        };
        norm.backward(&x, Some(&y), &norm.given(&mean, &variance), grads);
        let sum = |y: Vec<f64>| weighted(&y, &dy);
        assert_close(
            &dx,
            &central_differences(&x, |x| sum(value(x, &g64, &b64, &r64))),
            1e-5,
        );
        assert_close(
            &dr,
            &central_differences(&r, |r| sum(value(&x64, &g64, &b64, r))),
            1e-5,
        );
        assert_close(
            &dgamma,
            &central_differences(&gamma, |g| sum(value(&x64, g, &b64, &r64))),
            1e-5,
        );
        assert_close(
            &dbeta,
            &central_differences(&beta, |b| sum(value(&x64, &g64, b, &r64))),
            1e-5,
        );
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
