//! The distance of two items, and blocks of distances.

use std::ops::Range;

use nearkin_kernels::{Beta, Mat, MatMut, Neighbor, TopK, gemm_sequential, normalize_rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::evaluate::{EvaluateError, centered, check_finite};
use crate::unit_rows::{COLUMNS, ROWS, pieces};

/// The distance of two items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// `1 − cos(x, y)`; 1 from a zero vector to any other.
    #[default]
    Cosine,
    /// `‖x − y‖`.
    Euclidean,
}

/// Below this share of `‖x‖² + ‖y‖²`, what the product leaves of a squared distance is largely rounding.
const CANCELED: f32 = 1e-3;

/// Items made ready for their distances, which come in blocks: the matrix of all is never made here.
pub(super) struct Points<'e> {
    embeddings: Mat<'e>,
    distance: Distance,
    /// Of length one for the cosine, else less their mean: around it, products lose the fewest digits.
    rows: Vec<f32>,
    /// `‖row‖²`
    squares: Vec<f32>,
}

impl<'e> Points<'e> {
    pub fn new(embeddings: Mat<'e>, distance: Distance) -> Result<Self, EvaluateError> {
        check_finite(embeddings)?;
        let rows = match distance {
            Distance::Cosine => {
                let mut unit = vec![0.0; embeddings.data.len()];
                let mut norms = vec![0.0; embeddings.rows];
                normalize_rows(embeddings.data, embeddings.cols, &mut unit, &mut norms);
                unit
            }
            Distance::Euclidean => centered(embeddings),
        };
        let square = |row: &[f32]| row.iter().map(|x| x * x).sum();
        let squares = rows.chunks_exact(embeddings.cols.max(1)).map(square);
        Ok(Self {
            squares: squares.collect(),
            embeddings,
            distance,
            rows,
        })
    }

    pub fn count(&self) -> usize {
        self.embeddings.rows
    }

    /// The rows as products need them, `[N, D]`.
    pub fn mat(&self) -> Mat<'_> {
        self.of(0..self.count())
    }

    fn of(&self, rows: Range<usize>) -> Mat<'_> {
        let dim = self.embeddings.cols;
        Mat::new(
            &self.rows[rows.start * dim..rows.end * dim],
            rows.len(),
            dim,
        )
    }

    /// The distances of some items to others, row-major; 0 from an item to itself.
    pub fn block<'b>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        let (height, width) = (rows.len(), columns.len());
        block.resize(height * width, 0.0);
        let products = MatMut::new(block, height, width);
        let (a, b) = (self.of(rows.clone()), self.of(columns.clone()));
        gemm_sequential(products, Beta::Overwrite, 1.0, a, b.t());
        for (i, products) in rows.zip(block.chunks_exact_mut(width)) {
            for (j, product) in columns.clone().zip(&mut *products) {
                *product = self.of_product(i, j, *product);
            }
            if columns.contains(&i) {
                products[i - columns.start] = 0.0;
            }
        }
        block
    }

    /// A distance from the product of two rows, or from the rows themselves where the product has canceled.
    #[inline]
    fn of_product(&self, i: usize, j: usize, product: f32) -> f32 {
        match self.distance {
            // ‖u − v‖² = 2 (1 − cos)
            Distance::Cosine if product > 1.0 - CANCELED => {
                let dim = self.embeddings.cols;
                let row = |at: usize| &self.rows[at * dim..][..dim];
                (squared_distance(row(i), row(j)) / 2.0) as f32
            }
            Distance::Cosine => 1.0 - product,
            Distance::Euclidean => {
                let sum = self.squares[i] + self.squares[j];
                let square = sum - 2.0 * product;
                if square < CANCELED * sum {
                    let dim = self.embeddings.cols;
                    let row = |at: usize| &self.embeddings.data[at * dim..][..dim];
                    squared_distance(row(i), row(j)).sqrt() as f32
                } else {
                    square.sqrt()
                }
            }
        }
    }

    /// The distance of each item to the `k`-th nearest, itself the first; to the farthest where there are fewer.
    pub fn to_neighbor(&self, k: usize) -> Vec<f32> {
        let blocks: Vec<_> = pieces(0..self.count(), ROWS).collect();
        let farthest = blocks.into_par_iter().flat_map_iter(|rows| {
            let mut nearest = TopK::new(rows.len(), k, self.count());
            let mut block = Vec::new();
            for columns in pieces(0..self.count(), COLUMNS) {
                self.block(rows.clone(), columns.clone(), &mut block);
                for distance in &mut block {
                    *distance = -*distance;
                }
                nearest.offer_rows(&block, columns.start as u32);
            }
            let last = |list: Vec<Neighbor>| list.last().map_or(0.0, |last| -last.score);
            nearest.finish().into_iter().map(last)
        });
        farthest.collect()
    }
}

/// `‖x − y‖²`
pub(super) fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    let pairs = x.iter().zip(y);
    pairs
        .map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(row: &[f32]) -> Vec<f64> {
        row.iter().map(|&x| f64::from(x)).collect()
    }

    /// Slow and plain.
    fn reference(x: &[f64], y: &[f64], distance: Distance) -> f64 {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
        match distance {
            Distance::Cosine => 1.0 - dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(),
            Distance::Euclidean => {
                let squares = x.iter().zip(y).map(|(a, b)| (a - b).powi(2));
                squares.sum::<f64>().sqrt()
            }
        }
    }

    #[test]
    fn blocks_hold_the_distances_even_of_items_that_nearly_coincide() {
        let (count, dim) = (1200, 3);
        // Rows repeat and nearly repeat, far from the origin.
        let number =
            |i: usize| 30.0 + (i % 2400 * 7919 % 1009) as f32 / 500.0 + (i / 3300) as f32 * 1e-3;
        let data: Vec<f32> = (0..count * dim).map(number).collect();
        for distance in [Distance::Cosine, Distance::Euclidean] {
            let points = Points::new(Mat::new(&data, count, dim), distance).unwrap();
            let mut block = Vec::new();
            let block = points.block(100..164, 50..count, &mut block);
            for (i, row) in (100..164).zip(block.chunks_exact(count - 50)) {
                for (j, &found) in (50..count).zip(row) {
                    let [x, y] = [i, j].map(|at| wide(&data[at * dim..][..dim]));
                    let expected = reference(&x, &y, distance);
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error < 1e-3 * expected + 1e-9,
                        "{distance:?}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_zero_vector_is_as_far_from_all_as_a_right_angle_is() {
        let data = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let points = Points::new(Mat::new(&data, 3, 2), Distance::Cosine).unwrap();
        let mut block = Vec::new();
        assert_eq!(
            points.block(0..3, 0..3, &mut block),
            [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]
        );
    }

    #[test]
    fn the_kth_neighbor_is_that_of_a_sorted_row() {
        let data: Vec<f32> = (0..1300).map(|i| (i * i % 1303) as f32).collect();
        let points = Points::new(Mat::new(&data, 1300, 1), Distance::Euclidean).unwrap();
        for k in [1, 4, 1300, 2000] {
            let found = points.to_neighbor(k);
            for i in (0..1300).step_by(97) {
                let mut row: Vec<f32> = data.iter().map(|x| (x - data[i]).abs()).collect();
                row.sort_by(f32::total_cmp);
                let expected = row[k.min(1300) - 1];
                assert!((found[i] - expected).abs() < 1e-4 * expected + 1e-6, "{k}");
            }
        }
    }
}
