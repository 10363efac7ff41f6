//! K groups that hold the same classes at the same places.

use nearkin_losses::range::Count;
use serde::{Deserialize, Serialize};

use super::{Pk, SamplerError};
use crate::documented::documented;

documented! {
    /// K groups, one after the other, each with M items of the same P classes in the same order.
    ///
    /// ```text
    /// group 1                              group 2                          …  group K
    /// [ c₁ … c₁ | c₂ … c₂ | … | c_P … ]    [ c₁ … c₁ | c₂ … c₂ | … ]
    /// ```
    ///
    /// The constellation loss with `mode = "groups"` cuts a batch in order into K groups and joins the slots of equal number
    /// (a, p, n): as classes lie at the same places, a slot that is a triplet in one group is one in all, over other items. Items
    /// and classes come in turn as those of [`Pk`] with K · M items a class do; a class with fewer lends items to several groups.
    ///
    /// # Reference
    /// A. Medela, A. Picon, Constellation Loss, `arXiv:1905.10675`, 2019, §2.4 and Figure 3. The paper gives no sizes; the authors'
    /// data have 8 classes, and the loss curves fit groups of 32.
    ///
    /// # Example
    /// ```
    /// use nearkin::sampler::{Draw, Pool, Sampler};
    /// let items: Vec<usize> = (0..24).collect();
    /// let labels: Vec<u32> = (0..24).map(|item| item / 8).collect();
    /// let sampler: Sampler = toml::from_str("[groups]\ngroups = 2\nclasses = 3\nper_class = 2")?;
    /// let batch = Draw::new(&sampler, Pool::new(&items, &labels), 0)?.batch(0);
    /// let classes: Vec<u32> = batch.iter().map(|&item| labels[item]).collect();
    /// assert_eq!(classes[..6], classes[6..]);
    /// assert_eq!(classes[0], classes[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Groups {
        /// K, the number of groups: the `k` of the loss.
        pub groups: Count,
        /// P, the number of classes in a group.
        pub classes: Count,
        /// M, the number of items of each class in a group.
        pub per_class: Count,
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            groups: Count::literal(4),
            classes: Count::literal(8),
            per_class: Count::literal(4),
        }
    }
}

impl Groups {
    /// P classes and K · M items of each.
    pub(super) fn as_classes(self) -> Result<Pk, SamplerError> {
        let (classes, per_class) = (self.classes.get(), self.per_class.get());
        if per_class < 2 {
            return Err(SamplerError::TooSmall {
                sampler: "groups",
                classes,
                per_class,
            });
        }
        Ok(Pk {
            classes,
            per_class: self.groups.get() * per_class,
        })
    }

    /// The groups, from a batch that lies class by class.
    pub(super) fn laid_out(self, batch: &[usize]) -> Vec<usize> {
        let (groups, per_class) = (self.groups.get(), self.per_class.get());
        let of_group = |group: usize| {
            let classes = batch.chunks_exact(groups * per_class);
            classes.flat_map(move |items| &items[group * per_class..][..per_class])
        };
        (0..groups).flat_map(of_group).copied().collect()
    }
}
