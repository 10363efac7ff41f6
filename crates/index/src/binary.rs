//! A bit a number.

use crate::quantize::ubinary;
use crate::scan::scan;
use crate::unit_rows::checked;
use crate::{Index, IndexError, Neighbor};
use nearkin_kernels::{Mat, alike_bits};

/// The signs of vectors: a bit says whether a number is above 0.
///
/// ```text
/// s_d = 1 if x_d > 0, else −1          h = number of d where the signs of q and x differ
/// score = s(q)·s(x) / D = 1 − 2 h / D       bytes = 8 N ⌈D / 64⌉
/// ```
#[derive(Clone, Debug)]
pub struct Binary {
    /// `[N, ⌈D / 64⌉]`
    words: Vec<u64>,
    count: usize,
    dim: usize,
}

impl Binary {
    /// Indexes `[N, D]` vectors.
    ///
    /// # Errors
    /// A number is not finite, or the vectors have none.
    pub fn new(rows: Mat) -> Result<Self, IndexError> {
        let given = checked(rows)?;
        let bytes = ubinary(Mat::new(&given, rows.rows, rows.cols))?;
        // The bits of a row lie eight a byte; a row is filled up to whole words with zeros.
        let word = |bytes: &[u8]| {
            let shifted = bytes.iter().zip((0..).step_by(8));
            shifted.fold(0, |word, (&byte, shift)| word | u64::from(byte) << shift)
        };
        let rows_of_bytes = bytes.chunks_exact(rows.cols.div_ceil(8).max(1));
        Ok(Self {
            words: rows_of_bytes
                .flat_map(|row| row.chunks(8).map(word))
                .collect(),
            count: rows.rows,
            dim: rows.cols,
        })
    }
}

impl Index for Binary {
    fn len(&self) -> usize {
        self.count
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        if queries.cols != self.dim {
            return Err(IndexError::Width {
                index: self.dim,
                queries: queries.cols,
            });
        }
        let queries = Self::new(queries)?;
        let width = self.dim.div_ceil(64);
        let mut found = scan(queries.count, self.count, k, |tile| {
            let rows = &self.words[tile.items.start * width..tile.items.end * width];
            let scores = tile.scores.chunks_exact_mut(tile.items.len());
            for (query, scores) in tile.queries.zip(scores) {
                let query = &queries.words[query * width..(query + 1) * width];
                alike_bits(query, rows, scores);
            }
        });
        // Whole numbers become scores at the end: equal ones stay equal, and others in their order.
        let (filled, dim) = ((64 * width) as f32, self.dim as f32);
        for n in found.iter_mut().flatten() {
            n.score = (dim - 2.0 * (filled - n.score)) / dim;
        }
        Ok(found)
    }
}
