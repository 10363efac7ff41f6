//! Classes that the weights confuse with one another.

use nearkin_kernels::{Mat, normalize_rows};
use nearkin_losses::range::Count;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::Range;

use super::mine::Embed;
use super::{Pool, Purpose, SamplerError, permutation, stream};
use crate::documented::documented;
use crate::error::Result;

documented! {
    /// P classes that violate triplets with one another, chosen greedily among many by the weights of the moment; K items each.
    ///
    /// ```text
    /// every n steps:  draw C classes; embed two random items (a_c, p_c) of each
    /// each batch:     S = {random class};  until |S| = P: add argmax_{c ∉ S} max_{s ∈ S} v(s, c);  K random items of each of S
    /// v(s, c) = max( a_s·a_c − a_s·p_s,  a_c·a_s − a_c·p_c )      of unit vectors
    /// ```
    ///
    /// Ties go to the class drawn first. Memory is that of the 2C embeddings. With `every = 1` the weights of each step decide its
    /// batch. A class whose two items are damaged is no candidate. An item is twice in one batch only where its class has fewer
    /// than K; classes with a single item are left out.
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, §3.2.1, "hard negative class
    /// mining", for triplets and for N-pair with `per_class = 2`. It gives neither C, nor how often classes are embedded, nor
    /// how a violation is scored.
    ///
    /// # Example
    /// ```
    /// use nearkin::embed::Embedded;
    /// use nearkin::sampler::{Mine, Pool, Sampler};
    /// // Classes 0 and 1 look alike, and so do 2 and 3.
    /// let angles = [0.0_f32, 0.1, 2.0, 2.1];
    /// let (items, labels): (Vec<usize>, Vec<u32>) = (0..8).map(|item| (item, item as u32 / 2)).unzip();
    /// let sampler: Sampler = toml::from_str("[hard_classes]\nclasses = 2\nper_class = 2\nevery = 3")?;
    /// let mine = Mine::new(&sampler, Pool::new(&items, &labels), 3, 0)?.ok_or("it needs embeddings")?;
    /// let round = mine.round(0..3, &mut |items| {
    ///     let labels: Vec<u32> = items.iter().map(|&item| labels[item]).collect();
    ///     let vectors = labels.iter().map(|&class| angles[class as usize].sin_cos());
    ///     let numbers = vectors.flat_map(|(sin, cos)| [cos, sin]).collect();
    ///     Ok(Embedded { items: items.to_vec(), labels, numbers, dim: 2 })
    /// })?;
    /// for batch in round.batches {
    ///     let pair = [labels[batch[0]], labels[batch[2]]];
    ///     assert_eq!(pair[0] / 2, pair[1] / 2);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct HardClasses {
        /// P, the number of classes in a batch.
        pub classes: Count,
        /// K, the number of items of each class.
        pub per_class: Count,
        /// C, the number of classes to choose among; all where there are fewer.
        pub candidates: Count,
        /// Optimizer steps between looks at the weights.
        pub every: Count,
    }
}

impl Default for HardClasses {
    fn default() -> Self {
        Self {
            classes: Count::literal(60),
            per_class: Count::literal(2),
            candidates: Count::literal(480),
            every: Count::literal(100),
        }
    }
}

impl HardClasses {
    /// Items of a batch.
    pub(super) fn batch(self) -> usize {
        self.classes.get() * self.per_class.get()
    }
}

/// The classes to choose among.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    settings: HardClasses,
    seed: u64,
    items_of: Vec<Vec<usize>>,
}

impl Candidates {
    pub(super) fn new(
        settings: HardClasses,
        pool: Pool<'_>,
        seed: u64,
    ) -> std::result::Result<Self, SamplerError> {
        let (p, k) = (settings.classes.get(), settings.per_class.get());
        let sampler = "hard_classes";
        if p < 2 || k < 2 {
            return Err(SamplerError::TooSmall {
                sampler,
                classes: p,
                per_class: k,
            });
        }
        let mut places_of = pool.places_of_classes();
        let singletons = places_of.iter().filter(|places| places.len() == 1).count();
        places_of.retain(|places| places.len() >= 2);
        let usable = places_of.len().min(settings.candidates.get());
        if usable < p {
            return Err(SamplerError::TooFewClasses {
                sampler,
                asked: p,
                usable,
                singletons,
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
        let shown = self.represent(numbers.start, embed)?;
        let asked = self.settings.classes.get();
        if shown.classes.len() < asked {
            return Err(SamplerError::Unfit {
                sampler: "hard_classes",
                expected: format!("{asked} classes of which two items can be embedded"),
                found: format!(
                    "{} are left, the items of others are damaged",
                    shown.classes.len()
                ),
            }
            .into());
        }
        let batch = |number: u64| {
            let of = [number, 0];
            let first =
                stream(self.seed, Purpose::FirstClass, of).random_range(0..shown.classes.len());
            let chosen = shown.greedy(first, asked);
            let classes = chosen.into_iter().map(|place| shown.classes[place]);
            classes
                .flat_map(|class| self.items(class, number))
                .collect()
        };
        Ok(numbers.into_par_iter().map(batch).collect())
    }

    /// Two items each of the candidates of the round that begins with batch `first`, as unit vectors.
    fn represent(&self, first: u64, embed: &mut Embed<'_>) -> Result<Shown> {
        let count = self.items_of.len();
        let order = permutation(count, self.seed, Purpose::Candidates, [first, 0]);
        let drawn = order.into_iter().take(self.settings.candidates.get());
        let pairs: Vec<(usize, [usize; 2])> = drawn
            .map(|class| {
                let items = &self.items_of[class as usize];
                let of = [u64::from(class), first];
                let order = permutation(items.len(), self.seed, Purpose::Representatives, of);
                (class as usize, [0, 1].map(|i| items[order[i] as usize]))
            })
            .collect();
        let asked: Vec<usize> = pairs.iter().flat_map(|(_, pair)| *pair).collect();
        let embedded = embed(&asked)?;
        let dim = embedded.dim;
        let mut unit = embedded.numbers.clone();
        normalize_rows(
            &embedded.numbers,
            dim,
            &mut unit,
            &mut vec![0.0; embedded.items.len()],
        );
        let rows: HashMap<usize, usize> = embedded.items.iter().copied().zip(0..).collect();
        let mut shown = Shown {
            classes: Vec::new(),
            dim,
            anchors: Vec::new(),
            own: Vec::new(),
        };
        for (class, pair) in pairs {
            let [Some(a), Some(p)] = pair.map(|item| rows.get(&item)) else {
                continue;
            };
            let [a, p] = [a, p].map(|row| &unit[row * dim..][..dim]);
            shown.classes.push(class);
            shown.own.push(dot(a, p));
            shown.anchors.extend_from_slice(a);
        }
        Ok(shown)
    }

    /// K random items of a class; a class with fewer repeats them.
    fn items(&self, class: usize, number: u64) -> Vec<usize> {
        let items = &self.items_of[class];
        let of = [class as u64, number];
        let order = permutation(items.len(), self.seed, Purpose::ItemsOfBatch, of);
        let drawn =
            (0..self.settings.per_class.get()).map(|i| items[order[i % items.len()] as usize]);
        drawn.collect()
    }
}

/// Candidates with what the weights make of them.
struct Shown {
    classes: Vec<usize>,
    dim: usize,
    /// `a_c`, `[C, D]`.
    anchors: Vec<f32>,
    /// `a_c·p_c`.
    own: Vec<f32>,
}

impl Shown {
    /// The places of so many candidates, one after the other the worst towards those before it.
    fn greedy(&self, first: usize, count: usize) -> Vec<usize> {
        let all = self.classes.len();
        let (mut worst, mut open) = (vec![f32::NEG_INFINITY; all], vec![true; all]);
        let (mut chosen, mut products) = (Vec::with_capacity(count), vec![0.0; all]);
        let mut next = first;
        loop {
            chosen.push(next);
            open[next] = false;
            if chosen.len() == count {
                return chosen;
            }
            self.products(next, &mut products);
            for (c, worst) in worst.iter_mut().enumerate() {
                *worst = worst.max(products[c] - self.own[next].min(self.own[c]));
            }
            let candidates = (0..all).filter(|&c| open[c]);
            let better = |best: Option<usize>, c: usize| match best {
                Some(best) if worst[c] <= worst[best] => Some(best),
                _ => Some(c),
            };
            // There are at least `count` candidates, so one is open.
            next = candidates.fold(None, better).unwrap_or(first);
        }
    }

    /// `a_s·a_c` of all c.
    fn products(&self, s: usize, products: &mut [f32]) {
        let anchors = Mat::new(&self.anchors, self.classes.len(), self.dim);
        let own = Mat::new(&self.anchors[s * self.dim..][..self.dim], 1, self.dim);
        let count = self.classes.len();
        let out = nearkin_kernels::MatMut::new(products, 1, count);
        nearkin_kernels::gemm_sequential(
            out,
            nearkin_kernels::Beta::Overwrite,
            1.0,
            own,
            anchors.t(),
        );
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::Embedded;
    use nearkin_encoder::parameters::named_rng;

    const DIM: usize = 5;

    /// Items of classes of unequal sizes, and a vector for each.
    fn data() -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        let sizes = [6, 2, 1, 4, 3, 9, 2, 5, 2, 7, 3];
        let labels: Vec<u32> = (0..)
            .zip(sizes)
            .flat_map(|(class, size)| vec![class; size])
            .collect();
        let mut rng = named_rng(3, "vectors");
        let vectors = (0..labels.len() * DIM)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        ((0..labels.len()).collect(), labels, vectors)
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

    /// Slow and plain, by the definition, in f64: the candidate whose worst violation towards the chosen is largest.
    fn reference(pairs: &[[Vec<f64>; 2]], first: usize, count: usize) -> Vec<usize> {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine = |x: &[f64], y: &[f64]| dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
        let v = |s: usize, c: usize| {
            let ([a_s, p_s], [a_c, p_c]) = (&pairs[s], &pairs[c]);
            (cosine(a_s, a_c) - cosine(a_s, p_s)).max(cosine(a_c, a_s) - cosine(a_c, p_c))
        };
        let mut chosen = vec![first];
        while chosen.len() < count {
            let open = (0..pairs.len()).filter(|c| !chosen.contains(c));
            let worst = |c: usize| {
                chosen
                    .iter()
                    .map(|&s| v(s, c))
                    .fold(f64::NEG_INFINITY, f64::max)
            };
            chosen.push(open.max_by(|&x, &y| worst(x).total_cmp(&worst(y))).unwrap());
        }
        chosen
    }

    #[test]
    fn classes_are_those_of_the_definition_whatever_the_start() {
        let (items, labels, vectors) = data();
        let settings = HardClasses {
            classes: Count::literal(4),
            ..HardClasses::default()
        };
        let candidates = Candidates::new(settings, Pool::new(&items, &labels), 5).unwrap();
        let mut asked = Vec::new();
        let shown = candidates.represent(7, &mut |items| {
            asked = items.to_vec();
            Ok(embedded(items, &labels, &vectors))
        });
        let shown = shown.unwrap();
        assert_eq!(shown.classes.len(), 10);
        let vector = |item: usize| {
            vectors[item * DIM..][..DIM]
                .iter()
                .map(|&x| f64::from(x))
                .collect()
        };
        let pairs: Vec<[Vec<f64>; 2]> = asked
            .chunks(2)
            .map(|pair| [vector(pair[0]), vector(pair[1])])
            .collect();
        for first in 0..10 {
            assert_eq!(
                shown.greedy(first, 4),
                reference(&pairs, first, 4),
                "from {first}"
            );
            assert_eq!(shown.greedy(first, 10).len(), 10);
        }
    }

    #[test]
    fn batches_hold_p_classes_and_k_items_and_depend_on_seed_number_and_weights_alone() {
        let (items, labels, vectors) = data();
        let settings: HardClasses =
            toml::from_str("classes = 3\nper_class = 4\ncandidates = 8").unwrap();
        let candidates =
            |seed| Candidates::new(settings, Pool::new(&items, &labels), seed).unwrap();
        let round = |seed, numbers: Range<u64>, vectors: &[f32]| {
            candidates(seed)
                .batches(numbers, &mut |items| Ok(embedded(items, &labels, vectors)))
                .unwrap()
        };
        let batches = round(1, 20..60, &vectors);
        assert_eq!(batches, round(1, 20..60, &vectors));
        assert_ne!(batches, round(2, 20..60, &vectors));
        assert_ne!(batches, round(1, 60..100, &vectors));
        let other: Vec<f32> = vectors.iter().rev().copied().collect();
        assert_ne!(batches, round(1, 20..60, &other));
        let mut starts = std::collections::BTreeSet::new();
        for batch in &batches {
            assert_eq!(batch.len(), 12);
            let classes: Vec<u32> = batch.chunks(4).map(|items| labels[items[0]]).collect();
            starts.insert(classes[0]);
            assert!(
                batch
                    .chunks(4)
                    .zip(&classes)
                    .all(|(items, class)| items.iter().all(|&i| labels[i] == *class))
            );
            assert!(
                classes[0] != classes[1] && classes[1] != classes[2] && classes[0] != classes[2]
            );
            assert!(!classes.contains(&2), "a single item has no positive");
            for items in batch.chunks(4) {
                let mut distinct = items.to_vec();
                distinct.sort_unstable();
                distinct.dedup();
                let size = labels
                    .iter()
                    .filter(|&&label| label == labels[items[0]])
                    .count();
                assert_eq!(distinct.len(), size.min(4));
            }
        }
        assert_eq!(starts.len(), 8, "every candidate is a start");
    }

    #[test]
    fn damaged_classes_are_no_candidates_and_too_few_left_are_an_error() {
        let (items, labels, vectors) = data();
        let settings: HardClasses = toml::from_str("classes = 3").unwrap();
        let candidates = Candidates::new(settings, Pool::new(&items, &labels), 0).unwrap();
        let without = |damaged: &dyn Fn(u32) -> bool| {
            candidates.batches(0..30, &mut |items| {
                let left: Vec<usize> = items
                    .iter()
                    .copied()
                    .filter(|&item| !damaged(labels[item]))
                    .collect();
                Ok(embedded(&left, &labels, &vectors))
            })
        };
        let batches = without(&|class| class == 5).unwrap();
        assert!(batches.iter().flatten().all(|&item| labels[item] != 5));
        let error = without(&|class| class > 1).unwrap_err().to_string();
        assert!(
            error.contains("needs 3 classes") && error.contains("2 are left"),
            "{error}"
        );
        let error =
            Candidates::new(HardClasses::default(), Pool::new(&items, &labels), 0).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("60 classes a batch, but only 10"),
            "{error}"
        );
    }
}
