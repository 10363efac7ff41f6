//! Linear systems of a positive definite matrix, in `f64`.

use rayon::prelude::*;

/// Right-hand sides that are solved side by side.
const LANES: usize = 16;

/// `A = C Cᵀ`.
pub(super) struct Cholesky {
    /// `C` in the lower triangle of rows; what is above is left over.
    lower: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// Of a positive definite matrix `[n, n]`, whose lower triangle is read.
    pub fn new(a: Vec<f64>, n: usize) -> Self {
        let mut factor = Self { lower: a, n };
        for first in (0..n).step_by(LANES) {
            let last = (first + LANES).min(n);
            // The part of these rows that the rows above decide.
            let mut x = lanes(&factor.lower[first * n..last * n], n, first);
            factor.forward(&mut x);
            spread(&x, &mut factor.lower[first * n..last * n], n);
            for i in first..last {
                let (above, row) = factor.lower.split_at_mut(i * n);
                for j in first..i {
                    let other = &above[j * n..];
                    row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
                }
                row[i] = (row[i] - dot(&row[..i], &row[..i])).sqrt();
            }
        }
        factor
    }

    /// `B A⁻¹` in place of the rows `B`.
    pub fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        b.par_chunks_mut(LANES * n).for_each(|rows| {
            let mut x = lanes(rows, n, n);
            self.forward(&mut x);
            self.backward(&mut x);
            spread(&x, rows, n);
        });
    }

    /// Solves with the leading rows of `C`.
    fn forward(&self, x: &mut [[f64; LANES]]) {
        for i in 0..x.len() {
            let (row, pivot) = self.row(i);
            let mut sum = x[i];
            for (c, y) in row.iter().zip(&*x) {
                subtract(&mut sum, *c, y);
            }
            x[i] = sum.map(|y| y / pivot);
        }
    }

    /// Solves with `Cᵀ`.
    fn backward(&self, x: &mut [[f64; LANES]]) {
        for i in (0..x.len()).rev() {
            let (row, pivot) = self.row(i);
            let known = x[i].map(|x| x / pivot);
            x[i] = known;
            for (c, x) in row.iter().zip(&mut *x) {
                subtract(x, *c, &known);
            }
        }
    }

    /// Row `i` of `C` left of the diagonal, and its entry there.
    fn row(&self, i: usize) -> (&[f64], f64) {
        let row = &self.lower[i * self.n..];
        (&row[..i], row[i])
    }
}

/// The first `count` columns of up to so many rows, side by side.
fn lanes(rows: &[f64], n: usize, count: usize) -> Vec<[f64; LANES]> {
    let mut x = vec![[0.0; LANES]; count];
    for (lane, row) in rows.chunks_exact(n).enumerate() {
        x.iter_mut().zip(row).for_each(|(x, b)| x[lane] = *b);
    }
    x
}

/// The way back.
fn spread(x: &[[f64; LANES]], rows: &mut [f64], n: usize) {
    for (lane, row) in rows.chunks_exact_mut(n).enumerate() {
        row.iter_mut().zip(x).for_each(|(b, x)| *b = x[lane]);
    }
}

#[inline]
fn subtract(x: &mut [f64; LANES], c: f64, y: &[f64; LANES]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x -= c * y);
}

/// The inner product of two rows of one length.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        let products = a.iter().zip(b).map(|(a, b)| a * b);
        lanes.iter_mut().zip(products).for_each(|(s, p)| *s += p);
    }
    rest + lanes.iter().sum::<f64>()
}
