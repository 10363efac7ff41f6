//! Pairs of items of the same and of different classes, all of them or as many as are asked for.

use super::items::Items;
use crate::evaluate::{EvaluateError, squared_distances};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::RngExt;

/// Pairs whose distances are made at once.
const BLOCK: usize = 4096;

/// Pairs with the squared distances of their unit vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// From 0 to 4, one for each pair.
    pub distances: Vec<f32>,
    /// Whether each is of one class.
    pub same: Vec<bool>,
    /// Pairs of the same and of different classes that there are.
    pub all: [u64; 2],
}

impl Pairs {
    /// All pairs of a kind, or `most` drawn with replacement where there are more.
    ///
    /// # Errors
    /// A number is not finite.
    pub fn new(items: &Items, most: usize, seed: u64) -> Result<Self, EvaluateError> {
        let classes = ByClass::new(&items.labels);
        let all = [classes.same(), classes.different()];
        let mut rng = named_rng(seed, "pairs");
        let same: Vec<(usize, usize)> = if all[0] <= most as u64 {
            classes.each_same()
        } else {
            (0..most)
                .map(|_| classes.nth_same(rng.random_range(0..all[0])))
                .collect()
        };
        let different: Vec<(usize, usize)> = if all[1] <= most as u64 {
            classes.each_different()
        } else {
            let twice = 2 * all[1];
            (0..most)
                .map(|_| classes.nth_different(rng.random_range(0..twice)))
                .collect()
        };
        let kinds = same
            .iter()
            .map(|_| true)
            .chain(different.iter().map(|_| false));
        Ok(Self {
            same: kinds.collect(),
            distances: distances(items, &[same, different].concat())?,
            all,
        })
    }

    /// How many pairs of how many, in words.
    pub fn drawn(&self) -> String {
        let same = self.same.iter().filter(|same| **same).count();
        let kinds = [
            (same, self.all[0], "the same class"),
            (self.same.len() - same, self.all[1], "different classes"),
        ];
        let words = kinds.map(|(drawn, all, kind)| {
            if drawn as u64 == all {
                format!("all {all} pairs of {kind}")
            } else {
                format!("{drawn} of {all} pairs of {kind}, drawn at random")
            }
        });
        format!("Pairs: {}; {}.", words[0], words[1])
    }
}

fn distances(items: &Items, pairs: &[(usize, usize)]) -> Result<Vec<f32>, EvaluateError> {
    let mut distances = Vec::with_capacity(pairs.len());
    for block in pairs.chunks(BLOCK) {
        let side = |row: fn(&(usize, usize)) -> usize| -> Vec<f32> {
            block
                .iter()
                .flat_map(|pair| items.row(row(pair)))
                .copied()
                .collect()
        };
        let (first, second) = (side(|p| p.0), side(|p| p.1));
        let matrix = |numbers| Mat::new(numbers, block.len(), items.dim);
        distances.extend(squared_distances(matrix(&first), matrix(&second))?);
    }
    Ok(distances)
}

/// Items in the order of their classes, so that pairs can be numbered.
struct ByClass {
    items: Vec<usize>,
    /// Where each class begins and ends among `items`, with the pairs of the same, and the ordered pairs with an item of
    /// another class, of the classes before.
    spans: Vec<(usize, usize, u64, u64)>,
}

impl ByClass {
    fn new(labels: &[u32]) -> Self {
        let mut items: Vec<usize> = (0..labels.len()).collect();
        items.sort_by_key(|&item| labels[item]);
        let (mut spans, mut at, mut before) = (Vec::new(), 0, (0, 0));
        for class in items.chunk_by(|&a, &b| labels[a] == labels[b]) {
            let (size, others) = (class.len() as u64, (labels.len() - class.len()) as u64);
            spans.push((at, at + class.len(), before.0, before.1));
            at += class.len();
            before = (before.0 + size * (size - 1) / 2, before.1 + size * others);
        }
        // What lies behind the last class closes the sums.
        spans.push((at, at, before.0, before.1));
        Self { items, spans }
    }

    fn same(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.2)
    }

    fn different(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.3 / 2)
    }

    fn each_same(&self) -> Vec<(usize, usize)> {
        (0..self.same())
            .map(|number| self.nth_same(number))
            .collect()
    }

    fn each_different(&self) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for &(begin, end, ..) in &self.spans {
            for &item in &self.items[begin..end] {
                pairs.extend(self.items[end..].iter().map(|&other| (item, other)));
            }
        }
        pairs
    }

    /// Pair number `number` of the same class: within a class `(0, 1), (0, 2), (1, 2), (0, 3), …`.
    fn nth_same(&self, number: u64) -> (usize, usize) {
        let class = self.spans.partition_point(|span| span.2 <= number) - 1;
        let (begin, _, before, _) = self.spans[class];
        let rest = number - before;
        // The largest b with b (b − 1) / 2 ≤ rest; the root may be off by one.
        let mut b = f64::midpoint(1.0, (1.0 + 8.0 * rest as f64).sqrt()) as u64;
        while b * (b - 1) / 2 > rest {
            b -= 1;
        }
        while (b + 1) * b / 2 <= rest {
            b += 1;
        }
        let a = rest - b * (b - 1) / 2;
        (
            self.items[begin + a as usize],
            self.items[begin + b as usize],
        )
    }

    /// Ordered pair number `number` of different classes, each unordered one twice.
    fn nth_different(&self, number: u64) -> (usize, usize) {
        let class = self.spans.partition_point(|span| span.3 <= number) - 1;
        let (begin, end, _, before) = self.spans[class];
        let others = (self.items.len() - (end - begin)) as u64;
        let rest = number - before;
        let item = begin + (rest / others) as usize;
        let other = (rest % others) as usize;
        let other = if other < begin {
            other
        } else {
            other + end - begin
        };
        (self.items[item], self.items[other])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const LABELS: [u32; 9] = [2, 0, 2, 1, 0, 2, 7, 2, 0];

    #[test]
    fn every_pair_has_one_number() {
        let classes = ByClass::new(&LABELS);
        let mut seen: HashMap<(usize, usize), usize> = HashMap::new();
        for (a, b) in classes.each_same() {
            assert!(a != b && LABELS[a] == LABELS[b]);
            *seen.entry((a.min(b), a.max(b))).or_default() += 1;
        }
        assert_eq!(seen.len() as u64, classes.same());
        assert_eq!(classes.same(), 3 + 6);
        assert_eq!(classes.different(), 36 - 9);
        assert_eq!(classes.each_different().len(), 27);
        seen.clear();
        for number in 0..2 * classes.different() {
            let (a, b) = classes.nth_different(number);
            assert_ne!(LABELS[a], LABELS[b]);
            *seen.entry((a.min(b), a.max(b))).or_default() += 1;
        }
        assert_eq!(seen.len(), 27);
        assert!(seen.values().all(|&times| times == 2));
    }

    #[test]
    fn where_there_are_too_many_they_are_drawn_and_counted() {
        let mut rng = named_rng(0, "items");
        let numbers: Vec<f32> = (0..40 * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
        let items = Items::plain(
            numbers,
            3,
            &(0..40).map(|item| item % 2).collect::<Vec<u32>>(),
        );
        let all = Pairs::new(&items, 1000, 0).unwrap();
        assert_eq!((all.all, all.same.len()), ([380, 400], 780));
        assert!(
            all.drawn().starts_with("Pairs: all 380 pairs"),
            "{}",
            all.drawn()
        );
        let some = Pairs::new(&items, 100, 0).unwrap();
        assert_eq!((some.all, some.same.len()), ([380, 400], 200));
        assert!(
            some.drawn()
                .contains("100 of 400 pairs of different classes"),
            "{}",
            some.drawn()
        );
        assert_eq!(some, Pairs::new(&items, 100, 0).unwrap());
        assert_ne!(some, Pairs::new(&items, 100, 1).unwrap());
        assert!(some.distances.iter().all(|d| all.distances.contains(d)));
    }
}
