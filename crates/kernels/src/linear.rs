//! The affine layer y = x wᵀ + b.

use crate::activation::{Activation, activate_in_place};
use crate::dispatch::dispatch;
use crate::gemm::{Beta, gemm, gemm_new};
use crate::parallel::{for_pieces, for_pieces_in_place, map_parts, rows_per_part, rows_per_piece};
use crate::view::{Mat, MatMut};

/// y = x wᵀ + b, overwriting `y`.
///
/// # Shapes
/// - `x`: `[n, in]`, `w`: `[out, in]`, `bias`: `[out]`, `y`: `[n, out]`
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// use nearkin_kernels::{Mat, linear};
/// let mut y = [0.0; 2];
/// linear(Mat::new(&[1.0, 2.0], 1, 2), Mat::new(&[1.0, 1.0, 1.0, -1.0], 2, 2), Some(&[0.5, 0.5]), &mut y);
/// assert_eq!(y, [3.5, -0.5]);
/// ```
pub fn linear(x: Mat, w: Mat, bias: Option<&[f32]>, y: &mut [f32]) {
    let beta = match bias {
        Some(bias) => {
            fill_rows(bias, y);
            Beta::Add
        }
        None => Beta::Overwrite,
    };
    gemm(MatMut::new(y, x.rows, w.rows), beta, 1.0, x, w.t());
}

/// act(x wᵀ + b) as a new matrix: what goes over the product goes over it in one pass.
///
/// # Panics
/// When the shapes do not fit.
pub fn linear_new(x: Mat, w: Mat, bias: &[f32], act: Activation) -> Vec<f32> {
    assert_eq!(bias.len(), w.rows, "one bias per output");
    let mut y = gemm_new(x, w.t());
    let piece = rows_per_piece(bias.len()) * bias.len().max(1);
    for_pieces_in_place(&mut y, piece, |y| {
        for y in y.chunks_exact_mut(bias.len().max(1)) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            activate_in_place(act, y);
        }
    });
    y
}

/// Every row of `y` becomes `row`.
fn fill_rows(row: &[f32], y: &mut [f32]) {
    for_rows(row.len(), y, |y| y.copy_from_slice(row));
}

/// `row` is added to every row of `y`.
pub(crate) fn add_to_rows(row: &[f32], y: &mut [f32]) {
    for_rows(row.len(), y, |y| {
        y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
    });
}

fn for_rows(cols: usize, y: &mut [f32], f: impl Fn(&mut [f32]) + Sync + Send) {
    let cols = cols.max(1);
    let piece = rows_per_piece(cols) * cols;
    for_pieces_in_place(y, piece, |y| y.chunks_exact_mut(cols).for_each(&f));
}

/// Where [`linear_backward`] writes; what is absent is not computed.
#[derive(Debug, Default)]
pub struct LinearGradients<'a> {
    /// `[n, in]`
    pub dx: Option<&'a mut [f32]>,
    /// `[out, in]`
    pub dw: Option<&'a mut [f32]>,
    /// `[out]`
    pub db: Option<&'a mut [f32]>,
}

/// dx = dy w, dw = dyᵀ x, db = Σ rows of dy; all overwritten.
///
/// # Shapes
/// - `x`: `[n, in]`; `w`: `[out, in]`; `dy`: `[n, out]`
///
/// # Panics
/// When the shapes do not fit.
pub fn linear_backward(x: Mat, w: Mat, dy: Mat, gradients: LinearGradients) {
    if let Some(dx) = gradients.dx {
        gemm(MatMut::new(dx, x.rows, x.cols), Beta::Overwrite, 1.0, dy, w);
    }
    if let Some(dw) = gradients.dw {
        let dw = MatMut::new(dw, w.rows, w.cols);
        gemm(dw, Beta::Overwrite, 1.0, dy.t(), x);
    }
    if let Some(db) = gradients.db {
        column_sums(dy, db);
    }
}

/// outⱼ = Σᵢ mᵢⱼ, overwriting `out`.
///
/// # Panics
/// When `out` does not have one place per column.
pub fn column_sums(m: Mat, out: &mut [f32]) {
    assert_eq!(out.len(), m.cols, "one sum per column");
    m.assert_in_bounds();
    if let Some(data) = m.as_contiguous() {
        sum_rows(data, m.cols, out);
    } else {
        for (j, out) in out.iter_mut().enumerate() {
            *out = (0..m.rows)
                .map(|i| m.data[i * m.row_stride + j * m.col_stride])
                .sum();
        }
    }
}

/// The sum of the rows of a contiguous matrix: parts are summed in parallel, then added in order.
pub(crate) fn sum_rows(data: &[f32], cols: usize, out: &mut [f32]) {
    out.fill(0.0);
    if data.is_empty() {
        return;
    }
    let part = rows_per_part(data.len() / cols, cols) * cols;
    if data.len() <= part {
        return add_rows(data, out);
    }
    let sums = map_parts(data.len().div_ceil(part), |i| {
        let mut sum = vec![0.0; cols];
        add_rows(&data[i * part..data.len().min((i + 1) * part)], &mut sum);
        sum
    });
    for sum in &sums {
        add_rows(sum, out);
    }
}

dispatch! {
    fn add_rows(data: &[f32], out: &mut [f32]) = add_rows_body;
}

#[inline(always)]
fn add_rows_body<const FMA: bool>(data: &[f32], out: &mut [f32]) {
    let cols = out.len();
    // Four rows at a time, so that the sums are loaded and stored a quarter as often.
    let mut fours = data.chunks_exact(4 * cols);
    for four in &mut fours {
        let (ab, cd) = four.split_at(2 * cols);
        let ((a, b), (c, d)) = (ab.split_at(cols), cd.split_at(cols));
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out += (a + b) + (c + d);
        }
    }
    for row in fours.remainder().chunks_exact(cols) {
        for (out, x) in out.iter_mut().zip(row) {
            *out += x;
        }
    }
}

/// `y += x` on equal lengths.
pub(crate) fn add_assign(x: &[f32], y: &mut [f32]) {
    for_pieces(x, y, crate::parallel::GRAIN, |x, y| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    /// y = x wᵀ + b in f64.
    fn reference(x: &[f64], w: &[f64], b: &[f64], [n, input, output]: [usize; 3]) -> Vec<f64> {
        let mut y = vec![0.0; n * output];
        for i in 0..n {
            for o in 0..output {
                y[i * output + o] = b[o]
                    + (0..input)
                        .map(|k| x[i * input + k] * w[o * input + k])
                        .sum::<f64>();
            }
        }
        y
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for [n, input, output] in [[0, 3, 2], [1, 1, 1], [7, 5, 3], [9, 17, 33]] {
            let shape = [n, input, output];
            let (x, w, b) = (
                random(n * input, 1),
                random(output * input, 2),
                random(output, 3),
            );
            let dy = random(n * output, 4);
            let (x64, w64, b64) = (to_f64(&x), to_f64(&w), to_f64(&b));
            let (xm, wm) = (Mat::new(&x, n, input), Mat::new(&w, output, input));

            let mut y = vec![9.0; n * output];
            linear(xm, wm, Some(&b), &mut y);
            assert_close(&y, &reference(&x64, &w64, &b64, shape), 1e-5);
            let new = linear_new(xm, wm, &b, Activation::None);
            assert_close(&new, &reference(&x64, &w64, &b64, shape), 1e-5);
            let mut activated = new.clone();
            activate_in_place(Activation::Gelu, &mut activated);
            assert_eq!(linear_new(xm, wm, &b, Activation::Gelu), activated);

            let (mut dx, mut dw, mut db) =
                (vec![9.0; x.len()], vec![9.0; w.len()], vec![9.0; b.len()]);
            linear_backward(
                xm,
                wm,
                Mat::new(&dy, n, output),
                LinearGradients {
                    dx: Some(&mut dx),
                    dw: Some(&mut dw),
                    db: Some(&mut db),
                },
            );
            assert_close(
                &dx,
                &central_differences(&x, |x| weighted(&reference(x, &w64, &b64, shape), &dy)),
                1e-5,
            );
            assert_close(
                &dw,
                &central_differences(&w, |w| weighted(&reference(&x64, w, &b64, shape), &dy)),
                1e-5,
            );
            assert_close(
                &db,
                &central_differences(&b, |b| weighted(&reference(&x64, &w64, b, shape), &dy)),
                1e-5,
            );
        }
    }

    #[test]
    fn column_sums_of_a_long_matrix_and_of_its_transpose() {
        let (rows, cols) = (5003, 37);
        let x = random(rows * cols, 5);
        let want: Vec<f64> = (0..cols)
            .map(|j| (0..rows).map(|i| f64::from(x[i * cols + j])).sum())
            .collect();
        let mut sums = vec![9.0; cols];
        column_sums(Mat::new(&x, rows, cols), &mut sums);
        assert_close(&sums, &want, 1e-4);

        let transposed: Vec<f32> = (0..cols * rows)
            .map(|k| x[(k % rows) * cols + k / rows])
            .collect();
        column_sums(Mat::new(&transposed, cols, rows).t(), &mut sums);
        assert_close(&sums, &want, 1e-4);
    }
}
