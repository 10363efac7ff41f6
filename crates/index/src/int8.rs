//! A byte a number.

use crate::quantize::{Ranges, int8};
use crate::scan::scan;
use crate::unit_rows::UnitRows;
use crate::{Index, IndexError, Neighbor};
use nearkin_kernels::{Beta, Mat, MatMut, dot_byte_rows, gemm_sequential, widen_bytes};

/// Each number of a unit vector as one of 256 levels of its dimension's range, compared with queries in full precision.
///
/// ```text
/// x̂_d = middle of the level of x_d = center_d + step_d c_d,    c = int8(x)
/// score = q·x̂ = Σ_d q_d center_d + Σ_d (q_d step_d) c_d,       ‖q‖ = 1
/// bytes = N D + 8 D
/// ```
///
/// The ranges are those of all vectors of the index, by the definition of [`quantize`](crate::quantize). A dimension in
/// which all are equal counts as what it is.
#[derive(Clone, Debug)]
pub struct Int8 {
    /// `[N, D]`
    codes: Vec<i8>,
    count: usize,
    /// What code 0 stands for, in each dimension.
    centers: Vec<f32>,
    /// What a code more stands for.
    steps: Vec<f32>,
}

impl Int8 {
    /// Indexes `[N, D]` vectors.
    ///
    /// # Errors
    /// A number is not finite, or the vectors have none.
    pub fn new(rows: Mat) -> Result<Self, IndexError> {
        let rows = UnitRows::new(rows)?;
        let all = rows.mat(0..rows.count);
        let mut ranges = Ranges::none(rows.dim);
        ranges.widen(all)?;
        let codes = int8(all, &ranges)?;
        let ends = || ranges.low.iter().zip(&ranges.high);
        let steps: Vec<f32> = ends().map(|(low, high)| (high - low) / 255.0).collect();
        // Level 0 is code −128, and a vector lies half a level above its lower end.
        let centers = ends().zip(&steps);
        let centers = centers.map(|((low, _), step)| low + 128.5 * step);
        Ok(Self {
            centers: centers.collect(),
            codes,
            count: rows.count,
            steps,
        })
    }

    /// What a query is multiplied with: the sum that is the same for all vectors, and its weights of codes.
    fn weigh(&self, query: &[f32]) -> (f32, impl Iterator<Item = f32>) {
        let products = query.iter().zip(&self.centers);
        let products = products.map(|(&q, &center)| f64::from(q) * f64::from(center));
        let weights = query.iter().zip(&self.steps).map(|(q, step)| q * step);
        (products.sum::<f64>() as f32, weights)
    }

    /// The scores of some vectors for a query of length one.
    pub(crate) fn judge(&self, query: &[f32], ids: &[u32]) -> Vec<f32> {
        let (base, weights) = self.weigh(query);
        let weights: Vec<f32> = weights.collect();
        let mut scores = vec![0.0; ids.len()];
        dot_byte_rows(&weights, &self.codes, ids, &mut scores);
        for score in &mut scores {
            *score += base;
        }
        scores
    }
}

impl Index for Int8 {
    fn len(&self) -> usize {
        self.count
    }

    fn dim(&self) -> usize {
        self.steps.len()
    }

    fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(&*self.steps) + size_of_val(&*self.centers)
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let dim = self.dim();
        let queries = UnitRows::of_queries(queries, dim)?;
        let mut weights = Vec::with_capacity(queries.data.len());
        let weigh = |query| {
            let (base, of_query) = self.weigh(queries.row(query));
            weights.extend(of_query);
            base
        };
        let bases: Vec<f32> = (0..queries.count).map(weigh).collect();
        // A block of codes is widened once for a block of queries; what comes from memory is one byte a number.
        let mut found = scan(queries.count, self.count, k, |tile| {
            let (q, items) = (tile.queries, tile.items.len());
            let codes = &self.codes[tile.items.start * dim..tile.items.end * dim];
            tile.scratch.resize(codes.len(), 0.0);
            widen_bytes(codes, tile.scratch);
            gemm_sequential(
                MatMut::new(tile.scores, q.len(), items),
                Beta::Overwrite,
                1.0,
                Mat::new(&weights[q.start * dim..q.end * dim], q.len(), dim),
                Mat::new(tile.scratch, items, dim).t(),
            );
        });
        for (list, base) in found.iter_mut().zip(bases) {
            for n in list.iter_mut() {
                n.score += base;
            }
            // Scores that were apart may be equal now.
            list.sort_unstable_by_key(|n| n.key());
        }
        Ok(found)
    }
}
