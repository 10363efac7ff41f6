//! Batch normalization, ReLU and 2 × 2 max pooling in one: the normalized map itself is never written.

use crate::activation::relu_scalar;
use crate::batch_norm::{Affine, BatchNorm, BatchStatistics, InputFactors, add_up, input_slopes};
use crate::dispatch::{dispatch, fma};
use crate::parallel::{Shared, for_each, map_parts, rows_per_part, rows_per_piece};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Batch normalization, ReLU, and the largest of each 2 × 2 window, windows side by side:
///
/// ```text
/// z = γ (x − mean) / √(variance + ε) + β
/// y[n, i, j, c] = max(0, z[n, 2i, 2j, c], z[n, 2i, 2j + 1, c], z[n, 2i + 1, 2j, c], z[n, 2i + 1, 2j + 1, c])
/// ```
///
/// An odd last row or column belongs to no window; the statistics count it all the same. The values and the choice
/// among equals are those of [`BatchNorm`] with ReLU and [`Pool2d`](crate::Pool2d) after it.
///
/// # Shapes
/// - `x`: `[batch, height, width, C]`, height and width at least 2; `gamma`, `beta`: `[C]`
/// - `y` and `places`: `[batch, ⌊height / 2⌋, ⌊width / 2⌋, C]`
///
/// `places` holds where each output lies in its window, 2 · row + column, or 4 where ReLU clips all four and no
/// gradient passes.
///
/// # Panics
/// Every method panics when a slice does not fit or a side is below 2.
///
/// ```
/// use nearkin_kernels::BatchNormPool;
/// let op = BatchNormPool { gamma: &[1.0], beta: &[0.0], epsilon: 0.0, batch: 1, height: 2, width: 2 };
/// let (mut y, mut places) = ([9.0], [9]);
/// let stats = op.forward(&[1.0, 1.0, 5.0, 5.0], &mut y, &mut places);
/// assert_eq!((y, places, stats.mean[0]), ([1.0], [2], 3.0));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchNormPool<'a> {
    /// Scale γ, `[C]`.
    pub gamma: &'a [f32],
    /// Shift β, `[C]`.
    pub beta: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f32,
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
}

/// What [`BatchNormPool::backward`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormPoolGradients {
    /// Gradient of x, `[batch, height, width, C]`.
    pub dx: Vec<f32>,
    /// Gradient of γ, `[C]`.
    pub dgamma: Vec<f32>,
    /// Gradient of β, `[C]`.
    pub dbeta: Vec<f32>,
}

/// The place of an output that ReLU clipped.
const CLIPPED: u8 = 4;

/// A row of outputs on the way back: their gradients and their places.
#[derive(Clone, Copy)]
struct Pooled<'a> {
    dy: &'a [f32],
    places: &'a [u8],
}

impl<'a> Pooled<'a> {
    /// The gradients and places of each output position.
    fn windows(self, cols: usize) -> impl Iterator<Item = (&'a [f32], &'a [u8])> {
        self.dy
            .chunks_exact(cols)
            .zip(self.places.chunks_exact(cols))
    }
}

impl BatchNormPool<'_> {
    /// Normalizes by the statistics of `x` itself, which are returned; overwrites `y` and `places`.
    pub fn forward(&self, x: &[f32], y: &mut [f32], places: &mut [u8]) -> BatchStatistics {
        let stats = self.norm().statistics(x);
        self.apply(x, [&stats.mean, &stats.inverse_std], y, places);
        stats
    }

    /// Normalizes by given statistics; overwrites `y`.
    pub fn inference(&self, x: &[f32], mean: &[f32], variance: &[f32], y: &mut [f32]) {
        let deviations = variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt());
        let inverse_std: Vec<f32> = deviations.collect();
        self.apply(x, [mean, &inverse_std], y, &mut vec![0; y.len()]);
    }

    /// Gradients, from the input of [`forward`](Self::forward), its statistics and its places, and the gradient of y.
    ///
    /// They are returned, where other kernels write into slices: dx is the largest of all and so needs no clearing.
    pub fn backward(
        &self,
        x: &[f32],
        stats: &BatchStatistics,
        places: &[u8],
        dy: &[f32],
    ) -> BatchNormPoolGradients {
        self.check(x, dy.len(), places.len());
        let [scale, shift] = self.norm().scale_and_shift(&stats.mean, &stats.inverse_std);
        let pooled = Pooled { dy, places };
        let [dgamma, dbeta] = self.parameter_gradients(x, stats, pooled);
        let rows = x.len() / self.gamma.len();
        let [b, c] = input_slopes(&scale, stats, rows, [&dgamma, &dbeta]);
        let factors = InputFactors {
            affine: affine(&scale, &shift),
            mean: &stats.mean,
            b: &b,
            c: &c,
        };
        let dx = self.input_gradient(factors, x, pooled);
        BatchNormPoolGradients { dx, dgamma, dbeta }
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.bands() * self.output_row()
    }

    fn apply(&self, x: &[f32], [mean, inverse_std]: [&[f32]; 2], y: &mut [f32], places: &mut [u8]) {
        self.check(x, y.len(), places.len());
        let [scale, shift] = self.norm().scale_and_shift(mean, inverse_std);
        let (y, places, row) = (Shared::new(y), Shared::new(places), self.output_row());
        self.for_bands(|band| {
            // SAFETY: each band has an output row of its own.
            let y = unsafe { y.slice(band * row, row) };
            // SAFETY: as above.
            let places = unsafe { places.slice(band * row, row) };
            let x = &x[self.input(band)];
            pool_band(affine(&scale, &shift), self.width, x, y, places);
        });
    }

    /// dγ = Σ dz x̂ and dβ = Σ dz, where dz is dy at the places that were chosen.
    fn parameter_gradients(
        &self,
        x: &[f32],
        stats: &BatchStatistics,
        pooled: Pooled,
    ) -> [Vec<f32>; 2] {
        let cols = self.gamma.len();
        let part = rows_per_part(self.bands(), self.band_len());
        let sums = map_parts(self.bands().div_ceil(part), |i| {
            let mut sums = vec![0.0; 2 * cols];
            for band in i * part..self.bands().min((i + 1) * part) {
                let (x, pooled) = (&x[self.input(band)], self.pooled(pooled, band));
                gradient_sums(&stats.mean, self.width, x, pooled, &mut sums);
            }
            sums
        });
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0; cols]);
        add_up(&sums, stats, [&mut dgamma, &mut dbeta]);
        [dgamma, dbeta]
    }

    fn input_gradient(&self, factors: InputFactors, x: &[f32], pooled: Pooled) -> Vec<f32> {
        let mut dx = Vec::with_capacity(x.len());
        let room = Shared::new(&mut dx.spare_capacity_mut()[..x.len()]);
        self.for_bands(|band| {
            let span = self.input(band);
            // SAFETY: bands are disjoint.
            let dx = unsafe { room.slice(span.start, span.len()) };
            input_gradient(factors, self.width, &x[span], self.pooled(pooled, band), dx);
        });
        // SAFETY: the bands are the whole map, and `input_gradient` writes every place of its band.
        unsafe { dx.set_len(x.len()) };
        dx
    }

    fn norm(&self) -> BatchNorm<'_> {
        BatchNorm {
            gamma: self.gamma,
            beta: self.beta,
            epsilon: self.epsilon,
            relu: true,
        }
    }

    /// Output rows of all images. A band is the input rows that one of them pools; an odd last row joins the band
    /// above it.
    fn bands(&self) -> usize {
        self.batch * (self.height / 2)
    }

    /// Numbers in most bands.
    fn band_len(&self) -> usize {
        2 * self.width * self.gamma.len()
    }

    fn output_row(&self) -> usize {
        self.width / 2 * self.gamma.len()
    }

    /// The numbers of a band.
    fn input(&self, band: usize) -> Range<usize> {
        let per_image = self.height / 2;
        let start = |band: usize| {
            let row = band / per_image * self.height + 2 * (band % per_image);
            row * self.width * self.gamma.len()
        };
        start(band)..start(band + 1)
    }

    fn pooled<'a>(&self, all: Pooled<'a>, band: usize) -> Pooled<'a> {
        let row = self.output_row();
        Pooled {
            dy: &all.dy[band * row..][..row],
            places: &all.places[band * row..][..row],
        }
    }

    /// `f(band)` for all bands, in parallel.
    fn for_bands(&self, f: impl Fn(usize) + Sync + Send) {
        let (bands, piece) = (self.bands(), rows_per_piece(self.band_len()));
        for_each(bands.div_ceil(piece), true, |i| {
            (i * piece..bands.min((i + 1) * piece)).for_each(&f);
        });
    }

    fn check(&self, x: &[f32], outputs: usize, places: usize) {
        let positions = self.batch * self.height * self.width;
        assert!(
            self.height >= 2 && self.width >= 2 && self.norm().rows(x) == positions,
            "{} numbers for {self:?}",
            x.len()
        );
        assert_eq!(
            [outputs, places],
            [self.output_len(); 2],
            "outputs and places of {self:?}"
        );
    }
}

fn affine<'a>(scale: &'a [f32], shift: &'a [f32]) -> Affine<'a> {
    Affine {
        scale,
        shift,
        relu: true,
    }
}

dispatch! {
    fn pool_band(affine: Affine, width: usize, x: &[f32], y: &mut [f32], places: &mut [u8]) = pool_band_body;
    fn gradient_sums(mean: &[f32], width: usize, x: &[f32], pooled: Pooled, sums: &mut [f32]) = gradient_sums_body;
    fn input_gradient(factors: InputFactors, width: usize, x: &[f32], pooled: Pooled, dx: &mut [MaybeUninit<f32>])
        = input_gradient_body;
}

/// The four places of a band's window `j`, channel by channel.
#[inline(always)]
fn window(x: &[f32], [width, cols]: [usize; 2], j: usize) -> impl Iterator<Item = [f32; 4]> {
    let [a, b, c, d] = [0, 1, width, width + 1].map(|place| &x[(2 * j + place) * cols..][..cols]);
    let places = a.iter().zip(b).zip(c).zip(d);
    places.map(|(((&a, &b), &c), &d)| [a, b, c, d])
}

// The loops over channels below are zips and have no index: a check of bounds inside would leave the last vector of
// each to a scalar loop, and 32 channels are two vectors.

#[inline(always)]
fn pool_band_body<const FMA: bool>(
    affine: Affine,
    width: usize,
    x: &[f32],
    y: &mut [f32],
    places: &mut [u8],
) {
    let cols = affine.scale.len();
    let windows = y.chunks_exact_mut(cols).zip(places.chunks_exact_mut(cols));
    for (j, (y, places)) in windows.enumerate() {
        let maps = affine.scale.iter().zip(affine.shift);
        let inputs = window(x, [width, cols], j).zip(maps);
        for ((y, place), (x, (&scale, &shift))) in y.iter_mut().zip(places).zip(inputs) {
            let [first, others @ ..] = x.map(|x| fma::<FMA>(x, scale, shift));
            let (mut best, mut at) = (first, 0);
            for (k, z) in (1..).zip(others) {
                let better = z > best || z.is_nan();
                best = if better { z } else { best };
                at = if better { k } else { at };
            }
            *y = relu_scalar(best);
            *place = if best <= 0.0 { CLIPPED } else { at };
        }
    }
}

/// Σ dz (x − mean) and Σ dz per channel, added to `sums`.
#[inline(always)]
fn gradient_sums_body<const FMA: bool>(
    mean: &[f32],
    width: usize,
    x: &[f32],
    pooled: Pooled,
    sums: &mut [f32],
) {
    let cols = mean.len();
    let (products, plain) = sums.split_at_mut(cols);
    for (j, (dy, places)) in pooled.windows(cols).enumerate() {
        let sums = products.iter_mut().zip(plain.iter_mut());
        let upstream = dy.iter().zip(places).zip(mean);
        let inputs = window(x, [width, cols], j).zip(upstream);
        for ((product, plain), ([a, b, c, d], ((&dy, &place), &mean))) in sums.zip(inputs) {
            // All four are read and one is chosen: this vectorizes, and following the place does not.
            let top = if place == 0 { a } else { b };
            let bottom = if place == 2 { c } else { d };
            let chosen = if place < 2 { top } else { bottom };
            let dz = if place == CLIPPED { 0.0 } else { dy };
            *product = fma::<FMA>(dz, chosen - mean, *product);
            *plain += dz;
        }
    }
}

/// dx = scale dz + b (x − mean) + c; every place of `dx` is written.
#[inline(always)]
fn input_gradient_body<const FMA: bool>(
    factors: InputFactors,
    width: usize,
    x: &[f32],
    pooled: Pooled,
    dx: &mut [MaybeUninit<f32>],
) {
    let cols = factors.mean.len();
    assert_eq!(x.len(), dx.len(), "x and dx differ in length");
    let rows = x
        .chunks_exact(width * cols)
        .zip(dx.chunks_exact_mut(width * cols));
    for (row, (x, dx)) in rows.enumerate() {
        let in_windows = if row < 2 { 2 * pooled.dy.len() } else { 0 };
        let (x, x_rest) = x.split_at(in_windows);
        let (dx, dx_rest) = dx.split_at_mut(in_windows);
        let pairs = x.chunks_exact(2 * cols).zip(dx.chunks_exact_mut(2 * cols));
        for ((x, dx), window) in pairs.zip(pooled.windows(cols)) {
            let places = x.chunks_exact(cols).zip(dx.chunks_exact_mut(cols));
            for (here, (x, dx)) in (2 * row as u8..).zip(places) {
                place_gradient::<FMA>(factors, [x, window.0], (here, window.1), dx);
            }
        }
        let rest = x_rest
            .chunks_exact(cols)
            .zip(dx_rest.chunks_exact_mut(cols));
        for (x, dx) in rest {
            for ((dx, &x), (&mean, (&b, &c))) in dx.iter_mut().zip(x).zip(factors.offsets()) {
                dx.write(fma::<FMA>(b, x - mean, c));
            }
        }
    }
}

/// dx of the place `here` of a window, where dz is dy in the channels that chose it.
#[inline(always)]
fn place_gradient<const FMA: bool>(
    factors: InputFactors,
    [x, dy]: [&[f32]; 2],
    (here, places): (u8, &[u8]),
    dx: &mut [MaybeUninit<f32>],
) {
    let factors = factors.affine.scale.iter().zip(factors.offsets());
    let upstream = dy.iter().zip(places);
    for (((dx, &x), (&dy, &place)), (&scale, (&mean, (&b, &c)))) in
        dx.iter_mut().zip(x).zip(upstream).zip(factors)
    {
        let dz = if place == here { dy } else { 0.0 };
        dx.write(fma::<FMA>(scale, dz, fma::<FMA>(b, x - mean, c)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool2d;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    const EPSILON: f32 = 1e-3;
    /// batch, height, width, channels
    const SIZES: [[usize; 4]; 6] = [
        [1, 2, 2, 1],
        [1, 3, 3, 1],
        [2, 2, 3, 3],
        [2, 5, 4, 2],
        [3, 7, 7, 17],
        [40, 8, 9, 33],
    ];

    /// The definition in f64.
    fn reference(
        [batch, height, width, cols]: [usize; 4],
        x: &[f64],
        affine: [&[f64]; 2],
    ) -> Vec<f64> {
        let mut z = vec![0.0; x.len()];
        let rows = (x.len() / cols) as f64;
        for (c, (gamma, beta)) in affine[0].iter().zip(affine[1]).enumerate() {
            let channel = || x.iter().skip(c).step_by(cols);
            let mean = channel().sum::<f64>() / rows;
            let variance = channel().map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
            let scale = gamma / (variance + f64::from(EPSILON)).sqrt();
            for (z, x) in z.iter_mut().skip(c).step_by(cols).zip(channel()) {
                *z = scale * (x - mean) + beta;
            }
        }
        let outputs = (0..batch * (height / 2) * (width / 2) * cols).map(|i| {
            let (c, i) = (i % cols, i / cols);
            let (j, i) = (i % (width / 2), i / (width / 2));
            let (i, n) = (i % (height / 2), i / (height / 2));
            let places = [(0, 0), (0, 1), (1, 0), (1, 1)].iter();
            let at = |(u, v)| ((n * height + 2 * i + u) * width + 2 * j + v) * cols + c;
            places.fold(0.0, |y, &place| f64::max(y, z[at(place)]))
        });
        outputs.collect()
    }

    fn operation([batch, height, width, _]: [usize; 4], affine: [&[f32]; 2]) -> BatchNormPool<'_> {
        BatchNormPool {
            gamma: affine[0],
            beta: affine[1],
            epsilon: EPSILON,
            batch,
            height,
            width,
        }
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for size in SIZES {
            let (x, cols) = (random(size.iter().product(), 1), size[3]);
            let (gamma, beta) = (random(cols, 2), random(cols, 3));
            let op = operation(size, [&gamma, &beta]);
            let (mut y, dy) = (vec![9.0; op.output_len()], random(op.output_len(), 4));
            let mut places = vec![9; y.len()];
            let stats = op.forward(&x, &mut y, &mut places);
            let (x64, g64, b64) = (to_f64(&x), to_f64(&gamma), to_f64(&beta));
            let want = reference(size, &x64, [&g64, &b64]);
            assert_close(&y, &want, 1e-5);

            let mut inferred = vec![9.0; y.len()];
            op.inference(&x, &stats.mean, &stats.variance, &mut inferred);
            assert_close(&inferred, &want, 1e-5);

            if x.len() > 3000 {
                continue;
            }
            let got = op.backward(&x, &stats, &places, &dy);
            let value =
                |x: &[f64], g: &[f64], b: &[f64]| weighted(&reference(size, x, [g, b]), &dy);
            let dx = central_differences(&x, |x| value(x, &g64, &b64));
            let dgamma = central_differences(&gamma, |g| value(&x64, g, &b64));
            let dbeta = central_differences(&beta, |b| value(&x64, &g64, b));
            assert_close(&got.dx, &dx, 2e-4);
            assert_close(&got.dgamma, &dgamma, 2e-5);
            assert_close(&got.dbeta, &dbeta, 2e-5);
        }
    }

    /// The same values, bit for bit, and the same gradients as normalization and pooling one after the other, also
    /// where numbers are equal or all are clipped.
    #[test]
    fn it_agrees_with_its_two_halves() {
        for size in SIZES {
            let coarse = |x: &f32| (x * 3.0).round();
            let x: Vec<f32> = random(size.iter().product(), 1)
                .iter()
                .map(coarse)
                .collect();
            let (gamma, beta) = (random(size[3], 2), random(size[3], 3));
            let op = operation(size, [&gamma, &beta]);
            let pool = Pool2d {
                batch: size[0],
                height: size[1],
                width: size[2],
                channels: size[3],
                kernel: [2, 2],
                stride: [2, 2],
                padding: [0, 0],
                ceil: false,
            };
            let (mut z, mut want) = (vec![9.0; x.len()], vec![9.0; op.output_len()]);
            let (mut argmax, mut places) = (vec![9; want.len()], vec![9; want.len()]);
            let (mut y, dy) = (want.clone(), random(want.len(), 4));
            let stats = op.norm().forward(&x, None, &mut z);
            pool.max_forward(&z, &mut want, &mut argmax);
            assert_eq!(op.forward(&x, &mut y, &mut places), stats);
            assert_eq!(y, want);

            let got = op.backward(&x, &stats, &places, &dy);
            let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![9.0; size[3]]);
            pool.max_backward(&dy, &argmax, &mut z);
            let grads = crate::BatchNormGradients {
                dy: &mut z,
                dx: None,
                dgamma: &mut dgamma,
                dbeta: &mut dbeta,
            };
            op.norm().backward(&x, None, &stats, grads);
            assert_close(&got.dgamma, &to_f64(&dgamma), 1e-5);
            assert_close(&got.dbeta, &to_f64(&dbeta), 1e-5);
            assert_close(&got.dx, &to_f64(&z), 1e-5);
            assert_eq!(
                op.backward(&x, &stats, &places, &dy),
                got,
                "the same bits in every run"
            );
        }
    }

    #[test]
    fn no_gradient_passes_where_all_is_clipped_and_nan_shows() {
        let op = operation([1, 2, 2, 1], [&[1.0], &[-9.0]]);
        let (x, mut y, mut places) = ([1.0, 2.0, 3.0, 4.0], [9.0], [9]);
        let stats = op.forward(&x, &mut y, &mut places);
        assert_eq!((y, places), ([0.0], [CLIPPED]));
        let got = op.backward(&x, &stats, &places, &[1.0]);
        assert_eq!(
            (got.dx, got.dgamma, got.dbeta),
            (vec![0.0; 4], vec![0.0], vec![0.0])
        );
        op.inference(&[1.0, f32::NAN, 3.0, 4.0], &[0.0], &[1.0], &mut y);
        assert!(y[0].is_nan());
    }

    #[test]
    fn no_images_are_no_outputs() {
        let op = operation([0, 4, 4, 2], [&[1.0; 2], &[0.0; 2]]);
        let stats = op.forward(&[], &mut [], &mut []);
        assert!(op.backward(&[], &stats, &[], &[]).dx.is_empty());
    }
}
