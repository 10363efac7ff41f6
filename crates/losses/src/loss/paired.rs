//! What losses over aligned views share: distances of the rows of one view to the same rows of another.

use super::{Evaluation, ViewGradients, Views};
use crate::distance::Distances;
use crate::error::Error;

/// Distances `d(u_i, v_i)` of two views.
pub(super) struct Paired<'a> {
    of: [usize; 2],
    cols: usize,
    rows: Vec<Distances<'a>>,
}

impl<'a> Paired<'a> {
    pub fn new(views: &Views<'a, f32>, of: [usize; 2]) -> Result<Self, Error> {
        let [u, v] = of;
        let row = |i: usize| {
            let (u, v) = (views.row(u, i), views.row(v, i));
            Distances::between(views.distance(), u, v, views.cols)
        };
        Ok(Self {
            of,
            cols: views.cols,
            rows: (0..views.items()).map(row).collect::<Result<_, _>>()?,
        })
    }

    pub fn d(&self) -> Vec<f32> {
        self.rows.iter().map(|row| row.s()[0]).collect()
    }

    /// Adds the gradients of the two views, given `∂L/∂d`.
    pub fn pull(self, slopes: &[f32], gradients: &mut ViewGradients<'_>) {
        let [u, v] = self.of;
        for ((i, row), &slope) in self.rows.into_iter().enumerate().zip(slopes) {
            let (du, dv) = row.gradients(&[slope], true);
            add(&mut gradients.embeddings[u][i * self.cols..], &du);
            add(&mut gradients.embeddings[v][i * self.cols..], &dv);
        }
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
