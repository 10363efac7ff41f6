//! Softmax, log-sum-exp and cross-entropy of rows.

use crate::dispatch::dispatch;
use crate::exp::exp_scalar;
use crate::parallel::{for_pieces, rows_per_piece};
use crate::reduce;
use rayon::prelude::*;

/// yᵢⱼ = exp(xᵢⱼ) / Σₖ exp(xᵢₖ), overwriting `y`.
///
/// # Shapes
/// - `x`, `y`: `[rows, cols]`
///
/// # Panics
/// When the shapes do not fit.
pub fn softmax_rows(x: &[f32], rows: usize, cols: usize, y: &mut [f32]) {
    assert_eq!(x.len(), rows * cols, "x is not [{rows}, {cols}]");
    if cols > 0 {
        for_pieces(x, y, rows_per_piece(cols) * cols, |x, y| {
            softmax_piece(x, cols, 1.0, y);
        });
    }
}

/// dxᵢⱼ = yᵢⱼ (dyᵢⱼ − Σₖ dyᵢₖ yᵢₖ), from the output `y` of [`softmax_rows`], overwriting `dx`.
///
/// # Shapes
/// - `y`, `dy`, `dx`: `[rows, cols]`
///
/// # Panics
/// When the lengths differ.
pub fn softmax_rows_backward(y: &[f32], dy: &[f32], cols: usize, dx: &mut [f32]) {
    assert_eq!(
        (y.len(), dy.len()),
        (dx.len(), dx.len()),
        "y, dy and dx differ in length"
    );
    let cols = cols.max(1);
    let rows = y.chunks_exact(cols).zip(dy.chunks_exact(cols));
    for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(cols)) {
        let mean: f32 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
        for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = y * (dy - mean);
        }
    }
}

/// outᵢ = log Σⱼ exp(xᵢⱼ), overwriting `out`; −∞ for rows of −∞ and for empty rows.
///
/// # Shapes
/// - `x`: `[rows, cols]`, `out`: `[rows]`
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// let mut out = [0.0];
/// nearkin_kernels::log_sum_exp_rows(&[1000.0, 1000.0], 1, 2, &mut out);
/// assert!((out[0] - 1000.693_1).abs() < 1e-3);
/// ```
pub fn log_sum_exp_rows(x: &[f32], rows: usize, cols: usize, out: &mut [f32]) {
    assert_eq!(
        (x.len(), out.len()),
        (rows * cols, rows),
        "x is not [{rows}, {cols}] or out not [{rows}]"
    );
    let piece = rows_per_piece(cols);
    if cols == 0 {
        out.fill(f32::NEG_INFINITY);
    } else if rows <= piece {
        log_sum_exp_piece(x, cols, out);
    } else {
        let pieces = out.par_chunks_mut(piece).zip(x.par_chunks(piece * cols));
        pieces.for_each(|(out, x)| log_sum_exp_piece(x, cols, out));
    }
}

/// The mean cross-entropy of softmax(logits) against class indices, and its gradient; 0 without rows.
///
/// ```text
/// L = 1/rows Σᵢ (log Σⱼ exp(xᵢⱼ) − xᵢ,tᵢ)        dL/dxᵢⱼ = (softmax(xᵢ)ⱼ − [j = tᵢ]) / rows
/// ```
///
/// # Shapes
/// - `logits`, `dlogits`: `[rows, cols]`, `targets`: `[rows]`
///
/// # Panics
/// When the shapes do not fit or a target is not below `cols`.
pub fn softmax_cross_entropy(
    logits: &[f32],
    rows: usize,
    cols: usize,
    targets: &[u32],
    dlogits: &mut [f32],
) -> f32 {
    assert_eq!(
        (logits.len(), targets.len()),
        (rows * cols, rows),
        "logits are not [{rows}, {cols}] or targets not [{rows}]"
    );
    if rows == 0 {
        return 0.0;
    }
    let mut losses = vec![0.0; rows];
    log_sum_exp_rows(logits, rows, cols, &mut losses);
    let scale = 1.0 / rows as f32;
    for_pieces(logits, dlogits, rows_per_piece(cols) * cols, |x, y| {
        softmax_piece(x, cols, scale, y);
    });
    let mut total = 0.0;
    for (i, (&t, log_sum)) in targets.iter().zip(&losses).enumerate() {
        assert!(
            (t as usize) < cols,
            "target {t} of row {i}, with {cols} classes"
        );
        let at = i * cols + t as usize;
        total += f64::from(*log_sum) - f64::from(logits[at]);
        dlogits[at] -= scale;
    }
    (total / rows as f64) as f32
}

dispatch! {
    pub(crate) fn softmax_piece(x: &[f32], cols: usize, scale: f32, y: &mut [f32]) = softmax_body;
    fn log_sum_exp_piece(x: &[f32], cols: usize, out: &mut [f32]) = log_sum_exp_body;
    pub(crate) fn softmax_groups(rows: &mut [f32], groups: usize) = softmax_groups_body;
}

/// Numbers of a group: what short rows are filled up to, so that none is computed on its own.
pub(crate) const GROUP: usize = 16;

/// The softmax of rows of so many groups in place; −∞ fills them up and becomes 0.
#[inline(always)]
fn softmax_groups_body<const FMA: bool>(rows: &mut [f32], groups: usize) {
    let (all, _) = rows.as_chunks_mut::<GROUP>();
    for row in all.chunks_exact_mut(groups) {
        let mut most = [f32::NEG_INFINITY; GROUP];
        for group in &*row {
            for l in 0..GROUP {
                most[l] = larger(group[l], most[l]);
            }
        }
        let most = across(most, larger);
        let mut sums = [0.0; GROUP];
        for group in &mut *row {
            for x in &mut *group {
                *x = exp_scalar::<FMA>(*x - most);
            }
            for l in 0..GROUP {
                sums[l] += group[l];
            }
        }
        let factor = 1.0 / across(sums, |a, b| a + b);
        for group in row {
            for x in group {
                *x *= factor;
            }
        }
    }
}

/// The larger one; NaN is passed over.
#[inline(always)]
fn larger(x: f32, best: f32) -> f32 {
    if x > best { x } else { best }
}

/// One number of a group, by halving.
#[inline(always)]
fn across(mut group: [f32; GROUP], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = GROUP / 2;
    while width > 0 {
        for l in 0..width {
            group[l] = f(group[l], group[l + width]);
        }
        width /= 2;
    }
    group[0]
}

#[inline(always)]
fn softmax_body<const FMA: bool>(x: &[f32], cols: usize, scale: f32, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        let max = reduce::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = exp_scalar::<FMA>(x - max);
        }
        let factor = scale / reduce::sum(y);
        for y in y {
            *y *= factor;
        }
    }
}

#[inline(always)]
fn log_sum_exp_body<const FMA: bool>(x: &[f32], cols: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(cols).zip(out) {
        // A finite shift keeps rows of −∞ at −∞ (not NaN) and rows with +∞ at +∞.
        let max = reduce::max(x).clamp(f32::MIN, f32::MAX);
        *out = max + reduce::sum_map(x, |x| exp_scalar::<FMA>(x - max)).ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64};

    fn reference_log_sum_exp(row: &[f64]) -> f64 {
        row.iter().map(|x| x.exp()).sum::<f64>().ln()
    }

    const SHAPES: [(usize, usize); 6] = [(0, 4), (1, 1), (3, 5), (2, 33), (7, 70), (40, 1001)];

    #[test]
    fn softmax_and_log_sum_exp_agree_with_the_definition() {
        for (rows, cols) in SHAPES {
            let x: Vec<f32> = random(rows * cols, 1).iter().map(|x| x * 20.0).collect();
            let x64 = to_f64(&x);
            let want: Vec<f64> = x64.chunks(cols).map(reference_log_sum_exp).collect();
            let mut log_sums = vec![9.0; rows];
            log_sum_exp_rows(&x, rows, cols, &mut log_sums);
            assert_close(&log_sums, &want, 1e-6);

            let want: Vec<f64> = x64
                .iter()
                .enumerate()
                .map(|(i, x)| (x - want[i / cols]).exp())
                .collect();
            let mut y = vec![9.0; x.len()];
            softmax_rows(&x, rows, cols, &mut y);
            assert_close(&y, &want, 2e-6);
        }
    }

    #[test]
    fn rows_filled_up_to_groups_have_the_softmax_of_what_they_hold() {
        for (rows, cols) in [(1, 1), (3, 5_usize), (4, 16), (2, 33), (7, 70)] {
            let groups = cols.div_ceil(GROUP);
            let x: Vec<f32> = random(rows * cols, 1).iter().map(|x| x * 20.0).collect();
            let mut want = vec![9.0; x.len()];
            softmax_rows(&x, rows, cols, &mut want);
            let mut filled = vec![f32::NEG_INFINITY; rows * groups * GROUP];
            for (row, x) in filled.chunks_exact_mut(groups * GROUP).zip(x.chunks(cols)) {
                row[..cols].copy_from_slice(x);
            }
            softmax_groups(&mut filled, groups);
            for (row, want) in filled.chunks(groups * GROUP).zip(want.chunks(cols)) {
                assert_close(&row[..cols], &to_f64(want), 1e-6);
                assert!(row[cols..].iter().all(|&x| x == 0.0));
            }
        }
        let mut broken = [f32::NEG_INFINITY; GROUP];
        broken[..2].copy_from_slice(&[1.0, f32::NAN]);
        softmax_groups(&mut broken, 1);
        assert!(broken[0].is_nan(), "a broken network shows");
    }

    #[test]
    fn cross_entropy_and_its_gradient_agree_with_the_definition() {
        for (rows, cols) in [(1, 1), (3, 5), (2, 33), (7, 40)] {
            let x = random(rows * cols, 2);
            let targets: Vec<u32> = (0..rows).map(|i| ((i * 7 + 3) % cols) as u32).collect();
            let loss = |x: &[f64]| {
                let rows = x.chunks(cols).zip(&targets);
                rows.map(|(row, &t)| reference_log_sum_exp(row) - row[t as usize])
                    .sum::<f64>()
                    / targets.len() as f64
            };
            let mut dx = vec![9.0; x.len()];
            let got = softmax_cross_entropy(&x, rows, cols, &targets, &mut dx);
            assert_close(&[got], &[loss(&to_f64(&x))], 1e-6);
            assert_close(&dx, &central_differences(&x, loss), 1e-6);
        }
        assert_eq!(softmax_cross_entropy(&[], 0, 3, &[], &mut []), 0.0);
    }

    #[test]
    fn infinities_stay_infinities() {
        let inf = f32::INFINITY;
        let mut out = [0.0; 3];
        log_sum_exp_rows(&[-inf, -inf, 0.0, inf, -inf, 2.0], 3, 2, &mut out);
        assert_eq!(out, [-inf, inf, 2.0]);
        let mut y = [0.0; 2];
        softmax_rows(&[-inf, 5.0], 1, 2, &mut y);
        assert_eq!(y, [0.0, 1.0]);
    }
}
