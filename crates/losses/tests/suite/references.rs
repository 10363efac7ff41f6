//! A batch compared with references in place of itself.

use crate::{Batch, assert_all_close, assert_close, pair_losses};
use nearkin_losses::distance::Distances;
use nearkin_losses::loss::{Columns, Form, Loss, Shape};
use nearkin_losses::miner::All;
use nearkin_losses::{
    self as losses_crate, Aligned, ChaCha8Rng, Classes, Criterion, Error, Exact, ExactColumns, Mat,
    Objective, Outcome, Pairs, References, SeedableRng, Targets, Tuples,
};
use std::collections::BTreeSet;

/// Losses that cannot be used against references, and why.
const WITHOUT: [(&str, &[&str]); 6] = [
    (
        "their columns are class proxies",
        &[
            "arcface",
            "cosface",
            "instance",
            "large_margin_softmax",
            "normalized_softmax",
            "p2s_grad",
            "proxy_anchor",
            "proxy_nca",
            "soft_triple",
            "softmax",
            "sphereface",
            "sub_center_arcface",
        ],
    ),
    ("its proxies are columns beside the batch", &["manifold"]),
    (
        "they need the distances among the columns",
        &["angular", "lifted_structure", "quadruplet"],
    ),
    ("they pair the items of a batch", &["n_pair", "n_pair_ovo"]),
    (
        "they see aligned views",
        &[
            "angle",
            "barlow_twins",
            "contrastive_tension",
            "contrastive_tension_in_batch",
            "cosent",
            "cosine_regression",
            "distill_kl_div",
            "gist",
            "global_orthogonal",
            "margin_mse",
            "mega_batch_margin",
            "mse_distill",
            "multiple_negatives_ranking",
            "online_contrastive",
            "self_supervised",
            "softmax_classification",
            "triplet_euclidean",
            "vicreg",
        ],
    ),
    ("it has references of its own", &["cross_batch_memory"]),
];

/// What a batch is compared with.
struct Against {
    rows: Batch,
    columns: Batch,
    own: Option<usize>,
}

impl Against {
    /// Other items, of classes that the batch has and lacks.
    fn others() -> Self {
        Self {
            rows: Batch::uneven(1),
            columns: Batch::random(2, 3, &[7, 4, 4, 9, 0, 1, 3, 0, 4, 9, 1, 7, 0, 2, 5, 1, 4]),
            own: None,
        }
    }

    /// A memory that ends with the batch itself.
    fn memory() -> Self {
        let (rows, earlier) = (Batch::uneven(1), Batch::uneven(2));
        let columns = Batch {
            embeddings: [&earlier.embeddings[..], &rows.embeddings].concat(),
            labels: [&earlier.labels[..], &rows.labels].concat(),
            cols: 3,
        };
        let own = Some(12);
        Self { rows, columns, own }
    }

    fn run(&self, criterion: &mut Criterion) -> Result<Outcome, Error> {
        let batch = losses_crate::Batch {
            embeddings: self.rows.mat(),
            targets: Targets::Labels(&self.rows.labels),
        };
        let references = References {
            embeddings: self.columns.mat(),
            labels: &self.columns.labels,
            own: self.own,
            learn: true,
        };
        criterion.against(batch, references, &mut ChaCha8Rng::seed_from_u64(7))
    }

    /// The tuples that [`run`](Self::run) uses.
    fn tuples(&self, objective: &Objective) -> Tuples {
        let (distance, rng) = (
            objective.distance().unwrap(),
            &mut ChaCha8Rng::seed_from_u64(7),
        );
        let (x, y) = (&self.rows.embeddings, &self.columns.embeddings);
        let distances = Distances::between(distance.get(), x, y, 3).unwrap();
        let classes = Classes::between(&self.rows.labels, &self.columns.labels);
        let pairs = Pairs::block(distances.s(), &classes, 0, self.own);
        match objective.miner() {
            Some(miner) => miner.get().mine(pairs, rng),
            None => objective.loss.definition().form(pairs, rng),
        }
    }

    /// The value by the definition, for embeddings, references and parameters in one row.
    fn reference(&self, objective: &Objective, numbers: &[f64], tuples: &Tuples) -> f64 {
        objective.reference(&self.exactly(objective, numbers), tuples)
    }

    /// The same for moved numbers, with what the loss treats as a constant of its gradient held where it was.
    fn reference_near(
        &self,
        objective: &Objective,
        [numbers, moved]: [&[f64]; 2],
        tuples: &Tuples,
    ) -> f64 {
        let held = self.exactly(objective, numbers);
        objective.reference(&self.exactly(objective, moved).held_at(&held), tuples)
    }

    fn exactly<'a>(&'a self, objective: &Objective, numbers: &'a [f64]) -> Exact<'a> {
        let (rows, rest) = numbers.split_at(self.rows.embeddings.len());
        let (columns, parameters) = rest.split_at(self.columns.embeddings.len());
        let columns = ExactColumns {
            vectors: columns.to_vec(),
            labels: self.columns.labels.clone(),
            own: self.own,
        };
        let distance = objective.distance().unwrap();
        Exact::against(rows, 3, &self.rows.labels, columns, distance.get())
            .with_parameters(vec![parameters.to_vec()])
    }
}

fn criterion(objective: &Objective) -> Criterion {
    let shape = Shape { dim: 3, classes: 8 };
    Criterion::new(objective.clone(), shape, 11).unwrap()
}

fn needs_square(loss: &Loss) -> bool {
    match loss.form() {
        Form::Rows(loss) => loss.needs_square(),
        Form::Matrix(loss) => loss.needs_square(),
        Form::Views(_) | Form::Wrapper(_) => true,
    }
}

/// Every loss over pairs that takes references, with its own miner and with all tuples.
fn objectives() -> impl Iterator<Item = Objective> {
    let takes = |loss: &Loss| loss.definition().columns() == Columns::Items && !needs_square(loss);
    pair_losses().filter(takes).flat_map(|loss| {
        let own = Objective::from(loss);
        [own.clone(), own.with_miner(All {})]
    })
}

#[test]
fn values_and_gradients_against_references_are_those_of_the_definitions() {
    let mut compared = 0;
    for against in [Against::others(), Against::memory()] {
        for objective in objectives() {
            let mut criterion = criterion(&objective);
            let outcome = against.run(&mut criterion).unwrap();
            let to_f64 = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let mut numbers = to_f64(&against.rows.embeddings);
            numbers.extend(to_f64(&against.columns.embeddings));
            for parameter in criterion.parameters() {
                numbers.extend(to_f64(&parameter.values));
            }
            let tuples = against.tuples(&objective);
            let expected = against.reference(&objective, &numbers, &tuples);
            assert_close(f64::from(outcome.value), expected, 1e-5, &objective);
            let h = 1e-6;
            let moved = |k: usize, step: f64| {
                let mut moved = numbers.clone();
                moved[k] += step;
                against.reference_near(&objective, [&numbers, &moved], &tuples)
            };
            let count = outcome.gradient.len() + outcome.references.len();
            let count = count + outcome.parameters.iter().map(Vec::len).sum::<usize>();
            let slopes: Vec<_> = (0..count)
                .map(|k| (moved(k, h) - moved(k, -h)) / (2.0 * h))
                .collect();
            let of_parameters = outcome.parameters.concat();
            let gradient = [outcome.gradient, outcome.references, of_parameters].concat();
            assert_all_close(&gradient, &slopes, 2e-5, &objective);
            compared += usize::from(outcome.tuples > 0 && outcome.value != 0.0);
        }
    }
    assert!(compared > 80, "only {compared} had anything to compare");
}

#[test]
fn blocks_of_rows_give_what_the_whole_matrix_gives() {
    for against in [Against::others(), Against::memory()] {
        for objective in objectives() {
            let whole = against.run(&mut criterion(&objective)).unwrap();
            for rows in [0, 1, 5] {
                let distances = rows * against.columns.labels.len();
                let mut criterion = criterion(&objective).holding(distances);
                let blocks = against.run(&mut criterion).unwrap();
                let to_f64 =
                    |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                assert_close(blocks.value.into(), whole.value.into(), 1e-6, &objective);
                assert_all_close(&blocks.gradient, &to_f64(&whole.gradient), 1e-5, &objective);
                assert_all_close(
                    &blocks.references,
                    &to_f64(&whole.references),
                    1e-5,
                    &objective,
                );
                assert_eq!((blocks.tuples, blocks.active), (whole.tuples, whole.active));
            }
        }
    }
}

#[test]
fn losses_without_references_are_those_listed_and_say_so() {
    let listed: BTreeSet<_> = WITHOUT
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    let against = Against::others();
    for loss in Loss::defaults() {
        let name = loss.name();
        let objective = Objective::from(loss);
        let mut criterion = criterion(&objective);
        let outcome = against.run(&mut criterion);
        let views = objective.unlabeled_loss().is_some();
        match outcome {
            Ok(_) => assert!(!listed.contains(name), "{name} takes references"),
            Err(Error::NotAligned { loss }) => assert!(views && listed.contains(loss)),
            Err(error) => {
                assert_eq!(error, Error::References { loss: name });
                assert!(listed.contains(name), "{name} takes no references");
            }
        }
        if views {
            // Nor do aligned views.
            let batch = losses_crate::Batch {
                embeddings: Mat::new(&[1.0; 8], 4, 2),
                targets: Targets::Aligned(Aligned::pairs()),
            };
            let references = References {
                embeddings: Mat::new(&[1.0; 2], 1, 2),
                labels: &[0],
                own: None,
                learn: false,
            };
            let shape = Shape { dim: 2, classes: 8 };
            let mut criterion = Criterion::new(objective, shape, 11).unwrap();
            let refused = criterion.against(batch, references, &mut ChaCha8Rng::seed_from_u64(7));
            assert_eq!(refused, Err(Error::References { loss: name }));
        }
    }
}
