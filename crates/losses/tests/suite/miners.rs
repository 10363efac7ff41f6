//! Miners: what others choose, what random choices choose from, and what no choice may hold.

use crate::{Batch, distances, every_miner, forms_tuples, is_random, losses};
use nearkin_losses::distance::{Distance, L2};
use nearkin_losses::loss::{Columns, Contrastive, TripletMargin};
use nearkin_losses::miner::{DistanceWeighted, MarginViolating, Miner, UniformHistogram};
use nearkin_losses::range::Count;
use nearkin_losses::{
    self as losses_crate, ChaCha8Rng, Error, Exact, ExactColumns, Objective, References,
    SeedableRng, Targets, Tuples,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a miner of another system chose.
#[derive(Deserialize)]
struct Golden {
    miner: String,
    distance: String,
    triplets: Option<Vec<[u32; 3]>>,
    pairs: Option<Vec<(usize, usize)>>,
}

#[test]
fn miners_choose_what_those_of_pytorch_metric_learning_choose() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("miners.json")).unwrap();
    let (batch, numbers) = Batch::golden();
    for golden in goldens {
        let miner: Miner = toml::from_str(&golden.miner).unwrap();
        let distance: Distance = toml::from_str(&golden.distance).unwrap();
        let exact = Exact::new(&numbers, 4, &batch.labels, distance.get());
        let objective = Objective::from(TripletMargin::default())
            .with_distance(distance.clone())
            .with_miner(miner.clone());
        for tuples in [batch.tuples(&objective), miner.get().reference(&exact)] {
            if let Some(expected) = &golden.triplets {
                let mut triplets = exact.triplets(&tuples);
                triplets.sort_unstable();
                let triplets: Vec<_> = triplets.iter().map(|t| t.map(|i| i as u32)).collect();
                assert_eq!(triplets, *expected, "{miner:?} {distance:?}");
            }
            if let Some(expected) = &golden.pairs {
                let mut pairs = exact.pairs(&tuples);
                pairs.sort_unstable();
                assert_eq!(pairs, *expected, "{miner:?} {distance:?}");
            }
        }
    }
}

/// Labels of four classes of six, and embeddings with near and far negatives.
fn many_rivals() -> Batch {
    let labels: Vec<u32> = (0..24).map(|i| i % 4).collect();
    Batch::random(3, 4, &labels)
}

/// How often each triplet came in so many rounds.
fn counts(batch: &Batch, miner: &Miner, rounds: u32) -> BTreeMap<[u32; 3], u32> {
    let objective = Objective::from(TripletMargin::default())
        .with_distance(L2::default())
        .with_miner(miner.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut counts = BTreeMap::new();
    for _ in 0..rounds {
        let mined = objective.mine(batch.mat(), &batch.labels, &mut rng);
        let Tuples::Triplets(triplets) = mined.unwrap() else {
            panic!("{miner:?} lists triplets");
        };
        for triplet in triplets {
            *counts.entry(triplet).or_insert(0) += 1;
        }
    }
    counts
}

/// Checks that each candidate comes as often as its weight says, within five standard deviations.
fn assert_drawn_by_weight(miner: &Miner, weight: impl Fn(f64) -> f64) {
    let batch = many_rivals();
    let embeddings = batch.exact();
    let exact = Exact::new(&embeddings, 4, &batch.labels, &L2::default());
    let Tuples::Triplets(candidates) = miner.get().reference(&exact) else {
        panic!("{miner:?} lists triplets");
    };
    assert!(candidates.len() > 500, "{}", candidates.len());
    let rounds = 1000;
    let counts = counts(&batch, miner, rounds);
    let of = |triplet: &[u32; 3]| weight(exact.d(triplet[0] as usize, triplet[2] as usize));
    let mut drawn = 0;
    for triplet in &candidates {
        let rivals = candidates.iter().filter(|other| other[..2] == triplet[..2]);
        let expected = of(triplet) / rivals.map(of).sum::<f64>();
        let count = counts.get(triplet).copied().unwrap_or(0);
        drawn += count;
        let rounds = f64::from(rounds);
        let sigma = (rounds * expected * (1.0 - expected)).sqrt();
        let error = (f64::from(count) - rounds * expected).abs();
        assert!(
            error <= 5.0 * sigma + 1.0,
            "{triplet:?}: {count} of {rounds}, not {expected} of them"
        );
    }
    // Nothing else was drawn.
    assert_eq!(drawn, counts.values().sum::<u32>());
}

#[test]
fn negatives_inside_the_margin_are_drawn_alike() {
    let miner = MarginViolating {
        margin: nearkin_losses::range::NonNegative::literal(0.3),
    };
    assert_drawn_by_weight(&miner.into(), |_| 1.0);
}

#[test]
fn negatives_are_drawn_by_the_inverse_density_of_their_distance() {
    let miner = DistanceWeighted::default();
    // With D = 4, log q(d) = 2 log d + 1/2 log(1 - d²/4).
    let weight = |d: f64| {
        let d = d.max(0.5);
        1.0 / (d * d * (1.0 - d * d / 4.0).sqrt())
    };
    assert_drawn_by_weight(&miner.into(), weight);
}

#[test]
fn each_bin_gives_its_pairs_alike() {
    let batch = many_rivals();
    let [bins, per_bin] = [5, 7];
    let miner = UniformHistogram {
        bins: Count::literal(bins),
        positives: Count::literal(per_bin),
        negatives: Count::literal(per_bin),
    };
    let objective = Objective::from(Contrastive::default())
        .with_distance(L2::default())
        .with_miner(miner);
    let embeddings = batch.exact();
    let exact = Exact::new(&embeddings, 4, &batch.labels, &L2::default());
    let is_positive = |&(a, j): &(usize, usize)| batch.labels[a] == batch.labels[j];
    let all = exact.pairs(&Tuples::All);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let rounds = 2000;
    let mut counts = BTreeMap::new();
    for _ in 0..rounds {
        let mined = objective.mine(batch.mat(), &batch.labels, &mut rng);
        for pair in exact.pairs(&mined.unwrap()) {
            *counts.entry(pair).or_insert(0) += 1;
        }
    }
    for positive in [true, false] {
        let of_kind: Vec<_> = all
            .iter()
            .filter(|&pair| is_positive(pair) == positive)
            .collect();
        let d = |&&(a, j): &&(usize, usize)| exact.d(a, j);
        let low = of_kind.iter().map(d).fold(f64::INFINITY, f64::min);
        let high = of_kind.iter().map(d).fold(f64::NEG_INFINITY, f64::max);
        let bin = |pair: &&(usize, usize)| {
            let place = (d(pair) - low) / (high - low) * bins as f64;
            (place as usize).min(bins - 1)
        };
        for b in 0..bins {
            let inside: Vec<_> = of_kind.iter().filter(|pair| bin(pair) == b).collect();
            let expected = (per_bin as f64 / inside.len() as f64).min(1.0);
            for pair in inside {
                let count = f64::from(counts.get(*pair).copied().unwrap_or(0));
                let sigma = (f64::from(rounds) * expected * (1.0 - expected)).sqrt();
                let error = (count - f64::from(rounds) * expected).abs();
                assert!(
                    error <= 5.0 * sigma,
                    "{pair:?}: {count}, not {expected} of {rounds}"
                );
            }
        }
    }
}

#[test]
fn the_kept_share_is_that_of_the_pairs() {
    let batch = Batch::uneven(1);
    let exact = batch.exact();
    for miner in every_miner() {
        let objective = Objective::from(TripletMargin::default()).with_miner(miner);
        if objective.check().is_err() {
            continue;
        }
        let distance = objective.distance().unwrap();
        let exact = Exact::new(&exact, 3, &batch.labels, distance.get());
        let kept = exact.pairs(&batch.tuples(&objective)).len() as f32;
        let outcome = batch.evaluate(&objective).unwrap();
        assert!(
            (outcome.kept - kept / (12.0 * 11.0)).abs() < 1e-6,
            "{objective:#?}"
        );
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for (recipe, expected) in [
        (
            "[miner.batch_easy_hard]\npositive = 'semi_hard'",
            "both kinds",
        ),
        (
            "[miner.batch_easy_hard]\npositive = 'all'",
            "one kind semi_hard and all",
        ),
        (
            "[miner.angular]\n[distance.snr]",
            "miner angular goes by angles",
        ),
        (
            "[miner.distance_weighted]\n[distance.l2]\nnormalize = false",
            "miner distance_weighted goes by distances on the unit sphere",
        ),
        (
            "[miner.distance_weighted]\n[distance.lp]",
            "take the distance cosine",
        ),
    ] {
        let recipe = format!("[loss.triplet_margin]\n{recipe}");
        let objective: Objective = toml::from_str(&recipe).unwrap();
        let error = objective.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(Batch::uneven(1).evaluate(&objective).is_err());
    }
    for bounds in ["[1]", "[2, 1]", "[0, inf]", "[nan, 1]"] {
        let recipe = format!("[batch_easy_hard]\npositive_range = {bounds}");
        let error = toml::from_str::<Miner>(&recipe).unwrap_err();
        assert!(error.message().contains("the lower one first"), "{error}");
    }
}

#[test]
fn miners_choose_among_references_too() {
    let (batch, others) = (Batch::uneven(1), Batch::uneven(2));
    let references = References {
        embeddings: others.mat(),
        labels: &others.labels,
        own: None,
        learn: false,
    };
    let mut compared = 0;
    for miner in every_miner() {
        let objective = Objective::from(Contrastive::default())
            .with_distance(L2::default())
            .with_miner(miner.clone());
        let mut criterion = batch.criterion(&objective).unwrap();
        let rows = losses_crate::Batch {
            embeddings: batch.mat(),
            targets: Targets::Labels(&batch.labels),
        };
        let found = criterion.against(rows, references, &mut ChaCha8Rng::seed_from_u64(7));
        if miner.get().needs_square() {
            let miner = miner.name();
            assert_eq!(found, Err(Error::MinerReferences { miner }));
            let memory = format!(
                "[loss.cross_batch_memory.of.loss.contrastive]\n[loss.cross_batch_memory.of.miner.{miner}]"
            );
            let memory: Objective = toml::from_str(&memory).unwrap();
            assert_eq!(memory.check(), Err(Error::MinerReferences { miner }));
            continue;
        }
        let outcome = found.unwrap();
        if is_random(&miner) {
            continue;
        }
        let columns = ExactColumns {
            vectors: others.exact(),
            labels: others.labels.clone(),
            own: None,
        };
        let (embeddings, distance) = (batch.exact(), objective.distance().unwrap());
        let exact = Exact::against(&embeddings, 3, &batch.labels, columns, distance.get());
        let tuples = miner.get().reference(&exact);
        let expected = objective.reference(&exact, &tuples);
        crate::assert_close(f64::from(outcome.value), expected, 1e-5, &miner);
        assert_eq!(outcome.tuples, exact.pairs(&tuples).len(), "{miner:?}");
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

/// Every tuple of a choice, spelled out as the indices of the list, of the mask or of the band.
fn spelled_out(tuples: &Tuples, batch: &Exact<'_>) -> Vec<Vec<usize>> {
    match tuples {
        Tuples::Tuplets { width, indices } => {
            let tuplets = indices.chunks_exact(*width);
            tuplets
                .map(|t| t.iter().map(|&i| i as usize).collect())
                .collect()
        }
        Tuples::Pairs(mask) => {
            let every =
                (0..batch.rows()).flat_map(|a| (0..batch.columns()).map(move |j| vec![a, j]));
            every
                .filter(|pair| mask.contains(pair[0], pair[1]))
                .collect()
        }
        tuples => batch.triplets(tuples).iter().map(|t| t.to_vec()).collect(),
    }
}

/// No item with itself, the classes as they should be, nothing twice.
fn assert_sound(tuples: &Tuples, batch: &Exact<'_>, what: &dyn std::fmt::Debug) {
    let mut seen = BTreeSet::new();
    for tuple in spelled_out(tuples, batch) {
        let (a, others) = tuple.split_first().unwrap();
        assert!(
            others.iter().all(|j| j != a),
            "{tuple:?} holds an item with itself: {what:#?}"
        );
        if tuple.len() > 2 {
            assert_eq!(
                batch.label(*a),
                batch.label_of_column(tuple[1]),
                "{tuple:?}: {what:#?}"
            );
            for &n in &tuple[2..] {
                assert_ne!(
                    batch.label(*a),
                    batch.label_of_column(n),
                    "{tuple:?}: {what:#?}"
                );
            }
        }
        let distinct: BTreeSet<_> = tuple.iter().collect();
        assert_eq!(distinct.len(), tuple.len(), "{tuple:?}: {what:#?}");
        assert!(
            seen.insert(tuple.clone()),
            "{tuple:?} comes twice: {what:#?}"
        );
    }
}

#[test]
fn no_tuple_holds_an_item_with_itself_or_the_wrong_classes_or_comes_twice() {
    let equal = |labels: &[u32]| Batch {
        embeddings: vec![0.5; labels.len() * 3],
        cols: 3,
        labels: labels.to_vec(),
    };
    let mut duplicates = Batch::uneven(9);
    duplicates.embeddings.copy_within(0..9, 9);
    let mut one_zero = Batch::uneven(9);
    one_zero.embeddings[6..9].fill(0.0);
    let skewed: Vec<u32> = (0..70_u32).map(u32::leading_zeros).collect();
    let batches = [
        Batch::random(1, 3, &[]),
        Batch::random(1, 3, &[5]),
        Batch::random(2, 3, &[5; 6]),
        Batch::random(3, 3, &[5, 6, 7, 8]),
        Batch::uneven(4),
        equal(&[1, 1, 2, 2, 3]),
        duplicates,
        one_zero,
        Batch::random(6, 3, &skewed),
        Batch::random(7, 1, &[1, 1, 2, 2, 2, 3]),
    ];
    for batch in &batches {
        let embeddings = batch.exact();
        for distance in distances() {
            let exact = Exact::new(&embeddings, batch.cols, &batch.labels, distance.get());
            let of_miners = every_miner()
                .into_iter()
                .map(|miner| Objective::from(Contrastive::default()).with_miner(miner));
            let forms = losses().into_iter().filter(|loss| {
                let definition = loss.definition();
                forms_tuples(loss)
                    && definition.default_distance().is_some()
                    && definition.columns() == Columns::Items
            });
            for objective in of_miners.chain(forms.map(Objective::from)) {
                let objective = objective.with_distance(distance.clone());
                if objective.check().is_err() {
                    continue;
                }
                for seed in 0..if objective.miner().is_none_or(|m| is_random(&m)) {
                    5
                } else {
                    1
                } {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    let mined = objective.mine(batch.mat(), &batch.labels, &mut rng);
                    assert_sound(&mined.unwrap(), &exact, &objective);
                }
            }
        }
    }
}
