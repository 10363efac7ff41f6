//! Maxout: the largest of several linear maps.

use crate::dispatch::dispatch;
use crate::parallel::{Shared, for_each, rows_per_piece};

/// yₙ꜀ = maxⱼ xₙ,ⱼ꜀ over the `pieces` runs of each row, where xₙ,ⱼ꜀ is number j · cols + c of row n.
///
/// # Shapes
/// - `x`: `[rows, pieces · cols]`, `y`: `[rows, cols]`
///
/// # Panics
/// When the shapes do not fit.
///
/// # Reference
/// Goodfellow et al., *Maxout Networks*, 2013, section 3.
///
/// ```
/// let mut y = [0.0; 2];
/// nearkin_kernels::maxout(&[1.0, 5.0, 3.0, 4.0], 2, 2, &mut y);
/// assert_eq!(y, [3.0, 5.0]);
/// ```
pub fn maxout(x: &[f32], pieces: usize, cols: usize, y: &mut [f32]) {
    let rows = rows_of(x, pieces, cols, y.len());
    let step = rows_per_piece(pieces * cols);
    let y = Shared::new(y);
    for_each(rows.div_ceil(step), true, |i| {
        let (start, n) = (i * step, step.min(rows - i * step));
        // SAFETY: steps are disjoint ranges of rows.
        let y = unsafe { y.slice(start * cols, n * cols) };
        maxout_rows(&x[start * pieces * cols..][..n * pieces * cols], cols, y);
    });
}

/// dx = dy at the largest of its pieces (the first of equals) and 0 elsewhere, overwriting `dx`.
///
/// # Shapes
/// - `x`, `dx`: `[rows, pieces · cols]`, `dy`: `[rows, cols]`
///
/// # Panics
/// When the shapes do not fit.
pub fn maxout_backward(x: &[f32], dy: &[f32], pieces: usize, cols: usize, dx: &mut [f32]) {
    assert_eq!(x.len(), dx.len(), "x and dx differ in length");
    let rows = rows_of(x, pieces, cols, dy.len());
    let step = rows_per_piece(pieces * cols);
    let dx = Shared::new(dx);
    for_each(rows.div_ceil(step), true, |i| {
        let (start, n) = (i * step, step.min(rows - i * step));
        let span = start * pieces * cols..(start + n) * pieces * cols;
        // SAFETY: steps are disjoint ranges of rows.
        let dx = unsafe { dx.slice(span.start, span.len()) };
        backward_rows(&x[span], &dy[start * cols..][..n * cols], cols, dx);
    });
}

fn rows_of(x: &[f32], pieces: usize, cols: usize, outputs: usize) -> usize {
    let rows = outputs.checked_div(cols).unwrap_or(0);
    assert!(
        pieces > 0 && outputs == rows * cols && x.len() == pieces * outputs,
        "{} and {outputs} numbers, {pieces} pieces of {cols}",
        x.len()
    );
    rows
}

dispatch! {
    fn maxout_rows(x: &[f32], cols: usize, y: &mut [f32]) = maxout_body;
    fn backward_rows(x: &[f32], dy: &[f32], cols: usize, dx: &mut [f32]) = backward_body;
}

#[inline(always)]
fn maxout_body<const FMA: bool>(x: &[f32], cols: usize, y: &mut [f32]) {
    let width = x.len() / (y.len() / cols);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(cols)) {
        y.copy_from_slice(&x[..cols]);
        for piece in x.chunks_exact(cols).skip(1) {
            for (y, &x) in y.iter_mut().zip(piece) {
                *y = if x > *y || x.is_nan() { x } else { *y };
            }
        }
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(x: &[f32], dy: &[f32], cols: usize, dx: &mut [f32]) {
    let width = x.len() / (dy.len() / cols);
    let rows = x.chunks_exact(width).zip(dx.chunks_exact_mut(width));
    for ((x, dx), dy) in rows.zip(dy.chunks_exact(cols)) {
        // The gradient wanders to each larger piece and leaves zero behind.
        dx.fill(0.0);
        dx[..cols].copy_from_slice(dy);
        for (c, &dy) in dy.iter().enumerate() {
            let mut best = c;
            for at in (c + cols..width).step_by(cols) {
                if x[at] > x[best] || x[at].is_nan() {
                    dx[best] = 0.0;
                    dx[at] = dy;
                    best = at;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (rows, pieces, cols) in [(0, 2, 3), (1, 1, 1), (3, 2, 5), (2, 3, 33), (40, 2, 900)] {
            let (x, dy) = (random(rows * pieces * cols, 1), random(rows * cols, 2));
            let value = |x: &[f64]| {
                let of = |i: usize| {
                    let piece = |j: usize| x[(i / cols * pieces + j) * cols + i % cols];
                    (0..pieces).map(piece).fold(f64::NEG_INFINITY, f64::max)
                };
                (0..rows * cols).map(of).collect::<Vec<_>>()
            };
            let (mut y, mut dx) = (vec![9.0; dy.len()], vec![9.0; x.len()]);
            maxout(&x, pieces, cols, &mut y);
            assert_close(&y, &value(&to_f64(&x)), 1e-7);
            maxout_backward(&x, &dy, pieces, cols, &mut dx);
            if x.len() < 500 {
                assert_close(
                    &dx,
                    &central_differences(&x, |x| weighted(&value(x), &dy)),
                    1e-5,
                );
            }
            assert_eq!(dx.iter().filter(|d| **d != 0.0).count(), dy.len());
        }
    }

    #[test]
    fn the_first_of_equals_takes_the_gradient_and_nan_shows() {
        let (mut y, mut dx) = ([0.0; 2], [9.0; 4]);
        let x = [1.0, 2.0, 1.0, f32::NAN];
        maxout(&x, 2, 2, &mut y);
        assert!(y[0] == 1.0 && y[1].is_nan());
        maxout_backward(&x, &[3.0, 4.0], 2, 2, &mut dx);
        assert_eq!(dx, [3.0, 0.0, 0.0, 4.0]);
    }
}
