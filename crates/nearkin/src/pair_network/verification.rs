//! Verification by a network of pairs: its scores of listed pairs.

use super::PairSearch;
use crate::data::ItemPair;
use crate::error::Result;
use crate::verify::Paired;
use std::collections::HashMap;

impl Paired {
    /// Pairs with their scores by a network of pairs, from 0 to the `farthest` of its output; `progress` is told how many are
    /// scored.
    ///
    /// # Errors
    /// An image can no longer be read.
    pub fn of_scores(
        search: &PairSearch<'_>,
        pairs: &[ItemPair],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let rows: HashMap<usize, u32> = search.items().iter().copied().zip(0..).collect();
        let (mut kept, mut asked) = (Vec::new(), Vec::new());
        for pair in pairs {
            let (Some(&first), Some(&second)) = (rows.get(&pair.first), rows.get(&pair.second))
            else {
                continue;
            };
            asked.push([first, second]);
            kept.push(*pair);
        }
        Ok(Self {
            distances: search.of_pairs(&asked, progress)?,
            left_out: pairs.len() - kept.len(),
            ..Self::of(&kept)
        })
    }
}
