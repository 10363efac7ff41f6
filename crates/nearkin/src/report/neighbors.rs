//! The nearest neighbors of every item, which several parts of a report look at.

use super::items::Items;
use crate::evaluate::EvaluateError;
use crate::search::{Search, Similarity};

/// Neighbors of an item that are kept.
pub const DEPTH: usize = 8;

/// The nearest of all other items, by cosine similarity, of every item.
pub struct Nearest {
    /// Numbers of items with their similarities, the nearest first.
    pub of: Vec<Vec<(usize, f32)>>,
    /// How many others each item has in its class.
    pub relevant: Vec<usize>,
}

impl Nearest {
    /// Searches exactly, in blocks.
    ///
    /// # Errors
    /// A number is not finite.
    pub fn new(items: &Items) -> Result<Self, EvaluateError> {
        let search = Search::among(items.matrix(), Similarity::Cosine)?;
        let of = search.map(DEPTH, |_, near| {
            near.iter().map(|n| (n.index as usize, n.score)).collect()
        });
        let sizes = items.sizes();
        let relevant = items.labels.iter().map(|&label| sizes[label as usize] - 1);
        Ok(Self {
            of,
            relevant: relevant.collect(),
        })
    }

    /// How many of the first neighbors are of the item's class, of as many as could be.
    pub fn share(&self, items: &Items, item: usize) -> f64 {
        let depth = self.relevant[item].min(DEPTH);
        let near = self.of[item].iter().take(depth);
        let right = near.filter(|(other, _)| items.labels[*other] == items.labels[item]);
        right.count() as f64 / depth.max(1) as f64
    }

    /// Whether the nearest of all is of the item's class.
    pub fn is_right(&self, items: &Items, item: usize) -> bool {
        self.of[item]
            .first()
            .is_some_and(|(other, _)| items.labels[*other] == items.labels[item])
    }

    /// The items that have something to find.
    pub fn queries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.of.len()).filter(|&item| self.relevant[item] > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_could_be_found() {
        let angles = [0.0f32, 0.1, 0.3, 1.0, 1.2];
        let numbers = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let items = Items::plain(numbers, 2, &[0, 0, 1, 1, 2]);
        let nearest = Nearest::new(&items).unwrap();
        assert_eq!(nearest.queries().collect::<Vec<_>>(), [0, 1, 2, 3]);
        let shares: Vec<f64> = nearest
            .queries()
            .map(|q| nearest.share(&items, q))
            .collect();
        // The nearest of item 2 is item 1, of item 3 it is item 4.
        assert_eq!(shares, [1.0, 1.0, 0.0, 0.0]);
        assert!(nearest.is_right(&items, 0) && !nearest.is_right(&items, 2));
        assert_eq!(nearest.of[0].len(), 4);
    }
}
