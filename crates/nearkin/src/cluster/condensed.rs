//! The distances of all pairs, each once.

use rayon::prelude::*;

use super::distance::Points;
use crate::unit_rows::{COLUMNS, ROWS, pieces};

/// The upper triangle of a symmetric matrix, row after row: `N (N − 1) / 2` numbers.
pub(super) struct Condensed {
    pub items: usize,
    numbers: Vec<f32>,
}

impl Condensed {
    /// Bytes of the matrix of so many items.
    pub fn bytes(items: usize) -> u64 {
        let items = items as u64;
        items * items.saturating_sub(1) / 2 * size_of::<f32>() as u64
    }

    pub fn new(points: &Points) -> Self {
        Self::fill(points.count(), |rows, columns, block| {
            points.block(rows, columns, block);
        })
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

#[cfg(test)]
mod tests {
    use super::super::distance::Distance;
    use super::*;
    use nearkin_kernels::Mat;

    #[test]
    fn every_pair_has_its_distance() {
        let (items, dim) = (1200, 3);
        let number = |i: usize| (i * 7919 % 1009) as f32 / 500.0;
        let data: Vec<f32> = (0..items * dim).map(number).collect();
        let points = Points::new(Mat::new(&data, items, dim), Distance::Euclidean).unwrap();
        let condensed = Condensed::new(&points);
        assert_eq!(Condensed::bytes(items), 4 * condensed.numbers.len() as u64);
        let mut row = Vec::new();
        for a in (0..items).step_by(53) {
            let row = points.block(a..a + 1, 0..items, &mut row);
            for b in (0..items).filter(|&b| b != a) {
                let found = condensed.get(b as u32, a as u32);
                assert!((found - row[b]).abs() < 1e-5, "{a} {b}: {found} {}", row[b]);
            }
        }
    }
}
