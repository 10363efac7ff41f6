//! The kernels at the sizes of real networks: `cargo bench -p nearkin-kernels`.

use divan::{Bencher, black_box};
use nearkin_kernels::{
    Activation, Attention, BatchNorm, BatchNormGradients, Beta, Conv2d, LayerNorm, Mat, MatMut,
    activate, exp, gemm, softmax_rows, top_k,
};

fn main() {
    divan::main();
}

/// Numbers in (−3, 3) without a pattern that matters.
fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + 13) % 10007) as f32 / 1668.0 - 3.0)
        .collect()
}

/// `[m, k, n]` of BERT's linear layers and of convolutions.
const PRODUCTS: [[usize; 3]; 5] = [
    [1024, 384, 1536],
    [2048, 384, 384],
    [4096, 1536, 384],
    [8192, 576, 64],
    [2048, 2304, 256],
];

#[divan::bench(args = PRODUCTS)]
fn gemm_forward(bencher: Bencher, [m, k, n]: [usize; 3]) {
    let (a, b, mut c) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
    bencher.counter(2 * m * k * n).bench_local(|| {
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, n, k).t());
        gemm(
            MatMut::new(black_box(&mut c), m, n),
            Beta::Overwrite,
            1.0,
            a,
            b,
        );
    });
}

/// The weight gradient of the same layers: dw = dyᵀ x.
#[divan::bench(args = PRODUCTS)]
fn gemm_weight_gradient(bencher: Bencher, [m, k, n]: [usize; 3]) {
    let (x, dy, mut dw) = (numbers(m * k), numbers(m * n), vec![0.0; n * k]);
    bencher.counter(2 * m * k * n).bench_local(|| {
        let (x, dy) = (Mat::new(&x, m, k), Mat::new(&dy, m, n));
        gemm(
            MatMut::new(black_box(&mut dw), n, k),
            Beta::Overwrite,
            1.0,
            dy.t(),
            x,
        );
    });
}

const ROWS: usize = 4096;
const COLS: usize = 1536;

fn bench_map(bencher: Bencher, f: impl Fn(&[f32], &mut [f32])) {
    let (x, mut y) = (numbers(ROWS * COLS), vec![0.0; ROWS * COLS]);
    bencher
        .counter(x.len())
        .bench_local(|| f(black_box(&x), black_box(&mut y)));
}

#[divan::bench]
fn exp_4096x1536(bencher: Bencher) {
    bench_map(bencher, exp);
}

#[divan::bench]
fn gelu_4096x1536(bencher: Bencher) {
    bench_map(bencher, |x, y| activate(Activation::Gelu, x, y));
}

#[divan::bench]
fn softmax_4096x1536(bencher: Bencher) {
    bench_map(bencher, |x, y| softmax_rows(x, ROWS, COLS, y));
}

#[divan::bench]
fn layer_norm_4096x1536(bencher: Bencher) {
    let (gamma, beta) = (numbers(COLS), numbers(COLS));
    bench_map(bencher, |x, y| {
        LayerNorm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 1e-5,
        }
        .forward(x, None, y);
    });
}

/// `[channels, side]` of 3 × 3 convolutions at batch 32.
const CONVOLUTIONS: [[usize; 2]; 3] = [[64, 32], [128, 16], [256, 8]];

fn conv([channels, side]: [usize; 2]) -> Conv2d {
    Conv2d {
        batch: 32,
        height: side,
        width: side,
        in_channels: channels,
        out_channels: channels,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        groups: 1,
    }
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_forward(bencher: Bencher, shape: [usize; 2]) {
    let conv = conv(shape);
    let (x, w, mut y) = (
        numbers(conv.input_len()),
        numbers(conv.weight_len()),
        numbers(conv.output_len()),
    );
    bencher.bench_local(|| conv.forward(&x, &w, None, black_box(&mut y)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_backward_input(bencher: Bencher, shape: [usize; 2]) {
    let conv = conv(shape);
    let (dy, w, mut dx) = (
        numbers(conv.output_len()),
        numbers(conv.weight_len()),
        numbers(conv.input_len()),
    );
    bencher.bench_local(|| conv.backward_input(&dy, &w, black_box(&mut dx)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_backward_weight(bencher: Bencher, shape: [usize; 2]) {
    let conv = conv(shape);
    let (x, dy, mut dw) = (
        numbers(conv.input_len()),
        numbers(conv.output_len()),
        numbers(conv.weight_len()),
    );
    bencher.bench_local(|| conv.backward_weight(&x, &dy, black_box(&mut dw)));
}

/// Forward and backward with `ReLU` over the output of the 64-channel convolution.
#[divan::bench]
fn batch_norm_step_32x32x32x64(bencher: Bencher) {
    let (x, dy) = (numbers(32 * 32 * 32 * 64), numbers(32 * 32 * 32 * 64));
    let (mut y, mut dx) = (x.clone(), x.clone());
    let (mut dgamma, mut dbeta) = ([0.0; 64], [0.0; 64]);
    let norm = BatchNorm {
        gamma: &[1.0; 64],
        beta: &[0.1; 64],
        epsilon: 1e-5,
        relu: true,
    };
    bencher.bench_local(|| {
        let stats = norm.forward(&x, None, &mut y);
        dx.copy_from_slice(&dy);
        let grads = BatchNormGradients {
            dy: black_box(&mut dx),
            dx: None,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        };
        norm.backward(&x, None, &stats, grads);
    });
}

/// `MiniLM`'s attention over 32 sentences of 32 tokens.
#[divan::bench]
fn attention_32x32_12_heads(bencher: Bencher) {
    let offsets: Vec<usize> = (0..=32).map(|i| 32 * i).collect();
    let (qkv, mut y) = (numbers(1024 * 3 * 384), vec![0.0; 1024 * 384]);
    let attention = Attention {
        heads: 12,
        head_dim: 32,
        offsets: &offsets,
        scale: 0.2,
        bias: None,
        dropout: None,
    };
    bencher.bench_local(|| attention.forward(&qkv, black_box(&mut y), None));
}

#[divan::bench]
fn top_10_of_a_million(bencher: Bencher) {
    let scores = numbers(1_000_000);
    bencher.bench_local(|| {
        let mut heap = Vec::new();
        top_k(black_box(&scores), 0, 10, &mut heap);
        heap
    });
}
