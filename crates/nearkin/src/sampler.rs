//! Which items make up the batch of each step.
//!
//! A batch is a pure function of the seed, the step and the labels: a run that resumes at step 1000 draws the batch
//! that the uninterrupted run drew there, with no state to save. Randomness comes from one `ChaCha8` stream for each
//! thing that is shuffled, keyed by the seed and by what it is.
//!
//! ```
//! use nearkin::sampler::{Draw, Pk, Sampler};
//!
//! let labels = [0, 0, 0, 1, 1, 2, 2, 2];
//! let items: Vec<usize> = (0..labels.len()).collect();
//! let sampler = Sampler::Pk(Pk { classes: 2, per_class: 2 });
//! let mut draw = Draw::new(&sampler, &items, &labels, 7)?;
//! let batch = draw.batch(57);
//! assert_eq!(batch.len(), 4);
//! assert_eq!(batch, Draw::new(&sampler, &items, &labels, 7)?.batch(57));
//! # Ok::<(), nearkin::sampler::SamplerError>(())
//! ```

mod pk;
mod shuffled;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use pk::Pk;
pub use shuffled::Shuffled;

/// How batches are drawn, as the recipe writes it.
///
/// ```
/// use nearkin::sampler::{Pk, Sampler};
///
/// let sampler: Sampler = toml::from_str("[pk]\nclasses = 8\nper_class = 4")?;
/// assert_eq!(sampler, Sampler::Pk(Pk { classes: 8, per_class: 4 }));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// P classes, K items of each.
    Pk(Pk),
    /// Items in random order, whatever their class.
    Shuffled(Shuffled),
}

impl Default for Sampler {
    fn default() -> Self {
        Self::Pk(Pk::default())
    }
}

/// Why batches cannot be drawn from the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// A batch without positives or without negatives.
    #[error(
        "sampler.pk has classes = {classes} and per_class = {per_class}: a batch needs at least 2 of each, to hold positives and negatives"
    )]
    TooSmall {
        /// P.
        classes: usize,
        /// K.
        per_class: usize,
    },
    /// More classes than there are.
    #[error(
        "sampler.pk asks for {asked} classes a batch, but only {usable} classes have two or more items to train ({singletons} have one)"
    )]
    TooFewClasses {
        /// P.
        asked: usize,
        /// Classes with at least two items.
        usable: usize,
        /// Classes with one item, which cannot be used.
        singletons: usize,
    },
    /// A batch larger than the data.
    #[error("{batch} is more than the {items} items to train")]
    TooFewItems {
        /// The batch, as `a batch of 8 × 4 = 32`.
        batch: String,
        /// The items that can be used.
        items: usize,
    },
}

/// Draws the batches of one run.
#[derive(Debug, Clone)]
pub struct Draw {
    batch_size: usize,
    batches_per_epoch: u64,
    left_out: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Pk(pk::Classes),
    Shuffled(shuffled::Order),
}

impl Draw {
    /// Prepares to draw from `items`, whose classes are `labels` (one for each of `items`).
    ///
    /// # Errors
    /// The batch is larger than the data, or has no room for positives and negatives.
    pub fn new(
        sampler: &Sampler,
        items: &[usize],
        labels: &[u32],
        seed: u64,
    ) -> Result<Self, SamplerError> {
        match sampler {
            Sampler::Pk(pk) => {
                let classes = pk::Classes::new(*pk, items, labels, seed)?;
                Ok(Self {
                    batch_size: pk.classes * pk.per_class,
                    batches_per_epoch: classes.batches_per_epoch(),
                    left_out: classes.singletons(),
                    kind: Kind::Pk(classes),
                })
            }
            Sampler::Shuffled(shuffled) => {
                let order = shuffled::Order::new(*shuffled, items, seed)?;
                Ok(Self {
                    batch_size: shuffled.batch.get(),
                    batches_per_epoch: order.batches_per_epoch(),
                    left_out: 0,
                    kind: Kind::Shuffled(order),
                })
            }
        }
    }

    /// The items of batch `step`, counted from 0; the same for the same step, whatever was drawn before.
    ///
    /// The order of an epoch is kept from call to call, so steps that follow one another cost time in proportion to
    /// the batch.
    pub fn batch(&mut self, step: u64) -> Vec<usize> {
        let (epoch, place) = (step / self.batches_per_epoch, step % self.batches_per_epoch);
        match &mut self.kind {
            Kind::Pk(classes) => classes.batch(epoch, place as usize),
            Kind::Shuffled(order) => order.batch(epoch, place as usize),
        }
    }

    /// The number of items in every batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The number of batches that make an epoch: about one draw for every item.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }

    /// Classes that are never drawn, since a single item has no positive.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// What a stream of random numbers is for; part of its key, so that no two uses share a stream.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    ClassesOfPass = 1,
    ItemsOfClass = 2,
    ExtraItemsOfClass = 3,
    ItemsOfEpoch = 4,
}

/// `0..count` in the random order of one purpose: for a class and a cycle, or an epoch and a pass.
fn permutation(count: usize, seed: u64, purpose: Purpose, of: [u64; 2]) -> Vec<u32> {
    let mut key = [0; 32];
    for (part, value) in key
        .chunks_exact_mut(8)
        .zip([seed, purpose as u64, of[0], of[1]])
    {
        part.copy_from_slice(&value.to_le_bytes());
    }
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(key));
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Items with gaps in their numbers, so that places and items cannot be mixed up, in classes of these sizes.
    fn data(sizes: &[usize]) -> (Vec<usize>, Vec<u32>) {
        let labels: Vec<u32> = sizes
            .iter()
            .enumerate()
            .flat_map(|(class, &size)| vec![class as u32; size])
            .collect();
        ((0..labels.len()).map(|at| 3 * at + 5).collect(), labels)
    }

    fn pk(classes: usize, per_class: usize) -> Sampler {
        Sampler::Pk(Pk { classes, per_class })
    }

    fn draw(sampler: &Sampler, sizes: &[usize], seed: u64) -> Result<Draw, SamplerError> {
        let (items, labels) = data(sizes);
        Draw::new(sampler, &items, &labels, seed)
    }

    const UNEVEN: [usize; 7] = [20, 3, 7, 1, 2, 4, 9];

    #[test]
    fn a_batch_depends_on_the_step_and_not_on_what_was_drawn_before() {
        for sampler in [pk(3, 4), toml::from_str("[shuffled]\nbatch = 10").unwrap()] {
            let mut through = draw(&sampler, &UNEVEN, 11).unwrap();
            let batches: Vec<_> = (0..60).map(|step| through.batch(step)).collect();
            for step in [57, 3, 59, 0, 30] {
                assert_eq!(
                    draw(&sampler, &UNEVEN, 11).unwrap().batch(step),
                    batches[step as usize]
                );
                assert_eq!(through.batch(step), batches[step as usize]);
            }
            assert_ne!(draw(&sampler, &UNEVEN, 12).unwrap().batch(0), batches[0]);
            let epoch = through.batches_per_epoch() as usize;
            assert_ne!(batches[..epoch], batches[epoch..2 * epoch]);
        }
    }

    #[test]
    fn every_batch_has_p_classes_and_k_items_of_each_that_differ_where_the_class_is_large_enough() {
        for (sampler, sizes) in [
            (pk(3, 4), &UNEVEN[..]),
            (pk(5, 2), &[2, 3, 4, 5, 6]),
            (pk(4, 3), &[5; 9]),
        ] {
            let Sampler::Pk(Pk {
                classes: p,
                per_class: k,
            }) = sampler
            else {
                unreachable!()
            };
            let (_, labels) = data(sizes);
            let mut draw = draw(&sampler, sizes, 1).unwrap();
            for step in 0..200 {
                let batch = draw.batch(step);
                assert_eq!(batch.len(), draw.batch_size());
                let mut of_class = BTreeMap::<u32, Vec<usize>>::new();
                for item in batch {
                    of_class
                        .entry(labels[(item - 5) / 3])
                        .or_default()
                        .push(item);
                }
                assert_eq!(of_class.len(), p);
                for (class, mut items) in of_class {
                    assert_eq!(items.len(), k);
                    items.sort_unstable();
                    items.dedup();
                    assert_eq!(
                        items.len(),
                        k.min(sizes[class as usize]),
                        "class {class} at step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_class_comes_once_before_any_comes_twice_within_an_epoch() {
        for (sampler, sizes) in [
            (pk(3, 4), &UNEVEN[..]),
            (pk(4, 3), &[5; 9]),
            (pk(2, 2), &[2; 7]),
        ] {
            let Sampler::Pk(Pk { per_class: k, .. }) = sampler else {
                unreachable!()
            };
            let (_, labels) = data(sizes);
            let usable = sizes.iter().filter(|&&size| size > 1).count();
            let mut draw = draw(&sampler, sizes, 2).unwrap();
            let epoch = draw.batches_per_epoch();
            for first in [0, epoch, 2 * epoch] {
                let drawn: Vec<u32> = (first..first + epoch)
                    .flat_map(|step| {
                        draw.batch(step)
                            .into_iter()
                            .step_by(k)
                            .map(|item| labels[(item - 5) / 3])
                            .collect::<Vec<_>>()
                    })
                    .collect();
                assert!(drawn.len() >= usable);
                for pass in drawn.chunks(usable) {
                    let mut classes = pass.to_vec();
                    classes.sort_unstable();
                    classes.dedup();
                    assert_eq!(classes.len(), pass.len());
                }
            }
        }
    }

    #[test]
    fn every_item_is_drawn_in_turn_and_a_single_item_never() {
        let (items, labels) = data(&UNEVEN);
        let mut draw = draw(&pk(3, 4), &UNEVEN, 3).unwrap();
        assert_eq!(draw.left_out(), 1);
        // The largest class needs 20 / 4 draws; two whole passes make an epoch of 4 batches.
        assert_eq!(draw.batches_per_epoch(), 4);
        let mut count = BTreeMap::<usize, usize>::new();
        for step in 0..3 * draw.batches_per_epoch() {
            for item in draw.batch(step) {
                *count.entry(item).or_default() += 1;
            }
        }
        for (item, label) in items.iter().zip(labels) {
            assert_eq!(
                count.contains_key(item),
                UNEVEN[label as usize] > 1,
                "item {item} of class {label}"
            );
        }
    }

    #[test]
    fn a_shuffled_epoch_holds_every_item_once_before_it_is_filled_up() {
        let (items, _) = data(&UNEVEN);
        let mut draw = draw(
            &toml::from_str("[shuffled]\nbatch = 8").unwrap(),
            &UNEVEN,
            4,
        )
        .unwrap();
        assert_eq!(draw.batches_per_epoch(), 6); // 46 items
        let mut drawn: Vec<usize> = (6..12).flat_map(|step| draw.batch(step)).collect();
        assert_eq!(drawn.len(), 48);
        drawn.truncate(items.len());
        drawn.sort_unstable();
        assert_eq!(drawn, items);
    }

    #[test]
    fn a_batch_larger_than_the_data_is_refused_with_both_numbers() {
        for (sampler, words) in [
            (
                pk(16, 4),
                "16 classes a batch, but only 6 classes have two or more items to train (1 have one)",
            ),
            (pk(6, 8), "a batch of 6 × 8 = 48 is more than the 45 items"),
            (pk(2, usize::MAX), "more than the 45 items"),
            (pk(2, 1), "classes = 2 and per_class = 1"),
            (
                toml::from_str("[shuffled]\nbatch = 47").unwrap(),
                "a batch of 47 is more than the 46 items",
            ),
        ] {
            let message = draw(&sampler, &UNEVEN, 0).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        assert!(draw(&pk(2, 2), &[], 0).is_err());
        assert!(
            toml::from_str::<Sampler>("[shuffled]\nbatch = 0")
                .unwrap_err()
                .to_string()
                .contains("nonzero")
        );
    }
}
