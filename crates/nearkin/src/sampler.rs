//! Which items make up the batch of each step.
//!
//! A batch is a pure function of the seed, the step and the labels: a run that resumes at step 1000 draws the batch
//! that the uninterrupted run drew there, with no state to save. Randomness comes from one `ChaCha8` stream for each
//! thing that is shuffled, keyed by the seed and by what it is. Samplers that look at embeddings ([`Mine`]) draw the
//! batches of many steps at once, a [`Round`], which is then all of their state.
//!
//! ```
//! use nearkin::sampler::{Draw, Pk, Pool, Sampler};
//!
//! let labels = [0, 0, 0, 1, 1, 2, 2, 2];
//! let items: Vec<usize> = (0..labels.len()).collect();
//! let pool = Pool::new(&items, &labels);
//! let sampler = Sampler::Pk(Pk { classes: 2, per_class: 2 });
//! let mut draw = Draw::new(&sampler, pool, 7)?;
//! let batch = draw.batch(57);
//! assert_eq!(batch.len(), 4);
//! assert_eq!(batch, Draw::new(&sampler, pool, 7)?.batch(57));
//! # Ok::<(), nearkin::sampler::SamplerError>(())
//! ```

mod groups;
mod hard_classes;
mod hierarchical;
mod identities;
mod mine;
mod n_pair;
mod offline_triplets;
mod pk;
mod pool;
mod quadruplets;
mod shuffled;
mod turns;

use std::num::NonZeroUsize;

use nearkin_losses::catalogue::Entry;
use nearkin_losses::described::Parameter;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::documented::{Documented, unindented};

pub use groups::Groups;
pub use hard_classes::HardClasses;
pub use hierarchical::Hierarchical;
pub use identities::Identities;
pub use mine::{Mine, Round};
pub use n_pair::NPair;
pub use offline_triplets::{Negatives, OfflineTriplets};
pub use pk::Pk;
pub use pool::Pool;
pub use quadruplets::Quadruplets;
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
    /// P classes, K items of each; the N-pair paper's N × M.
    Pk(Pk),
    /// Items in random order, whatever their class.
    Shuffled(Shuffled),
    /// N classes and a pair of each, anchors first.
    NPair(NPair),
    /// K groups that hold the same classes at the same places.
    Groups(Groups),
    /// Many items of each identity, and random ones of others.
    Identities(Identities),
    /// An anchor, a positive of another camera, and items of two other classes.
    Quadruplets(Quadruplets),
    /// Classes of the same few super-classes.
    Hierarchical(Hierarchical),
    /// Classes that the weights confuse with one another.
    HardClasses(HardClasses),
    /// The farthest positive and the nearest negative of each anchor.
    OfflineTriplets(OfflineTriplets),
}

impl Default for Sampler {
    fn default() -> Self {
        Self::Pk(Pk::default())
    }
}

impl Sampler {
    /// Name, one sentence and defaults of every sampler, for listings.
    pub fn catalogue() -> [(&'static str, &'static str, Self); 9] {
        let batch = NonZeroUsize::MIN.saturating_add(63);
        [
            (
                "pk",
                "P classes, K items of each; the N × M of N-pair.",
                Self::Pk(Pk::default()),
            ),
            (
                "shuffled",
                "Items in random order, whatever their class.",
                Self::Shuffled(Shuffled { batch }),
            ),
            (
                "n_pair",
                "N classes and a pair of each, anchors first.",
                Self::NPair(NPair::default()),
            ),
            (
                "groups",
                "K groups with the same classes at the same places; for constellation.",
                Self::Groups(Groups::default()),
            ),
            (
                "identities",
                "Many items of each identity and random ones of others; FaceNet's batches.",
                Self::Identities(Identities::default()),
            ),
            (
                "quadruplets",
                "An anchor, a positive of another camera, and items of two other classes.",
                Self::Quadruplets(Quadruplets::default()),
            ),
            (
                "hierarchical",
                "Classes of the same few super-classes, named before a slash.",
                Self::Hierarchical(Hierarchical::default()),
            ),
            (
                "hard_classes",
                "Classes that the weights confuse, chosen greedily every n steps; N-pair's hard class mining.",
                Self::HardClasses(HardClasses::default()),
            ),
            (
                "offline_triplets",
                "The farthest positive and nearest negative in a subset, found every n steps.",
                Self::OfflineTriplets(OfflineTriplets::default()),
            ),
        ]
    }

    /// Every sampler as the reference has it, from its doc comment.
    pub fn entries() -> Vec<Entry> {
        let entry = |(name, _, default): (&'static str, &str, Self)| {
            let Documented { text, keys } = default.documentation();
            let values = serde_json::to_value(&default).unwrap_or_default();
            let parameter = |(key, doc): &(&'static str, &'static [&str])| Parameter {
                name: key,
                doc: unindented(doc),
                default: values[name][*key].to_string(),
            };
            let keys = keys.iter().map(parameter).collect();
            Entry::of("sampler", name, unindented(text), keys)
        };
        Self::catalogue().into_iter().map(entry).collect()
    }

    fn documentation(&self) -> Documented {
        match self {
            Self::Pk(_) => Pk::DOCUMENTATION,
            Self::Shuffled(_) => Shuffled::DOCUMENTATION,
            Self::NPair(_) => NPair::DOCUMENTATION,
            Self::Groups(_) => Groups::DOCUMENTATION,
            Self::Identities(_) => Identities::DOCUMENTATION,
            Self::Quadruplets(_) => Quadruplets::DOCUMENTATION,
            Self::Hierarchical(_) => Hierarchical::DOCUMENTATION,
            Self::HardClasses(_) => HardClasses::DOCUMENTATION,
            Self::OfflineTriplets(_) => OfflineTriplets::DOCUMENTATION,
        }
    }

    /// The optimizer steps after which batches are mined anew; none where no weights decide.
    pub fn mined_every(&self) -> Option<u64> {
        let every = match self {
            Self::HardClasses(hard) => hard.every,
            Self::OfflineTriplets(offline) => offline.every,
            _ => return None,
        };
        Some(every.get() as u64)
    }
}

/// Why batches cannot be drawn from the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// A batch without positives or without negatives.
    #[error(
        "sampler.{sampler} has classes = {classes} and per_class = {per_class}: a batch needs at least 2 of each, to hold positives and negatives"
    )]
    TooSmall {
        /// The sampler's name in a recipe.
        sampler: &'static str,
        /// P.
        classes: usize,
        /// K.
        per_class: usize,
    },
    /// More classes than there are.
    #[error(
        "sampler.{sampler} asks for {asked} classes a batch, but only {usable} classes have two or more items to train ({singletons} have one)"
    )]
    TooFewClasses {
        /// The sampler's name in a recipe.
        sampler: &'static str,
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
    /// Batches drawn from other data.
    #[error("a batch holds item {item}, but there are {count} items: it was drawn from other data")]
    OtherData {
        /// The item.
        item: usize,
        /// The items there are.
        count: usize,
    },
    /// Settings or data that do not go with a sampler.
    #[error("sampler.{sampler} needs {expected}, but {found}")]
    Unfit {
        /// The sampler's name in a recipe.
        sampler: &'static str,
        /// What it needs.
        expected: String,
        /// What there is.
        found: String,
    },
}

/// Draws the batches of one run.
#[derive(Debug, Clone)]
pub struct Draw {
    shape: Shape,
    kind: Kind,
}

/// What is the same for every epoch.
#[derive(Debug, Clone, Copy)]
struct Shape {
    batch_size: usize,
    batches_per_epoch: u64,
    left_out: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    Pk(pk::Classes),
    Shuffled(shuffled::Order),
    NPair(pk::Classes),
    Groups(Groups, pk::Classes),
    Identities(identities::Faces),
    Quadruplets(quadruplets::People),
    Hierarchical(hierarchical::Tree),
}

impl Draw {
    /// Prepares to draw from `pool`.
    ///
    /// # Errors
    /// The batch is larger than the data, or has no room for positives and negatives; the sampler needs what is not known
    /// of the data, or embeddings ([`Mine`] has those).
    pub fn new(sampler: &Sampler, pool: Pool<'_>, seed: u64) -> Result<Self, SamplerError> {
        let (shape, kind) = match sampler {
            Sampler::Pk(pk) => {
                let classes = pk::Classes::new(*pk, ("pk", pool), seed)?;
                (classes.shape(), Kind::Pk(classes))
            }
            Sampler::NPair(pairs) => {
                pairs.check()?;
                let classes = pk::Classes::new(pairs.as_classes(), ("n_pair", pool), seed)?;
                (classes.shape(), Kind::NPair(classes))
            }
            Sampler::Groups(groups) => {
                let classes = pk::Classes::new(groups.as_classes()?, ("groups", pool), seed)?;
                (classes.shape(), Kind::Groups(*groups, classes))
            }
            Sampler::Shuffled(shuffled) => {
                let order = shuffled::Order::new(*shuffled, pool.items, seed)?;
                (order.shape(), Kind::Shuffled(order))
            }
            Sampler::Identities(identities) => {
                let faces = identities::Faces::new(*identities, pool, seed)?;
                (faces.shape(), Kind::Identities(faces))
            }
            Sampler::Quadruplets(quadruplets) => {
                let people = quadruplets::People::new(*quadruplets, pool, seed)?;
                (people.shape(), Kind::Quadruplets(people))
            }
            Sampler::Hierarchical(hierarchical) => {
                let tree = hierarchical::Tree::new(*hierarchical, pool, seed)?;
                (tree.shape(), Kind::Hierarchical(tree))
            }
            Sampler::HardClasses(_) => return Err(mine::needs_weights("hard_classes")),
            Sampler::OfflineTriplets(_) => return Err(mine::needs_weights("offline_triplets")),
        };
        Ok(Self { shape, kind })
    }

    /// The items of batch `step`, counted from 0; the same for the same step, whatever was drawn before.
    ///
    /// The order of an epoch is kept from call to call, so steps that follow one another cost time in proportion to
    /// the batch.
    pub fn batch(&mut self, step: u64) -> Vec<usize> {
        let (epoch, place) = (
            step / self.batches_per_epoch(),
            step % self.batches_per_epoch(),
        );
        let place = place as usize;
        match &mut self.kind {
            Kind::Pk(classes) => classes.batch(epoch, place),
            Kind::NPair(classes) => n_pair::aligned(&classes.batch(epoch, place)),
            Kind::Groups(groups, classes) => groups.laid_out(&classes.batch(epoch, place)),
            Kind::Shuffled(order) => order.batch(epoch, place),
            Kind::Identities(faces) => faces.batch(epoch, place),
            Kind::Quadruplets(people) => people.batch(epoch, place),
            Kind::Hierarchical(tree) => tree.batch(epoch, place),
        }
    }

    /// The number of items in every batch.
    pub fn batch_size(&self) -> usize {
        self.shape.batch_size
    }

    /// The number of batches that make an epoch: about one draw for every item, or for every class where a batch has but
    /// one item of it.
    pub fn batches_per_epoch(&self) -> u64 {
        self.shape.batches_per_epoch
    }

    /// Classes that are never drawn, since a single item has no positive.
    pub fn left_out(&self) -> usize {
        self.shape.left_out
    }
}

/// What a stream of random numbers is for; part of its key, so that no two uses share a stream.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    ClassesOfPass = 1,
    ItemsOfClass = 2,
    ExtraItemsOfClass = 3,
    ItemsOfEpoch = 4,
    NegativesOfEpoch = 5,
    Quadruplets = 6,
    SuperClassesOfPass = 7,
    ClassesOfSuperClass = 8,
    ItemsOfBatch = 9,
    Candidates = 10,
    Representatives = 11,
    FirstClass = 12,
    Subset = 13,
    Triplets = 14,
}

/// The stream of one purpose: for a class and a cycle, or an epoch and a pass.
fn stream(seed: u64, purpose: Purpose, of: [u64; 2]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, value) in key
        .chunks_exact_mut(8)
        .zip([seed, purpose as u64, of[0], of[1]])
    {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// `0..count` in the random order of one purpose.
fn permutation(count: usize, seed: u64, purpose: Purpose, of: [u64; 2]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut stream(seed, purpose, of));
    order
}

#[cfg(test)]
mod tests;
