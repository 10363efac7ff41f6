//! What losses over aligned views share: distances of the rows of one view to the same rows of another, and the softmax
//! over candidates.

use super::{Evaluation, ViewGradients, Views, exponentials};
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

/// Queries that pick their target out of candidates by a softmax over `-scale d`, each with the same weight.
#[derive(Clone, Copy)]
pub(super) struct Ranking {
    pub scale: f32,
    pub weight: f32,
}

impl Ranking {
    /// `weight log Σ_j exp(scale (d_target - d_j))` over the candidates that are kept, the target among them. Its slopes
    /// overwrite `g`.
    pub fn term(
        self,
        d: &[f32],
        target: usize,
        kept: impl Fn(usize) -> bool,
        g: &mut [f32],
    ) -> Evaluation {
        let kept = |j: usize| j == target || kept(j);
        let others = || (0..d.len()).filter(|&j| kept(j));
        let nearest = others().map(|j| d[j]).fold(f32::INFINITY, f32::min);
        // Candidates left out may be nearer: the bound keeps their exponentials finite until they go.
        exponentials(d, |d| (self.scale * (nearest - d)).min(0.0), g);
        let mut sum = 0.0;
        for (j, g) in g.iter_mut().enumerate() {
            *g = if kept(j) { *g } else { 0.0 };
            sum += f64::from(*g);
        }
        let factor = -self.weight * self.scale / sum as f32;
        for g in &mut *g {
            *g *= factor;
        }
        // As minus the sum of the others, so that a target that is all but certain keeps its digits.
        g[target] = 0.0;
        g[target] = -g.iter().sum::<f32>();
        let violated = others().any(|j| j != target && d[j] <= d[target]);
        Evaluation {
            value: f64::from(self.weight)
                * (f64::from(self.scale) * f64::from(d[target] - nearest) + sum.ln()),
            tuples: 1,
            active: usize::from(violated),
        }
    }
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
