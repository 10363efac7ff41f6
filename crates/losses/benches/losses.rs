//! `cargo bench -p nearkin-losses`: forward and backward from embeddings `[B, 128]` in classes of four, two threads,
//! beside the two matrix products that no loss can avoid.

use divan::{Bencher, black_box};
use nearkin_kernels::{Beta, Mat, MatMut, gemm, set_threads};
use nearkin_losses::loss::{Contrastive, MultiSimilarity, NPair, Quadruplet, TripletMargin};
use nearkin_losses::miner::{All, BatchHard, SemiHard};
use nearkin_losses::{ChaCha8Rng, Objective, SeedableRng};
use rand::RngExt;

const D: usize = 128;
const SIZES: [usize; 3] = [256, 1024, 4096];

fn main() {
    set_threads(2).expect("no kernel has run yet");
    divan::main();
}

fn embeddings(b: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    (0..b * D)
        .map(|_| rng.random::<f32>() * 2.0 - 1.0)
        .collect()
}

fn bench(bencher: Bencher, b: usize, objective: impl Into<Objective>) {
    let (objective, embeddings) = (objective.into(), embeddings(b));
    let labels: Vec<u32> = (0..b).map(|i| (i / 4) as u32).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    bencher.bench_local(|| {
        objective.value_and_grad(Mat::new(&embeddings, b, D), black_box(&labels), &mut rng)
    });
}

#[divan::bench(args = SIZES)]
fn two_gemms(bencher: Bencher, b: usize) {
    let e = embeddings(b);
    let (mut s, mut de) = (vec![0.0; b * b], vec![0.0; b * D]);
    bencher.bench_local(|| {
        let e = black_box(Mat::new(&e, b, D));
        gemm(MatMut::new(&mut s, b, b), Beta::Overwrite, 1.0, e, e.t());
        gemm(
            MatMut::new(&mut de, b, D),
            Beta::Overwrite,
            1.0,
            Mat::new(&s, b, b),
            e,
        );
    });
}

#[divan::bench(args = SIZES)]
fn triplet_margin_semi_hard(bencher: Bencher, b: usize) {
    bench(
        bencher,
        b,
        Objective::from(TripletMargin::default()).with_miner(SemiHard::default()),
    );
}

#[divan::bench(args = SIZES)]
fn triplet_margin_all(bencher: Bencher, b: usize) {
    bench(
        bencher,
        b,
        Objective::from(TripletMargin::default()).with_miner(All {}),
    );
}

#[divan::bench(args = SIZES)]
fn triplet_margin_batch_hard(bencher: Bencher, b: usize) {
    bench(
        bencher,
        b,
        Objective::from(TripletMargin::default()).with_miner(BatchHard {}),
    );
}

#[divan::bench(args = SIZES)]
fn contrastive(bencher: Bencher, b: usize) {
    bench(bencher, b, Contrastive::default());
}

#[divan::bench(args = SIZES)]
fn n_pair(bencher: Bencher, b: usize) {
    bench(bencher, b, NPair::default());
}

#[divan::bench(args = SIZES)]
fn multi_similarity(bencher: Bencher, b: usize) {
    bench(bencher, b, MultiSimilarity::default());
}

#[divan::bench(args = [256, 1024])]
fn quadruplet(bencher: Bencher, b: usize) {
    bench(bencher, b, Quadruplet::default());
}
