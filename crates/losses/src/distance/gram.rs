//! Distances that are functions of the inner products of the points: two GEMMs and two passes over `S`.

use super::{Gradients, Points};
use crate::scratch;
use nearkin_kernels::{Beta, Mat, MatMut, column_sums, gemm};
use rayon::prelude::*;

/// Below this share of `‖x‖² + ‖y‖²` the Gram form of a squared distance has lost too many digits.
const CANCELLATION: f32 = 0.01;

/// Rows and columns of the tiles in which `G` is transposed.
const TILE: usize = 32;

/// Entries of `S` that one task passes over.
const CHUNK: usize = 1 << 13;

/// `alpha X Yᵀ`, shape `[B, C]`.
pub(super) fn products(points: Points<'_>, alpha: f32) -> Vec<f32> {
    let mut s = scratch::take(points.x.rows * points.y.rows);
    multiply(&mut s, alpha, points);
    s
}

/// `1 - X Yᵀ`, shape `[B, C]`, as `-[X, -1] [Y, 1]ᵀ`: one more column costs less than a pass over `S` for the ones.
pub(super) fn one_minus_products(points: Points<'_>) -> Vec<f32> {
    let [x, y] = [(points.x, -1.0), (points.y, 1.0)].map(|(m, last)| with_column(m, last));
    let width = points.x.cols + 1;
    let mut s = scratch::take(points.x.rows * points.y.rows);
    let wider = Points {
        x: Mat::new(&x, points.x.rows, width),
        y: Mat::new(&y, points.y.rows, width),
        same: points.same,
    };
    multiply(&mut s, -1.0, wider);
    [x, y].into_iter().for_each(scratch::keep);
    s
}

/// The rows with one more number at their ends.
fn with_column(m: Mat<'_>, last: f32) -> Vec<f32> {
    let d = m.cols;
    let mut wider = scratch::take(m.rows * (d + 1));
    wider
        .par_chunks_exact_mut(d + 1)
        .with_min_len(64)
        .enumerate()
        .for_each(|(i, wider)| {
            wider[..d].copy_from_slice(&m.data[i * d..(i + 1) * d]);
            wider[d] = last;
        });
    wider
}

fn multiply(s: &mut [f32], alpha: f32, points: Points<'_>) {
    let s = MatMut::new(s, points.x.rows, points.y.rows);
    gemm(s, Beta::Overwrite, alpha, points.x, points.y.t());
}

/// `‖x_i - y_j‖²` as `‖x_i‖² + ‖y_j‖² - 2 x_i·y_j`, and plainly where that cancels: exactly zero between equal rows. Each
/// row goes through `finish(i, row)`.
pub(super) fn squared_l2(
    points: Points<'_>,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let (c, d) = (points.y.rows, points.x.cols);
    let x = |i: usize| &points.x.data[i * d..(i + 1) * d];
    let y = |j: usize| &points.y.data[j * d..(j + 1) * d];
    let squares: Vec<f32> = (0..c).map(|j| dot(y(j), y(j))).collect();
    let mut s = products(points, -2.0);
    s.par_chunks_exact_mut(c.max(1))
        .with_min_len(8)
        .enumerate()
        .for_each(|(i, s_row)| {
            let own = if points.same {
                squares[i]
            } else {
                dot(x(i), x(i))
            };
            let mut near = 0_u32;
            for (s, &square) in s_row.iter_mut().zip(&squares) {
                let scale = own + square;
                *s += scale;
                near += u32::from(*s < CANCELLATION * scale);
            }
            let mut expected = 0;
            if points.same {
                expected = u32::from(s_row[i] < CANCELLATION * 2.0 * own);
                s_row[i] = 0.0;
            }
            if near > expected {
                for (j, s) in s_row.iter_mut().enumerate() {
                    if *s < CANCELLATION * (own + squares[j]) {
                        *s = squared_difference(x(i), y(j));
                    }
                }
            }
            finish(i, s_row);
        });
    s
}

/// What a distance is made of: differences `x_i - y_j` or products `x_i·y_j`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    Differences,
    Products,
}

impl Of {
    /// What a distance of differences is made of. Of unit vectors the gradient goes through their normalization, which takes
    /// the share along `x_i` away: there `y_j` has the same gradient as `y_j - x_i`, and no sums of rows and columns.
    pub(super) fn differences(unit: bool) -> Self {
        if unit {
            Self::Products
        } else {
            Self::Differences
        }
    }
}

/// `∂L/∂X` and `∂L/∂Y` for `h_ij = w(S_ij) G_ij` and a factor `alpha`; `weight` makes of distances their `w` in place, and
/// without it `w` is one:
///
/// ```text
/// differences: dx_i = alpha Σ_j h_ij (y_j - x_i), dy_j = alpha Σ_i h_ij (x_i - y_j)
/// products:    dx_i = alpha Σ_j h_ij y_j,         dy_j = alpha Σ_i h_ij x_i
/// ```
///
/// Among the points of one set both fall on `dx`. `S` is overwritten.
pub(super) fn gradient(
    points: Points<'_>,
    (of, alpha): (Of, f32),
    weight: Option<fn(&mut [f32])>,
    (s, g): (&mut [f32], &[f32]),
    out: Gradients<'_>,
) {
    if points.same {
        let b = points.x.rows;
        symmetrize(s, g, b, of == Of::Differences, weight);
        return apply(Mat::new(s, b, b), points.x, alpha, out.x);
    }
    let Some(weight) = weight else {
        return gradient_between(points, (of, alpha), g, out);
    };
    s.par_chunks_mut(CHUNK)
        .zip(g.par_chunks(CHUNK))
        .for_each(|(s, g)| {
            weight(s);
            s.iter_mut().zip(g).for_each(|(s, g)| *s *= g);
        });
    gradient_between(points, (of, alpha), s, out);
}

/// The same for given `h`, shape `[B, C]`, and the points of two sets.
pub(super) fn gradient_between(
    points: Points<'_>,
    (of, alpha): (Of, f32),
    h: &[f32],
    out: Gradients<'_>,
) {
    let (b, c, d) = (points.x.rows, points.y.rows, points.x.cols);
    let rows = |i: usize| &h[i * c..(i + 1) * c];
    let h = Mat::new(h, b, c);
    apply(h, points.y, alpha, out.x);
    if of == Of::Differences {
        subtract_rows(out.x, points.x.data, d, alpha, |i| sum(rows(i)));
    }
    if let Some(dy) = out.y {
        apply(h.t(), points.x, alpha, dy);
        if of == Of::Differences {
            let mut sums = vec![0.0; c];
            column_sums(h, &mut sums);
            subtract_rows(dy, points.y.data, d, alpha, |j| sums[j]);
        }
    }
}

/// `out_i -= alpha h_i x_i` for each row.
fn subtract_rows(
    out: &mut [f32],
    x: &[f32],
    d: usize,
    alpha: f32,
    h: impl Fn(usize) -> f32 + Sync,
) {
    out.par_chunks_exact_mut(d)
        .zip(x.par_chunks_exact(d))
        .with_min_len(8)
        .enumerate()
        .for_each(|(i, (out, x))| {
            let h = alpha * h(i);
            out.iter_mut().zip(x).for_each(|(out, &x)| *out -= h * x);
        });
}

/// `S ← w(S) ∘ (G + Gᵀ)` entry by entry, in place; with `laplacian` the diagonal becomes minus the sum of its row, so
/// that the product with `X` is `Σ_j h_ij (x_j - x_i)`.
fn symmetrize(s: &mut [f32], g: &[f32], b: usize, laplacian: bool, weight: Option<fn(&mut [f32])>) {
    s.par_chunks_mut(TILE * b)
        .enumerate()
        .for_each(|(block, rows)| {
            let first = block * TILE;
            match weight {
                Some(weight) => {
                    weight(rows);
                    add_transpose(rows, g, [first, b], |w, sum| w * sum);
                }
                None => add_transpose(rows, g, [first, b], |_, sum| sum),
            }
            if laplacian {
                for (i, row) in rows.chunks_exact_mut(b).enumerate() {
                    row[first + i] = 0.0;
                    row[first + i] = -sum(row);
                }
            }
        });
}

/// `s ← put(s, g + gᵀ)` for each entry of the rows of `S` from `first` on.
fn add_transpose(
    rows: &mut [f32],
    g: &[f32],
    [first, b]: [usize; 2],
    put: impl Fn(f32, f32) -> f32,
) {
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
                *s = put(*s, g + t);
            }
        }
    }
}

/// `out = alpha H X`.
fn apply(h: Mat<'_>, points: Mat<'_>, alpha: f32, out: &mut [f32]) {
    let out = MatMut::new(out, h.rows, points.cols);
    gemm(out, Beta::Overwrite, alpha, h, points);
}

/// Adds up in eight lanes, which the compiler turns into vector instructions.
pub(super) fn lanes(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
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

pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    lanes(x, y, |x, y| x * y)
}

/// Adds the gradients of a single pair: `dx += h (x - y)` and `dy -= h (x - y)`.
pub(super) fn add_difference([x, y]: [&[f32]; 2], h: f32, [dx, dy]: [&mut [f32]; 2]) {
    for (((dx, dy), x), y) in dx.iter_mut().zip(dy).zip(x).zip(y) {
        let pull = h * (x - y);
        *dx += pull;
        *dy -= pull;
    }
}

/// The same for a product: `dx += h y` and `dy += h x`.
pub(super) fn add_product([x, y]: [&[f32]; 2], h: f32, [dx, dy]: [&mut [f32]; 2]) {
    for (((dx, dy), x), y) in dx.iter_mut().zip(dy).zip(x).zip(y) {
        *dx += h * y;
        *dy += h * x;
    }
}

pub(super) fn squared_difference(x: &[f32], y: &[f32]) -> f32 {
    lanes(x, y, |x, y| (x - y) * (x - y))
}

pub(super) fn sum(x: &[f32]) -> f32 {
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
        let s = squared_l2(Points::among(Mat::new(&points, b, d)), |_, _| ());
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
            symmetrize(
                &mut h,
                &g,
                b,
                true,
                Some(|s| s.iter_mut().for_each(|s| *s *= 2.0)),
            );
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
