//! Classes of the same few super-classes.

use nearkin_losses::range::Count;
use serde::{Deserialize, Serialize};

use super::turns::turns;
use super::{Pool, Purpose, SamplerError, Shape, permutation};
use crate::documented::documented;

documented! {
    /// Batches of some super-classes, some classes of each, and some items of each class: negatives of a batch are near kin.
    ///
    /// A super-class is what stands before the first `/` of a class name, such as the alphabet of a character or the kind of a
    /// product. Super-classes come in turn; the classes of each and their items are drawn at random for every batch. Classes
    /// with a single item and super-classes with too few classes are left out; a class with fewer items than asked for repeats
    /// them.
    ///
    /// # Reference
    /// `HierarchicalSampler` of pytorch-metric-learning: K. Musgrave, S. Belongie, S.-N. Lim, `arXiv:2008.09164`, 2020. It goes through
    /// every combination of super-classes, with `batches_per_super_class` batches of each, and gives the number of items in place
    /// of the number of classes.
    ///
    /// # Example
    /// ```
    /// use nearkin::sampler::{Draw, Pool, Sampler};
    /// let items: Vec<usize> = (0..16).collect();
    /// let labels: Vec<u32> = (0..16).map(|item| item / 2).collect();
    /// let kinds: Vec<u32> = (0..16).map(|item| item / 8).collect();
    /// let pool = Pool { super_classes: Some(&kinds), ..Pool::new(&items, &labels) };
    /// let sampler: Sampler = toml::from_str("[hierarchical]\nsuper_classes = 1\nclasses = 3\nper_class = 2")?;
    /// let batch = Draw::new(&sampler, pool, 0)?.batch(0);
    /// assert!(batch.iter().all(|&item| kinds[item] == kinds[batch[0]]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Hierarchical {
        /// Super-classes of a batch.
        pub super_classes: Count,
        /// Classes of each super-class.
        pub classes: Count,
        /// Items of each class.
        pub per_class: Count,
    }
}

impl Default for Hierarchical {
    fn default() -> Self {
        Self {
            super_classes: Count::literal(2),
            classes: Count::literal(8),
            per_class: Count::literal(4),
        }
    }
}

/// Items by class, classes by super-class.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    settings: Hierarchical,
    seed: u64,
    /// The items of each class.
    items_of: Vec<Vec<usize>>,
    /// The classes of each super-class that has enough.
    classes_of: Vec<Vec<usize>>,
    left_out: usize,
    batches: usize,
    epoch: Option<u64>,
    slots: Vec<u32>,
}

impl Tree {
    pub(super) fn new(
        settings: Hierarchical,
        pool: Pool<'_>,
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let [supers, classes, per_class] =
            [settings.super_classes, settings.classes, settings.per_class].map(Count::get);
        if supers * classes < 2 || per_class < 2 {
            return Err(SamplerError::TooSmall {
                sampler: "hierarchical",
                classes: supers * classes,
                per_class,
            });
        }
        let Some(super_of) = pool.super_classes else {
            return Err(SamplerError::Unfit {
                sampler: "hierarchical",
                expected: "class names with a super-class before a slash, such as Greek/alpha"
                    .into(),
                found: "no class name has a slash".into(),
            });
        };
        let places_of = pool.places_of_classes();
        let with_items = places_of.iter().filter(|places| !places.is_empty()).count();
        let tops = super_of.iter().max().map_or(0, |&top| top as usize + 1);
        let (mut items_of, mut classes_of) = (Vec::new(), vec![Vec::new(); tops]);
        for places in places_of.into_iter().filter(|places| places.len() >= 2) {
            classes_of[super_of[places[0]] as usize].push(items_of.len());
            items_of.push(
                places
                    .into_iter()
                    .map(|at| pool.items[at])
                    .collect::<Vec<_>>(),
            );
        }
        classes_of.retain(|of| of.len() >= classes);
        if classes_of.len() < supers {
            return Err(SamplerError::Unfit {
                sampler: "hierarchical",
                expected: format!(
                    "{supers} super-classes with {classes} classes of two items or more"
                ),
                found: format!("{} are to train", classes_of.len()),
            });
        }
        let used: usize = classes_of.iter().map(Vec::len).sum();
        let items: usize = classes_of
            .iter()
            .flatten()
            .map(|&class: &usize| items_of[class].len())
            .sum();
        let batch = supers * classes * per_class;
        if batch > items {
            return Err(SamplerError::TooFewItems {
                batch: format!("a batch of {supers} × {classes} × {per_class} = {batch}"),
                items,
            });
        }
        Ok(Self {
            settings,
            seed,
            left_out: with_items - used,
            batches: items.div_ceil(batch).max(classes_of.len().div_ceil(supers)),
            items_of,
            classes_of,
            epoch: None,
            slots: Vec::new(),
        })
    }

    pub(super) fn shape(&self) -> Shape {
        let Hierarchical {
            super_classes,
            classes,
            per_class,
        } = self.settings;
        Shape {
            batch_size: super_classes.get() * classes.get() * per_class.get(),
            batches_per_epoch: self.batches as u64,
            left_out: self.left_out,
        }
    }

    pub(super) fn batch(&mut self, epoch: u64, place: usize) -> Vec<usize> {
        let (count, supers) = (self.classes_of.len(), self.settings.super_classes.get());
        if self.epoch != Some(epoch) {
            self.slots = turns(count, supers, self.batches, |pass| {
                permutation(count, self.seed, Purpose::SuperClassesOfPass, [epoch, pass])
            });
            self.epoch = Some(epoch);
        }
        let number = epoch * self.batches as u64 + place as u64;
        let slots = &self.slots[place * supers..][..supers];
        let classes = slots.iter().flat_map(|&top| {
            let classes = &self.classes_of[top as usize];
            let of = [u64::from(top), number];
            let order = permutation(classes.len(), self.seed, Purpose::ClassesOfSuperClass, of);
            let drawn = order.into_iter().take(self.settings.classes.get());
            drawn.map(|at| classes[at as usize])
        });
        classes
            .flat_map(|class| {
                let items = &self.items_of[class];
                let of = [class as u64, number];
                let order = permutation(items.len(), self.seed, Purpose::ItemsOfBatch, of);
                (0..self.settings.per_class.get())
                    .map(move |i| items[order[i % items.len()] as usize])
            })
            .collect()
    }
}
