//! Pooling over windows of an image, and over the whole of it.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{GRAIN, Shared, for_each};
use std::ops::Range;

/// Pooling windows over NHWC images.
///
/// # Shapes
/// - input: `[batch, height, width, channels]`
/// - output: `[batch, output_height, output_width, channels]`
///
/// # Panics
/// Every method panics when a slice does not fit, a kernel side or stride is 0, the padding is not smaller than the
/// kernel (a window could be empty), or the kernel is larger than the padded image.
///
/// ```
/// use nearkin_kernels::Pool2d;
/// let pool = Pool2d {
///     batch: 1, height: 2, width: 2, channels: 1, kernel: [2, 2], stride: [2, 2], padding: [0, 0], ceil: false,
/// };
/// let (mut y, mut argmax) = ([0.0], [0]);
/// pool.max_forward(&[1.0, 4.0, 2.0, 3.0], &mut y, &mut argmax);
/// assert_eq!((y, argmax), ([4.0], [1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels, pooled separately.
    pub channels: usize,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Rows and columns of nothing added on each side.
    pub padding: [usize; 2],
    /// Whether there is one more window where the last whole one leaves rows or columns over, as with `ceil_mode=True`
    /// in PyTorch: it is cut at the image, and left out where it would begin beyond it.
    pub ceil: bool,
}

/// One channel vector of the output and the positions it pools: row · width + column within its image.
struct Window {
    output: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    width: usize,
    /// Positions with those in the padding.
    padded: usize,
}

impl Window {
    fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows
            .clone()
            .flat_map(move |row| self.cols.clone().map(move |col| row * self.width + col))
    }

    /// What a mean divides by.
    fn len(&self, padding_counts: bool) -> f32 {
        let inside = self.rows.len() * self.cols.len();
        (if padding_counts { self.padded } else { inside }) as f32
    }
}

impl Pool2d {
    /// ⌊(height + 2 padding − kernel) / stride⌋ + 1, or what `ceil` makes of it.
    pub fn output_height(&self) -> usize {
        self.output_side(0, self.height)
    }

    /// ⌊(width + 2 padding − kernel) / stride⌋ + 1, or what `ceil` makes of it.
    pub fn output_width(&self) -> usize {
        self.output_side(1, self.width)
    }

    fn output_side(&self, axis: usize, len: usize) -> usize {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let room = len + 2 * padding - self.kernel[axis];
        let whole = room / stride + 1;
        let reaches = !room.is_multiple_of(stride) && whole * stride < len + padding;
        whole + usize::from(self.ceil && reaches)
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.output_height() * self.output_width() * self.channels
    }

    /// y = the largest of each window (the first of equals, NaN before all), and where it lies:
    /// `argmax` holds row · width + column within the image.
    pub fn max_forward(&self, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
        self.check(x.len(), y.len());
        assert_eq!(argmax.len(), y.len(), "one argmax per output");
        let argmax = Shared::new(argmax);
        self.per_image(x, y, |image, x, y| {
            // SAFETY: images are disjoint ranges of `argmax`.
            let argmax = unsafe { argmax.slice(image * y.len(), y.len()) };
            max_image(self, x, y, argmax);
        });
    }

    /// dx = dy at the places `argmax` of [`max_forward`](Self::max_forward), added up where windows overlap;
    /// overwrites `dx`.
    pub fn max_backward(&self, dy: &[f32], argmax: &[u32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        assert_eq!(argmax.len(), dy.len(), "one argmax per output");
        self.per_image(dy, dx, |image, dy, dx| {
            max_image_backward(self, dy, &argmax[image * dy.len()..][..dy.len()], dx);
        });
    }

    /// y = the mean of each window. Padding adds nothing to the sum; it counts among the numbers where `padding_counts`,
    /// as with `count_include_pad=True` in PyTorch.
    pub fn average_forward(&self, padding_counts: bool, x: &[f32], y: &mut [f32]) {
        self.check(x.len(), y.len());
        self.per_image(x, y, |_, x, y| average_image(self, padding_counts, x, y));
    }

    /// dx = dy shared equally among the window's positions; overwrites `dx`.
    pub fn average_backward(&self, padding_counts: bool, dy: &[f32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        self.per_image(dy, dx, |_, dy, dx| {
            average_image_backward(self, padding_counts, dy, dx);
        });
    }

    /// y = √(Σ x²) over each window.
    ///
    /// # Reference
    /// The L2 pooling of Schroff, Kalenichenko and Philbin, *FaceNet*, 2015, table 2.
    pub fn l2_forward(&self, x: &[f32], y: &mut [f32]) {
        self.check(x.len(), y.len());
        self.per_image(x, y, |_, x, y| l2_image(self, x, y));
    }

    /// dx = Σ over windows of dy x / y, and 0 where y = 0; overwrites `dx`.
    pub fn l2_backward(&self, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        assert_eq!(
            (x.len(), y.len()),
            (dx.len(), dy.len()),
            "x and dx, or y and dy, differ in length"
        );
        self.per_image(dy, dx, |image, dy, dx| {
            let (x, y) = (
                &x[image * dx.len()..][..dx.len()],
                &y[image * dy.len()..][..dy.len()],
            );
            l2_image_backward(self, [x, y, dy], dx);
        });
    }

    /// The windows of one image, in output order, cut to the image.
    fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        let side = |o: usize, axis: usize, len: usize| {
            let start = o * self.stride[axis];
            let end = (start + self.kernel[axis])
                .saturating_sub(self.padding[axis])
                .min(len);
            start.saturating_sub(self.padding[axis])..end
        };
        let padded = |o: usize, axis: usize, len: usize| {
            self.kernel[axis].min(len + 2 * self.padding[axis] - o * self.stride[axis])
        };
        let out_width = self.output_width();
        (0..self.output_height() * out_width).map(move |output| Window {
            output,
            rows: side(output / out_width, 0, self.height),
            cols: side(output % out_width, 1, self.width),
            width: self.width,
            padded: padded(output / out_width, 0, self.height)
                * padded(output % out_width, 1, self.width),
        })
    }

    /// `f(image, its part of the input, its part of the output)`, images in parallel.
    fn per_image(
        &self,
        input: &[f32],
        output: &mut [f32],
        f: impl Fn(usize, &[f32], &mut [f32]) + Sync + Send,
    ) {
        let (from, to) = (
            input.len() / self.batch.max(1),
            output.len() / self.batch.max(1),
        );
        let parallel = input.len().max(output.len()) > GRAIN;
        let output = Shared::new(output);
        for_each(self.batch, parallel, |image| {
            // SAFETY: images are disjoint.
            let output = unsafe { output.slice(image * to, to) };
            f(image, &input[image * from..][..from], output);
        });
    }

    fn check(&self, input: usize, output: usize) {
        for axis in 0..2 {
            let fits =
                self.kernel[axis] <= [self.height, self.width][axis] + 2 * self.padding[axis];
            assert!(
                self.stride[axis] > 0 && self.padding[axis] < self.kernel[axis] && fits,
                "{self:?}"
            );
        }
        assert_eq!(
            (input, output),
            (self.input_len(), self.output_len()),
            "input and output of {self:?}"
        );
    }
}

dispatch! {
    fn max_image(pool: &Pool2d, x: &[f32], y: &mut [f32], argmax: &mut [u32]) = max_image_body;
    fn max_image_backward(pool: &Pool2d, dy: &[f32], argmax: &[u32], dx: &mut [f32]) = max_image_backward_body;
    fn average_image(pool: &Pool2d, padding_counts: bool, x: &[f32], y: &mut [f32]) = average_image_body;
    fn average_image_backward(pool: &Pool2d, padding_counts: bool, dy: &[f32], dx: &mut [f32]) = average_image_backward_body;
    fn l2_image(pool: &Pool2d, x: &[f32], y: &mut [f32]) = l2_image_body;
    fn l2_image_backward(pool: &Pool2d, inputs: [&[f32]; 3], dx: &mut [f32]) = l2_image_backward_body;
}

/// Maxima of one image.
#[inline(always)]
fn max_image_body<const FMA: bool>(pool: &Pool2d, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
    let channels = pool.channels;
    for window in pool.windows() {
        let at = window.output * channels..(window.output + 1) * channels;
        let (best, places) = (&mut y[at.clone()], &mut argmax[at]);
        let mut positions = window.positions();
        let Some(first) = positions.next() else {
            continue;
        };
        best.copy_from_slice(&x[first * channels..][..channels]);
        places.fill(first as u32);
        for position in positions {
            let candidates = &x[position * channels..][..channels];
            for ((best, place), &x) in best.iter_mut().zip(places.iter_mut()).zip(candidates) {
                let better = x > *best || x.is_nan();
                *best = if better { x } else { *best };
                *place = if better { position as u32 } else { *place };
            }
        }
    }
}

/// Every place of a window asks whether it was the largest: this vectorizes, and following `argmax` does not.
#[inline(always)]
fn max_image_backward_body<const FMA: bool>(
    pool: &Pool2d,
    dy: &[f32],
    argmax: &[u32],
    dx: &mut [f32],
) {
    let channels = pool.channels;
    dx.fill(0.0);
    for window in pool.windows() {
        let at = window.output * channels..(window.output + 1) * channels;
        for position in window.positions() {
            let dx = &mut dx[position * channels..][..channels];
            for ((dx, &dy), &place) in dx.iter_mut().zip(&dy[at.clone()]).zip(&argmax[at.clone()]) {
                *dx += if place == position as u32 { dy } else { 0.0 };
            }
        }
    }
}

/// y = finish(Σ add, window) over each window of one image.
#[inline(always)]
fn fold(
    pool: &Pool2d,
    x: &[f32],
    y: &mut [f32],
    add: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32, &Window) -> f32,
) {
    let channels = pool.channels;
    for window in pool.windows() {
        let y = &mut y[window.output * channels..][..channels];
        y.fill(0.0);
        for position in window.positions() {
            let x = &x[position * channels..][..channels];
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = add(*y, x));
        }
        for y in y {
            *y = finish(*y, &window);
        }
    }
}

#[inline(always)]
fn average_image_body<const FMA: bool>(
    pool: &Pool2d,
    padding_counts: bool,
    x: &[f32],
    y: &mut [f32],
) {
    let mean = |sum: f32, window: &Window| sum / window.len(padding_counts);
    fold(pool, x, y, |sum, x| sum + x, mean);
}

#[inline(always)]
fn average_image_backward_body<const FMA: bool>(
    pool: &Pool2d,
    padding_counts: bool,
    dy: &[f32],
    dx: &mut [f32],
) {
    let channels = pool.channels;
    dx.fill(0.0);
    for window in pool.windows() {
        let share = 1.0 / window.len(padding_counts);
        let dy = &dy[window.output * channels..][..channels];
        for position in window.positions() {
            let dx = &mut dx[position * channels..][..channels];
            dx.iter_mut()
                .zip(dy)
                .for_each(|(dx, dy)| *dx = fma::<FMA>(share, *dy, *dx));
        }
    }
}

#[inline(always)]
fn l2_image_body<const FMA: bool>(pool: &Pool2d, x: &[f32], y: &mut [f32]) {
    let add = |sum: f32, x: f32| fma::<FMA>(x, x, sum);
    fold(pool, x, y, add, |sum, _| sum.sqrt());
}

/// Inputs are x, y and dy.
#[inline(always)]
fn l2_image_backward_body<const FMA: bool>(pool: &Pool2d, [x, y, dy]: [&[f32]; 3], dx: &mut [f32]) {
    let channels = pool.channels;
    dx.fill(0.0);
    for window in pool.windows() {
        let at = window.output * channels..(window.output + 1) * channels;
        let (y, dy) = (&y[at.clone()], &dy[at]);
        for position in window.positions() {
            let span = position * channels..(position + 1) * channels;
            let inputs = dx[span.clone()].iter_mut().zip(&x[span]);
            for (((dx, x), &y), dy) in inputs.zip(y).zip(dy) {
                *dx += if y > 0.0 { dy * x / y } else { 0.0 };
            }
        }
    }
}

/// y = the mean over the positions of each image, overwriting `y`.
///
/// # Shapes
/// - `x`: `[batch, positions, channels]`, `y`: `[batch, channels]`
///
/// # Panics
/// When the shapes do not fit.
pub fn global_average(x: &[f32], batch: usize, positions: usize, channels: usize, y: &mut [f32]) {
    assert_eq!(
        (x.len(), y.len()),
        (batch * positions * channels, batch * channels),
        "x or y does not fit"
    );
    if x.is_empty() {
        return y.fill(0.0);
    }
    for (x, y) in x
        .chunks_exact(positions * channels)
        .zip(y.chunks_exact_mut(channels))
    {
        crate::linear::sum_rows(x, channels, y);
        for y in y {
            *y /= positions as f32;
        }
    }
}

/// dx = dy / positions at every position, overwriting `dx`.
///
/// # Shapes
/// - `dy`: `[batch, channels]`, `dx`: `[batch, positions, channels]`
///
/// # Panics
/// When the shapes do not fit.
pub fn global_average_backward(
    dy: &[f32],
    batch: usize,
    positions: usize,
    channels: usize,
    dx: &mut [f32],
) {
    assert_eq!(
        (dx.len(), dy.len()),
        (batch * positions * channels, batch * channels),
        "dx or dy does not fit"
    );
    if dx.is_empty() {
        return;
    }
    let images = dx.chunks_exact_mut(positions * channels);
    for (dx, dy) in images.zip(dy.chunks_exact(channels)) {
        for dx in dx.chunks_exact_mut(channels) {
            dx.iter_mut()
                .zip(dy)
                .for_each(|(dx, dy)| *dx = dy / positions as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    /// Every window's inputs that lie inside the image, one output after another.
    fn windows(p: &Pool2d, x: &[f64]) -> Vec<Vec<f64>> {
        let mut all = Vec::new();
        for n in 0..p.batch {
            for (oh, ow) in
                (0..p.output_height()).flat_map(|h| (0..p.output_width()).map(move |w| (h, w)))
            {
                for c in 0..p.channels {
                    let mut inside = Vec::new();
                    for (kh, kw) in
                        (0..p.kernel[0]).flat_map(|h| (0..p.kernel[1]).map(move |w| (h, w)))
                    {
                        let h = (oh * p.stride[0] + kh).wrapping_sub(p.padding[0]);
                        let w = (ow * p.stride[1] + kw).wrapping_sub(p.padding[1]);
                        if h < p.height && w < p.width {
                            inside.push(x[((n * p.height + h) * p.width + w) * p.channels + c]);
                        }
                    }
                    all.push(inside);
                }
            }
        }
        all
    }

    fn max(window: &[f64]) -> f64 {
        window.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn average(window: &[f64]) -> f64 {
        window.iter().sum::<f64>() / window.len() as f64
    }

    /// How many of the places under each window lie on the padded image.
    fn padded_counts(p: &Pool2d) -> Vec<f64> {
        let side = |o: usize, axis: usize, len: usize| {
            let places = (0..p.kernel[axis]).map(|k| o * p.stride[axis] + k);
            places.filter(|&at| at < len + 2 * p.padding[axis]).count()
        };
        let mut counts = Vec::new();
        for output in 0..p.batch * p.output_height() * p.output_width() {
            let (i, j) = (
                output / p.output_width() % p.output_height(),
                output % p.output_width(),
            );
            let count = side(i, 0, p.height) * side(j, 1, p.width);
            counts.extend(vec![count as f64; p.channels]);
        }
        counts
    }

    fn l2(window: &[f64]) -> f64 {
        window.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    fn cases() -> [Pool2d; 9] {
        let pool = |size: [usize; 4], kernel, stride, padding| Pool2d {
            batch: size[0],
            height: size[1],
            width: size[2],
            channels: size[3],
            kernel,
            stride,
            padding,
            ceil: false,
        };
        let ceil = |pool| Pool2d { ceil: true, ..pool };
        [
            pool([2, 5, 6, 3], [3, 2], [2, 1], [1, 1]),
            pool([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
            pool([0, 4, 4, 2], [2, 2], [2, 2], [0, 0]),
            pool([3, 7, 7, 33], [3, 3], [2, 2], [1, 1]),
            pool([1, 3, 3, 2], [3, 3], [1, 1], [2, 2]),
            ceil(pool([2, 6, 8, 3], [3, 3], [2, 2], [0, 0])),
            ceil(pool([1, 5, 4, 17], [3, 2], [2, 3], [1, 1])),
            ceil(pool([1, 5, 7, 2], [2, 2], [2, 2], [0, 0])),
            pool([1, 5, 9, 2], [1, 7], [1, 1], [0, 3]),
        ]
    }

    #[test]
    fn every_pooling_and_its_gradient_agree_with_the_definition() {
        for p in cases() {
            let (x, dy) = (random(p.input_len(), 1), random(p.output_len(), 2));
            let check = |y: &[f32], dx: &[f32], f: fn(&[f64]) -> f64| {
                let value = |x: &[f64]| windows(&p, x).iter().map(|w| f(w)).collect::<Vec<_>>();
                assert_close(y, &value(&to_f64(&x)), 1e-5);
                if x.len() < 500 {
                    assert_close(
                        dx,
                        &central_differences(&x, |x| weighted(&value(x), &dy)),
                        1e-4,
                    );
                }
            };
            let (mut y, mut dx) = (vec![9.0; p.output_len()], vec![9.0; p.input_len()]);
            let mut argmax = vec![0; y.len()];
            p.max_forward(&x, &mut y, &mut argmax);
            p.max_backward(&dy, &argmax, &mut dx);
            check(&y, &dx, max);
            p.average_forward(false, &x, &mut y);
            p.average_backward(false, &dy, &mut dx);
            check(&y, &dx, average);
            check_padded_average(&p, &x, &dy);
            p.l2_forward(&x, &mut y);
            p.l2_backward(&x, &y, &dy, &mut dx);
            check(&y, &dx, l2);
        }
    }

    fn check_padded_average(p: &Pool2d, x: &[f32], dy: &[f32]) {
        let counts = padded_counts(p);
        let value = |x: &[f64]| {
            let sums = windows(p, x).into_iter().map(|w| w.iter().sum::<f64>());
            sums.zip(&counts)
                .map(|(sum, count)| sum / count)
                .collect::<Vec<_>>()
        };
        let (mut y, mut dx) = (vec![9.0; dy.len()], vec![9.0; x.len()]);
        p.average_forward(true, x, &mut y);
        p.average_backward(true, dy, &mut dx);
        assert_close(&y, &value(&to_f64(x)), 1e-5);
        if x.len() < 500 {
            let numeric = central_differences(x, |x| weighted(&value(x), dy));
            assert_close(&dx, &numeric, 1e-4);
        }
    }

    /// PyTorch: `MaxPool2d(3, 2, ceil_mode=True)` of 112 → 56, of 28 → 14; `MaxPool2d(2, 2, ceil_mode=True)` of 7 → 4;
    /// `MaxPool2d(2, 2, 1, ceil_mode=True)` of 3 → 2: the third window would begin beyond the image.
    #[test]
    fn the_last_window_of_ceil_mode_begins_on_the_image() {
        for (len, kernel, stride, padding, want) in [
            (112, 3, 2, 0, 56),
            (28, 3, 2, 0, 14),
            (7, 2, 2, 0, 4),
            (3, 2, 2, 1, 2),
            (1, 1, 3, 0, 1),
        ] {
            let pool = Pool2d {
                batch: 1,
                height: len,
                width: len,
                channels: 1,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
                ceil: true,
            };
            assert_eq!(
                (pool.output_height(), pool.output_width()),
                (want, want),
                "{pool:?}"
            );
        }
    }

    #[test]
    fn max_pooling_shows_nan_and_takes_the_first_of_equals() {
        let p = Pool2d {
            batch: 1,
            height: 1,
            width: 4,
            channels: 1,
            kernel: [1, 2],
            stride: [1, 2],
            padding: [0, 0],
            ceil: false,
        };
        let (mut y, mut argmax) = ([0.0; 2], [9; 2]);
        p.max_forward(&[5.0, 5.0, f32::NAN, 1.0], &mut y, &mut argmax);
        assert_eq!((y[0], argmax), (5.0, [0, 2]));
        assert!(y[1].is_nan());
    }

    #[test]
    fn l2_pooling_of_zeros_has_gradient_zero() {
        let p = Pool2d {
            batch: 1,
            height: 1,
            width: 2,
            channels: 1,
            kernel: [1, 2],
            stride: [1, 2],
            padding: [0, 0],
            ceil: false,
        };
        let mut dx = [9.0; 2];
        p.l2_backward(&[0.0, 0.0], &[0.0], &[1.0], &mut dx);
        assert_eq!(dx, [0.0, 0.0]);
    }

    #[test]
    fn the_global_average_and_its_gradient_agree_with_the_definition() {
        for (batch, positions, channels) in [(0, 4, 3), (1, 1, 1), (2, 49, 33), (3, 2000, 16)] {
            let x = random(batch * positions * channels, 1);
            let mut y = vec![9.0; batch * channels];
            global_average(&x, batch, positions, channels, &mut y);
            let mean = |i: usize| {
                let start = i / channels * positions * channels + i % channels;
                (0..positions)
                    .map(|p| f64::from(x[start + p * channels]))
                    .sum::<f64>()
                    / positions as f64
            };
            assert_close(&y, &(0..y.len()).map(mean).collect::<Vec<_>>(), 1e-5);

            let (dy, mut dx) = (random(y.len(), 2), vec![9.0; x.len()]);
            global_average_backward(&dy, batch, positions, channels, &mut dx);
            for (i, dx) in dx.iter().enumerate() {
                assert_eq!(
                    *dx,
                    dy[i / (positions * channels) * channels + i % channels] / positions as f32
                );
            }
        }
    }
}
