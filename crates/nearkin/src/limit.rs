//! Training with less than there is, `[data.limit]`: what more data is worth.

use crate::error::Result;
use nearkin_encoder::Error as EncoderError;
use nearkin_encoder::parameters::named_rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;

/// How many of the classes and items that a split leaves for training do train; all where absent.
///
/// They are drawn by the recipe's seed, more always with those that fewer have: `nearkin sweep recipe.toml --vary
/// 'data.limit.items=[1000, 4000, 16000]'` adds data from run to run. What validates and tests stays.
///
/// ```
/// use nearkin::limit::Limit;
/// let limit = |items: usize| Limit { items: items.try_into().ok(), classes: None };
/// let (all, labels) = ((0..6).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
/// let two = limit(2).apply(all.clone(), &labels, 7)?;
/// assert_eq!(two.len(), 2);
/// assert!(two.iter().all(|item| limit(4).apply(all.clone(), &labels, 7).unwrap().contains(item)));
/// # Ok::<(), nearkin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table, such as { items = 1000 } or { classes = 50 }"
)]
pub struct Limit {
    /// Classes that train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<NonZeroUsize>,
    /// Items that train, of those classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<NonZeroUsize>,
}

impl Limit {
    /// Whether all train.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The items that train of those that could, in their order; `labels` are of all items of the data.
    ///
    /// # Errors
    /// There are fewer than are to train.
    pub fn apply(&self, mut train: Vec<usize>, labels: &[u32], seed: u64) -> Result<Vec<usize>> {
        if let Some(classes) = self.classes {
            let all: BTreeSet<u32> = train.iter().map(|&item| labels[item]).collect();
            let all: Vec<u32> = all.into_iter().collect();
            let drawn = draw(all, classes.get(), (seed, "classes"))?;
            train.retain(|&item| drawn.contains(&labels[item]));
        }
        if let Some(items) = self.items {
            let drawn = draw(train.clone(), items.get(), (seed, "items"))?;
            train.retain(|item| drawn.contains(item));
        }
        Ok(train)
    }
}

/// The first of a random order of all.
fn draw<T: Copy + Eq + std::hash::Hash>(
    mut all: Vec<T>,
    count: usize,
    (seed, what): (u64, &str),
) -> Result<HashSet<T>> {
    if count > all.len() {
        return Err(EncoderError::Setting {
            key: format!("data.limit.{what}"),
            expected: format!(
                "at most {}, the {what} that the split leaves for training",
                all.len()
            ),
            found: count.to_string(),
        }
        .into());
    }
    all.shuffle(&mut named_rng(seed, &format!("limit/{what}")));
    all.truncate(count);
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_items_are_drawn_and_too_many_are_refused() {
        let labels: Vec<u32> = (0..100).map(|i| i / 10).collect();
        let train: Vec<usize> = (20..100).collect();
        let limit = |classes, items| Limit {
            classes: NonZeroUsize::new(classes),
            items: NonZeroUsize::new(items),
        };
        let apply = |limit: Limit, seed| limit.apply(train.clone(), &labels, seed);
        let classes = |items: &[usize]| items.iter().map(|&i| labels[i]).collect::<BTreeSet<_>>();
        let of_three = apply(limit(3, 0), 1).unwrap();
        assert_eq!((of_three.len(), classes(&of_three).len()), (30, 3));
        assert!(classes(&of_three).is_subset(&classes(&apply(limit(5, 0), 1).unwrap())));
        let twelve = apply(limit(3, 12), 1).unwrap();
        assert_eq!(twelve.len(), 12);
        assert!(twelve.is_sorted() && twelve.iter().all(|item| of_three.contains(item)));
        assert_ne!(of_three, apply(limit(3, 0), 2).unwrap());
        assert_eq!(apply(limit(0, 0), 1).unwrap(), train);
        let error = apply(limit(9, 0), 1).unwrap_err();
        assert_eq!(error.recipe_key().as_deref(), Some("data.limit.classes"));
        assert!(
            apply(limit(0, 81), 1)
                .unwrap_err()
                .to_string()
                .contains("at most 80, the items")
        );
    }
}
