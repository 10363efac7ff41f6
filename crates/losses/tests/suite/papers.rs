//! What the papers say about single losses: printed gradients, identities between losses, pairs from elsewhere.

use crate::{Batch, assert_all_close, assert_close, has_proxies, main_objectives};
use nearkin_losses::distance::{Distances, Dot};
use nearkin_losses::loss::quadruplet::{Gradient, Margins};
use nearkin_losses::loss::{
    Constellation, HarmonicTriplet, NPair, NPairOvo, Quadruplet, SmoothTriplet, TripletMargin,
    Tuplet,
};
use nearkin_losses::miner::All;
use nearkin_losses::range::{Count, NonNegative};
use nearkin_losses::{
    self as losses_crate, Aligned, ChaCha8Rng, Error, Mat, Objective, Outcome, References,
    SeedableRng, Targets, Tuples,
};

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// `[a₁, a₂]` of Eq. 4 of the quadruplet paper: `N_p = M` and `N_n = 2M`.
fn adaptive(samples: &[[f64; 3]]) -> [f64; 2] {
    let m = samples.len() as f64;
    let mean_p = samples.iter().map(|g| g[0] * g[0]).sum::<f64>() / m;
    let negatives = samples.iter().map(|g| g[1] * g[1] + g[2] * g[2]);
    let mu = negatives.sum::<f64>() / (2.0 * m) - mean_p;
    [mu.max(0.0), mu.max(0.0) / 2.0]
}

/// The two terms of Eq. 3 of one sample.
fn terms(g: [f64; 3], a: [f64; 2]) -> f64 {
    let term = |k: usize| (g[0] * g[0] - g[k + 1] * g[k + 1] + a[k]).max(0.0);
    term(0) + term(1)
}

/// Samples of a learned metric: terms violated both, one of the two, and none.
const SAMPLES: [[f32; 3]; 5] = [
    [0.5, 0.55, 0.5],
    [0.1, 0.3, 0.9],
    [0.2, 0.95, 0.3],
    [0.05, 0.9, 0.95],
    [0.4, 0.7, 0.35],
];

fn gradient_of_samples(gradient: Gradient) -> (f64, Vec<f32>) {
    let loss = Quadruplet {
        margins: Margins::Adaptive,
        gradient,
        ..Quadruplet::default()
    };
    let (value, slopes) = loss.of_samples(&SAMPLES);
    (value, slopes.concat())
}

fn exact_samples() -> Vec<[f64; 3]> {
    SAMPLES.iter().map(|g| g.map(f64::from)).collect()
}

/// Central differences of `value` in each number of each sample.
fn differences(value: impl Fn(&[[f64; 3]], usize) -> f64) -> Vec<f64> {
    let (samples, h) = (exact_samples(), 1e-6);
    let moved = |i: usize, k: usize, step: f64| {
        let mut moved = samples.clone();
        moved[i][k] += step;
        value(&moved, i)
    };
    let slope = |at: usize| {
        let (i, k) = (at / 3, at % 3);
        (moved(i, k, h) - moved(i, k, -h)) / (2.0 * h)
    };
    (0..3 * samples.len()).map(slope).collect()
}

#[test]
fn the_gradient_of_the_quadruplet_paper_is_the_one_it_prints() {
    let samples = exact_samples();
    let (m, a) = (samples.len() as f64, adaptive(&samples));
    let mut printed = Vec::new();
    for [ij, ik, lk] in samples.iter().copied() {
        let first = f64::from(u8::from(ik * ik - ij * ij < a[0]));
        let second = f64::from(u8::from(lk * lk - ij * ij < a[1]));
        printed.push((2.0 - 2.0 / m) * ij * first + (2.0 - 1.0 / m) * ij * second);
        printed.push((-2.0 + 3.0 / (2.0 * m)) * ik * first);
        printed.push((-2.0 + 3.0 / (2.0 * m)) * lk * second);
    }
    let (value, slopes) = gradient_of_samples(Gradient::Paper);
    assert_all_close(&slopes, &printed, 1e-6, &"Eq. 5");
    let expected: f64 = samples.iter().map(|&g| terms(g, a)).sum();
    assert_close(value, expected, 1e-6, &"Eq. 3");
    // Where it comes from: the terms of a sample alone, its margins moving with its own pairs. A negative is in one term but
    // moves both margins, so that the two agree only where both terms are violated.
    let own = differences(|moved, i| terms(moved[i], adaptive(moved)));
    for (i, g) in samples.iter().enumerate() {
        let both = (1..3).all(|k| g[k] * g[k] - g[0] * g[0] < a[k - 1]);
        let count = if both { 3 } else { 1 };
        let part = 3 * i..3 * i + count;
        assert_all_close(&slopes[part.clone()], &own[part], 1e-5, &i);
    }
    assert!(
        slopes.iter().filter(|&&slope| slope == 0.0).count() >= 4,
        "some terms are at rest"
    );
}

#[test]
fn margins_held_or_not_have_the_gradient_of_differences() {
    let a = adaptive(&exact_samples());
    let held = differences(|moved, i| terms(moved[i], a));
    let (_, slopes) = gradient_of_samples(Gradient::Stopped);
    assert_all_close(&slopes, &held, 1e-5, &"held");
    let full = differences(|moved, _| {
        let a = adaptive(moved);
        moved.iter().map(|&g| terms(g, a)).sum()
    });
    let (_, slopes) = gradient_of_samples(Gradient::Full);
    assert_all_close(&slopes, &full, 1e-5, &"full");
}

#[test]
fn without_a_gap_the_adaptive_margin_is_zero() {
    let loss = Quadruplet {
        margins: Margins::Adaptive,
        ..Quadruplet::default()
    };
    // The positive at 0.64, the negatives at 0.25 and 0.36, hence μ < 0 and the terms 0.64 - 0.25 and 0.64 - 0.36.
    let (value, _) = loss.of_samples(&[[0.8, 0.5, 0.6]]);
    assert!((value - 0.67).abs() < 1e-6);
    assert_eq!(loss.of_samples(&[]), (0.0, Vec::new()));
}

#[test]
fn scores_of_pairs_are_as_good_as_embeddings() {
    let batch = Batch::uneven(4);
    let b = batch.labels.len();
    let mut compared = 0;
    for objective in main_objectives().filter(|objective| !has_proxies(&objective.loss)) {
        let distance = objective.distance().unwrap();
        let distances = Distances::among(distance.get(), &batch.embeddings, batch.cols).unwrap();
        let s = distances.s().to_vec();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let of_scores = match objective.of_scores(Mat::new(&s, b, b), &batch.labels, &mut rng) {
            Err(Error::Stateful { .. }) => continue,
            of_scores => of_scores.unwrap(),
        };
        let outcome = batch.evaluate(&objective).unwrap();
        assert_eq!(of_scores.tuples, outcome.tuples, "{objective:#?}");
        if !["n_pair", "n_pair_ovo"].contains(&objective.loss.name()) {
            assert_eq!(of_scores.value.to_bits(), outcome.value.to_bits());
            // What all slopes have in common is multiplied into `G` here and into the gradient there.
            let through = distances.gradient(&of_scores.gradient);
            let through: Vec<f64> = through.into_iter().map(f64::from).collect();
            assert_all_close(&outcome.gradient, &through, 1e-6, &objective);
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn bad_scores_are_named() {
    let objective = Objective::from(Quadruplet::default());
    let of = |objective: &Objective, s: Mat<'_>, labels: &[u32]| {
        let error = objective.of_scores(s, labels, &mut rng()).unwrap_err();
        error.to_string()
    };
    let s = [0.0, 1.0, f32::NAN, 0.0];
    let found = of(&objective, Mat::new(&s, 2, 2), &[0, 1]);
    assert!(
        found.contains("embedding 1 holds NaN in column 0"),
        "{found}"
    );
    let found = of(&objective, Mat::new(&s, 1, 4), &[0]);
    assert!(found.contains("have 4 components, expected 1"), "{found}");
    let found = of(&objective, Mat::new(&s, 2, 2), &[0]);
    assert!(found.contains("2 embeddings and 1 labels"), "{found}");
    for (recipe, expected) in [
        ("[loss.proxy_nca]", "has learned parameters"),
        ("[loss.margin]", "has learned parameters"),
        ("[loss.cosent]", "is no function of pair scores"),
    ] {
        let found = of(&toml::from_str(recipe).unwrap(), Mat::new(&[], 0, 0), &[]);
        assert!(found.contains(expected), "{found}");
    }
}

/// A constellation over given negatives, through the tuplets that aligned views spell out.
fn aligned(objective: &Objective, embeddings: &[f32], cols: usize, views: usize) -> Outcome {
    let batch = losses_crate::Batch {
        embeddings: Mat::new(embeddings, embeddings.len() / cols, cols),
        targets: Targets::Aligned(Aligned {
            views,
            ..Aligned::pairs()
        }),
    };
    objective.evaluate(batch, &mut rng()).unwrap()
}

fn constellation(k: usize) -> Objective {
    let k = Count::new(k).unwrap();
    Objective::from(Constellation {
        k,
        ..Constellation::default()
    })
}

#[test]
fn a_constellation_of_one_is_a_smooth_triplet() {
    let batch = Batch::uneven(2);
    let objective = constellation(1);
    let outcome = batch.evaluate(&objective).unwrap();
    let Tuples::Tuplets { width: 3, indices } = batch.tuples(&objective) else {
        panic!("one negative makes a triplet");
    };
    let distance = Dot { normalize: true };
    let distances = Distances::among(&distance, &batch.embeddings, batch.cols).unwrap();
    let d = |i: u32, j: u32| f64::from(distances.s()[(i * 12 + j) as usize]);
    let terms = indices
        .chunks(3)
        .map(|t| (d(t[0], t[1]) - d(t[0], t[2])).exp().ln_1p());
    let expected = terms.sum::<f64>() / (indices.len() / 3) as f64;
    assert_close(f64::from(outcome.value), expected, 1e-6, &"softplus");
    let triplets = Batch::random(5, 4, &[0; 9]).embeddings;
    let smooth = Objective::from(SmoothTriplet {}).with_distance(distance);
    let [one, other] = [objective, smooth].map(|objective| aligned(&objective, &triplets, 4, 3));
    assert_close(
        f64::from(one.value),
        f64::from(other.value),
        1e-6,
        &"triplets",
    );
    assert_all_close(&one.gradient, &to_f64(&other.gradient), 1e-6, &"triplets");
}

#[test]
fn a_constellation_of_all_negatives_is_a_tuplet() {
    // Twelve items, of which at most ten are negatives: more are asked for than there are.
    let batch = Batch::uneven(2);
    let tuplet = Objective::from(Tuplet {}).with_distance(Dot { normalize: true });
    let expected = batch.evaluate(&tuplet).unwrap();
    let objective = constellation(11);
    let outcome = batch.evaluate(&objective).unwrap();
    assert_close(
        f64::from(outcome.value),
        f64::from(expected.value),
        1e-6,
        &"all",
    );
    assert_all_close(&outcome.gradient, &to_f64(&expected.gradient), 1e-5, &"all");
    // Classes of 2, 3, 4 and 2 have 22 positive pairs, and all of them are short of 11 negatives.
    let short = |objective: &Objective| batch.evaluate(objective).unwrap().short;
    assert_eq!([short(&objective), short(&constellation(2))], [22, 0]);
}

#[test]
fn a_constellation_over_one_key_of_each_class_is_the_n_pair_loss() {
    let (n, cols) = (4, 3);
    let labels: Vec<u32> = (0..2 * n as u32).map(|i| i / 2).collect();
    let batch = Batch::random(6, cols, &labels);
    let row = |i: usize| &batch.embeddings[i * cols..][..cols];
    // View 0 are the queries, view 1 their keys, and view 1 + v the keys v places further on.
    let mut views: Vec<f32> = (0..n).flat_map(|i| row(2 * i).to_vec()).collect();
    for v in 0..n {
        views.extend((0..n).flat_map(|i| row(2 * ((i + v) % n) + 1).to_vec()));
    }
    let raw = Dot { normalize: false };
    let of_views = aligned(
        &constellation(n - 1).with_distance(raw),
        &views,
        cols,
        n + 1,
    );
    let n_pair = NPair {
        norm_penalty: NonNegative::literal(0.0),
        ..NPair::default()
    };
    let outcome = batch.evaluate(&n_pair.into()).unwrap();
    assert_close(
        f64::from(of_views.value),
        f64::from(outcome.value),
        1e-6,
        &"mc",
    );
}

#[test]
fn one_vs_one_is_the_same_for_two_classes_and_larger_for_more() {
    let values = |labels: &[u32]| {
        let batch = Batch::random(7, 3, labels);
        let value = |objective: Objective| batch.evaluate(&objective).unwrap().value;
        [
            value(NPair::default().into()),
            value(NPairOvo::default().into()),
        ]
    };
    let [mc, ovo] = values(&[0, 1, 1, 0]);
    assert!((mc - ovo).abs() < 1e-6);
    let [mc, ovo] = values(&[0, 1, 1, 0, 2, 2, 3, 3]);
    assert!(mc < ovo);
}

#[test]
fn groups_and_their_reference_are_those_of_a_batch_by_hand() {
    // Two groups of three equal points: in each, (0, 1, 2) and (1, 0, 2) are triplets, 25 slots are none.
    let batch = Batch {
        embeddings: vec![1.0; 6],
        cols: 1,
        labels: vec![0, 0, 1, 2, 2, 3],
    };
    let value = |mode: &str| {
        let recipe = format!("[loss.constellation]\nk = 2\nmode = '{mode}'");
        let objective = toml::from_str(&recipe).unwrap();
        f64::from(batch.evaluate(&objective).unwrap().value)
    };
    assert_close(value("groups"), 3_f64.ln(), 1e-6, &"groups");
    assert_close(value("reference"), 27.0 * 3_f64.ln() / 1e3, 1e-6, &"sum");
}

#[test]
fn harmonic_triplets_are_those_with_a_new_member() {
    let labels = [0, 0, 1, 1, 2, 0, 0, 1, 1, 2];
    let batch = Batch::random(8, 3, &labels);
    let tuples = |objective: Objective, batch: &Batch| {
        let objective = objective.with_miner(All {});
        batch.evaluate(&objective).unwrap().tuples
    };
    let old = Batch::random(8, 3, &labels[..5]);
    let [pool, of_old] = [&batch, &old].map(|b| tuples(TripletMargin::default().into(), b));
    let found = tuples(HarmonicTriplet::default().into(), &batch);
    assert_eq!((found, of_old), (pool - of_old, 12));

    // New anchors against all of the pool: what of the pool's triplets has a new anchor.
    let shape = losses_crate::loss::Shape { dim: 3, classes: 3 };
    let objective = Objective::from(HarmonicTriplet::default()).with_miner(All {});
    let mut criterion = losses_crate::Criterion::new(objective, shape, 0).unwrap();
    let references = References {
        embeddings: batch.mat(),
        labels: &labels,
        own: Some(5),
        learn: false,
    };
    let new = losses_crate::Batch {
        embeddings: Mat::new(&batch.embeddings[15..], 5, 3),
        targets: Targets::Labels(&labels[5..]),
    };
    let outcome = criterion.against(new, references, &mut rng()).unwrap();
    // Four anchors of 0 and 1 have three positives and six negatives, the anchor of 2 one and eight.
    assert_eq!(outcome.tuples, 4 * 18 + 8);
}
