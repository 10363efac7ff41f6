//! Everything in the catalogue against its references, its symmetries and bad input.

mod bad_input;
mod catalogue;
mod exactness;
mod goldens;
mod invariance;

use nearkin_losses::distance::Distance;
use nearkin_losses::loss::Loss;
use nearkin_losses::miner::{All, Miner, MultiSimilarity};
use nearkin_losses::{ChaCha8Rng, Error, Mat, Objective, Outcome, SeedableRng};
use rand::RngExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Labeled embeddings.
#[derive(Clone)]
struct Batch {
    embeddings: Vec<f32>,
    cols: usize,
    labels: Vec<u32>,
}

impl Batch {
    /// Components uniform in ±0.6, away from the kinks of the losses for all practical purposes.
    fn random(seed: u64, cols: usize, labels: &[u32]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let embeddings = (0..labels.len() * cols)
            .map(|_| rng.random::<f32>() * 1.2 - 0.6)
            .collect();
        Self {
            embeddings,
            cols,
            labels: labels.to_vec(),
        }
    }

    /// Classes of one to four items, in no order.
    fn uneven(seed: u64) -> Self {
        Self::random(seed, 3, &[4, 1, 0, 1, 7, 0, 0, 4, 4, 2, 4, 7])
    }

    /// `E[i][j] = sin(1.3 i + 0.7 j + 0.1 i j)`, the batch of the golden values.
    fn golden() -> (Self, Vec<f64>) {
        let entry = |k: u32| {
            let (i, j) = (f64::from(k / 4), f64::from(k % 4));
            (1.3 * i + 0.7 * j + 0.1 * i * j).sin()
        };
        let exact: Vec<f64> = (0..32).map(entry).collect();
        let embeddings = exact.iter().map(|&e| e as f32).collect();
        (
            Self {
                embeddings,
                cols: 4,
                labels: vec![0, 0, 1, 1, 2, 2, 3, 3],
            },
            exact,
        )
    }

    fn mat(&self) -> Mat<'_> {
        Mat::new(&self.embeddings, self.labels.len(), self.cols)
    }

    fn exact(&self) -> Vec<f64> {
        self.embeddings.iter().map(|&e| f64::from(e)).collect()
    }

    fn evaluate(&self, objective: &Objective) -> Result<Outcome, Error> {
        objective.value_and_grad(self.mat(), &self.labels, &mut ChaCha8Rng::seed_from_u64(7))
    }
}

/// Each member with each combination of its switches and reductions, so that nothing is added untested.
fn variants<T: Serialize + DeserializeOwned>(defaults: Vec<T>) -> Vec<T> {
    let mut all = Vec::new();
    for member in defaults {
        let mut open = vec![serde_json::to_value(&member).unwrap()];
        let table = open[0]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        for (key, value) in table.as_object().unwrap() {
            let choices: Vec<Value> = match (key.as_str(), value) {
                ("reduction", _) => ["mean_nonzero", "mean", "sum"].map(Value::from).into(),
                (_, Value::Bool(_)) => [false, true].map(Value::from).into(),
                _ => continue,
            };
            let set = |mut member: Value, choice: &Value| {
                let table = member.as_object_mut().unwrap().values_mut().next().unwrap();
                table[key] = choice.clone();
                member
            };
            open = open
                .iter()
                .flat_map(|member| choices.iter().map(|c| set(member.clone(), c)))
                .collect();
        }
        all.extend(
            open.into_iter()
                .map(|member| serde_json::from_value(member).unwrap()),
        );
    }
    all
}

fn losses() -> Vec<Loss> {
    variants(Loss::defaults())
}

fn distances() -> Vec<Distance> {
    variants(Distance::defaults())
}

/// Every miner without a random choice.
fn miners() -> Vec<Miner> {
    use nearkin_losses::miner::{
        SemiHard, TripletMargin, semi_hard::Fallback, triplet_margin::Kind,
    };
    let mut miners = Miner::defaults();
    miners.push(
        SemiHard {
            fallback: Fallback::Farthest,
            ..SemiHard::default()
        }
        .into(),
    );
    miners.extend([Kind::Hard, Kind::SemiHard, Kind::Easy].map(|kind| {
        TripletMargin {
            kind,
            ..Default::default()
        }
        .into()
    }));
    miners.push(
        MultiSimilarity {
            epsilon: nearkin_losses::range::NonNegative::literal(0.0),
        }
        .into(),
    );
    miners
}

/// Every loss with every distance and every miner that goes with it.
fn objectives() -> impl Iterator<Item = Objective> {
    losses().into_iter().flat_map(|loss| {
        distances().into_iter().flat_map(move |distance| {
            let with_distance = Objective::from(loss.clone()).with_distance(distance);
            let fits = |objective: &Objective| objective.check().is_ok();
            miners()
                .into_iter()
                .map(move |miner| with_distance.clone().with_miner(miner))
                .filter(fits)
        })
    })
}

/// A cheaper selection: every loss with its paper's distance and miner, and with all tuples.
fn main_objectives() -> impl Iterator<Item = Objective> {
    losses().into_iter().flat_map(|loss| {
        let own = Objective::from(loss);
        [own.clone(), own.with_miner(All {})]
    })
}

fn assert_close(actual: f64, expected: f64, tolerance: f64, what: &dyn std::fmt::Debug) {
    let error = (actual - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1e-3),
        "{actual} is not {expected}: {what:#?}"
    );
}

/// Largest difference within `tolerance` of the largest entry.
fn assert_all_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &dyn std::fmt::Debug) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(1e-3, |m: f64, e| m.max(e.abs()));
    for (k, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance * largest,
            "entry {k}: {actual} is not {expected}: {what:#?}"
        );
    }
}
