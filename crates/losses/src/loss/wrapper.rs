//! Losses made of other losses.

use super::Definition;
use crate::objective::Objective;

/// A loss made of other objectives.
pub trait Wrapper: Definition {
    /// The objectives inside, for embeddings of `dim` components.
    fn parts(&self, dim: usize) -> Vec<Part<'_>>;

    /// Embeddings of earlier batches that the parts are compared with in place of the batch itself.
    fn memory(&self) -> Option<usize> {
        None
    }
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
