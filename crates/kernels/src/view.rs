//! Matrix views: a slice, a shape and strides.

/// A read-only matrix view: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    /// The elements, with anything that lies between them.
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance in `data` from one row to the next.
    pub row_stride: usize,
    /// Distance in `data` from one column to the next.
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major `[rows, cols]` view of the whole of `data`.
    ///
    /// # Panics
    /// When `data.len() != rows * cols`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "a [{rows}, {cols}] view of {} numbers",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The transposed view; nothing moves.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The elements as one slice when the view is row-major without gaps.
    pub fn as_contiguous(&self) -> Option<&'a [f32]> {
        let dense = (self.col_stride == 1 || self.cols <= 1)
            && (self.row_stride == self.cols || self.rows <= 1);
        dense.then(|| &self.data[..self.rows * self.cols])
    }

    /// The `len` rows from `start` on.
    pub(crate) fn rows_from(self, start: usize, len: usize) -> Self {
        let first = (start * self.row_stride).min(self.data.len());
        Self {
            data: &self.data[first..],
            rows: len,
            ..self
        }
    }

    pub(crate) fn assert_in_bounds(&self) {
        assert_in_bounds(
            self.data.len(),
            [self.rows, self.cols],
            [self.row_stride, self.col_stride],
        );
    }
}

/// A mutable matrix view: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Debug)]
pub struct MatMut<'a> {
    /// The elements, with anything that lies between them.
    pub data: &'a mut [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance in `data` from one row to the next.
    pub row_stride: usize,
    /// Distance in `data` from one column to the next.
    pub col_stride: usize,
}

impl<'a> MatMut<'a> {
    /// A row-major `[rows, cols]` view of the whole of `data`.
    ///
    /// # Panics
    /// When `data.len() != rows * cols`.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "a [{rows}, {cols}] view of {} numbers",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The transposed view; nothing moves.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    pub(crate) fn assert_in_bounds_and_disjoint(&self) {
        let (shape, strides) = ([self.rows, self.cols], [self.row_stride, self.col_stride]);
        assert_in_bounds(self.data.len(), shape, strides);
        let nests = |outer: usize, inner: usize| {
            (shape[inner] <= 1 || strides[inner] >= 1)
                && (shape[outer] <= 1
                    || strides[outer] > (shape[inner].max(1) - 1) * strides[inner])
        };
        assert!(
            nests(0, 1) || nests(1, 0),
            "two elements of a mutable {shape:?} view share a place: strides {strides:?}"
        );
    }
}

fn assert_in_bounds(len: usize, shape: [usize; 2], strides: [usize; 2]) {
    if shape.contains(&0) {
        return;
    }
    let last = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1];
    assert!(
        last < len,
        "a {shape:?} view with strides {strides:?} reaches past its {len} numbers"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_swaps_shape_and_strides() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let t = Mat::new(&data, 2, 3).t();
        assert_eq!((t.rows, t.cols, t.row_stride, t.col_stride), (3, 2, 1, 3));
        assert!(t.as_contiguous().is_none());
        assert_eq!(t.t().as_contiguous(), Some(&data[..]));
    }

    #[test]
    #[should_panic(expected = "reaches past")]
    fn a_view_past_its_data_is_refused() {
        Mat {
            data: &[0.0; 5],
            rows: 2,
            cols: 3,
            row_stride: 3,
            col_stride: 1,
        }
        .assert_in_bounds();
    }

    #[test]
    #[should_panic(expected = "share a place")]
    fn overlapping_rows_of_a_mutable_view_are_refused() {
        let mut data = [0.0; 6];
        MatMut {
            data: &mut data,
            rows: 2,
            cols: 3,
            row_stride: 2,
            col_stride: 1,
        }
        .assert_in_bounds_and_disjoint();
    }
}
