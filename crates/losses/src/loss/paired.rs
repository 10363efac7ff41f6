//! What losses over aligned views share: distances of the rows of one view to the same rows of another.

use super::{Evaluation, ViewGradients, Views};
use crate::distance::AlignedDistances;
use crate::error::Error;

/// Distances `d(u_i, v_i)` of two views.
pub(super) struct Paired<'a> {
    of: [usize; 2],
    distances: AlignedDistances<'a>,
}

impl<'a> Paired<'a> {
    pub fn new(views: &Views<'a, f32>, of: [usize; 2]) -> Result<Self, Error> {
        let [u, v] = of.map(|view| views.embeddings[view]);
        let distances = AlignedDistances::new(views.distance(), u, v, views.cols)?;
        Ok(Self { of, distances })
    }

    pub fn d(&self) -> &[f32] {
        self.distances.d()
    }

    /// Adds the gradients of the two views, given `∂L/∂d`.
    pub fn pull(self, slopes: &[f32], gradients: &mut ViewGradients<'_>) {
        let (du, dv) = self.distances.gradients(slopes);
        add(gradients.embeddings[self.of[0]], &du);
        add(gradients.embeddings[self.of[1]], &dv);
    }
}

/// Adds to the front of `sum`.
pub(super) fn add(sum: &mut [f32], gradient: &[f32]) {
    sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
}

impl Evaluation {
    /// The sum of two parts of a loss.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            tuples: self.tuples + other.tuples,
            active: self.active + other.active,
        }
    }
}
