//! A pass over all vectors for every query.

use nearkin_kernels::{Neighbor, TopK};
use rayon::prelude::*;
use std::ops::Range;

/// Queries of one block: enough rows for an efficient product.
const QUERIES: usize = 64;
/// Vectors of one block: a tile of scores stays in the cache.
pub(crate) const ITEMS: usize = 1024;

/// A tile of scores, `[queries, items]`, which is to be made.
pub(crate) struct Tile<'a> {
    pub queries: Range<usize>,
    pub items: Range<usize>,
    pub scores: &'a mut [f32],
    /// Numbers of unknown value to work with; one and the same vector for all tiles of a thread's queries.
    pub scratch: &'a mut Vec<f32>,
}

/// The best `k` of all `items` for each of the `queries`, on all threads, from the tiles that `fill` makes.
pub(crate) fn scan(
    queries: usize,
    items: usize,
    k: usize,
    fill: impl Fn(Tile) + Sync,
) -> Vec<Vec<Neighbor>> {
    let blocks: Vec<usize> = (0..queries).step_by(QUERIES).collect();
    let lists = blocks.into_par_iter().map(|first| {
        let block = first..queries.min(first + QUERIES);
        let mut best = TopK::new(block.len(), k, items);
        let (mut scores, mut scratch) = (vec![0.0; block.len() * ITEMS.min(items)], Vec::new());
        for start in (0..items).step_by(ITEMS) {
            let of = start..items.min(start + ITEMS);
            let scores = &mut scores[..block.len() * of.len()];
            fill(Tile {
                queries: block.clone(),
                items: of,
                scores,
                scratch: &mut scratch,
            });
            best.offer_rows(scores, start as u32);
        }
        best.finish()
    });
    lists.collect::<Vec<_>>().into_iter().flatten().collect()
}
