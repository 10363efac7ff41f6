//! Fused losses against references written from the definitions.

use crate::{
    Batch, Numbers, assert_all_close, assert_close, distances, every_miner, forms_tuples, gradient,
    is_random, miners, objectives, pair_losses, reducers,
};
use nearkin_losses::loss::TripletMargin;
use nearkin_losses::miner::{SemiHard, semi_hard::Choice};
use nearkin_losses::range::Positive;
use nearkin_losses::{ChaCha8Rng, Exact, Objective, SeedableRng, Tuples};

/// The gradient by central differences of the reference over fixed tuples.
fn central_differences(
    objective: &Objective,
    batch: &Batch,
    numbers: &Numbers,
    tuples: &Tuples,
) -> Vec<f64> {
    let h = 1e-6;
    let value = |k: usize, step: f64| {
        let moved = numbers.moved(step, |place| f64::from(u8::from(place == k)));
        batch.reference_near(objective, [numbers, &moved], tuples)
    };
    (0..numbers.len())
        .map(|k| (value(k, h) - value(k, -h)) / (2.0 * h))
        .collect()
}

/// Checks value and whole gradient; whether there was anything to compare.
pub fn agrees_everywhere(batch: &Batch, objective: &Objective) -> bool {
    let mut criterion = batch.criterion(objective).unwrap();
    let numbers = Numbers::new(batch, &criterion);
    let tuples = batch.tuples(objective);
    let outcome = batch.run(&mut criterion).unwrap();
    let expected = batch.reference(objective, &numbers, &tuples);
    assert_close(f64::from(outcome.value), expected, 1e-5, objective);
    let slopes = central_differences(objective, batch, &numbers, &tuples);
    assert_all_close(&gradient(&outcome), &slopes, 2e-5, objective);
    assert!((0.0..=1.0).contains(&outcome.active), "{objective:#?}");
    outcome.tuples > 0 && outcome.value != 0.0
}

#[test]
fn values_and_gradients_are_those_of_the_references() {
    let batch = Batch::uneven(1);
    let compared = objectives()
        .filter(|objective| agrees_everywhere(&batch, objective))
        .count();
    assert!(
        compared > 700,
        "only {compared} combinations had anything to compare"
    );
}

#[test]
fn every_reducer_goes_with_every_loss_of_terms() {
    let batch = Batch::uneven(2);
    let mut compared = 0;
    for loss in pair_losses() {
        for reducer in reducers() {
            let objective = Objective::from(loss.clone()).with_reducer(reducer);
            if objective.check().is_ok() {
                compared += usize::from(agrees_everywhere(&batch, &objective));
            }
        }
    }
    assert!(
        compared > 70,
        "only {compared} combinations had anything to compare"
    );
}

#[test]
fn large_batches_agree_too() {
    // Above the sizes of tiles, words of a mask and blocks of exponentials.
    let labels: Vec<u32> = (0..150).map(|i| i * i % 31).collect();
    let batch = Batch::random(2, 20, &labels);
    // Their references list what there is B³ or B⁴ of.
    let smaller = Batch::random(2, 20, &labels[..40]);
    for objective in crate::main_objectives() {
        let many = ["quadruplet"].contains(&objective.loss.name());
        agrees_along_a_line(if many { &smaller } else { &batch }, &objective);
    }
}

#[test]
fn large_classes_agree_too() {
    // Above the number of positives that are compared one by one.
    let labels: Vec<u32> = (0..70).map(|i| i * i % 3).collect();
    let batch = Batch::random(3, 5, &labels);
    for loss in pair_losses().filter(|loss| !forms_tuples(loss)) {
        for miner in miners() {
            let objective = Objective::from(loss.clone()).with_miner(miner);
            if objective.check().is_ok() {
                agrees_along_a_line(&batch, &objective);
            }
        }
    }
}

#[test]
fn large_classes_of_losses_that_form_their_own_tuples_agree_too() {
    // Twelve items of a class have 66 distances: more thresholds than are compared one by one.
    let labels: Vec<u32> = (0..36).map(|i| i % 3).collect();
    let batch = Batch::random(5, 4, &labels);
    for loss in pair_losses().filter(forms_tuples) {
        agrees_along_a_line(&batch, &Objective::from(loss));
    }
}

/// Checks the value, and the gradient along one direction, where the central difference is cheap.
fn agrees_along_a_line(batch: &Batch, objective: &Objective) {
    let mut criterion = batch.criterion(objective).unwrap();
    let numbers = Numbers::new(batch, &criterion);
    let tuples = batch.tuples(objective);
    let outcome = batch.run(&mut criterion).unwrap();
    let expected = batch.reference(objective, &numbers, &tuples);
    assert_close(f64::from(outcome.value), expected, 1e-5, objective);
    let direction = |k: usize| (k as f64).sin();
    let moved = |step: f64| {
        let moved = numbers.moved(step, direction);
        batch.reference_near(objective, [&numbers, &moved], &tuples)
    };
    let slope = (moved(1e-7) - moved(-1e-7)) / 2e-7;
    let slopes = gradient(&outcome);
    let parts = slopes
        .iter()
        .enumerate()
        .map(|(k, &g)| f64::from(g) * direction(k));
    let size: f64 = parts.clone().map(f64::abs).sum();
    assert!(
        (parts.sum::<f64>() - slope).abs() <= 1e-4 * size.max(1e-3),
        "{objective:#?}"
    );
}

#[test]
fn miners_choose_what_their_definitions_say() {
    let few_classes: Vec<u32> = (0..70).map(|i| i * i % 3).collect();
    let batches = (0..20)
        .map(Batch::uneven)
        .chain([Batch::random(3, 5, &few_classes)]);
    for batch in batches {
        for distance in distances() {
            let exact = batch.exact();
            let exact = Exact::new(&exact, batch.cols, &batch.labels, distance.get());
            for miner in every_miner() {
                let objective = Objective::from(TripletMargin::default())
                    .with_distance(distance.clone())
                    .with_miner(miner.clone());
                if objective.check().is_err() {
                    continue;
                }
                let mined = batch.tuples(&objective);
                let expected = miner.get().reference(&exact);
                // A list says more than its pairs, and pairs of one kind alone form no triplets.
                let spelled = |tuples: &Tuples| {
                    let sorted = |mut triplets: Vec<_>| {
                        triplets.sort_unstable();
                        triplets
                    };
                    (sorted(exact.triplets(tuples)), exact.pairs(tuples))
                };
                let (mined, expected) = (spelled(&mined), spelled(&expected));
                if is_random(&miner) {
                    let within = mined.0.iter().all(|t| expected.0.binary_search(t).is_ok())
                        && mined.1.iter().all(|pair| expected.1.contains(pair));
                    assert!(within, "{miner:?} {distance:?}");
                } else {
                    assert_eq!(mined, expected, "{miner:?} {distance:?}");
                }
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
    let distance = objective.distance().unwrap();
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
    let of_miner = |miner| Objective::from(TripletMargin::default()).with_miner(miner);
    let mined = every_miner()
        .into_iter()
        .chain([random.into()])
        .map(of_miner);
    let mined = mined.filter(|objective| objective.check().is_ok());
    for objective in crate::main_objectives().chain(mined) {
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
