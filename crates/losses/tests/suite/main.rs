//! Everything in the catalogue against its references, its symmetries and bad input.

mod bad_input;
mod catalogue;
mod classes;
mod exactness;
mod goldens;
mod invariance;
mod miners;
mod papers;
mod references;
mod regularizers;
mod views;
mod wrappers;

use nearkin_losses::distance::Distance;
use nearkin_losses::loss::{Columns, Form, Loss, Shape};
use nearkin_losses::miner::{All, Miner, MultiSimilarity};
use nearkin_losses::reducer::Reducer;
use nearkin_losses::{
    self as losses_crate, ChaCha8Rng, Criterion, Error, Exact, ExactColumns, Mat, Objective,
    Outcome, SeedableRng, Targets, Tuples,
};
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

    fn classes(&self) -> usize {
        self.labels
            .iter()
            .max()
            .map_or(1, |&label| label as usize + 1)
    }

    /// The objective at work on this batch, with small random parameters if it learns any.
    fn criterion(&self, objective: &Objective) -> Result<Criterion, Error> {
        let shape = Shape {
            dim: self.cols,
            // Labels that name no class are for losses without proxies.
            classes: self.classes().min(1000),
        };
        Criterion::new(objective.clone(), shape, 11)
    }

    fn evaluate(&self, objective: &Objective) -> Result<Outcome, Error> {
        self.run(&mut self.criterion(objective)?)
    }

    fn run(&self, criterion: &mut Criterion) -> Result<Outcome, Error> {
        let batch = losses_crate::Batch {
            embeddings: self.mat(),
            targets: Targets::Labels(&self.labels),
        };
        criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(7))
    }

    /// The tuples that [`run`](Self::run) uses.
    fn tuples(&self, objective: &Objective) -> Tuples {
        if objective.loss.definition().columns() != Columns::Items {
            return Tuples::All;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        objective.mine(self.mat(), &self.labels, &mut rng).unwrap()
    }

    /// The value by the definition, for these embeddings and parameters.
    fn reference(&self, objective: &Objective, numbers: &Numbers, tuples: &Tuples) -> f64 {
        objective.reference(&self.exactly(objective, numbers), tuples)
    }

    /// The same for moved numbers, with what the loss treats as a constant of its gradient held where it was.
    fn reference_near(
        &self,
        objective: &Objective,
        [numbers, moved]: [&Numbers; 2],
        tuples: &Tuples,
    ) -> f64 {
        let held = self.exactly(objective, numbers);
        objective.reference(&self.exactly(objective, moved).held_at(&held), tuples)
    }

    fn exactly<'a>(&'a self, objective: &Objective, numbers: &'a Numbers) -> Exact<'a> {
        let distance = objective.distance().unwrap();
        let mut parameters = numbers.parameters.clone();
        let (labels, distance) = (&self.labels, distance.get());
        let columns = match objective.loss.definition().columns() {
            Columns::ItemsAndProxies { .. } => {
                let (embeddings, proxies) = (&numbers.embeddings, parameters.remove(0));
                return Exact::with_proxies(embeddings, self.cols, labels, &proxies, distance);
            }
            Columns::Items => ExactColumns {
                vectors: numbers.embeddings.clone(),
                labels: self.labels.clone(),
                own: Some(0),
            },
            Columns::Proxies { per_class } => {
                let vectors = parameters.remove(0);
                let proxies = vectors.len() / self.cols;
                ExactColumns {
                    vectors,
                    labels: (0..proxies).map(|k| (k / per_class) as u32).collect(),
                    own: None,
                }
            }
        };
        Exact::against(&numbers.embeddings, self.cols, labels, columns, distance)
            .with_parameters(parameters)
    }
}

/// All that a value depends on, in double precision.
#[derive(Clone)]
struct Numbers {
    embeddings: Vec<f64>,
    parameters: Vec<Vec<f64>>,
}

impl Numbers {
    fn new(batch: &Batch, criterion: &Criterion) -> Self {
        let exact = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect();
        Self {
            embeddings: batch.exact(),
            parameters: criterion
                .parameters()
                .iter()
                .map(|p| exact(&p.values))
                .collect(),
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.embeddings
            .iter_mut()
            .chain(self.parameters.iter_mut().flatten())
    }

    fn len(&self) -> usize {
        self.embeddings.len() + self.parameters.iter().map(Vec::len).sum::<usize>()
    }

    /// The same with each number moved by `step` times its part of a direction.
    fn moved(&self, step: f64, direction: impl Fn(usize) -> f64) -> Self {
        let mut moved = self.clone();
        for (k, number) in moved.iter_mut().enumerate() {
            *number += step * direction(k);
        }
        moved
    }
}

/// `W[c][k][j] = cos(0.9 c + 0.5 j + 0.2 k)`, the proxies of the golden values: so many of each of so many classes.
fn golden_proxies([classes, per_class]: [usize; 2]) -> Vec<f64> {
    let entry = |i: usize| {
        let (c, k, j) = (i / 4 / per_class, i / 4 % per_class, i % 4);
        (0.9 * c as f64 + 0.5 * j as f64 + 0.2 * k as f64).cos()
    };
    (0..4 * classes * per_class).map(entry).collect()
}

/// The gradient of an outcome in the order of [`Numbers`].
fn gradient(outcome: &Outcome) -> Vec<f32> {
    [outcome.gradient.clone(), outcome.parameters.concat()].concat()
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
        let name = open[0].as_object().unwrap().keys().next().unwrap().clone();
        for (key, value) in table.as_object().unwrap() {
            let choices: Vec<Value> = match (key.as_str(), value) {
                ("reduction", _) => ["mean_nonzero", "mean", "sum"].map(Value::from).into(),
                // Their step of 0.01 multiplies the rounding of `S` by a hundred; the golden values have it.
                ("temperature", _) if ["smooth_ap", "pnp"].contains(&name.as_str()) => {
                    vec![Value::from(0.1)]
                }
                // Each edge of a bin is a kink, and central differences may step over one of a hundred.
                ("bins", _) if name == "histogram" => vec![Value::from(10)],
                // Their combinations would take minutes: views.rs lists those that matter.
                ("joint" | "contrast_anchors" | "contrast_positives", _)
                    if name == "multiple_negatives_ranking" =>
                {
                    continue;
                }
                // Exponents a hundred times the distances multiply the rounding of `S` as much.
                ("gamma", _) if name == "circle" => vec![Value::from(8.0)],
                ("gradient", _) if name == "circle" => {
                    ["stop_weights", "full"].map(Value::from).into()
                }
                ("gradient", _) if name == "quadruplet" => {
                    ["paper", "stop_grad", "full"].map(Value::from).into()
                }
                // Fewer than there are classes.
                ("proxies", _) if name == "manifold" => vec![Value::from(5)],
                ("intrinsic_weight", _) => [0.0, 1.0].map(Value::from).into(),
                ("k", _) if name == "constellation" => [1, 2].map(Value::from).into(),
                ("mode", _) if name == "constellation" => {
                    ["paper", "groups", "reference"].map(Value::from).into()
                }
                ("margins", _) => ["fixed", "adaptive"].map(Value::from).into(),
                ("nu", _) => [0.0, 0.3].map(Value::from).into(),
                ("slope", _) => ["exact", "detached"].map(Value::from).into(),
                ("variant", _) => ["o", "iu", "ib", "ds", "dq"].map(Value::from).into(),
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

/// Whether a miner chooses at random.
fn is_random(miner: &Miner) -> bool {
    let random = [
        "distance_weighted",
        "hard_negative_class",
        "margin_violating",
        "uniform_histogram",
    ];
    random.contains(&miner.name())
}

/// The miners of [`miners`], and more ways of choosing: for tests that look at the tuples alone.
fn every_miner() -> Vec<Miner> {
    let mut miners = miners();
    let recipes = [
        "[angular]\nangle = 40\nnegatives = 2",
        "[batch_easy_hard]\npositive = 'hard'\nnegative = 'hard'\nnegative_range = [0.4, 9.0]",
        "[batch_easy_hard]\npositive = 'semi_hard'\nnegative = 'easy'",
        "[batch_easy_hard]\npositive = 'all'\nnegative = 'easy'",
        "[batch_easy_hard]\npositive = 'easy'\nnegative = 'all'\npositive_range = [0.2, 1.5]",
        "[hard_aware]\nshare = 0.2",
        "[hard_negative_class]\nclasses = 3",
        "[hard_quadruplet]\nweight = 0.5",
        "[pair_margin]\npositive_margin = 0.4\nnegative_margin = 1.1",
        "[uniform_histogram]\nbins = 6\npositives = 2\nnegatives = 3",
    ];
    miners.extend(recipes.map(|recipe| toml::from_str(recipe).unwrap()));
    miners
}

/// Every miner, and some with other ways of choosing.
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

fn reducers() -> Vec<Reducer> {
    use nearkin_losses::range::NonNegative;
    use nearkin_losses::reducer::{
        ClassWeighted, ClassWeights, PerAnchor, Threshold, per_anchor::Anchors,
    };
    let mut reducers = Reducer::defaults();
    let weights = [0.5, 2.0, 0.0, 1.0, 3.0].map(NonNegative::literal).to_vec();
    reducers.push(
        ClassWeighted {
            weights: ClassWeights::new(weights),
        }
        .into(),
    );
    let bounds = Threshold {
        low: NonNegative::literal(0.1),
        high: NonNegative::literal(0.6),
    };
    reducers.push(bounds.into());
    reducers
        .extend([Anchors::MeanNonzero, Anchors::Sum].map(|anchors| PerAnchor { anchors }.into()));
    reducers
}

/// Losses of the pair matrix.
fn pair_losses() -> impl Iterator<Item = Loss> {
    losses()
        .into_iter()
        .filter(|loss| matches!(loss.form(), Form::Rows(_) | Form::Matrix(_)))
}

fn has_proxies(loss: &Loss) -> bool {
    loss.definition().columns() != Columns::Items
}

fn forms_tuples(loss: &Loss) -> bool {
    loss.definition().default_miner().is_none()
}

/// Every pair loss with every distance and every miner that goes with it.
fn objectives() -> impl Iterator<Item = Objective> {
    pair_losses().flat_map(|loss| {
        distances().into_iter().flat_map(move |distance| {
            let with_distance = Objective::from(loss.clone()).with_distance(distance);
            let fits = |objective: &Objective| objective.check().is_ok();
            let miners = if has_proxies(&loss) {
                vec![All {}.into()]
            } else {
                miners()
            };
            miners
                .into_iter()
                .map(move |miner| with_distance.clone().with_miner(miner))
                .filter(fits)
        })
    })
}

/// A cheaper selection: every pair loss with its paper's distance and miner, and with all tuples.
fn main_objectives() -> impl Iterator<Item = Objective> {
    pair_losses().flat_map(|loss| {
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
