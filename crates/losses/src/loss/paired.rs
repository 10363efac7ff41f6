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

/// The mean over the triplets `(a_i, p_i, n_ik)` of a function of the gap `d(a_i, n_ik) - d(a_i, p_i)`: `term(i, k, gap)` is its
/// value, its slope and whether the triplet is active.
pub(super) fn mean_over_gaps(
    views: &Views<'_, f32>,
    gradients: &mut ViewGradients<'_>,
    term: impl Fn(usize, usize, f32) -> (f32, f32, bool),
) -> Result<Evaluation, Error> {
    let (n, count) = (views.items(), views.embeddings.len());
    let triplets = (n * (count - 2)) as f64;
    let positive = Paired::new(views, [0, 1])?;
    let mut of_positives = vec![0.0; n];
    let mut total = Evaluation::default();
    for view in 2..count {
        let negative = Paired::new(views, [0, view])?;
        let mut slopes = vec![0.0; n];
        for (i, (of_negative, of_positive)) in negative.d().iter().zip(positive.d()).enumerate() {
            let (value, slope, active) = term(i, view - 2, of_negative - of_positive);
            slopes[i] = slope / triplets as f32;
            of_positives[i] -= slopes[i];
            total = total.plus(Evaluation::of_tuple(f64::from(value) / triplets, active));
        }
        negative.pull(&slopes, gradients);
    }
    positive.pull(&of_positives, gradients);
    Ok(total)
}

/// Adds to the front of `sum`.
pub(super) fn add(sum: &mut [f32], gradient: &[f32]) {
    sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
}

impl Evaluation {
    /// A part of one tuple.
    pub(super) fn of_tuple(value: f64, active: bool) -> Self {
        Self {
            value,
            tuples: 1,
            active: usize::from(active),
        }
    }

    /// The sum of two parts of a loss.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            tuples: self.tuples + other.tuples,
            active: self.active + other.active,
        }
    }
}
