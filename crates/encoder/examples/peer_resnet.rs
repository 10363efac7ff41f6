//! A ResNet-18-like training step, timed for `bench/peers/resnet.py`.
//!
//! The network, the loss and the optimizer are those of the script's PyTorch side: 3×3 stem without
//! pooling, 3×64×64 images, batch 32, 128 normalized numbers, squared distance to a fixed target,
//! momentum. Prints one JSON object.

use nearkin_encoder::host::tensor;
use nearkin_encoder::network::Resnet;
use nearkin_encoder::op::{Rule, State, update};
use nearkin_encoder::{Embedder, Head, InputShape, Mode, Network, Tensor, profile, tape};
use nearkin_kernels::Sgd;
use std::time::Instant;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    nearkin_kernels::set_threads(std::env::var("THREADS").map_or(Ok(2), |n| n.parse())?)?;
    let input = InputShape::Image {
        height: 64,
        width: 64,
        channels: 3,
    };
    let embedder = Embedder::new(
        &Network::Resnet(Resnet::default()),
        &Head::default(),
        input,
        1,
    )?;
    let wave = |count: usize| {
        (0..count)
            .map(|i| (i as f32 * 0.37).sin())
            .collect::<Vec<_>>()
    };
    let images = tensor(wave(BATCH * input.numbers()), input.batch(BATCH))?;
    let target = tensor(wave(BATCH * 128), (BATCH, 128))?;
    let rule = Rule::Sgd(Sgd {
        learning_rate: 0.01,
        momentum: 0.9,
        weight_decay: 0.0,
        nesterov: false,
    });
    let states = embedder
        .parameters()
        .learned()
        .map(|p| State::new(&rule, &p.var));
    let mut states = states.collect::<Result<Vec<_>, _>>()?;
    step(&embedder, &images, &target, &rule, &mut states)?;
    profile::start();
    let steps = median(|| step(&embedder, &images, &target, &rule, &mut states))?;
    let spent = profile::spent();
    let forward = median(|| {
        embedder.forward(&images, Mode::Eval)?;
        Ok(())
    })?;
    for (name, time) in spent.operations {
        eprintln!(
            "{name:24} {:8.1} ms a step",
            time.as_secs_f64() * 1e3 / ROUNDS as f64
        );
    }
    let share = spent.products.as_secs_f64() / spent.total.as_secs_f64();
    eprintln!("GEMM and convolution {:.1} % of the step", 100.0 * share);
    println!(
        "{{\"step_ms\": {steps:.1}, \"forward_ms\": {forward:.1}, \"peak_rss_mib\": {:.0}}}",
        peak_rss_mib()?
    );
    Ok(())
}

fn step(
    embedder: &Embedder,
    images: &Tensor,
    target: &Tensor,
    rule: &Rule,
    states: &mut [State],
) -> Outcome<()> {
    let _step = profile::step();
    let (embedded, tape) = tape::record(|| embedder.forward(images, Mode::Train))?;
    // The gradient of the squared distance.
    let gradient = ((&embedded - target)? * 2.0)?.flatten_all()?.to_vec1()?;
    let gradients = tape.backward(&embedded, gradient)?;
    for (parameter, state) in embedder.parameters().learned().zip(states) {
        let gradient = gradients
            .get(&parameter.var)
            .ok_or("a parameter has no gradient")?;
        update(&parameter.var, gradient, rule, state)?;
    }
    Ok(())
}

/// The median of some timed rounds, in milliseconds.
fn median(mut work: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

fn peak_rss_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM:"))
        .ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .ok_or("VmHWM without a number")?
        .parse()?;
    Ok(kib / 1024.0)
}
