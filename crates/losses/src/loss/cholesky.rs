//! Linear systems of a well-conditioned positive definite matrix: computed in `f64`, the factor stored in `f32`, so that it
//! takes half the memory of a matrix of pairs.

use rayon::prelude::*;

/// Right-hand sides that are solved side by side.
pub(super) const LANES: usize = 16;

/// `A = C Cᵀ`.
pub(super) struct Cholesky {
    /// The rows of `C` up to the diagonal, one after another.
    rows: Vec<f32>,
}

/// Where row `i` of a triangle begins.
fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Cholesky {
    /// Of a positive definite matrix `[n, n]`, given entry by entry: `entry(i, j)` with `j ≤ i`.
    pub fn new(n: usize, entry: impl Fn(usize, usize) -> f64 + Sync) -> Self {
        let mut factor = Self {
            rows: vec![0.0; start(n)],
        };
        for first in (0..n).step_by(LANES) {
            let last = (first + LANES).min(n);
            // The part of these rows that the rows above decide.
            let mut x = vec![[0.0; LANES]; first];
            x.par_iter_mut().enumerate().for_each(|(j, x)| {
                for (i, x) in (first..last).zip(x) {
                    *x = entry(i, j);
                }
            });
            factor.forward(&mut x);
            for i in first..last {
                let (above, rest) = factor.rows.split_at_mut(start(i));
                let row = &mut rest[..=i];
                let solved = row.iter_mut().zip(&x);
                solved.for_each(|(c, x)| *c = x[i - first] as f32);
                for j in first..i {
                    let other = &above[start(j)..];
                    let rest = entry(i, j) - dot(&row[..j], &other[..j]);
                    row[j] = (rest / f64::from(other[j])) as f32;
                }
                row[i] = (entry(i, i) - dot(&row[..i], &row[..i])).sqrt() as f32;
            }
        }
        factor
    }

    /// `A⁻¹ X` in place of `X`.
    pub fn solve(&self, x: &mut [[f64; LANES]]) {
        self.forward(x);
        self.backward(x);
    }

    /// Solves with the leading rows of `C`.
    fn forward(&self, x: &mut [[f64; LANES]]) {
        for i in 0..x.len() {
            let (row, pivot) = self.row(i);
            let mut sum = x[i];
            for (c, y) in row.iter().zip(&*x) {
                subtract(&mut sum, f64::from(*c), y);
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
                subtract(x, f64::from(*c), &known);
            }
        }
    }

    /// Row `i` of `C` left of the diagonal, and its entry there.
    fn row(&self, i: usize) -> (&[f32], f64) {
        let row = &self.rows[start(i)..];
        (&row[..i], f64::from(row[i]))
    }
}

#[inline]
fn subtract(x: &mut [f64; LANES], c: f64, y: &[f64; LANES]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x -= c * y);
}

/// The inner product of two rows of one length, of `f32` or `f64`.
pub(super) fn dot<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f64 = rest.map(|(&a, &b)| a.into() * b.into()).sum();
    for (a, b) in a.zip(b) {
        let products = a.iter().zip(b).map(|(&a, &b)| a.into() * b.into());
        lanes.iter_mut().zip(products).for_each(|(s, p)| *s += p);
    }
    rest + lanes.iter().sum::<f64>()
}
