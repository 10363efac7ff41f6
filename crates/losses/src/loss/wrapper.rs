//! Losses made of other losses.

use super::Definition;
use crate::error::Error;
use crate::objective::Objective;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A loss made of other objectives.
pub trait Wrapper: Definition {
    /// The objectives inside, for embeddings of `dim` components.
    fn parts(&self, dim: usize) -> Vec<Part<'_>>;

    /// The objectives inside, to change them: each once, however many parts it has.
    fn objectives_mut(&mut self) -> Vec<&mut Objective>;

    /// Embeddings of earlier batches that the parts are compared with in place of the batch itself.
    fn memory(&self) -> Option<usize> {
        None
    }

    /// Whether the parts see the views of an item as examples of a class, and how.
    fn twins(&self) -> Option<Twins> {
        None
    }

    /// Whether the wrapper can take embeddings of `dim` components.
    ///
    /// # Errors
    /// It is set up for more.
    fn check_width(&self, _dim: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// How views of items are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twins {
    /// All with one another.
    Together,
    /// The first with the others.
    Against,
}

/// An objective with its share in a larger one.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The objective.
    pub objective: &'a Objective,
    /// What its value is multiplied by.
    pub weight: f64,
    /// Leading components of the embeddings that it sees.
    pub dim: usize,
}

/// The objective inside a wrapper, a table of its own in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inner(Box<Objective>);

impl Inner {
    /// The objective.
    #[must_use]
    pub fn get(&self) -> &Objective {
        &self.0
    }

    /// The same, to change it.
    pub fn get_mut(&mut self) -> &mut Objective {
        &mut self.0
    }
}

impl<O: Into<Objective>> From<O> for Inner {
    fn from(objective: O) -> Self {
        Self(Box::new(objective.into()))
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.loss.name())
    }
}

/// A list of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", items.join(","))
    }
}

/// What wrappers say alike: distance, miner and reducer are those of the objectives inside.
macro_rules! wrapper_definition {
    ($name:ident, $targets:expr) => {
        impl Definition for $name {
            fn targets(&self) -> &'static [Target] {
                let targets: fn(&Self) -> &'static [Target] = $targets;
                targets(self)
            }

            fn default_distance(&self) -> Option<Distance> {
                None
            }

            fn default_miner(&self) -> Option<Miner> {
                None
            }

            fn default_reducer(&self) -> Option<Reducer> {
                None
            }
        }
    };
}

pub(super) use wrapper_definition;
