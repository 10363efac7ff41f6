//! The scores of a ranking at a cut-off.

use super::Estimate;
use serde::{Deserialize, Serialize};

/// Scores of one query at one cut-off.
pub(crate) const SCORES: usize = 8;

/// Means over queries at one cut-off k. With R relevant items, rel(i) is 1 if the i-th found is one of them, P(i) the share of
/// relevant ones among the first i, and F the number of relevant ones among the first k.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtK {
    /// The cut-off.
    pub k: usize,
    /// 1 if any of the first k is relevant: metric learning's Recall@K, also CMC@K.
    pub recall_at_k: Estimate,
    /// `F / k`.
    pub precision: Estimate,
    /// `F / R`: information retrieval's recall.
    pub coverage: Estimate,
    /// 1 / rank of the first relevant one, 0 if it is not among the first k.
    pub mrr: Estimate,
    /// `Σ_{i≤k} gain(i) / log₂(i + 1)`, divided by the same of a perfect ranking; the gain is rel where no other is given.
    pub ndcg: Estimate,
    /// `Σ_{i≤k} rel(i) P(i) / min(k, R)`, as sentence-transformers divides.
    pub map: Estimate,
    /// `Σ_{i≤k} rel(i) P(i) / R`, as pytorch-metric-learning divides; never above `map`.
    pub map_of_relevant: Estimate,
    /// `Σ_{i≤k} rel(i) P(i) / F`, as open-metric-learning divides, 0 where F is; never below `map`.
    pub map_of_found: Estimate,
}

impl AtK {
    /// The scores, in the order of the fields.
    pub fn scores(&self) -> [Estimate; SCORES] {
        [
            self.recall_at_k,
            self.precision,
            self.coverage,
            self.mrr,
            self.ndcg,
            self.map,
            self.map_of_relevant,
            self.map_of_found,
        ]
    }

    /// The means of [`Hits::at`].
    pub(crate) fn new(k: usize, means: [Estimate; SCORES]) -> Self {
        let [
            recall_at_k,
            precision,
            coverage,
            mrr,
            ndcg,
            map,
            map_of_relevant,
            map_of_found,
        ] = means;
        Self {
            k,
            recall_at_k,
            precision,
            coverage,
            mrr,
            ndcg,
            map,
            map_of_relevant,
            map_of_found,
        }
    }
}

/// What a query found of what it looks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hits {
    /// Ranks, from 1 and rising, of the relevant items among those found, and their gains.
    pub found: Vec<(usize, f32)>,
    /// How many items are relevant.
    pub relevant: usize,
    /// Their gains, the largest first; empty where all are 1.
    pub gains: Vec<f32>,
}

impl Hits {
    /// The scores at a cut-off, in the order of [`AtK`]'s fields.
    pub fn at(&self, k: usize) -> [f32; SCORES] {
        let (mut hits, mut gain, mut precisions) = (0.0f64, 0.0, 0.0);
        for &(rank, of_item) in self.found.iter().take_while(|(rank, _)| *rank <= k) {
            hits += 1.0;
            gain += f64::from(of_item) * discount(rank);
            precisions += hits / rank as f64;
        }
        let reachable = k.min(self.relevant);
        let first = self.found.first().filter(|(rank, _)| *rank <= k);
        let ideal = (1..=reachable).map(|rank| self.gain(rank) * discount(rank));
        [
            hits.min(1.0),
            hits / k as f64,
            hits / self.relevant as f64,
            first.map_or(0.0, |(rank, _)| 1.0 / *rank as f64),
            gain / ideal.sum::<f64>(),
            precisions / reachable as f64,
            precisions / self.relevant as f64,
            precisions / hits.max(1.0),
        ]
        .map(|score| score as f32)
    }

    /// P(R), and MAP@R; they need what was found up to rank R.
    pub fn at_relevant(&self) -> [f32; 2] {
        let [_, precision, _, _, _, map, _, _] = self.at(self.relevant);
        [precision, map]
    }

    /// The gain of the best ranking at a rank.
    fn gain(&self, rank: usize) -> f64 {
        self.gains
            .get(rank - 1)
            .map_or(1.0, |&gain| f64::from(gain))
    }
}

fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 1.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: [f32; SCORES], expected: [f32; SCORES]) {
        let mut pairs = found.iter().zip(expected);
        assert!(
            pairs.all(|(a, b)| (a - b).abs() < 1e-4),
            "{found:?} {expected:?}"
        );
    }

    #[test]
    fn the_worked_example_of_relevance_1_0_1_1_0() {
        let hits = Hits {
            found: [1, 3, 4].map(|rank| (rank, 1.0)).to_vec(),
            relevant: 3,
            gains: Vec::new(),
        };
        close(
            hits.at(5),
            [1.0, 0.6, 1.0, 1.0, 0.9060, 0.8056, 0.8056, 0.8056],
        );
        close(
            hits.at(2),
            [1.0, 0.5, 0.3333, 1.0, 0.6131, 0.5, 0.3333, 1.0],
        );
        close(hits.at(1), [1.0, 1.0, 0.3333, 1.0, 1.0, 1.0, 0.3333, 1.0]);
        let [precision, map] = hits.at_relevant();
        assert!((precision - 2.0 / 3.0).abs() < 1e-6);
        assert!((map - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-6);
    }

    #[test]
    fn gains_weigh_ndcg_alone() {
        // Gains 3, 2 and 1; found in the order 1, –, 3, and 2 not at all. scikit-learn's
        // ndcg_score([[1, 0, 3, 2]], [[4, 3, 2, 1]], k=3) is 0.525005.
        let hits = Hits {
            found: vec![(1, 1.0), (3, 3.0)],
            relevant: 3,
            gains: vec![3.0, 2.0, 1.0],
        };
        let ideal = 3.0 + 2.0 / 3f32.log2() + 0.5;
        assert!((hits.at(3)[4] - 2.5 / ideal).abs() < 1e-6);
        assert!((hits.at(3)[4] - 0.525_005).abs() < 1e-6);
        let plain = Hits {
            found: vec![(1, 1.0), (3, 1.0)],
            gains: Vec::new(),
            ..hits.clone()
        };
        let others = |h: &Hits| {
            let [a, b, c, d, _, e, f, g] = h.at(3);
            [a, b, c, d, e, f, g]
        };
        assert_eq!(others(&hits), others(&plain));
    }

    #[test]
    fn a_first_hit_behind_the_cut_off_counts_for_nothing() {
        let hits = Hits {
            found: vec![(3, 1.0)],
            relevant: 1,
            gains: Vec::new(),
        };
        assert_eq!(hits.at(2), [0.0; SCORES]);
        assert_eq!(hits.at(3)[0], 1.0);
        assert_eq!(hits.at_relevant(), [0.0, 0.0]);
    }
}
