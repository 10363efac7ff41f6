//! Times every loss forward and backward on one batch and prints `{"name": milliseconds}`, for the peer script.
//!
//! `peer_losses [B] [D] [ITEMS_PER_CLASS] [THREADS] [ROUNDS]`, by default 1024 128 4 2 20. Medians over the rounds; one
//! round times each loss once, so that a busy machine hits all alike.

use nearkin_kernels::{Beta, Mat, MatMut, gemm, set_threads};
use nearkin_losses::distance::{Cosine, L2};
use nearkin_losses::loss::{Contrastive, MultiSimilarity, NPair, TripletMargin};
use nearkin_losses::miner::{self, All, BatchHard, SemiHard};
use nearkin_losses::{ChaCha8Rng, Objective, SeedableRng};
use rand::RngExt;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

fn objectives() -> Vec<(&'static str, Objective)> {
    let triplets = || Objective::from(TripletMargin::default()).with_distance(L2::default());
    let pml_semi_hard = miner::TripletMargin {
        kind: miner::triplet_margin::Kind::SemiHard,
        ..Default::default()
    };
    let smooth = TripletMargin {
        smooth: true,
        ..TripletMargin::default()
    };
    let swap = TripletMargin {
        swap: true,
        ..TripletMargin::default()
    };
    let pml_contrastive = Contrastive {
        squared: false,
        ..Contrastive::default()
    };
    vec![
        (
            "triplet_margin/semi_hard",
            triplets().with_miner(SemiHard::default()),
        ),
        (
            "triplet_margin/semi_hard_band",
            triplets().with_miner(pml_semi_hard),
        ),
        ("triplet_margin/all", triplets().with_miner(All {})),
        (
            "triplet_margin/batch_hard",
            triplets().with_miner(BatchHard {}),
        ),
        (
            "triplet_margin/all/smooth",
            Objective::from(smooth).with_miner(All {}),
        ),
        (
            "triplet_margin/all/swap",
            Objective::from(swap).with_miner(All {}),
        ),
        (
            "contrastive",
            Objective::from(pml_contrastive).with_distance(L2::default()),
        ),
        ("n_pair", NPair::default().into()),
        (
            "multi_similarity/all",
            Objective::from(MultiSimilarity::default()).with_miner(All {}),
        ),
        (
            "multi_similarity",
            Objective::from(MultiSimilarity::default()).with_distance(Cosine {}),
        ),
    ]
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().expect("arguments are numbers"))
        .collect();
    let argument = |k: usize, default| given.get(k).copied().unwrap_or(default);
    let (b, d, items) = (argument(0, 1024), argument(1, 128), argument(2, 4));
    set_threads(argument(3, 2)).expect("no kernel has run yet");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let embeddings: Vec<f32> = (0..b * d)
        .map(|_| rng.random::<f32>() * 2.0 - 1.0)
        .collect();
    let labels: Vec<u32> = (0..b).map(|i| (i / items) as u32).collect();
    let batch = Mat::new(&embeddings, b, d);

    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let (mut s, mut de) = (vec![0.0; b * b], vec![0.0; b * d]);
    for _ in 0..argument(4, 20) {
        let gemms = milliseconds(|| {
            gemm(
                MatMut::new(&mut s, b, b),
                Beta::Overwrite,
                1.0,
                batch,
                batch.t(),
            );
            gemm(
                MatMut::new(&mut de, b, d),
                Beta::Overwrite,
                1.0,
                Mat::new(&s, b, b),
                batch,
            );
        });
        times.entry("two_gemms").or_default().push(gemms);
        for (name, objective) in objectives() {
            let time = milliseconds(|| {
                black_box(objective.value_and_grad(batch, &labels, &mut rng))
                    .expect("the batch is sound");
            });
            times.entry(name).or_default().push(time);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2] * 1e3).round() / 1e3
    };
    let medians: BTreeMap<_, _> = times
        .into_iter()
        .map(|(name, values)| (name, median(values)))
        .collect();
    println!(
        "{}",
        serde_json::to_string_pretty(&medians).expect("names and numbers are JSON")
    );
}
