//! A training step's large operations, and a whole step of a small residual network.
//!
//! `cargo bench -p nearkin-encoder`; against PyTorch: `bench/peers/resnet.py`.

use candle_core::Var;
use divan::{Bencher, black_box};
use nearkin_encoder::host::tensor;
use nearkin_encoder::layer::{BatchNorm, Conv2d, Kernel, Map};
use nearkin_encoder::network::Resnet;
use nearkin_encoder::op::{Epilogue, Pool, Pooling, pool2d};
use nearkin_encoder::parameters::Scope;
use nearkin_encoder::{
    DType, Device, Embedder, Error, Head, InputShape, Mode, Network, Tensor, tape,
};

/// Sides and channels of the maps of a residual network for small images.
const MAPS: [[usize; 2]; 3] = [[32, 64], [16, 128], [8, 256]];
const BATCH: usize = 32;

fn main() {
    nearkin_kernels::set_threads(2).expect("nothing has run yet");
    divan::main();
}

fn maps(side: usize, channels: usize) -> Tensor {
    let numbers = (0..BATCH * side * side * channels).map(|i| (i as f32 * 0.37).sin());
    tensor(numbers.collect(), (BATCH, side, side, channels)).expect("the numbers fit")
}

/// Maps whose gradient is asked for, as that of every map inside a network.
fn inner_maps([side, channels]: [usize; 2]) -> Var {
    Var::from_tensor(&maps(side, channels)).expect("there is memory")
}

/// Times `forward` and the way back.
fn bench_step(bencher: Bencher, forward: impl Fn() -> Result<Tensor, Error>) {
    bencher.bench_local(|| {
        let (y, tape) = tape::record(&forward)?;
        let upstream = vec![1.0; y.elem_count()];
        Ok::<_, Error>(black_box(tape.backward(&y, upstream)?))
    });
}

#[divan::bench(args = MAPS)]
fn convolution(bencher: Bencher, shape: [usize; 2]) {
    let scope = Scope::new(1, DType::F32, &Device::Cpu);
    let mut map = Map {
        height: shape[0],
        width: shape[0],
        channels: shape[1],
    };
    let conv = Conv2d::new(&scope, &mut map, shape[1], Kernel::same(3, 3)).expect("it fits");
    let x = inner_maps(shape);
    bench_step(bencher, || conv.forward(&x, Mode::Train));
}

#[divan::bench(args = MAPS)]
fn batch_norm_relu(bencher: Bencher, shape: [usize; 2]) {
    let scope = Scope::new(1, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(&scope, shape[1]).expect("there is memory");
    let x = inner_maps(shape);
    let epilogue = Epilogue {
        residual: None,
        relu: true,
    };
    bench_step(bencher, || norm.forward(&x, epilogue, Mode::Train));
}

#[divan::bench(args = MAPS)]
fn batch_norm_relu_max_pool(bencher: Bencher, shape: [usize; 2]) {
    let scope = Scope::new(1, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(&scope, shape[1]).expect("there is memory");
    let x = inner_maps(shape);
    bench_step(bencher, || norm.forward_pooled(&x, Mode::Train));
}

#[divan::bench(args = MAPS)]
fn max_pool(bencher: Bencher, shape: [usize; 2]) {
    let (x, pool) = (inner_maps(shape), Pool::square(Pooling::Max, 2, 2, 0));
    bench_step(bencher, || Ok(pool2d(&x, pool)?));
}

#[divan::bench]
fn small_residual_network(bencher: Bencher) {
    let resnet = Resnet {
        blocks: vec![1, 1],
        width: 32,
        ..Resnet::default()
    };
    let input = InputShape::Image {
        height: 32,
        width: 32,
        channels: 3,
    };
    let network = Network::Resnet(resnet);
    let embedder = Embedder::new(&network, &Head::default(), input, 1).expect("a valid network");
    let x = maps(32, 3);
    bench_step(bencher, || embedder.forward(&x, Mode::Train));
}
