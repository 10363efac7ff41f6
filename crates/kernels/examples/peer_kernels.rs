//! Times the kernels on the works that `bench/peers` gives to PyTorch, and prints `{"name": milliseconds}`.
//!
//! Usage: `peer_kernels [ROUNDS] [NAME_PART] [THREADS]`. Each figure is the median over the rounds.

use nearkin_kernels::{
    Activation, BatchNorm, BatchNormGradients, BatchNormPool, Beta, Conv2d, LayerNorm,
    LayerNormGradients, Mat, MatMut, activate, activate_backward, exp, gemm, set_threads,
    softmax_rows,
};
use std::hint::black_box;
use std::time::Instant;

/// A name and what is timed under it.
type Work = (String, Box<dyn FnMut()>);

fn main() {
    set_threads(2).expect("the pool starts here");
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments
        .next()
        .map_or(15, |n| n.parse().expect("ROUNDS is a number"));
    let part = arguments.next().unwrap_or_default();
    let mut works: Vec<Work> = Vec::new();
    works.extend(gemm_works());
    works.extend(elementwise_works());
    works.extend(norm_works());
    works.extend(conv_works());
    works.retain(|(name, _)| name.contains(&part));
    let medians: Vec<String> = works
        .iter_mut()
        .map(|(name, work)| format!("  \"{name}\": {:.4}", median_milliseconds(rounds, work)))
        .collect();
    println!("{{\n{}\n}}", medians.join(",\n"));
}

fn median_milliseconds(rounds: usize, work: &mut Box<dyn FnMut()>) -> f64 {
    work();
    let mut times: Vec<f64> = (0..rounds.max(1))
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Numbers in (−3, 3) without a pattern that matters.
fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + 13) % 10007) as f32 / 1668.0 - 3.0)
        .collect()
}

fn work(name: impl Into<String>, f: impl FnMut() + 'static) -> Work {
    (name.into(), Box::new(f))
}

/// c = a bᵀ with `b` stored as a linear layer's weights, at BERT's and at a convolution's shapes.
fn gemm_works() -> Vec<Work> {
    [
        [1024, 384, 1536],
        [2048, 384, 384],
        [4096, 1536, 384],
        [8192, 576, 64],
        [2048, 2304, 256],
    ]
    .map(|[m, k, n]| {
        let (a, b, mut c) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
        work(format!("gemm_{m}x{k}x{n}"), move || {
            let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, n, k).t());
            gemm(MatMut::new(&mut c, m, n), Beta::Overwrite, 1.0, a, b);
            black_box(&mut c);
        })
    })
    .into()
}

fn elementwise_works() -> Vec<Work> {
    const ROWS: usize = 4096;
    const COLS: usize = 1536;
    let buffers = || (numbers(ROWS * COLS), vec![0.0; ROWS * COLS]);
    let ((x1, mut y1), (x2, mut y2), (x3, mut y3), (x4, mut y4)) =
        (buffers(), buffers(), buffers(), buffers());
    let dy = numbers(ROWS * COLS);
    vec![
        work("exp_4096x1536", move || exp(&x1, black_box(&mut y1))),
        work("gelu_4096x1536", move || {
            activate(Activation::Gelu, &x2, black_box(&mut y2));
        }),
        work("gelu_backward_4096x1536", move || {
            activate_backward(Activation::Gelu, &x3, &dy, black_box(&mut y3));
        }),
        work("softmax_4096x1536", move || {
            softmax_rows(&x4, ROWS, COLS, black_box(&mut y4));
        }),
    ]
}

fn norm_works() -> Vec<Work> {
    const LAYER: [usize; 2] = [4096, 1536];
    const BATCH: [usize; 2] = [32 * 32 * 32, 64];
    let mut works = Vec::new();
    for residual in [false, true] {
        let suffix = if residual { "_residual" } else { "" };
        let [x, r, dy] = [(); 3].map(|()| numbers(BATCH[0] * BATCH[1]));
        let [mut y, mut dx, mut dz] = [(); 3].map(|()| vec![0.0; x.len()]);
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0; BATCH[1]]);
        works.push(work(
            format!("batch_norm_relu{suffix}_step_32x32x32x64"),
            move || {
                let norm = BatchNorm {
                    gamma: &[1.0; 64],
                    beta: &[0.1; 64],
                    epsilon: 1e-5,
                    relu: true,
                };
                let stats = norm.forward(&x, residual.then_some(&r), &mut y);
                // The gradient is written over, and a round needs it as it was.
                dz.copy_from_slice(&dy);
                let grads = BatchNormGradients {
                    dy: &mut dz,
                    dx: residual.then_some(&mut dx[..]),
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                };
                norm.backward(&x, residual.then_some(&y[..]), &stats, grads);
            },
        ));
    }
    works.push(batch_norm_pool_work());
    let [x, dy] = [(); 2].map(|()| numbers(LAYER[0] * LAYER[1]));
    let [mut y, mut dx] = [(); 2].map(|()| vec![0.0; x.len()]);
    let [gamma, beta] = [(); 2].map(|()| numbers(LAYER[1]));
    let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0; LAYER[1]]);
    let (x2, mut y2, gamma2, beta2) = (x.clone(), y.clone(), gamma.clone(), beta.clone());
    works.push(work("layer_norm_4096x1536", move || {
        LayerNorm {
            gamma: &gamma2,
            beta: &beta2,
            epsilon: 1e-5,
        }
        .forward(&x2, None, &mut y2);
    }));
    works.push(work("layer_norm_step_4096x1536", move || {
        let norm = LayerNorm {
            gamma: &gamma,
            beta: &beta,
            epsilon: 1e-5,
        };
        let stats = norm.forward(&x, None, &mut y);
        let grads = LayerNormGradients {
            dx: &mut dx,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        };
        norm.backward(&x, None, &dy, &stats, grads);
    }));
    works
}

fn batch_norm_pool_work() -> Work {
    let x = numbers(32 * 32 * 32 * 64);
    let dy = numbers(x.len() / 4);
    let (mut y, mut places) = (vec![0.0; dy.len()], vec![0; dy.len()]);
    work("batch_norm_relu_max_pool_step_32x32x32x64", move || {
        let op = BatchNormPool {
            gamma: &[1.0; 64],
            beta: &[0.1; 64],
            epsilon: 1e-5,
            batch: 32,
            height: 32,
            width: 32,
        };
        let stats = op.forward(&x, &mut y, &mut places);
        black_box(op.backward(&x, &stats, &places, &dy));
    })
}

/// 3 × 3 convolutions of a residual network, batch 32.
fn conv_works() -> Vec<Work> {
    let mut works = Vec::new();
    for (channels, side, out_channels, stride) in [
        (64, 32, 64, 1),
        (128, 16, 128, 1),
        (256, 8, 256, 1),
        (512, 4, 512, 1),
        (512, 2, 512, 1),
        (64, 32, 128, 2),
        (3, 64, 64, 1),
    ] {
        let conv = Conv2d {
            batch: 32,
            height: side,
            width: side,
            in_channels: channels,
            out_channels,
            kernel: [3, 3],
            stride: [stride, stride],
            padding: [1, 1],
            groups: 1,
        };
        let name = |pass: &str| format!("conv_{channels}_{out_channels}_{side}_s{stride}_{pass}");
        let (x, w, dy) = (
            numbers(conv.input_len()),
            numbers(conv.weight_len()),
            numbers(conv.output_len()),
        );
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let (x1, w1, dy1) = (x.clone(), w.clone(), dy.clone());
        works.push(work(name("forward"), move || {
            conv.forward(&x1, &w1, None, &mut y);
        }));
        works.push(work(name("dx"), move || {
            conv.backward_input(&dy1, &w, &mut dx);
        }));
        works.push(work(name("dw"), move || {
            conv.backward_weight(&x, &dy, &mut dw);
        }));
    }
    works
}
