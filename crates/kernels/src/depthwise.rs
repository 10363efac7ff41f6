//! Convolution with a kernel of its own for each channel: no products between channels, so no matrix product either.
//!
//! Kernels lie `[channel, place]`; they are turned to `[place, channel]` first, so that all loops run over contiguous
//! channels.

use crate::conv2d::Conv2d;
use crate::dispatch::{dispatch, fma};
use crate::linear::add_assign;
use crate::parallel::{GRAIN, Shared, for_each, map_parts, with_scratch};

/// Channels whose sums are held in registers.
const LANES: usize = 32;

/// Parts of the weight gradient at most.
const MAX_PARTS: usize = 16;

/// y = x ∗ w.
pub(crate) fn forward(conv: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let line = conv.output_width() * conv.out_channels;
    let parallel = y.len() > GRAIN;
    with_scratch(w.len(), |turned| {
        transpose(w, conv.out_channels, turned);
        let (turned, y) = (&*turned, Shared::new(y));
        for_each(conv.batch * conv.output_height(), parallel, |row| {
            // SAFETY: rows are disjoint.
            let y = unsafe { y.slice(row * line, line) };
            forward_row(conv, row, [x, turned], y);
        });
    });
}

/// Gradient of x.
pub(crate) fn backward_input(conv: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let image = dx.len().checked_div(conv.batch).unwrap_or(0);
    let parallel = dx.len() > GRAIN;
    with_scratch(w.len(), |turned| {
        transpose(w, conv.out_channels, turned);
        let (turned, dx) = (&*turned, Shared::new(dx));
        for_each(conv.batch, parallel, |i| {
            // SAFETY: images are disjoint.
            let dx = unsafe { dx.slice(i * image, image) };
            dx.fill(0.0);
            backward_image(conv, i, [dy, turned], dx);
        });
    });
}

/// Gradient of w: parts of the rows are summed in parallel, then added in order.
pub(crate) fn backward_weight(conv: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let rows = conv.batch * conv.output_height();
    let line = conv.output_width() * conv.out_channels;
    let part = (GRAIN / line.max(1)).max(rows.div_ceil(MAX_PARTS)).max(1);
    let sums = map_parts(rows.div_ceil(part), |i| {
        let mut sum = vec![0.0; dw.len()];
        for row in i * part..rows.min((i + 1) * part) {
            weight_row(conv, row, [x, dy], &mut sum);
        }
        sum
    });
    let mut total = vec![0.0; dw.len()];
    for sum in &sums {
        add_assign(sum, &mut total);
    }
    transpose(&total, total.len() / conv.out_channels.max(1), dw);
}

/// `[rows, n / rows]` to its transpose.
fn transpose(from: &[f32], rows: usize, to: &mut [f32]) {
    let cols = from.len().checked_div(rows).unwrap_or(0);
    for (i, row) in from.chunks_exact(cols.max(1)).enumerate() {
        for (j, &value) in row.iter().enumerate() {
            to[j * rows + i] = value;
        }
    }
}

/// Calls `f(place of the kernel, where its channels begin in x)` for each place of the kernel that lies on the image, for
/// output `col` of output row `row` of the batch.
#[inline(always)]
fn for_places(conv: &Conv2d, row: usize, col: usize, mut f: impl FnMut(usize, usize)) {
    let (image, i) = (row / conv.output_height(), row % conv.output_height());
    for a in 0..conv.kernel[0] {
        let h = (i * conv.stride[0] + a).wrapping_sub(conv.padding[0]);
        if h >= conv.height {
            continue;
        }
        for b in 0..conv.kernel[1] {
            let w = (col * conv.stride[1] + b).wrapping_sub(conv.padding[1]);
            if w < conv.width {
                let position = (image * conv.height + h) * conv.width + w;
                f(a * conv.kernel[1] + b, position * conv.in_channels);
            }
        }
    }
}

dispatch! {
    fn forward_row(conv: &Conv2d, row: usize, inputs: [&[f32]; 2], y: &mut [f32]) = forward_row_body;
    fn backward_image(conv: &Conv2d, image: usize, inputs: [&[f32]; 2], dx: &mut [f32]) = backward_image_body;
    fn weight_row(conv: &Conv2d, row: usize, inputs: [&[f32]; 2], sum: &mut [f32]) = weight_row_body;
}

/// One row of outputs; inputs are x and the turned kernels.
#[inline(always)]
fn forward_row_body<const FMA: bool>(
    conv: &Conv2d,
    row: usize,
    [x, w]: [&[f32]; 2],
    y: &mut [f32],
) {
    let channels = conv.out_channels;
    for (col, y) in y.chunks_exact_mut(channels).enumerate() {
        let (whole, rest) = y.as_chunks_mut::<LANES>();
        for (block, y) in whole.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for_places(conv, row, col, |place, at| {
                let x = &x[at + block * LANES..][..LANES];
                let w = &w[place * channels + block * LANES..][..LANES];
                for l in 0..LANES {
                    sums[l] = fma::<FMA>(x[l], w[l], sums[l]);
                }
            });
            *y = sums;
        }
        let first = channels - rest.len();
        rest.fill(0.0);
        for_places(conv, row, col, |place, at| {
            let w = &w[place * channels + first..][..rest.len()];
            for ((y, &x), &w) in rest.iter_mut().zip(&x[at + first..]).zip(w) {
                *y = fma::<FMA>(x, w, *y);
            }
        });
    }
}

/// Adds to the gradient of one image; inputs are dy of the batch and the turned kernels.
#[inline(always)]
fn backward_image_body<const FMA: bool>(
    conv: &Conv2d,
    image: usize,
    [dy, w]: [&[f32]; 2],
    dx: &mut [f32],
) {
    let (channels, width, start) = (conv.out_channels, conv.output_width(), image * dx.len());
    for i in 0..conv.output_height() {
        let row = image * conv.output_height() + i;
        for col in 0..width {
            let dy = &dy[(row * width + col) * channels..][..channels];
            for_places(conv, row, col, |place, at| {
                let w = &w[place * channels..][..channels];
                let dx = &mut dx[at - start..][..channels];
                for ((dx, &dy), &w) in dx.iter_mut().zip(dy).zip(w) {
                    *dx = fma::<FMA>(dy, w, *dx);
                }
            });
        }
    }
}

/// Adds one row's part to the turned gradient of the kernels; inputs are x and dy.
#[inline(always)]
fn weight_row_body<const FMA: bool>(
    conv: &Conv2d,
    row: usize,
    [x, dy]: [&[f32]; 2],
    sum: &mut [f32],
) {
    let (channels, width) = (conv.out_channels, conv.output_width());
    for col in 0..width {
        let dy = &dy[(row * width + col) * channels..][..channels];
        for_places(conv, row, col, |place, at| {
            let x = &x[at..][..channels];
            let sum = &mut sum[place * channels..][..channels];
            for ((sum, &x), &dy) in sum.iter_mut().zip(x).zip(dy) {
                *sum = fma::<FMA>(x, dy, *sum);
            }
        });
    }
}
