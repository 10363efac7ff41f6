//! Some of the columns of a matrix, and columns times a factor for each image.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{GRAIN, Shared, for_each, rows_per_piece};
use std::ops::Range;

/// Some columns of `x`.
///
/// # Shapes
/// - `x`: `[rows, width]`, `y`: `[rows, columns]`
///
/// # Panics
/// When the shapes do not fit.
pub fn take_columns(x: &[f32], width: usize, columns: Range<usize>, y: &mut [f32]) {
    let cols = columns.len();
    let rows = rows_of(x, width, y, &columns);
    let piece = rows_per_piece(cols);
    let y = Shared::new(y);
    for_each(rows.div_ceil(piece), true, |i| {
        let (start, n) = (i * piece, piece.min(rows - i * piece));
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { y.slice(start * cols, n * cols) };
        let x = x[start * width..][..n * width].chunks_exact(width.max(1));
        for (y, x) in y.chunks_exact_mut(cols.max(1)).zip(x) {
            y.copy_from_slice(&x[columns.clone()]);
        }
    });
}

/// Writes `x` to some columns of `y` and leaves the others alone.
///
/// # Shapes
/// - `x`: `[rows, columns]`, `y`: `[rows, width]`
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// let mut y = [0.0; 6]; // [2, 3]
/// nearkin_kernels::put_columns(&[1.0, 2.0], &mut y, 3, 2..3);
/// assert_eq!(y, [0.0, 0.0, 1.0, 0.0, 0.0, 2.0]);
/// ```
pub fn put_columns(x: &[f32], y: &mut [f32], width: usize, columns: Range<usize>) {
    let cols = columns.len();
    let rows = rows_of(y, width, x, &columns);
    let piece = rows_per_piece(cols);
    let y = Shared::new(y);
    for_each(rows.div_ceil(piece), true, |i| {
        let (start, n) = (i * piece, piece.min(rows - i * piece));
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { y.slice(start * width, n * width) };
        let x = x[start * cols..][..n * cols].chunks_exact(cols.max(1));
        for (y, x) in y.chunks_exact_mut(width.max(1)).zip(x) {
            y[columns.clone()].copy_from_slice(x);
        }
    });
}

/// The rows of a matrix of `width` columns, as many as of one with these columns of it.
fn rows_of(wide: &[f32], width: usize, narrow: &[f32], columns: &Range<usize>) -> usize {
    let cols = columns.len();
    let rows = narrow.len().checked_div(cols).unwrap_or(0);
    let is_whole = narrow.len() == rows * cols && (cols == 0 || wide.len() == rows * width);
    assert!(
        is_whole && columns.end <= width,
        "{} and {} numbers are not [{rows}, {width}] and its columns {columns:?}",
        wide.len(),
        narrow.len()
    );
    rows
}

/// yₙₚ꜀ = xₙₚ꜀ sₙ꜀: every channel of every image by a factor of its own.
///
/// # Shapes
/// - `x`, `y`: `[batch, positions, channels]`, `s`: `[batch, channels]`
///
/// # Panics
/// When the shapes do not fit.
///
/// # Reference
/// The scaling of Hu, Shen and Sun, *Squeeze-and-Excitation Networks*, 2018, equation 4.
pub fn scale_channels(x: &[f32], s: &[f32], channels: usize, y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "input and output lengths differ");
    per_image(s, channels, y, |image, s, y| {
        scale_image(&x[image * y.len()..][..y.len()], s, y);
    });
}

/// dx = dy s and dsₙ꜀ = Σₚ dyₙₚ꜀ xₙₚ꜀, both overwritten.
///
/// # Shapes
/// - `inputs`: x and dy, `[batch, positions, channels]`; `s`, `ds`: `[batch, channels]`; `dx`: as x
///
/// # Panics
/// When the shapes do not fit.
pub fn scale_channels_backward(
    inputs: [&[f32]; 2],
    s: &[f32],
    channels: usize,
    dx: &mut [f32],
    ds: &mut [f32],
) {
    let [x, dy] = inputs;
    assert_eq!(
        [x.len(), dy.len(), ds.len()],
        [dx.len(), dx.len(), s.len()],
        "gradients and inputs differ in length"
    );
    let ds = Shared::new(ds);
    per_image(s, channels, dx, |image, s, dx| {
        let span = image * dx.len()..(image + 1) * dx.len();
        // SAFETY: images are disjoint.
        let ds = unsafe { ds.slice(image * channels, channels) };
        scale_image(&dy[span.clone()], s, dx);
        ds.fill(0.0);
        sum_of_products(&x[span.clone()], &dy[span], ds);
    });
}

/// `f(image, its factors, its part of the output)`, images in parallel.
fn per_image(
    s: &[f32],
    channels: usize,
    output: &mut [f32],
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync + Send,
) {
    let batch = s.len().checked_div(channels).unwrap_or(0);
    let image = output.len().checked_div(batch).unwrap_or(0);
    assert!(
        s.len() == batch * channels
            && output.len() == batch * image
            && image.is_multiple_of(channels.max(1)),
        "{} numbers, factors [{batch}, {channels}]",
        output.len()
    );
    let parallel = output.len() > GRAIN;
    let output = Shared::new(output);
    for_each(batch, parallel, |i| {
        // SAFETY: images are disjoint.
        let output = unsafe { output.slice(i * image, image) };
        f(i, &s[i * channels..][..channels], output);
    });
}

dispatch! {
    fn scale_image(x: &[f32], s: &[f32], y: &mut [f32]) = scale_image_body;
    fn sum_of_products(x: &[f32], y: &[f32], sum: &mut [f32]) = sum_of_products_body;
}

#[inline(always)]
fn scale_image_body<const FMA: bool>(x: &[f32], s: &[f32], y: &mut [f32]) {
    let rows = y.chunks_exact_mut(s.len().max(1));
    for (y, x) in rows.zip(x.chunks_exact(s.len().max(1))) {
        for ((y, x), s) in y.iter_mut().zip(x).zip(s) {
            *y = x * s;
        }
    }
}

/// sum += Σ over rows of x ∘ y.
#[inline(always)]
fn sum_of_products_body<const FMA: bool>(x: &[f32], y: &[f32], sum: &mut [f32]) {
    let rows = x.chunks_exact(sum.len().max(1));
    for (x, y) in rows.zip(y.chunks_exact(sum.len().max(1))) {
        for ((sum, &x), &y) in sum.iter_mut().zip(x).zip(y) {
            *sum = fma::<FMA>(x, y, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    #[test]
    fn columns_go_out_and_back() {
        for (rows, width, first, cols) in
            [(0, 3, 1, 1), (2, 5, 1, 3), (700, 37, 20, 17), (3, 4, 0, 4)]
        {
            let x = random(rows * width, 1);
            let mut taken = vec![9.0; rows * cols];
            take_columns(&x, width, first..first + cols, &mut taken);
            let want = |i: usize| x[i / cols * width + first + i % cols];
            assert_eq!(taken, (0..taken.len()).map(want).collect::<Vec<_>>());
            let mut y = vec![9.0; x.len()];
            put_columns(&taken, &mut y, width, first..first + cols);
            for (i, (&y, &x)) in y.iter().zip(&x).enumerate() {
                let inside = (first..first + cols).contains(&(i % width));
                assert_eq!(y, if inside { x } else { 9.0 });
            }
        }
    }

    #[test]
    fn scaled_channels_and_their_gradients_agree_with_the_definition() {
        for (batch, positions, channels) in
            [(0, 3, 2), (1, 1, 1), (2, 6, 3), (3, 9, 17), (3, 400, 33)]
        {
            let (x, s) = (
                random(batch * positions * channels, 1),
                random(batch * channels, 2),
            );
            let dy = random(x.len(), 3);
            let value = |x: &[f64], s: &[f64]| {
                let factor = |i: usize| s[i / (positions * channels) * channels + i % channels];
                (0..x.len()).map(|i| x[i] * factor(i)).collect::<Vec<_>>()
            };
            let mut y = vec![9.0; x.len()];
            scale_channels(&x, &s, channels, &mut y);
            assert_close(&y, &value(&to_f64(&x), &to_f64(&s)), 1e-6);
            let (mut dx, mut ds) = (vec![9.0; x.len()], vec![9.0; s.len()]);
            scale_channels_backward([&x, &dy], &s, channels, &mut dx, &mut ds);
            if x.len() > 500 {
                continue;
            }
            let (x64, s64) = (to_f64(&x), to_f64(&s));
            assert_close(
                &dx,
                &central_differences(&x, |x| weighted(&value(x, &s64), &dy)),
                1e-5,
            );
            assert_close(
                &ds,
                &central_differences(&s, |s| weighted(&value(&x64, s), &dy)),
                1e-5,
            );
        }
    }
}
