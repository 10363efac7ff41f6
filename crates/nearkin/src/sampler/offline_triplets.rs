//! The farthest positive and the nearest negative of each anchor.

use nearkin_kernels::Mat;
use nearkin_losses::range::Count;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::mine::Embed;
use super::{Pool, Purpose, SamplerError, permutation, stream};
use crate::documented::documented;
use crate::embed::Embedded;
use crate::error::Result;
use crate::search::{Search, Similarity};

documented! {
    /// Triplets of extremes over a subset of the data, found with the weights of the moment every so many steps.
    ///
    /// ```text
    /// every n steps:  draw whole classes up to `subset` items and embed them; for each anchor a
    ///                 p = argmax ‖f_a − f_p‖,   n = argmin ‖f_a − f_n‖        (semi_hard: of those farther than p)
    /// each batch:     the next T triplets in random order:  [ a₁ … a_T | p₁ … p_T | n₁ … n_T ]
    /// ```
    ///
    /// Distances are of unit vectors, ties go to the item drawn first. An item may be in several triplets of a batch. The loss sees
    /// the batch with its labels, so all its triplets, the mined ones among them.
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, §3.2: "generate triplets offline every n steps, using the
    /// most recent network checkpoint and computing the argmin and argmax on a subset of the data". It says neither how many steps
    /// nor how large the subset, and notes that the hardest negatives can collapse training early on.
    ///
    /// # Example
    /// ```
    /// use nearkin::embed::Embedded;
    /// use nearkin::sampler::{Mine, Pool, Sampler};
    /// let angles = [0.0_f32, 0.5, 0.4, 2.0];
    /// let (items, labels) = ([0, 1, 2, 3], [0, 0, 1, 1]);
    /// let sampler: Sampler = toml::from_str("[offline_triplets]\ntriplets = 4")?;
    /// let mine = Mine::new(&sampler, Pool::new(&items, &labels), 1, 0)?.ok_or("it needs embeddings")?;
    /// let round = mine.round(0..1, &mut |items| {
    ///     let numbers = items.iter().flat_map(|&item| [angles[item].cos(), angles[item].sin()]).collect();
    ///     Ok(Embedded { items: items.to_vec(), labels: items.iter().map(|&item| labels[item]).collect(), numbers, dim: 2 })
    /// })?;
    /// let batch = &round.batches[0];
    /// let mut triplets: Vec<_> = (0..4).map(|t| (batch[t], batch[t + 4], batch[t + 8])).collect();
    /// triplets.sort_unstable();
    /// assert_eq!(triplets, [(0, 1, 2), (1, 0, 2), (2, 3, 1), (3, 2, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct OfflineTriplets {
        /// T, the number of triplets in a batch.
        pub triplets: Count,
        /// Items that are embedded and compared.
        pub subset: Count,
        /// Which negative an anchor gets.
        pub negatives: Negatives,
        /// Optimizer steps between looks at the weights.
        pub every: Count,
    }
}

/// Which negative an anchor gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Negatives {
    /// The nearest.
    #[default]
    Hard,
    /// The nearest of those farther than the positive; an anchor without any has no triplet.
    SemiHard,
}

impl Default for OfflineTriplets {
    fn default() -> Self {
        Self {
            triplets: Count::literal(30),
            subset: Count::literal(4096),
            negatives: Negatives::Hard,
            every: Count::literal(500),
        }
    }
}

impl OfflineTriplets {
    /// Items of a batch.
    pub(super) fn batch(self) -> usize {
        3 * self.triplets.get()
    }
}

/// The classes to draw subsets from.
#[derive(Debug, Clone)]
pub(super) struct Extremes {
    settings: OfflineTriplets,
    seed: u64,
    items_of: Vec<Vec<usize>>,
}

impl Extremes {
    pub(super) fn new(
        settings: OfflineTriplets,
        pool: Pool<'_>,
        seed: u64,
    ) -> std::result::Result<Self, SamplerError> {
        let mut places_of = pool.places_of_classes();
        places_of.retain(|places| places.len() >= 2);
        if places_of.len() < 2 || settings.subset.get() < 4 {
            return Err(SamplerError::Unfit {
                sampler: "offline_triplets",
                expected: "a subset of four items or more, and two classes with two items or more"
                    .into(),
                found: format!(
                    "has subset = {}, and {} such classes",
                    settings.subset,
                    places_of.len()
                ),
            });
        }
        let items = |places: Vec<usize>| places.into_iter().map(|at| pool.items[at]).collect();
        Ok(Self {
            settings,
            seed,
            items_of: places_of.into_iter().map(items).collect(),
        })
    }

    /// The batches of a round.
    pub(super) fn batches(
        &self,
        numbers: Range<u64>,
        embed: &mut Embed<'_>,
    ) -> Result<Vec<Vec<usize>>> {
        let first = numbers.start;
        let embedded = embed(&self.subset(first))?;
        let mut triplets = self.triplets(&embedded)?;
        if triplets.is_empty() {
            return Err(SamplerError::Unfit {
                sampler: "offline_triplets",
                expected: "triplets in the subset".into(),
                found: format!("its {} items form none", embedded.items.len()),
            }
            .into());
        }
        triplets.shuffle(&mut stream(self.seed, Purpose::Triplets, [first, 0]));
        let count = self.settings.triplets.get();
        let batch = |number: u64| {
            let begin = (number - first) as usize * count;
            let drawn: Vec<[usize; 3]> = triplets
                .iter()
                .copied()
                .cycle()
                .skip(begin % triplets.len())
                .take(count)
                .collect();
            (0..3)
                .flat_map(|role| drawn.iter().map(move |triplet| triplet[role]))
                .collect()
        };
        Ok(numbers.map(batch).collect())
    }

    /// Whole classes in random order, as long as they fit; at least two, cut short where even those do not.
    fn subset(&self, first: u64) -> Vec<usize> {
        let most = self.settings.subset.get();
        let order = permutation(self.items_of.len(), self.seed, Purpose::Subset, [first, 0]);
        let mut subset = Vec::new();
        for (place, class) in order.into_iter().enumerate() {
            let items = &self.items_of[class as usize];
            if place < 2 {
                let of = [u64::from(class), first];
                let order = permutation(items.len(), self.seed, Purpose::Representatives, of);
                let drawn = order.into_iter().take(most / 2);
                subset.extend(drawn.map(|at| items[at as usize]));
            } else if subset.len() + items.len() <= most {
                subset.extend(items);
            }
        }
        subset
    }

    /// The triplet of each anchor that has one.
    fn triplets(&self, embedded: &Embedded) -> Result<Vec<[usize; 3]>> {
        let matrix = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
        let search = Search::among(matrix, Similarity::Cosine)?;
        let found = search.rows(|anchor, scores| {
            let label = embedded.labels[anchor];
            let is_positive = |j: usize| embedded.labels[j] == label;
            let positives = (0..scores.len()).filter(|&j| j != anchor && is_positive(j));
            let positive = positives.reduce(|p, j| if scores[j] < scores[p] { j } else { p })?;
            let allowed = |j: usize| match self.settings.negatives {
                Negatives::Hard => true,
                Negatives::SemiHard => scores[j] < scores[positive],
            };
            let negatives = (0..scores.len()).filter(|&j| !is_positive(j) && allowed(j));
            let negative = negatives.reduce(|n, j| if scores[j] > scores[n] { j } else { n })?;
            Some([anchor, positive, negative].map(|row| embedded.items[row]))
        });
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    const DIM: usize = 4;

    fn data() -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        let labels: Vec<u32> = (0..50)
            .map(|item: u32| (item * item + item / 7) % 9)
            .collect();
        let mut rng = named_rng(8, "vectors");
        let vectors = (0..50 * DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
        ((0..50).collect(), labels, vectors)
    }

    fn embedded(items: &[usize], labels: &[u32], vectors: &[f32]) -> Embedded {
        Embedded {
            items: items.to_vec(),
            labels: items.iter().map(|&item| labels[item]).collect(),
            numbers: items
                .iter()
                .flat_map(|&item| &vectors[item * DIM..][..DIM])
                .copied()
                .collect(),
            dim: DIM,
        }
    }

    /// By the definition, in f64.
    fn reference(labels: &[u32], vectors: &[f32], semi_hard: bool) -> Vec<[usize; 3]> {
        let row = |i: usize| {
            vectors[i * DIM..][..DIM]
                .iter()
                .map(|&x| f64::from(x))
                .collect::<Vec<_>>()
        };
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let d = |i: usize, j: usize| {
            let (x, y) = (row(i), row(j));
            let terms = x
                .iter()
                .zip(&y)
                .map(|(a, b)| (a / norm(&x) - b / norm(&y)).powi(2));
            terms.sum::<f64>()
        };
        let of_anchor = |a: usize| {
            let others = || (0..labels.len()).filter(move |&j| j != a);
            let positives = others().filter(|&j| labels[j] == labels[a]);
            let p = positives.max_by(|&x, &y| d(a, x).total_cmp(&d(a, y)))?;
            let negatives = others().filter(|&j| labels[j] != labels[a]);
            let allowed = negatives.filter(|&j| !semi_hard || d(a, j) > d(a, p));
            let n = allowed.min_by(|&x, &y| d(a, x).total_cmp(&d(a, y)))?;
            Some([a, p, n])
        };
        (0..labels.len()).filter_map(of_anchor).collect()
    }

    #[test]
    fn a_round_holds_the_triplets_of_the_definition_each_in_turn() {
        let (items, labels, vectors) = data();
        for (negatives, semi_hard) in [("hard", false), ("semi_hard", true)] {
            let settings = format!("triplets = 7\nnegatives = \"{negatives}\"");
            let settings: OfflineTriplets = toml::from_str(&settings).unwrap();
            let extremes = Extremes::new(settings, Pool::new(&items, &labels), 4).unwrap();
            let mut embed = |items: &[usize]| Ok(embedded(items, &labels, &vectors));
            let batches = extremes.batches(10..30, &mut embed).unwrap();
            assert_eq!(batches, extremes.batches(10..30, &mut embed).unwrap());
            assert_ne!(batches, extremes.batches(30..50, &mut embed).unwrap());
            let drawn = batches
                .iter()
                .flat_map(|b| (0..7).map(|t| [b[t], b[t + 7], b[t + 14]]));
            let drawn: Vec<[usize; 3]> = drawn.collect();
            let expected = reference(&labels, &vectors, semi_hard);
            assert!(expected.len() > 30);
            let mut first = drawn[..expected.len()].to_vec();
            assert_eq!(first[0], drawn[expected.len()], "the list begins again");
            first.sort_unstable();
            assert_eq!(first, expected);
        }
    }

    #[test]
    fn subsets_are_bounded_and_change_from_round_to_round() {
        let (items, labels, _) = data();
        let settings: OfflineTriplets = toml::from_str("subset = 20").unwrap();
        let extremes = Extremes::new(settings, Pool::new(&items, &labels), 4).unwrap();
        for round in 0..40 {
            let subset = extremes.subset(round);
            assert!((4..=20).contains(&subset.len()), "{}", subset.len());
            let classes: std::collections::BTreeSet<u32> =
                subset.iter().map(|&item| labels[item]).collect();
            assert!(classes.len() >= 2);
        }
        assert_ne!(extremes.subset(0), extremes.subset(1));
        let single = Extremes::new(settings, Pool::new(&[0, 1], &[0, 0]), 0).unwrap_err();
        assert!(single.to_string().contains("1 such classes"), "{single}");
    }
}
