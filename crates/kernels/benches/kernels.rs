//! The kernels at the sizes of real networks: `cargo bench -p nearkin-kernels`.
//!
//! For products and convolutions the rate is that of multiplications and additions, Gitem/s are GFLOP/s: those of the
//! convolutions are to be read beside `gemm_forward`'s, and are above it where Winograd's method saves work. For all else it is
//! that of numbers.

use divan::{Bencher, black_box};
use nearkin_kernels::{
    Activation, Attention, BatchNorm, BatchNormGradients, Beta, Conv2d, LayerNorm, Mat, MatMut,
    Pool2d, ResponseNorm, TopK, activate, exp, gemm, softmax_rows,
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

/// `[channels, side, kernel]` of convolutions at batch 32: Winograd's method, products, and a stem's.
const CONVOLUTIONS: [[usize; 3]; 5] = [
    [64, 32, 3],
    [128, 16, 3],
    [256, 8, 3],
    [256, 16, 1],
    [64, 16, 5],
];

fn conv([channels, side, kernel]: [usize; 3]) -> Conv2d {
    Conv2d {
        batch: 32,
        height: side,
        width: side,
        in_channels: channels,
        out_channels: channels,
        kernel: [kernel; 2],
        stride: [1, 1],
        padding: [kernel / 2; 2],
        groups: 1,
    }
}

/// Multiplications and additions of the plain method.
fn operations(conv: &Conv2d) -> usize {
    2 * conv.output_len() * conv.weight_len() / conv.out_channels
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_forward(bencher: Bencher, shape: [usize; 3]) {
    let conv = conv(shape);
    let (x, w, mut y) = (
        numbers(conv.input_len()),
        numbers(conv.weight_len()),
        numbers(conv.output_len()),
    );
    bencher
        .counter(operations(&conv))
        .bench_local(|| conv.forward(&x, &w, None, black_box(&mut y)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_backward_input(bencher: Bencher, shape: [usize; 3]) {
    let conv = conv(shape);
    let (dy, w, mut dx) = (
        numbers(conv.output_len()),
        numbers(conv.weight_len()),
        numbers(conv.input_len()),
    );
    bencher
        .counter(operations(&conv))
        .bench_local(|| conv.backward_input(&dy, &w, black_box(&mut dx)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_backward_weight(bencher: Bencher, shape: [usize; 3]) {
    let conv = conv(shape);
    let (x, dy, mut dw) = (
        numbers(conv.input_len()),
        numbers(conv.output_len()),
        numbers(conv.weight_len()),
    );
    bencher
        .counter(operations(&conv))
        .bench_local(|| conv.backward_weight(&x, &dy, black_box(&mut dw)));
}

/// `[side, channels]` of the maps that are normalized and pooled, at batch 32.
const MAPS: [[usize; 2]; 2] = [[32, 64], [56, 192]];

fn map_len([side, channels]: [usize; 2]) -> usize {
    32 * side * side * channels
}

/// With `ReLU`.
#[divan::bench(args = MAPS)]
fn batch_norm_forward(bencher: Bencher, map: [usize; 2]) {
    let (x, ones) = (numbers(map_len(map)), vec![1.0; map[1]]);
    let mut y = x.clone();
    let norm = BatchNorm {
        gamma: &ones,
        beta: &ones,
        epsilon: 1e-5,
        relu: true,
    };
    bencher
        .counter(x.len())
        .bench_local(|| norm.forward(&x, None, black_box(&mut y)));
}

/// With `ReLU`; the gradient, which is overwritten, is copied outside of what is timed.
#[divan::bench(args = MAPS)]
fn batch_norm_backward(bencher: Bencher, map: [usize; 2]) {
    let (x, dy) = (numbers(map_len(map)), numbers(map_len(map)));
    let (mut dgamma, mut dbeta, ones) = (vec![0.0; map[1]], vec![0.0; map[1]], vec![1.0; map[1]]);
    let norm = BatchNorm {
        gamma: &ones,
        beta: &ones,
        epsilon: 1e-5,
        relu: true,
    };
    let statistics = norm.forward(&x, None, &mut x.clone());
    bencher
        .counter(x.len())
        .with_inputs(|| dy.clone())
        .bench_local_values(|mut dy| {
            let gradients = BatchNormGradients {
                dy: black_box(&mut dy),
                dx: None,
                dgamma: &mut dgamma,
                dbeta: &mut dbeta,
            };
            norm.backward(&x, None, &statistics, gradients);
            dy
        });
}

/// The response norm of `AlexNet` and `GoogLeNet`.
const RESPONSE: ResponseNorm = ResponseNorm {
    size: 5,
    alpha: 1e-4,
    beta: 0.75,
    bias: 1.0,
};

#[divan::bench(args = MAPS)]
fn response_norm_forward(bencher: Bencher, map: [usize; 2]) {
    let x = numbers(map_len(map));
    let mut y = x.clone();
    bencher
        .counter(x.len())
        .bench_local(|| RESPONSE.forward(&x, map[1], black_box(&mut y)));
}

#[divan::bench(args = MAPS)]
fn response_norm_backward(bencher: Bencher, map: [usize; 2]) {
    let (x, dy) = (numbers(map_len(map)), numbers(map_len(map)));
    let mut dx = x.clone();
    bencher
        .counter(x.len())
        .bench_local(|| RESPONSE.backward(&x, &dy, map[1], black_box(&mut dx)));
}

/// 3 × 3 windows, every second position.
fn pool([side, channels]: [usize; 2]) -> Pool2d {
    Pool2d {
        batch: 32,
        height: side,
        width: side,
        channels,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        ceil: false,
    }
}

#[divan::bench(args = MAPS)]
fn max_pool_forward(bencher: Bencher, map: [usize; 2]) {
    let (pool, x) = (pool(map), numbers(map_len(map)));
    let (mut y, mut places) = (vec![0.0; pool.output_len()], vec![0; pool.output_len()]);
    bencher
        .counter(x.len())
        .bench_local(|| pool.max_forward(&x, black_box(&mut y), &mut places));
}

#[divan::bench(args = MAPS)]
fn max_pool_backward(bencher: Bencher, map: [usize; 2]) {
    let (pool, x) = (pool(map), numbers(map_len(map)));
    let (mut y, mut places) = (vec![0.0; pool.output_len()], vec![0; pool.output_len()]);
    pool.max_forward(&x, &mut y, &mut places);
    let mut dx = x.clone();
    bencher
        .counter(x.len())
        .bench_local(|| pool.max_backward(&y, &places, black_box(&mut dx)));
}

#[divan::bench(args = MAPS)]
fn average_pool_forward(bencher: Bencher, map: [usize; 2]) {
    let (pool, x) = (pool(map), numbers(map_len(map)));
    let mut y = vec![0.0; pool.output_len()];
    bencher
        .counter(x.len())
        .bench_local(|| pool.average_forward(true, &x, black_box(&mut y)));
}

#[divan::bench(args = MAPS)]
fn average_pool_backward(bencher: Bencher, map: [usize; 2]) {
    let pool = pool(map);
    let (dy, mut dx) = (numbers(pool.output_len()), vec![0.0; map_len(map)]);
    bencher
        .counter(dx.len())
        .bench_local(|| pool.average_backward(true, &dy, black_box(&mut dx)));
}

#[divan::bench(args = MAPS)]
fn l2_pool_forward(bencher: Bencher, map: [usize; 2]) {
    let (pool, x) = (pool(map), numbers(map_len(map)));
    let mut y = vec![0.0; pool.output_len()];
    bencher
        .counter(x.len())
        .bench_local(|| pool.l2_forward(&x, black_box(&mut y)));
}

#[divan::bench(args = MAPS)]
fn l2_pool_backward(bencher: Bencher, map: [usize; 2]) {
    let (pool, x) = (pool(map), numbers(map_len(map)));
    let (mut y, mut dx) = (vec![0.0; pool.output_len()], x.clone());
    pool.l2_forward(&x, &mut y);
    let dy = numbers(pool.output_len());
    bencher
        .counter(x.len())
        .bench_local(|| pool.l2_backward(&x, &y, &dy, black_box(&mut dx)));
}

/// MiniLM's attention over 32 sentences of 32 tokens.
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
        let mut best = TopK::new(1, 10, scores.len());
        best.offer_rows(black_box(&scores), 0);
        best.finish()
    });
}
