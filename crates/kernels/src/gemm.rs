//! Matrix products, through faer.

use crate::parallel::{Shared, for_each, threads};
use crate::view::{Mat, MatMut};
use faer::{Accum, Par};

/// What a product does with what its output held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beta {
    /// c = α a b
    Overwrite,
    /// c = c + α a b
    Add,
}

/// Multiplications below which handing work to other threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 18;

/// Blocks of the output per thread: more even out what else the machine does, fewer pack the inputs less often.
const BLOCKS_PER_THREAD: usize = 2;

/// Blocks start at multiples of this, the height of faer's AVX-512 kernel.
const BLOCK_STEP: usize = 96;

/// c = α a b, or c + α a b; parallel when large.
///
/// Threads take blocks of rows or of columns of `c`, each one sequential product: sums over k are never split, and no
/// thread waits for another within a product.
///
/// # Shapes
/// - `a`: `[m, k]`, `b`: `[k, n]`, `c`: `[m, n]`, each with any strides
///
/// # Panics
/// When the shapes do not fit, a view reaches past its data, or two elements of `c` share a place.
///
/// ```
/// use nearkin_kernels::{Beta, Mat, MatMut, gemm};
/// let a = [1.0, 2.0, 3.0]; // [1, 3]
/// let mut c = [0.0];
/// gemm(MatMut::new(&mut c, 1, 1), Beta::Overwrite, 1.0, Mat::new(&a, 1, 3), Mat::new(&a, 1, 3).t());
/// assert_eq!(c, [14.0]);
/// ```
pub fn gemm(c: MatMut, beta: Beta, alpha: f32, a: Mat, b: Mat) {
    check(&c, &a, &b);
    let strides = [c.row_stride, c.col_stride];
    // SAFETY: `c` is borrowed mutably, lies in its data and its elements are disjoint, as checked.
    unsafe { gemm_blocks(Shared::new(c.data), strides, (beta, alpha), a, b) }
}

/// The product `a b` as a new row-major matrix, whose memory is written once.
///
/// # Panics
/// When the shapes do not fit or a view reaches past its data.
pub(crate) fn gemm_new(a: Mat, b: Mat) -> Vec<f32> {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    let len = a.rows * b.cols;
    if a.cols == 0 {
        return vec![0.0; len];
    }
    let mut c = Vec::with_capacity(len);
    // SAFETY: the product writes each of the `len` places, without reading them before.
    unsafe {
        let out = Shared::raw(c.as_mut_ptr(), len);
        gemm_blocks(out, [b.cols, 1], (Beta::Overwrite, 1.0), a, b);
        c.set_len(len);
    }
    c
}

/// [`gemm`] into places that are known to be there.
///
/// # Safety
/// The `a.rows * b.cols` elements of `c` must be valid to write (and to read, unless overwritten), distinct, and touched by
/// nobody else meanwhile.
unsafe fn gemm_blocks(c: Shared, strides: [usize; 2], (beta, alpha): (Beta, f32), a: Mat, b: Mat) {
    let longer = a.rows.max(b.cols);
    let wanted = longer.div_ceil(BLOCKS_PER_THREAD * threads());
    let block = wanted.next_multiple_of(if longer >= 2 * BLOCK_STEP {
        BLOCK_STEP
    } else {
        16
    });
    let parallel = threads() > 1 && block < longer && a.rows * b.cols * a.cols >= PARALLEL_WORK;
    if !parallel {
        let pointer = c.pointer(0, 0);
        // SAFETY: the caller's promise.
        return unsafe { gemm_raw(RawMat { pointer, strides }, beta, alpha, a, b) };
    }
    let by_rows = a.rows == longer;
    let stride = strides[usize::from(!by_rows)];
    for_each(longer.div_ceil(block), true, |i| {
        let (start, len) = (i * block, block.min(longer - i * block));
        let (a, b) = if by_rows {
            (a.rows_from(start, len), b)
        } else {
            (a, b.t().rows_from(start, len).t())
        };
        let pointer = c.pointer(start * stride, 1);
        // SAFETY: the caller's promise, and blocks of rows or columns are disjoint.
        unsafe { gemm_raw(RawMat { pointer, strides }, beta, alpha, a, b) }
    });
}

/// [`gemm`] on the calling thread alone, for use inside a parallel loop.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_sequential(c: MatMut, beta: Beta, alpha: f32, a: Mat, b: Mat) {
    check(&c, &a, &b);
    let c = RawMat {
        pointer: c.data.as_mut_ptr(),
        strides: [c.row_stride, c.col_stride],
    };
    // SAFETY: `c` is borrowed mutably, lies in its data and its elements are disjoint, as checked.
    unsafe { gemm_raw(c, beta, alpha, a, b) }
}

fn check(c: &MatMut, a: &Mat, b: &Mat) {
    c.assert_in_bounds_and_disjoint();
    let shapes = [[c.rows, c.cols], [a.rows, a.cols], [b.rows, b.cols]];
    let fit = c.rows == a.rows && a.cols == b.rows && b.cols == c.cols;
    assert!(fit, "c = a b with shapes {shapes:?}");
}

/// The address of element (0, 0) of a matrix, and its strides.
#[derive(Clone, Copy)]
pub(crate) struct RawMat {
    pub(crate) pointer: *mut f32,
    pub(crate) strides: [usize; 2],
}

/// [`gemm_sequential`] into an output that other threads may be writing elsewhere.
///
/// # Safety
/// The `a.rows * b.cols` elements of `c` must be valid, distinct, and touched by nobody else meanwhile.
pub(crate) unsafe fn gemm_raw(c: RawMat, beta: Beta, alpha: f32, a: Mat, b: Mat) {
    a.assert_in_bounds();
    b.assert_in_bounds();
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    let stride = |s: usize| isize::try_from(s).expect("a stride lies within a slice");
    // SAFETY: bounds of `a` and `b` are checked above, those of `c` promised by the caller.
    let (c, a, b) = unsafe {
        (
            faer::MatMut::from_raw_parts_mut(
                c.pointer,
                a.rows,
                b.cols,
                stride(c.strides[0]),
                stride(c.strides[1]),
            ),
            faer::MatRef::from_raw_parts(
                a.data.as_ptr(),
                a.rows,
                a.cols,
                stride(a.row_stride),
                stride(a.col_stride),
            ),
            faer::MatRef::from_raw_parts(
                b.data.as_ptr(),
                b.rows,
                b.cols,
                stride(b.row_stride),
                stride(b.col_stride),
            ),
        )
    };
    let accum = match beta {
        Beta::Overwrite => Accum::Replace,
        Beta::Add => Accum::Add,
    };
    faer::linalg::matmul::matmul(c, accum, a, b, alpha, Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random};

    /// c = α a b + β c in f64, straight from the definition.
    fn reference(c: &[f32], beta: f64, alpha: f32, a: Mat, b: Mat) -> Vec<f64> {
        let mut out = Vec::new();
        for i in 0..a.rows {
            for j in 0..b.cols {
                let product: f64 = (0..a.cols)
                    .map(|k| {
                        let a = a.data[i * a.row_stride + k * a.col_stride];
                        let b = b.data[k * b.row_stride + j * b.col_stride];
                        f64::from(a) * f64::from(b)
                    })
                    .sum();
                out.push(f64::from(alpha) * product + beta * f64::from(c[i * b.cols + j]));
            }
        }
        out
    }

    #[test]
    fn products_agree_with_the_definition_at_odd_shapes_and_every_transposition() {
        for (m, n, k) in [
            (1, 1, 1),
            (3, 5, 7),
            (17, 33, 9),
            (65, 31, 129),
            (130, 70, 100),
            (70, 300, 40),
            (2, 2, 0),
            (0, 3, 2),
        ] {
            let (a, b, start) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
            let a_views = [Mat::new(&a, m, k), Mat::new(&a, k, m).t()];
            let b_views = [Mat::new(&b, k, n), Mat::new(&b, n, k).t()];
            for (a, b) in a_views.into_iter().flat_map(|a| b_views.map(|b| (a, b))) {
                for (beta, keep) in [(Beta::Overwrite, 0.0), (Beta::Add, 1.0)] {
                    let expected = reference(&start, keep, 0.5, a, b);
                    for multiply in [gemm, gemm_sequential] {
                        let mut c = start.clone();
                        multiply(MatMut::new(&mut c, m, n), beta, 0.5, a, b);
                        assert_close(&c, &expected, 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn a_product_gives_the_same_bits_every_time() {
        let (a, b) = (random(300 * 400, 1), random(400 * 200, 2));
        let run = || {
            let mut c = vec![0.0; 300 * 200];
            gemm(
                MatMut::new(&mut c, 300, 200),
                Beta::Overwrite,
                1.0,
                Mat::new(&a, 300, 400),
                Mat::new(&b, 400, 200),
            );
            c
        };
        let first = run();
        assert!((0..10).all(|_| run() == first));
    }

    #[test]
    fn a_strided_output_leaves_its_gaps_alone() {
        let mut data = [7.0; 8];
        let c = MatMut {
            data: &mut data,
            rows: 2,
            cols: 2,
            row_stride: 4,
            col_stride: 1,
        };
        gemm(
            c,
            Beta::Overwrite,
            1.0,
            Mat::new(&[1.0, 2.0], 2, 1),
            Mat::new(&[1.0, 1.0], 1, 2),
        );
        assert_eq!(data, [1.0, 1.0, 7.0, 7.0, 2.0, 2.0, 7.0, 7.0]);
    }
}
