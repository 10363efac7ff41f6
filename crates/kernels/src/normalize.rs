//! Scaling rows to unit length.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{Shared, for_each, rows_per_piece};
use crate::reduce;

/// Norms at or below this are taken for zero.
const EPSILON: f32 = 1e-12;

/// yᵢ = xᵢ / max(‖xᵢ‖, 10⁻¹²) for each row, so that a zero row stays zero; `norms` receives ‖xᵢ‖.
///
/// # Shapes
/// - `x`, `y`: `[rows, cols]`, `norms`: `[rows]`
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// let (mut y, mut norms) = ([0.0; 4], [0.0; 2]);
/// nearkin_kernels::normalize_rows(&[3.0, 4.0, 0.0, 0.0], 2, &mut y, &mut norms);
/// assert_eq!((y, norms), ([0.6, 0.8, 0.0, 0.0], [5.0, 0.0]));
/// ```
pub fn normalize_rows(x: &[f32], cols: usize, y: &mut [f32], norms: &mut [f32]) {
    let rows = norms.len();
    assert_eq!(
        (x.len(), y.len()),
        (rows * cols, rows * cols),
        "x or y is not [{rows}, {cols}]"
    );
    let piece = rows_per_piece(cols);
    let (y, norms) = (Shared::new(y), Shared::new(norms));
    for_each(rows.div_ceil(piece), true, |i| {
        let (start, n) = (i * piece, piece.min(rows - i * piece));
        // SAFETY: pieces are disjoint ranges of rows.
        let (y, norms) = unsafe { (y.slice(start * cols, n * cols), norms.slice(start, n)) };
        normalize_piece(&x[start * cols..][..n * cols], cols, y, norms);
    });
}

/// dxᵢ = scale (dyᵢ − yᵢ (yᵢ · dyᵢ)) / ‖xᵢ‖, from the outputs `(y, norms)` of [`normalize_rows`].
///
/// A zero row has no direction; its gradient is taken as zero.
///
/// # Shapes
/// - `y`, `dy`, `dx`: `[rows, cols]`, `norms`: `[rows]`
///
/// # Panics
/// When the shapes do not fit.
pub fn normalize_rows_backward(
    (y, norms): (&[f32], &[f32]),
    cols: usize,
    scale: f32,
    dy: &[f32],
    dx: &mut [f32],
) {
    let len = norms.len() * cols;
    assert_eq!(
        [y.len(), dy.len(), dx.len()],
        [len; 3],
        "y, dy or dx is not [{}, {cols}]",
        norms.len()
    );
    let piece = rows_per_piece(cols);
    let dx = Shared::new(dx);
    for_each(norms.len().div_ceil(piece), true, |i| {
        let (start, n) = (i * piece, piece.min(norms.len() - i * piece));
        let span = start * cols..(start + n) * cols;
        // SAFETY: pieces are disjoint ranges of rows.
        let dx = unsafe { dx.slice(span.start, span.len()) };
        backward_piece(
            (&y[span.clone()], &norms[start..start + n]),
            cols,
            scale,
            &dy[span],
            dx,
        );
    });
}

dispatch! {
    fn normalize_piece(x: &[f32], cols: usize, y: &mut [f32], norms: &mut [f32]) = normalize_body;
    fn backward_piece(rows: (&[f32], &[f32]), cols: usize, scale: f32, dy: &[f32], dx: &mut [f32]) = backward_body;
}

#[inline(always)]
fn normalize_body<const FMA: bool>(x: &[f32], cols: usize, y: &mut [f32], norms: &mut [f32]) {
    for (i, norm) in norms.iter_mut().enumerate() {
        let (x, y) = (&x[i * cols..][..cols], &mut y[i * cols..][..cols]);
        let squares = reduce::dot::<FMA>(x, x);
        // Squares may leave the range of f32 although the norm does not.
        *norm = if squares > 1e-30 && squares < 1e37 {
            squares.sqrt()
        } else {
            careful_norm(x)
        };
        let length = norm.max(EPSILON);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x / length;
        }
    }
}

#[cold]
fn careful_norm(x: &[f32]) -> f32 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    (y, norms): (&[f32], &[f32]),
    cols: usize,
    scale: f32,
    dy: &[f32],
    dx: &mut [f32],
) {
    for (i, &norm) in norms.iter().enumerate() {
        let (y, dy, dx) = (
            &y[i * cols..][..cols],
            &dy[i * cols..][..cols],
            &mut dx[i * cols..][..cols],
        );
        let along = reduce::dot::<FMA>(y, dy);
        let inverse = if norm > EPSILON { scale / norm } else { 0.0 };
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = inverse * fma::<FMA>(-y, along, dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    fn reference(x: &[f64], cols: usize) -> Vec<f64> {
        let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.chunks(cols)
            .flat_map(|row| row.iter().map(move |x| x / norm(row)))
            .collect()
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (rows, cols) in [(0, 3), (1, 1), (3, 5), (9, 33), (600, 37)] {
            let (x, dy) = (random(rows * cols, 1), random(rows * cols, 2));
            let (mut y, mut norms, mut dx) =
                (vec![9.0; x.len()], vec![9.0; rows], vec![9.0; x.len()]);
            normalize_rows(&x, cols, &mut y, &mut norms);
            assert_close(&y, &reference(&to_f64(&x), cols), 1e-6);
            normalize_rows_backward((&y, &norms), cols, 3.0, &dy, &mut dx);
            for ((x, dy), dx) in x.chunks(cols).zip(dy.chunks(cols)).zip(dx.chunks(cols)) {
                assert_close(
                    dx,
                    &central_differences(x, |x| 3.0 * weighted(&reference(x, cols), dy)),
                    1e-5,
                );
            }
        }
    }

    #[test]
    fn zero_tiny_and_huge_rows_are_handled() {
        let x = [0.0, 0.0, 3e-30, 4e-30, 3e-8, 4e-8, 3e30, 4e30];
        let (mut y, mut norms) = ([9.0; 8], [9.0; 4]);
        normalize_rows(&x, 2, &mut y, &mut norms);
        assert_close(&y, &[0.0, 0.0, 3e-18, 4e-18, 0.6, 0.8, 0.6, 0.8], 1e-6);
        assert_close(&norms, &[0.0, 5e-30, 5e-8, 5e30], 1e-6);
        let mut dx = [9.0; 8];
        normalize_rows_backward((&y, &norms), 2, 1.0, &[1.0; 8], &mut dx);
        assert_eq!(dx[..4], [0.0; 4]);
    }
}
