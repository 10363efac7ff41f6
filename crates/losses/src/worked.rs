//! A tiny batch on which a loss can be watched at work.

use crate::batch::{Batch, Targets};
use crate::criterion::{Criterion, Outcome};
use crate::distance::Distances;
use crate::error::Error;
use crate::loss::{Columns, Form, Shape};
use crate::objective::Objective;
use nearkin_kernels::Mat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Angles of the points, in degrees, and their classes: two near pairs and one that is torn apart.
const POINTS: [(f32, u32); 6] = [
    (0.0, 0),
    (25.0, 0),
    (60.0, 1),
    (100.0, 1),
    (140.0, 2),
    (250.0, 2),
];

/// A loss on six points of the unit circle, two of each of three classes.
#[derive(Clone, Debug, Serialize)]
pub struct Worked {
    /// Angles of the points, in degrees.
    pub angles: Vec<f32>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// `S`, row by row; empty for a loss over proxies or over other losses.
    pub distances: Vec<Vec<f32>>,
    /// `L`.
    pub value: f32,
    /// Tuples that took part.
    pub tuples: usize,
    /// Share of them still violated.
    pub active: f32,
    /// Where a step against the gradient turns each point, in degrees for a step of length one; positive is
    /// counterclockwise.
    pub turns: Vec<f32>,
}

/// Evaluates an objective on six points of the unit circle; `None` for a loss over aligned views, which has no labels.
///
/// # Errors
/// The parts of the objective do not go together.
///
/// ```
/// use nearkin_losses::{loss::TripletMargin, worked};
/// let worked = worked(TripletMargin::default().into())?.expect("a loss over labels");
/// // The torn pair is pulled together: one turns back, the other forth.
/// assert!(worked.turns[4] > 0.0 && worked.turns[5] < 0.0);
/// # Ok::<(), nearkin_losses::Error>(())
/// ```
pub fn worked(objective: Objective) -> Result<Option<Worked>, Error> {
    if objective.unlabeled_loss().is_some() {
        return Ok(None);
    }
    let unit = |&(angle, _): &(f32, u32)| {
        let (sin, cos) = angle.to_radians().sin_cos();
        [cos, sin]
    };
    let points = POINTS.iter().flat_map(unit).collect::<Vec<_>>();
    let labels = POINTS.map(|(_, label)| label);
    let is_pairs = matches!(objective.loss.form(), Form::Rows(_) | Form::Matrix(_));
    let among = is_pairs && objective.loss.definition().columns() == Columns::Items;
    let distances = match objective.distance().filter(|_| among) {
        Some(distance) => {
            let distances = Distances::among(distance.get(), &points, 2)?;
            distances
                .s()
                .chunks(POINTS.len())
                .map(<[f32]>::to_vec)
                .collect()
        }
        None => Vec::new(),
    };
    let mut criterion = Criterion::new(objective, Shape { dim: 2, classes: 3 }, 0)?;
    let batch = Batch {
        embeddings: Mat::new(&points, POINTS.len(), 2),
        targets: Targets::Labels(&labels),
    };
    let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    Ok(Some(Worked {
        angles: POINTS.map(|(angle, _)| angle).to_vec(),
        labels: labels.to_vec(),
        distances,
        turns: turns(&points, &outcome),
        value: outcome.value,
        tuples: outcome.tuples,
        active: outcome.active,
    }))
}

/// The part of `-∂L/∂x` along the circle.
fn turns(points: &[f32], outcome: &Outcome) -> Vec<f32> {
    let pairs = points.chunks(2).zip(outcome.gradient.chunks(2));
    pairs
        .map(|(x, g)| (g[0] * x[1] - g[1] * x[0]).to_degrees())
        .collect()
}
