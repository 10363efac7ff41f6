//! Distances that are functions of the inner products of the points: two GEMMs and two passes over `S`.

use crate::scratch;
use nearkin_kernels::{Beta, Mat, MatMut, gemm};
use rayon::prelude::*;

/// Below this share of `‖x‖² + ‖y‖²` the Gram form of a squared distance has lost too many digits.
const CANCELLATION: f32 = 0.01;

/// Rows and columns of the tiles in which `G` is transposed.
const TILE: usize = 32;

/// `alpha X Xᵀ`, shape `[B, B]`.
pub(super) fn products(points: Mat<'_>, alpha: f32) -> Vec<f32> {
    let b = points.rows;
    let mut s = scratch::take(b * b);
    gemm(
        MatMut::new(&mut s, b, b),
        Beta::Overwrite,
        alpha,
        points,
        points.t(),
    );
    s
}

/// `‖x_i - x_j‖²` as `‖x_i‖² + ‖x_j‖² - 2 x_i·x_j`, and plainly where that cancels: exactly zero between equal rows.
pub(super) fn squared_l2(points: Mat<'_>) -> Vec<f32> {
    let (data, b, d) = (points.data, points.rows, points.cols);
    let row = |i: usize| &data[i * d..(i + 1) * d];
    let squares: Vec<f32> = (0..b).map(|i| dot(row(i), row(i))).collect();
    let mut s = products(points, -2.0);
    s.par_chunks_exact_mut(b)
        .with_min_len(8)
        .enumerate()
        .for_each(|(i, s_row)| {
            let mut near = 0_u32;
            for (s, &square) in s_row.iter_mut().zip(&squares) {
                let scale = squares[i] + square;
                *s += scale;
                near += u32::from(*s < CANCELLATION * scale);
            }
            let own = u32::from(s_row[i] < CANCELLATION * 2.0 * squares[i]);
            s_row[i] = 0.0;
            if near > own {
                for (j, s) in s_row.iter_mut().enumerate() {
                    if *s < CANCELLATION * (squares[i] + squares[j]) {
                        *s = squared_difference(row(i), row(j));
                    }
                }
            }
        });
    s
}

/// `S ← w(S) ∘ (G + Gᵀ)` entry by entry, in place; with `laplacian` the diagonal becomes minus the sum of its row, so
/// that the product with `X` is `Σ_j h_ij (x_j - x_i)`.
pub(super) fn symmetrize(
    s: &mut [f32],
    g: &[f32],
    b: usize,
    laplacian: bool,
    weight: impl Fn(f32) -> f32 + Sync,
) {
    s.par_chunks_mut(TILE * b)
        .enumerate()
        .for_each(|(block, rows)| {
            let first = block * TILE;
            let height = rows.len() / b;
            let mut transposed = [[0.0_f32; TILE]; TILE];
            for left in (0..b).step_by(TILE) {
                let width = TILE.min(b - left);
                for j in 0..width {
                    let from = &g[(left + j) * b + first..][..height];
                    for (i, &value) in from.iter().enumerate() {
                        transposed[i][j] = value;
                    }
                }
                for (i, transposed) in transposed.iter().enumerate().take(height) {
                    let g_row = &g[(first + i) * b + left..][..width];
                    let s_row = &mut rows[i * b + left..][..width];
                    for ((s, &g), &t) in s_row.iter_mut().zip(g_row).zip(transposed) {
                        *s = weight(*s) * (g + t);
                    }
                }
            }
            if laplacian {
                for (i, row) in rows.chunks_exact_mut(b).enumerate() {
                    row[first + i] = 0.0;
                    row[first + i] = -sum(row);
                }
            }
        });
}

/// `alpha H X`, shape `[B, D]`, for `H` of shape `[B, B]`.
pub(super) fn apply(h: &[f32], points: Mat<'_>, alpha: f32, out: &mut [f32]) {
    let (b, d) = (points.rows, points.cols);
    gemm(
        MatMut::new(out, b, d),
        Beta::Overwrite,
        alpha,
        Mat::new(h, b, b),
        points,
    );
}

/// Adds up in eight lanes, which the compiler turns into vector instructions.
fn lanes(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; 8];
    let (x_chunks, y_chunks) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f32 = x_chunks
        .remainder()
        .iter()
        .zip(y_chunks.remainder())
        .map(|(&x, &y)| term(x, y))
        .sum();
    for (x, y) in x_chunks.zip(y_chunks) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum += term(x, y);
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    lanes(x, y, |x, y| x * y)
}

fn squared_difference(x: &[f32], y: &[f32]) -> f32 {
    lanes(x, y, |x, y| (x - y) * (x - y))
}

fn sum(x: &[f32]) -> f32 {
    lanes(x, x, |x, _| x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_points_keep_their_digits() {
        // 1 + 1e-4 k per coordinate: the Gram form alone would lose every digit of the differences.
        let (b, d) = (40, 33);
        let points: Vec<f32> = (0..b * d)
            .map(|k| 1.0 + 1e-4 * ((k * 7919) % 97) as f32)
            .collect();
        let s = squared_l2(Mat::new(&points, b, d));
        for i in 0..b {
            for j in 0..b {
                let exact: f64 = (0..d)
                    .map(|c| (f64::from(points[i * d + c]) - f64::from(points[j * d + c])).powi(2))
                    .sum();
                assert!(
                    (f64::from(s[i * b + j]) - exact).abs() <= 1e-6 * exact,
                    "{i} {j}"
                );
            }
        }
    }

    #[test]
    fn symmetrize_is_the_sum_with_the_transpose() {
        for b in [1, 5, 32, 75] {
            let g: Vec<f32> = (0..b * b).map(|k| ((k * 31) % 17) as f32 - 8.0).collect();
            let mut h: Vec<f32> = (0..b * b).map(|k| ((k * 13) % 5) as f32).collect();
            let s = h.clone();
            symmetrize(&mut h, &g, b, true, |d| 2.0 * d);
            for i in 0..b {
                let entry = |j: usize| 2.0 * s[i * b + j] * (g[i * b + j] + g[j * b + i]);
                let others: Vec<_> = (0..b).filter(|&j| j != i).collect();
                let diagonal = -others.iter().map(|&j| entry(j)).sum::<f32>();
                // Small whole numbers: every sum is exact.
                let expected = (0..b).map(|j| if j == i { diagonal } else { entry(j) });
                assert!(
                    expected.eq(h[i * b..(i + 1) * b].iter().copied()),
                    "row {i} of {b}"
                );
            }
        }
    }
}
