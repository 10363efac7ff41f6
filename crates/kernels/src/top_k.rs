//! The k best of a stream of scores.

use crate::dispatch::dispatch;
use std::cmp::Ordering;

/// An item of a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Which item.
    pub index: u32,
    /// How good it is; larger is better.
    pub score: f32,
}

impl Neighbor {
    /// The order of a ranking: larger scores first, then smaller indices.
    pub fn order(a: &Self, b: &Self) -> Ordering {
        b.score.total_cmp(&a.score).then(a.index.cmp(&b.index))
    }

    /// The item as a number, the smaller the better: comparing numbers takes a fraction of the time of comparing items.
    ///
    /// ```
    /// use nearkin_kernels::Neighbor;
    /// let [first, second] = [0.5, -2.0].map(|score| Neighbor { index: 7, score });
    /// assert!(first.key() < second.key());
    /// assert_eq!(Neighbor::of_key(second.key()), second);
    /// ```
    pub fn key(self) -> u64 {
        // -0.0 and 0.0 are equal scores; one form keeps the order by index.
        let bits = (self.score + 0.0).to_bits();
        // As whole numbers, positive floats rise with their bits and negative ones fall.
        let rising = if bits >> 31 == 0 {
            bits | 1 << 31
        } else {
            !bits
        };
        u64::from(!rising) << 32 | u64::from(self.index)
    }

    /// The item that a [`key`](Self::key) is of.
    pub fn of_key(key: u64) -> Self {
        let rising = !((key >> 32) as u32);
        let bits = if rising >> 31 == 1 {
            rising & !(1 << 31)
        } else {
            !rising
        };
        Self {
            index: key as u32,
            score: f32::from_bits(bits),
        }
    }
}

/// Scores that are looked at together: most blocks hold nothing good enough, which a loop without exits finds out in a few
/// instructions.
const BLOCK: usize = 64;

/// The best `k` items of each of some queries, from scores that come in tiles.
///
/// A list takes whatever is at least as good as the worst of its last `k` best, and is cut back to `k` when it is full: an item
/// costs a comparison, and a good one a place in a list, where a heap would have it climb.
///
/// The result is exact and does not depend on the order of the tiles: larger scores are better, equal scores go to the smaller
/// index, and items whose score is NaN are left out.
///
/// ```
/// use nearkin_kernels::TopK;
/// let mut best = TopK::new(1, 2, 5);
/// best.offer_rows(&[0.1, 0.9, 0.5], 0);
/// best.offer_rows(&[0.7, 0.9], 3);
/// let list = best.finish().remove(0);
/// assert_eq!(list.iter().map(|n| n.index).collect::<Vec<_>>(), [1, 4]);
/// ```
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    /// Items that a list holds before it is cut back.
    capacity: usize,
    /// For each query the least score that can still be among its best.
    bars: Vec<f32>,
    /// Items as [`Neighbor::key`]s.
    lists: Vec<Vec<u64>>,
}

impl TopK {
    /// Empty lists for `queries`, of the best `k` of `items`.
    pub fn new(queries: usize, k: usize, items: usize) -> Self {
        let k = k.min(items);
        Self {
            k,
            capacity: Self::capacity(k, items),
            // With no place to fill, nothing is good enough.
            bars: vec![if k == 0 { f32::NAN } else { f32::NEG_INFINITY }; queries],
            lists: vec![Vec::new(); queries],
        }
    }

    /// Items that a list of the best `k` of `items` holds at most.
    fn capacity(k: usize, items: usize) -> usize {
        (k + k / 2).max(k + BLOCK).min(items)
    }

    /// Bytes that the lists of so many queries take at most.
    pub fn bytes(queries: usize, k: usize, items: usize) -> usize {
        let list = Self::capacity(k.min(items), items) * size_of::<u64>();
        queries.saturating_mul(list)
    }

    /// Offers a tile of scores whose rows are the queries and whose columns are items from `first` on.
    ///
    /// # Panics
    /// When the tile is not of whole rows.
    pub fn offer_rows(&mut self, tile: &[f32], first: u32) {
        let queries = self.bars.len().max(1);
        assert_eq!(tile.len() % queries, 0, "rows for {queries} queries");
        let width = (tile.len() / queries).max(1);
        for (query, row) in tile.chunks_exact(width).enumerate() {
            for (block, first) in row.chunks(BLOCK).zip((first..).step_by(BLOCK)) {
                if !any_reaches(block, self.bars[query]) {
                    continue;
                }
                for (&score, index) in block.iter().zip(first..) {
                    self.offer(query, Neighbor { index, score });
                }
            }
        }
    }

    /// Offers a tile of scores whose columns are the queries and whose rows are items from `first` on.
    ///
    /// # Panics
    /// When the tile is not of whole rows.
    pub fn offer_columns(&mut self, tile: &[f32], first: u32) {
        let queries = self.bars.len().max(1);
        assert_eq!(tile.len() % queries, 0, "columns for {queries} queries");
        for (row, index) in tile.chunks_exact(queries).zip(first..) {
            for start in (0..queries).step_by(BLOCK) {
                let end = queries.min(start + BLOCK);
                if !any_reaches_its_own(&row[start..end], &self.bars[start..end]) {
                    continue;
                }
                for (query, &score) in (start..).zip(&row[start..end]) {
                    self.offer(query, Neighbor { index, score });
                }
            }
        }
    }

    /// The best of each query, the best first; equal scores by index.
    pub fn finish(mut self) -> Vec<Vec<Neighbor>> {
        let k = self.k;
        let best = |list: &mut Vec<u64>| {
            list.sort_unstable();
            // The memory of a long list goes before that of the next is asked for.
            let list = std::mem::take(list).into_iter();
            list.take(k).map(Neighbor::of_key).collect()
        };
        self.lists.iter_mut().map(best).collect()
    }

    fn offer(&mut self, query: usize, item: Neighbor) {
        let bar = self.bars[query];
        // NaN reaches no bar, and no score a bar that is NaN.
        if item.score.is_nan() || bar.is_nan() || item.score < bar {
            return;
        }
        let list = &mut self.lists[query];
        if list.is_empty() {
            list.reserve_exact(self.capacity);
        }
        list.push(item.key());
        if list.len() >= self.capacity && list.len() > self.k {
            list.select_nth_unstable(self.k - 1);
            list.truncate(self.k);
            self.bars[query] = Neighbor::of_key(list[self.k - 1]).score;
        }
    }
}

dispatch! {
    fn any_reaches(scores: &[f32], bar: f32) -> bool = any_reaches_body;
    fn any_reaches_its_own(scores: &[f32], bars: &[f32]) -> bool = any_reaches_its_own_body;
}

#[inline(always)]
fn any_reaches_body<const FMA: bool>(scores: &[f32], bar: f32) -> bool {
    let mut reaches = 0u32;
    for &score in scores {
        reaches |= u32::from(score >= bar);
    }
    reaches > 0
}

#[inline(always)]
fn any_reaches_its_own_body<const FMA: bool>(scores: &[f32], bars: &[f32]) -> bool {
    let mut reaches = 0u32;
    for (&score, &bar) in scores.iter().zip(bars) {
        reaches |= u32::from(score >= bar);
    }
    reaches > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn reference(scores: &[f32], k: usize) -> Vec<Neighbor> {
        let mut all: Vec<_> = (0u32..)
            .zip(scores)
            .map(|(index, &score)| Neighbor { index, score })
            .collect();
        all.retain(|n| !n.score.is_nan());
        all.sort_by(|a, b| {
            b.score
                .partial_cmp(&a.score)
                .unwrap()
                .then(a.index.cmp(&b.index))
        });
        all.truncate(k);
        all
    }

    /// Few distinct values, so that ties decide.
    fn coarse(count: usize) -> Vec<f32> {
        let scores = random(count, 1);
        scores.iter().map(|x| (x * 20.0).round() / 4.0).collect()
    }

    #[test]
    fn tiles_in_any_order_give_the_sorted_prefix() {
        for n in [0, 1, 31, 200, 1003] {
            let scores = coarse(n);
            for k in [0, 1, 7, 100, 2000] {
                for tile in [1, 17, 64, 500] {
                    let mut best = TopK::new(1, k, n);
                    for (i, scores) in scores.chunks(tile).enumerate().rev() {
                        best.offer_rows(scores, (i * tile) as u32);
                    }
                    let found = best.finish().remove(0);
                    assert_eq!(found, reference(&scores, k), "n {n}, k {k}, tile {tile}");
                }
            }
        }
    }

    #[test]
    fn rows_and_columns_give_the_same() {
        let (queries, items) = (70, 300);
        let scores = coarse(queries * items);
        let transposed: Vec<f32> = (0..queries * items)
            .map(|at| scores[at % queries * items + at / queries])
            .collect();
        let mut by_rows = TopK::new(queries, 9, items);
        by_rows.offer_rows(&scores, 0);
        let mut by_columns = TopK::new(queries, 9, items);
        let (start, end) = transposed.split_at(100 * queries);
        by_columns.offer_columns(end, 100);
        by_columns.offer_columns(start, 0);
        let by_rows = by_rows.finish();
        assert_eq!(by_rows, by_columns.finish());
        for (found, scores) in by_rows.iter().zip(scores.chunks(items)) {
            assert_eq!(*found, reference(scores, 9));
        }
    }

    #[test]
    fn nan_is_left_out_and_infinities_are_ranked() {
        let scores = [f32::NAN, f32::NEG_INFINITY, 1.0, f32::INFINITY, f32::NAN];
        let mut best = TopK::new(1, 4, 5);
        best.offer_rows(&scores, 0);
        let found = best.finish().remove(0);
        assert_eq!(found.iter().map(|n| n.index).collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn keys_are_in_the_order_of_the_items() {
        let scores = [
            f32::INFINITY,
            2.0,
            f32::MIN_POSITIVE,
            0.0,
            -1e-40,
            -3.5,
            f32::NEG_INFINITY,
        ];
        let items: Vec<Neighbor> = scores
            .iter()
            .flat_map(|&score| [0, 7, u32::MAX].map(|index| Neighbor { index, score }))
            .collect();
        assert!(items.is_sorted_by(|a, b| a.key() < b.key()));
        assert!(
            items
                .iter()
                .all(|&item| Neighbor::of_key(item.key()) == item)
        );
        let zero = |score| Neighbor { index: 3, score }.key();
        assert_eq!(zero(-0.0), zero(0.0));
    }

    #[test]
    fn lists_stay_within_their_bytes() {
        let mut best = TopK::new(1, 10, 5000);
        // Each better than all before.
        let rising: Vec<f32> = (0..5000).map(|x| x as f32).collect();
        for (scores, first) in rising.chunks(100).zip((0..).step_by(100)) {
            best.offer_rows(scores, first);
            let bytes = best.lists[0].len() * size_of::<u64>();
            assert!(bytes <= TopK::bytes(1, 10, 5000));
        }
        assert_eq!(best.finish()[0][0].index, 4999);
    }
}
