//! What a miner hands to a loss: which pairs or triplets of the batch take part.

use crate::pairs::Pairs;
use std::borrow::Cow;
use std::ops::Range;

/// The pairs or triplets that take part, as a kind of its own each: never told apart by a length.
///
/// No kind grows with the number of triplets of the batch: a band is two numbers, a mask is `B²` bits, and miners list at
/// most a few triplets for each positive pair.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Tuples {
    /// Every pair and every triplet that the labels allow.
    All,
    /// Every triplet with `low < d(a, n) - d(a, p) <= high`.
    Band {
        /// Lower bound, excluded; may be `-∞`.
        low: f32,
        /// Upper bound, included; may be `∞`.
        high: f32,
    },
    /// These pairs, and the triplets that join two of them at their anchor.
    Pairs(PairMask),
    /// These triplets `[a, p, n]`.
    Triplets(Vec<[u32; 3]>),
    /// These tuplets of a positive pair and several negatives, `[a, p, n_1, n_2, …]`, each as long as the others: one with
    /// fewer negatives has its positive in their places.
    Tuplets {
        /// Indices of a tuplet, at least three.
        width: usize,
        /// The tuplets, one after another.
        indices: Vec<u32>,
    },
}

/// A set of pairs `(row, column)` as one bit for each entry of `S`.
#[derive(Clone, Debug, PartialEq)]
pub struct PairMask {
    words: Vec<u64>,
    stride: usize,
}

impl PairMask {
    /// No pairs of a matrix of `rows` and `cols`.
    #[must_use]
    pub fn empty(rows: usize, cols: usize) -> Self {
        let stride = cols.div_ceil(64);
        Self {
            words: vec![0; rows * stride],
            stride,
        }
    }

    /// How many pairs are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no pair is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Adds the pair `(i, j)`.
    pub fn insert(&mut self, i: usize, j: usize) {
        insert_bit(&mut self.words[i * self.stride..], j);
    }

    /// Whether the pair `(i, j)` is in the set.
    #[must_use]
    pub fn contains(&self, i: usize, j: usize) -> bool {
        self.words[i * self.stride + j / 64] >> (j % 64) & 1 == 1
    }

    /// The rows as bit sets, to fill in parallel with [`insert_bit`].
    pub(crate) fn rows_mut(&mut self) -> rayon::slice::ChunksExactMut<'_, u64> {
        use rayon::prelude::*;
        self.words.par_chunks_exact_mut(self.stride.max(1))
    }

    /// Calls `f` on each run of consecutive columns of row `i` within `range`.
    fn runs(&self, i: usize, range: Range<usize>, mut f: impl FnMut(Range<usize>)) {
        let words = &self.words[i * self.stride..(i + 1) * self.stride];
        let mut start = next_bit(words, range.start, range.end, 0);
        while start < range.end {
            let end = next_bit(words, start, range.end, !0);
            f(start..end);
            start = next_bit(words, end, range.end, 0);
        }
    }
}

/// Sets bit `j` of a row of a [`PairMask`].
pub(crate) fn insert_bit(row: &mut [u64], j: usize) {
    row[j / 64] |= 1 << (j % 64);
}

/// First set bit of `words ^ flip` at or after `from`, or `end`.
fn next_bit(words: &[u64], from: usize, end: usize, flip: u64) -> usize {
    let mut at = from;
    while at < end {
        let rest = (words[at / 64] ^ flip) >> (at % 64);
        if rest != 0 {
            return (at + rest.trailing_zeros() as usize).min(end);
        }
        at = (at / 64 + 1) * 64;
    }
    end
}

/// The pairs that take part, whatever form the miner gave them: what a loss over pairs loops over.
#[derive(Debug)]
pub struct KeptPairs<'a> {
    pairs: Pairs<'a>,
    mask: Option<Cow<'a, PairMask>>,
    /// Listed tuplets, sorted by anchor, one after another.
    listed: Cow<'a, [u32]>,
    /// Indices of a listed tuplet.
    width: usize,
}

impl KeptPairs<'_> {
    /// How many pairs are kept, and of how many.
    pub(crate) fn counts(&self) -> [usize; 2] {
        let (rows, cols) = (self.pairs.rows(), self.pairs.cols());
        let own = (0..rows).filter(|&a| self.pairs.own(a).is_some()).count();
        let all = rows * cols - own;
        [self.mask.as_ref().map_or(all, |mask| mask.len()), all]
    }

    /// Kept positives of anchor `a`, ascending.
    pub fn positives(&self, a: usize) -> impl Iterator<Item = usize> + Clone {
        self.pairs
            .positives(a)
            .filter(move |&p| self.mask.as_ref().is_none_or(|mask| mask.contains(a, p)))
    }

    /// Calls `f` on the kept negatives of anchor `a`, as ranges in ascending order.
    pub fn negatives(&self, a: usize, mut f: impl FnMut(Range<usize>)) {
        for range in self.pairs.negatives(a) {
            match &self.mask {
                None => f(range),
                Some(mask) => mask.runs(a, range, &mut f),
            }
        }
    }

    /// Listed tuplets `[a, p, n, …]` of anchor `a`, in the order of the list; none if the tuples are no list.
    pub fn tuplets(&self, a: usize) -> std::slice::ChunksExact<'_, u32> {
        let count = self.listed.len() / self.width;
        let place = |bound: usize| {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = usize::midpoint(low, high);
                if (self.listed[middle * self.width] as usize) < bound {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low * self.width
        };
        self.listed[place(a)..place(a + 1)].chunks_exact(self.width)
    }
}

impl Tuples {
    /// The distinct pairs of these tuples: a triplet holds `(a, p)` and `(a, n)`, a tuplet `(a, p)` and each `(a, n)`.
    #[must_use]
    pub fn pairs<'a>(&'a self, pairs: Pairs<'a>) -> KeptPairs<'a> {
        let (mask, listed, width) = match self {
            Self::All => (None, &[][..], 3),
            Self::Band { low, high } => {
                (Some(Cow::Owned(band_mask(pairs, *low, *high))), &[][..], 3)
            }
            Self::Pairs(mask) => (Some(Cow::Borrowed(mask)), &[][..], 3),
            Self::Triplets(triplets) => {
                let listed = triplets.as_flattened();
                (Some(Cow::Owned(joined(pairs, listed, 3))), listed, 3)
            }
            Self::Tuplets { width, indices } => (
                Some(Cow::Owned(joined(pairs, indices, *width))),
                &indices[..],
                *width,
            ),
        };
        let listed = by_anchor(listed, width);
        KeptPairs {
            pairs,
            mask,
            listed,
            width,
        }
    }
}

/// Tuplets sorted by anchor, those of one anchor in the order of the list.
fn by_anchor(indices: &[u32], width: usize) -> Cow<'_, [u32]> {
    let anchors = indices.iter().step_by(width);
    if anchors.is_sorted() {
        return Cow::Borrowed(indices);
    }
    let mut tuplets: Vec<_> = indices.chunks_exact(width).collect();
    tuplets.sort_by_key(|tuplet| tuplet[0]);
    Cow::Owned(tuplets.concat())
}

/// The pairs of tuplets: each joins its anchor with all others.
fn joined(pairs: Pairs<'_>, indices: &[u32], width: usize) -> PairMask {
    let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
    for tuplet in indices.chunks_exact(width) {
        for &j in &tuplet[1..] {
            mask.insert(tuplet[0] as usize, j as usize);
        }
    }
    mask
}

/// The pairs that occur in at least one triplet of the band.
fn band_mask(pairs: Pairs<'_>, low: f32, high: f32) -> PairMask {
    use rayon::prelude::*;
    let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
    mask.rows_mut().enumerate().for_each(|(a, bits)| {
        let row = pairs.row(a);
        let mut positives: Vec<_> = pairs.positives(a).collect();
        positives.sort_by(|&p, &q| row[p].total_cmp(&row[q]));
        // Change of the number of triplets from one positive to the next: the band of a negative is a range of them.
        let mut change = vec![0_i32; positives.len() + 1];
        for n in pairs.negatives(a).flatten() {
            let range = band(&positives, |&p| row[p], row[n], low, high);
            if !range.is_empty() {
                insert_bit(bits, n);
                change[range.start] += 1;
                change[range.end] -= 1;
            }
        }
        let mut triplets = 0;
        for (&p, change) in positives.iter().zip(change) {
            triplets += change;
            if triplets > 0 {
                insert_bit(bits, p);
            }
        }
    });
    mask
}

/// The range of `positives`, ascending by `distance`, that forms a triplet of the band with a negative at `d_an`.
pub(crate) fn band<T>(
    positives: &[T],
    distance: impl Fn(&T) -> f32,
    d_an: f32,
    low: f32,
    high: f32,
) -> Range<usize> {
    let start = positives.partition_point(|p| distance(p) + high < d_an);
    let end = positives.partition_point(|p| distance(p) + low < d_an);
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Classes;

    #[test]
    fn runs_of_a_mask_are_its_pairs() {
        let mut mask = PairMask::empty(4, 200);
        let columns: Vec<_> = (0..200)
            .filter(|j| j % 7 < 4 || (60..135).contains(j))
            .collect();
        for &j in &columns {
            mask.insert(3, j);
        }
        let mut found = Vec::new();
        mask.runs(3, 0..200, |run| found.extend(run));
        assert_eq!(found, columns);
        found.clear();
        mask.runs(3, 62..129, |run| found.extend(run));
        assert_eq!(
            found,
            columns
                .into_iter()
                .filter(|j| (62..129).contains(j))
                .collect::<Vec<_>>()
        );
        mask.runs(2, 0..200, |_| panic!("row 2 is empty"));
    }

    #[test]
    fn pairs_of_a_band_are_those_of_its_triplets() {
        let labels = [0, 0, 0, 1, 1, 1];
        let classes = Classes::new(&labels);
        let s: Vec<f32> = (0..36).map(|k| ((k * 17) % 23) as f32 * 0.1).collect();
        let pairs = Pairs::new(&s, &classes);
        let (low, high) = (-0.45, 0.35);
        let mut triplets = Vec::new();
        for a in 0..6_usize {
            for p in (0..6).filter(|&p| p != a && labels[p] == labels[a]) {
                for n in (0..6).filter(|&n| labels[n] != labels[a]) {
                    let gap = s[a * 6 + n] - s[a * 6 + p];
                    if low < gap && gap <= high {
                        triplets.push([a as u32, p as u32, n as u32]);
                    }
                }
            }
        }
        assert!(triplets.len() > 3);
        let (band, list) = (Tuples::Band { low, high }, Tuples::Triplets(triplets));
        assert_eq!(band.pairs(pairs).mask, list.pairs(pairs).mask);
    }
}
