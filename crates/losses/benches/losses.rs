//! `cargo bench -p nearkin-losses`: value and gradients of every loss from embeddings `[B, 128]` in classes of four, with
//! 1,000 classes of training data, on two threads, beside the two matrix products that no loss over pairs can avoid.
//! `cargo bench -p nearkin-losses -- arcface` times those with that in their name.

mod works;

use divan::Bencher;
use nearkin_kernels::set_threads;
use works::{Bench, Products, Size, Work, works};

const ROWS: [usize; 3] = [256, 1024, 4096];

fn main() {
    set_threads(2).expect("no kernel has run yet");
    divan::main();
}

fn size(rows: usize) -> Size {
    Size {
        rows,
        dim: 128,
        of_a_class: 4,
        classes: 1000,
    }
}

#[divan::bench(args = ROWS)]
fn two_products(bencher: Bencher, rows: usize) {
    let mut products = Products::new(size(rows));
    bencher.bench_local(|| products.run());
}

#[divan::bench(args = works(), consts = ROWS, sample_count = 10)]
fn loss<const ROWS: usize>(bencher: Bencher, work: &Work) {
    let mut bench = Bench::new(work, size(ROWS));
    bencher.bench_local(|| bench.run());
}
