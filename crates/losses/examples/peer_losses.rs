//! Times value and gradients of every loss on one batch and prints `{"name": milliseconds}`, for the peer script.
//!
//! `peer_losses [B] [D] [ITEMS_PER_CLASS] [CLASSES] [THREADS] [ROUNDS] [NAME]…`, by default 1024 128 4 10000 2 20 and
//! everything. Medians over the rounds, work after work. Where names are given nothing else is set up, so that the peak memory of
//! the process is theirs.

#[path = "../benches/works/mod.rs"]
mod works;

use nearkin_kernels::set_threads;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;
use works::{Bench, Products, Size, works};

/// The two matrix products that no loss over pairs can avoid, among the names.
const PRODUCTS: &str = "two_products";

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// The times of so many calls in a row, after one that is not timed, as the peers are timed.
fn timed(rounds: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    (0..rounds).map(|_| milliseconds(&mut work)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2] * 1e3).round() / 1e3
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let argument = |k: usize, default| {
        given
            .get(k)
            .map_or(default, |n| n.parse().expect("sizes are numbers"))
    };
    let size = Size {
        rows: argument(0, 1024),
        dim: argument(1, 128),
        of_a_class: argument(2, 4),
        classes: argument(3, 10_000),
    };
    set_threads(argument(4, 2)).expect("no kernel has run yet");
    let rounds = argument(5, 20);
    let names = given.get(6..).unwrap_or_default();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);

    let mut products = wanted(PRODUCTS).then(|| Products::new(size));
    let mut benches: Vec<_> = works()
        .into_iter()
        .filter(|work| wanted(&work.name))
        .map(|work| (Bench::new(&work, size), work.name))
        .collect();
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    if let Some(products) = &mut products {
        times.insert(PRODUCTS.to_owned(), timed(rounds, || products.run()));
    }
    for (bench, name) in &mut benches {
        let each = timed(rounds, || {
            black_box(bench.run());
        });
        times.insert(name.clone(), each);
    }
    let medians: BTreeMap<_, _> = times
        .into_iter()
        .map(|(name, values)| (name, median(values)))
        .collect();
    println!(
        "{}",
        serde_json::to_string_pretty(&medians).expect("names and numbers are JSON")
    );
}
