//! The distances of all pairs, each once.

use nearkin_kernels::{Beta, Mat, MatMut, gemm_sequential};
use rayon::prelude::*;

use crate::evaluate::{EvaluateError, check_finite};
use crate::unit_rows::{COLUMNS, ROWS, UnitRows, pieces};

/// The upper triangle of a symmetric matrix, row after row: `N (N − 1) / 2` numbers.
pub(super) struct Condensed {
    pub items: usize,
    numbers: Vec<f32>,
}

impl Condensed {
    /// `1 − cos`, at least 0.
    pub fn cosine(embeddings: Mat) -> Result<Self, EvaluateError> {
        let rows = UnitRows::new(embeddings)?;
        Ok(Self::fill(rows.count, |block, columns, products| {
            rows.cosines(block, &rows, columns, products);
            for product in products {
                *product = (1.0 - *product).max(0.0);
            }
        }))
    }

    /// `‖x − y‖`.
    pub fn euclidean(embeddings: Mat) -> Result<Self, EvaluateError> {
        /// Below this share of `‖x‖² + ‖y‖²`, what the product leaves of a squared distance is largely rounding.
        const CANCELED: f32 = 1e-3;
        check_finite(embeddings)?;
        let dim = embeddings.cols;
        let row = |i: usize| &embeddings.data[i * dim..(i + 1) * dim];
        let squares: Vec<f32> = (0..embeddings.rows)
            .map(|i| row(i).iter().map(|x| x * x).sum())
            .collect();
        Ok(Self::fill(embeddings.rows, |block, columns, products| {
            products.resize(block.len() * columns.len(), 0.0);
            let mat = |range: &std::ops::Range<usize>| {
                Mat::new(
                    &embeddings.data[range.start * dim..range.end * dim],
                    range.len(),
                    dim,
                )
            };
            gemm_sequential(
                MatMut::new(products, block.len(), columns.len()),
                Beta::Overwrite,
                1.0,
                mat(&block),
                mat(&columns).t(),
            );
            for (i, products) in block.zip(products.chunks_exact_mut(columns.len())) {
                for (j, product) in columns.clone().zip(products) {
                    let sum = squares[i] + squares[j];
                    let square = sum - 2.0 * *product;
                    *product = if square < CANCELED * sum {
                        distance(row(i), row(j))
                    } else {
                        square.sqrt()
                    };
                }
            }
        }))
    }

    /// Fills the triangle, block of rows by block of rows, from blocks that `distances` writes.
    fn fill(
        items: usize,
        distances: impl Fn(std::ops::Range<usize>, std::ops::Range<usize>, &mut Vec<f32>) + Sync,
    ) -> Self {
        let mut numbers = nearkin_kernels::zeros(items * items.saturating_sub(1) / 2);
        let mut rest = &mut numbers[..];
        let mut blocks = Vec::new();
        for block in pieces(0..items, ROWS) {
            let length = block.clone().map(|row| items - 1 - row).sum();
            let (own, others) = std::mem::take(&mut rest).split_at_mut(length);
            blocks.push((block, own));
            rest = others;
        }
        blocks.into_par_iter().for_each(|(block, own)| {
            let mut found = Vec::new();
            for columns in pieces(block.start..items, COLUMNS) {
                distances(block.clone(), columns.clone(), &mut found);
                let mut start = 0;
                for (row, found) in block.clone().zip(found.chunks_exact(columns.len())) {
                    let first = columns.start.max(row + 1);
                    if first < columns.end {
                        let at = start + first - row - 1;
                        let length = columns.end - first;
                        own[at..at + length].copy_from_slice(&found[first - columns.start..]);
                    }
                    start += items - 1 - row;
                }
            }
        });
        Self { items, numbers }
    }

    /// The distance of two different items.
    #[inline]
    pub fn get(&self, a: u32, b: u32) -> f32 {
        self.numbers[self.at(a, b)]
    }

    /// Sets the distance of two different items.
    #[inline]
    pub fn set(&mut self, a: u32, b: u32, distance: f32) {
        let at = self.at(a, b);
        self.numbers[at] = distance;
    }

    #[inline]
    fn at(&self, a: u32, b: u32) -> usize {
        let (row, column) = (a.min(b) as usize, a.max(b) as usize);
        row * (2 * self.items - row - 1) / 2 + column - row - 1
    }
}

fn distance(x: &[f32], y: &[f32]) -> f32 {
    let pairs = x.iter().zip(y);
    let square: f64 = pairs
        .map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2))
        .sum();
    square.sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_distance() {
        let (items, dim) = (1200, 3);
        // Rows repeat and nearly repeat.
        let number = |i: usize| (i % 2400 * 7919 % 1009) as f32 / 500.0 + (i / 3300) as f32 * 1e-5;
        let data: Vec<f32> = (0..items * dim).map(number).collect();
        let embeddings = Mat::new(&data, items, dim);
        let (cosine, euclidean) = (
            Condensed::cosine(embeddings).unwrap(),
            Condensed::euclidean(embeddings).unwrap(),
        );
        let row = |i: usize| data[i * dim..(i + 1) * dim].iter().map(|&x| f64::from(x));
        let dot = |i: usize, j: usize| row(i).zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        for a in 0..items {
            for b in (a + 1..items).step_by(7) {
                let expected = 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                let found = f64::from(cosine.get(b as u32, a as u32));
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{a} {b}: {found} {expected}"
                );
                let expected = row(a)
                    .zip(row(b))
                    .map(|(x, y)| (x - y).powi(2))
                    .sum::<f64>()
                    .sqrt();
                let found = f64::from(euclidean.get(a as u32, b as u32));
                assert!(
                    (found - expected).abs() < 1e-4 * expected,
                    "{a} {b}: {found} {expected}"
                );
            }
        }
    }
}
