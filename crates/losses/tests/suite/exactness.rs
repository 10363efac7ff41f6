//! Fused losses against references written from the definitions.

use crate::{Batch, assert_all_close, assert_close, distances, miners, objectives};
use nearkin_losses::loss::TripletMargin;
use nearkin_losses::miner::{SemiHard, semi_hard::Choice};
use nearkin_losses::range::Positive;
use nearkin_losses::{ChaCha8Rng, Exact, Objective, SeedableRng, Tuples};

/// `∂L/∂E` by central differences of the reference over fixed tuples.
fn central_differences(objective: &Objective, batch: &Batch, tuples: &Tuples) -> Vec<f64> {
    let h = 1e-6;
    let mut embeddings = batch.exact();
    let mut value = |k: usize, step: f64| {
        let kept = embeddings[k];
        embeddings[k] += step;
        let value = objective.reference(&embeddings, batch.cols, &batch.labels, tuples);
        embeddings[k] = kept;
        value
    };
    (0..batch.embeddings.len())
        .map(|k| (value(k, h) - value(k, -h)) / (2.0 * h))
        .collect()
}

#[test]
fn values_and_gradients_are_those_of_the_references() {
    let batch = Batch::uneven(1);
    let mut with_tuples = 0;
    for objective in objectives() {
        let tuples = objective
            .mine(
                batch.mat(),
                &batch.labels,
                &mut ChaCha8Rng::seed_from_u64(7),
            )
            .unwrap();
        let outcome = batch.evaluate(&objective).unwrap();
        let expected = objective.reference(&batch.exact(), batch.cols, &batch.labels, &tuples);
        assert_close(f64::from(outcome.value), expected, 1e-5, &objective);
        let gradient = central_differences(&objective, &batch, &tuples);
        assert_all_close(&outcome.gradient, &gradient, 2e-5, &objective);
        assert!((0.0..=1.0).contains(&outcome.active), "{objective:#?}");
        with_tuples += u32::from(outcome.tuples > 0 && outcome.value > 0.0);
    }
    assert!(
        with_tuples > 1000,
        "only {with_tuples} combinations had anything to compare"
    );
}

#[test]
fn large_batches_agree_too() {
    // Above the sizes of tiles, words of a mask and blocks of exponentials.
    let labels: Vec<u32> = (0..150).map(|i| i * i % 31).collect();
    let batch = Batch::random(2, 20, &labels);
    for objective in crate::main_objectives() {
        agrees_with_its_reference(&batch, &objective);
    }
}

#[test]
fn large_classes_agree_too() {
    // Above the number of positives that are compared one by one.
    let labels: Vec<u32> = (0..70).map(|i| i * i % 3).collect();
    let batch = Batch::random(3, 5, &labels);
    for loss in crate::losses()
        .into_iter()
        .filter(|loss| !loss.get().forms_tuples())
    {
        for miner in miners() {
            agrees_with_its_reference(&batch, &Objective::from(loss.clone()).with_miner(miner));
        }
    }
}

fn agrees_with_its_reference(batch: &Batch, objective: &Objective) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tuples = objective
        .mine(batch.mat(), &batch.labels, &mut rng)
        .unwrap();
    let outcome = batch.evaluate(objective).unwrap();
    let expected = objective.reference(&batch.exact(), batch.cols, &batch.labels, &tuples);
    assert_close(f64::from(outcome.value), expected, 1e-5, objective);
    // Along one direction the central difference is cheap.
    let direction: Vec<f64> = (0..batch.embeddings.len())
        .map(|k| (k as f64).sin())
        .collect();
    let moved = |step: f64| {
        let embeddings: Vec<_> = batch
            .exact()
            .iter()
            .zip(&direction)
            .map(|(e, d)| e + step * d)
            .collect();
        objective.reference(&embeddings, batch.cols, &batch.labels, &tuples)
    };
    let slope = (moved(1e-7) - moved(-1e-7)) / 2e-7;
    let parts = outcome
        .gradient
        .iter()
        .zip(&direction)
        .map(|(&g, d)| f64::from(g) * d);
    let size: f64 = parts.clone().map(f64::abs).sum();
    assert!(
        (parts.sum::<f64>() - slope).abs() <= 1e-4 * size.max(1e-3),
        "{objective:#?}"
    );
}

#[test]
fn miners_choose_what_their_definitions_say() {
    let sorted = |tuples| match tuples {
        Tuples::Triplets(mut triplets) => {
            triplets.sort_unstable();
            Tuples::Triplets(triplets)
        }
        tuples => tuples,
    };
    let few_classes: Vec<u32> = (0..70).map(|i| i * i % 3).collect();
    let batches = (0..20)
        .map(Batch::uneven)
        .chain([Batch::random(3, 5, &few_classes)]);
    for batch in batches {
        for distance in distances() {
            let exact = batch.exact();
            let exact = Exact::new(&exact, batch.cols, &batch.labels, distance.get());
            for miner in miners() {
                let objective = Objective::from(TripletMargin::default())
                    .with_distance(distance.clone())
                    .with_miner(miner.clone());
                let mined = objective
                    .mine(
                        batch.mat(),
                        &batch.labels,
                        &mut ChaCha8Rng::seed_from_u64(7),
                    )
                    .unwrap();
                assert_eq!(
                    sorted(mined),
                    sorted(miner.get().reference(&exact)),
                    "{miner:?} {distance:?}"
                );
            }
        }
    }
}

#[test]
fn random_semi_hard_negatives_are_drawn_from_all_inside_the_margin_alike() {
    let labels: Vec<u32> = (0..24).map(|i| i % 6).collect();
    let batch = Batch::random(3, 4, &labels);
    let miner = SemiHard {
        choice: Choice::Random,
        margin: Positive::literal(0.8),
        ..SemiHard::default()
    };
    let objective = Objective::from(TripletMargin::default()).with_miner(miner.clone());
    let exact = batch.exact();
    let distance = objective.distance();
    let Tuples::Triplets(candidates) = nearkin_losses::miner::TupleMiner::reference(
        &miner,
        &Exact::new(&exact, 4, &labels, distance.get()),
    ) else {
        panic!("semi-hard negatives come in triplets");
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rounds = 400;
    let mut drawn = std::collections::BTreeMap::new();
    for _ in 0..rounds {
        let Tuples::Triplets(triplets) = objective.mine(batch.mat(), &labels, &mut rng).unwrap()
        else {
            panic!("semi-hard negatives come in triplets");
        };
        for triplet in triplets {
            *drawn.entry(triplet).or_insert(0) += 1;
        }
    }
    assert!(drawn.keys().all(|triplet| candidates.contains(triplet)));
    assert!(candidates.len() > 100);
    for triplet in &candidates {
        let rivals = candidates
            .iter()
            .filter(|other| other[..2] == triplet[..2])
            .count();
        let share = f64::from(drawn.get(triplet).copied().unwrap_or(0)) / f64::from(rounds);
        let expected = 1.0 / rivals as f64;
        let five_sigma = 5.0 * (expected * (1.0 - expected) / f64::from(rounds)).sqrt();
        assert!(
            (share - expected).abs() <= five_sigma,
            "{triplet:?}: {share}, not {expected}"
        );
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let labels: Vec<u32> = (0..200).map(|i| i / 4).collect();
    let batch = Batch::random(4, 32, &labels);
    let random = SemiHard {
        choice: Choice::Random,
        ..SemiHard::default()
    };
    let drawn = Objective::from(TripletMargin::default()).with_miner(random);
    for objective in crate::main_objectives().chain([drawn]) {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| batch.evaluate(&objective).unwrap())
        };
        let one = on(1);
        assert!(one == on(2) && one == on(5), "{objective:#?}");
    }
}
