//! Mistakes are named with their place.

use crate::{Batch, distances, main_objectives, pair_losses};
use nearkin_losses::loss::NPair;
use nearkin_losses::miner::BatchHard;
use nearkin_losses::{
    self as losses_crate, ChaCha8Rng, Criterion, Error, Mat, Objective, Outcome, SeedableRng,
    Targets,
};

/// A batch that need not be as its labels say.
fn run(criterion: &mut Criterion, embeddings: Mat<'_>, labels: &[u32]) -> Result<Outcome, Error> {
    let targets = Targets::Labels(labels);
    let batch = losses_crate::Batch {
        embeddings,
        targets,
    };
    criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(7))
}

#[test]
fn a_number_that_is_not_finite_is_named_by_row_and_column() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut batch = Batch::uneven(1);
        batch.embeddings[4 * 3 + 2] = value;
        for objective in main_objectives() {
            let error = batch.evaluate(&objective).unwrap_err();
            let expected =
                format!("embedding 4 holds {value} in column 2, expected finite numbers");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn missing_and_surplus_labels_are_refused() {
    let batch = Batch::uneven(1);
    for objective in main_objectives() {
        for labels in [
            &batch.labels[1..],
            &[batch.labels.as_slice(), &[1]].concat(),
        ] {
            let mut criterion = batch.criterion(&objective).unwrap();
            let error = run(&mut criterion, batch.mat(), labels).unwrap_err();
            assert_eq!(
                error,
                Error::Labels {
                    rows: 12,
                    labels: labels.len()
                }
            );
        }
    }
}

#[test]
fn embeddings_too_large_for_f32_are_refused_rather_than_answered_with_nan() {
    let mut batch = Batch::uneven(1);
    batch.embeddings.iter_mut().for_each(|e| *e *= 1e30);
    let largest = batch
        .embeddings
        .iter()
        .fold(0.0, |m: f32, e| m.max(e.abs()));
    for (loss, distance) in
        pair_losses().flat_map(|l| distances().into_iter().map(move |d| (l.clone(), d)))
    {
        let objective = Objective::from(loss).with_distance(distance.clone());
        // The norms of the embeddings are part of the N-pair losses over any distance.
        let of_norms = ["n_pair", "n_pair_ovo"].contains(&objective.loss.name());
        let fits = distance.get().normalize() && !of_norms;
        match batch.evaluate(&objective) {
            Ok(outcome) => {
                assert!(
                    fits && outcome.gradient.iter().all(|g| g.is_finite()),
                    "{objective:#?}"
                );
            }
            Err(error) => assert!(
                !fits && error == Error::Overflow { largest },
                "{objective:#?}"
            ),
        }
    }
}

#[test]
fn a_miner_that_would_have_no_effect_is_refused() {
    let objective = Objective::from(NPair::default()).with_miner(BatchHard {});
    assert_eq!(
        objective.check(),
        Err(Error::Miner {
            loss: "n_pair",
            miner: "batch_hard"
        })
    );
    assert_eq!(
        Batch::uneven(1).evaluate(&objective).unwrap_err(),
        objective.check().unwrap_err()
    );
}

#[test]
fn strided_embeddings_are_read_in_place() {
    let batch = Batch::uneven(1);
    let (b, d) = (batch.labels.len(), batch.cols);
    let transposed: Vec<f32> = (0..b * d)
        .map(|k| batch.embeddings[k % b * d + k / b])
        .collect();
    for objective in main_objectives() {
        let mut criterion = batch.criterion(&objective).unwrap();
        let outcome = run(
            &mut criterion,
            Mat::new(&transposed, d, b).t(),
            &batch.labels,
        );
        assert_eq!(outcome, batch.evaluate(&objective));
    }
}

#[test]
fn recipe_mistakes_are_named_with_what_was_expected() {
    for (recipe, expected) in [
        (
            "[loss.triplet]",
            "unknown variant `triplet`, expected one of",
        ),
        (
            "[loss.triplet_margin]\nmargn = 1",
            "unknown field `margn`, expected one of `margin`",
        ),
        (
            "[loss.triplet_margin]\nmargin = -1",
            "-1 is out of range, expected a finite number at or above 0",
        ),
        ("[loss.triplet_margin]\nsmooth = 1", "expected a boolean"),
        (
            "[loss.n_pair]\n[miner.semi_hard]\nchoice = 'best'",
            "unknown variant `best`, expected `nearest` or `random`",
        ),
        (
            "[loss.n_pair]\n[distance.cosine]\nnormalize = true",
            "unknown field `normalize`",
        ),
        ("[loss.n_pair]\n[mine.all]", "unknown field `mine`"),
        (
            "[loss.n_pair]\n[[regularizers]]\npenalty.lp = { q = 2 }",
            "unknown field `q`, expected `p` or `power`",
        ),
        (
            "[loss.n_pair]\n[[regularizers]]\npenalty.lq = {}",
            "unknown variant `lq`, expected one of",
        ),
        (
            "[loss.n_pair]\n[[regularizers]]\nlp = {}",
            "unknown field `lp`, expected one of `weight`, `on`, `penalty`",
        ),
        (
            "[loss.n_pair]\n[[regularizers]]\non = 'weights'\npenalty.lp = {}",
            "unknown variant `weights`, expected `embeddings` or `proxies`",
        ),
        (
            "[loss.n_pair]\n[[regularizers]]\nweight = 0.1",
            "missing field `penalty`",
        ),
    ] {
        let error = toml::from_str::<Objective>(recipe).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
}
