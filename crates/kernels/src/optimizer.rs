//! Optimizer steps and the passes over parameters around them; everything works in place.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{GRAIN, for_pieces, for_pieces_in_place, map_parts};
use rayon::prelude::*;

/// Stochastic gradient descent with momentum and coupled weight decay, as in PyTorch:
///
/// ```text
/// g ← grad + weight_decay · param
/// v ← momentum · v + g
/// param ← param − learning_rate · (nesterov ? g + momentum · v : v)
/// ```
///
/// # Reference
/// Sutskever et al., *On the Importance of Initialization and Momentum in Deep Learning*, 2013, equations 1–4, in the
/// form where the learning rate is not part of v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: f32,
    /// Share of the velocity kept; 0 is plain gradient descent.
    pub momentum: f32,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f32,
    /// Whether the step looks ahead along the velocity.
    pub nesterov: bool,
}

/// Adam with decoupled weight decay, as in PyTorch:
///
/// ```text
/// param ← param − learning_rate · weight_decay · param
/// m ← β₁ m + (1 − β₁) grad        v ← β₂ v + (1 − β₂) grad²
/// param ← param − learning_rate · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// # Reference
/// Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019, algorithm 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f32,
    /// β₁, decay of the mean.
    pub beta1: f32,
    /// β₂, decay of the mean square.
    pub beta2: f32,
    /// ε, added to the root.
    pub epsilon: f32,
    /// Share of the parameter taken away per unit of learning rate.
    pub weight_decay: f32,
    /// t, the number of this step, from 1.
    pub step: u64,
}

/// AdaGrad, as in PyTorch:
///
/// ```text
/// g ← grad + weight_decay · param
/// s ← s + g²
/// param ← param − learning_rate · g / (√s + ε)
/// ```
///
/// # Reference
/// Duchi, Hazan and Singer, *Adaptive Subgradient Methods*, 2011, figure 1 (the diagonal form).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGrad {
    /// Step size.
    pub learning_rate: f32,
    /// ε, added to the root.
    pub epsilon: f32,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f32,
}

impl Sgd {
    /// One step; `velocity` starts as zeros.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn step(&self, param: &mut [f32], grad: &[f32], velocity: &mut [f32]) {
        assert_eq!(
            [grad.len(), velocity.len()],
            [param.len(); 2],
            "param, grad and velocity differ in length"
        );
        if param.len() <= GRAIN {
            return sgd_piece(*self, param, grad, velocity);
        }
        let pieces = param
            .par_chunks_mut(GRAIN)
            .zip(grad.par_chunks(GRAIN))
            .zip(velocity.par_chunks_mut(GRAIN));
        pieces.for_each(|((p, g), v)| sgd_piece(*self, p, g, v));
    }
}

impl AdamW {
    /// One step; `m` and `v` start as zeros.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn step(&self, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        assert_eq!(
            [grad.len(), m.len(), v.len()],
            [param.len(); 3],
            "param, grad, m and v differ in length"
        );
        if param.len() <= GRAIN {
            return adamw_piece(*self, param, grad, m, v);
        }
        let moments = m.par_chunks_mut(GRAIN).zip(v.par_chunks_mut(GRAIN));
        let pieces = param
            .par_chunks_mut(GRAIN)
            .zip(grad.par_chunks(GRAIN))
            .zip(moments);
        pieces.for_each(|((p, g), (m, v))| adamw_piece(*self, p, g, m, v));
    }
}

impl AdaGrad {
    /// One step; `sum` starts as zeros.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn step(&self, param: &mut [f32], grad: &[f32], sum: &mut [f32]) {
        assert_eq!(
            [grad.len(), sum.len()],
            [param.len(); 2],
            "param, grad and sum differ in length"
        );
        if param.len() <= GRAIN {
            return adagrad_piece(*self, param, grad, sum);
        }
        let pieces = param
            .par_chunks_mut(GRAIN)
            .zip(grad.par_chunks(GRAIN))
            .zip(sum.par_chunks_mut(GRAIN));
        pieces.for_each(|((p, g), s)| adagrad_piece(*self, p, g, s));
    }
}

/// Exponential moving average: average ← decay · average + (1 − decay) · param.
///
/// # Panics
/// When the lengths differ.
pub fn ema(decay: f32, param: &[f32], average: &mut [f32]) {
    assert_eq!(
        param.len(),
        average.len(),
        "param and average differ in length"
    );
    for_pieces(param, average, GRAIN, |param, average| {
        for (a, &p) in average.iter_mut().zip(param) {
            *a += (1.0 - decay) * (p - *a);
        }
    });
}

/// Σ xᵢ², summed in f64 and in a fixed order.
pub fn squared_norm(x: &[f32]) -> f64 {
    let parts = map_parts(x.len().div_ceil(GRAIN), |i| {
        squares(&x[i * GRAIN..x.len().min((i + 1) * GRAIN)])
    });
    parts.iter().sum()
}

/// x ← factor · x.
pub fn scale(x: &mut [f32], factor: f32) {
    for_pieces_in_place(x, GRAIN, |x| x.iter_mut().for_each(|x| *x *= factor));
}

/// sum ← sum + x.
///
/// # Panics
/// When the lengths differ.
pub fn add(x: &[f32], sum: &mut [f32]) {
    for_pieces(x, sum, GRAIN, |x, sum| {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    });
}

/// The first place that holds an infinity or NaN.
pub fn first_non_finite(x: &[f32]) -> Option<usize> {
    let broken = |x: &[f32]| x.iter().filter(|x| !x.is_finite()).count() > 0;
    let piece = if x.len() <= GRAIN {
        broken(x).then_some(0)
    } else {
        x.par_chunks(GRAIN).position_first(broken)
    };
    let start = piece? * GRAIN;
    x[start..]
        .iter()
        .position(|x| !x.is_finite())
        .map(|i| start + i)
}

dispatch! {
    fn sgd_piece(sgd: Sgd, param: &mut [f32], grad: &[f32], velocity: &mut [f32]) = sgd_body;
    fn adamw_piece(adamw: AdamW, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) = adamw_body;
    fn adagrad_piece(adagrad: AdaGrad, param: &mut [f32], grad: &[f32], sum: &mut [f32]) = adagrad_body;
    fn squares(x: &[f32]) -> f64 = squares_body;
}

#[inline(always)]
fn sgd_body<const FMA: bool>(sgd: Sgd, param: &mut [f32], grad: &[f32], velocity: &mut [f32]) {
    for ((p, &g), v) in param.iter_mut().zip(grad).zip(velocity) {
        let g = fma::<FMA>(sgd.weight_decay, *p, g);
        *v = fma::<FMA>(sgd.momentum, *v, g);
        let direction = if sgd.nesterov {
            fma::<FMA>(sgd.momentum, *v, g)
        } else {
            *v
        };
        *p = fma::<FMA>(-sgd.learning_rate, direction, *p);
    }
}

#[inline(always)]
fn adamw_body<const FMA: bool>(
    adamw: AdamW,
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let AdamW {
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        step,
    } = adamw;
    let bias = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let step_size = (f64::from(learning_rate) / bias(beta1)) as f32;
    let root_bias = (1.0 / bias(beta2).sqrt()) as f32;
    let keep = 1.0 - learning_rate * weight_decay;
    for (((p, &g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
        *m = fma::<FMA>(beta1, *m, (1.0 - beta1) * g);
        *v = fma::<FMA>(beta2, *v, (1.0 - beta2) * g * g);
        let root = fma::<FMA>(v.sqrt(), root_bias, epsilon);
        *p = fma::<FMA>(keep, *p, -step_size * *m / root);
    }
}

#[inline(always)]
fn adagrad_body<const FMA: bool>(
    adagrad: AdaGrad,
    param: &mut [f32],
    grad: &[f32],
    sum: &mut [f32],
) {
    for ((p, &g), s) in param.iter_mut().zip(grad).zip(sum) {
        let g = fma::<FMA>(adagrad.weight_decay, *p, g);
        *s = fma::<FMA>(g, g, *s);
        *p -= adagrad.learning_rate * g / (s.sqrt() + adagrad.epsilon);
    }
}

#[inline(always)]
fn squares_body<const FMA: bool>(x: &[f32]) -> f64 {
    const LANES: usize = 32;
    let mut lanes = [0.0; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    const LENGTHS: [usize; 4] = [0, 1, 37, 20_003];

    /// Three steps of a kernel beside three steps of its definition on each number.
    fn compare<const S: usize>(
        mut step: impl FnMut(u64, &mut [f32], &[f32], &mut [Vec<f32>; S]),
        mut definition: impl FnMut(u64, &mut f64, f64, &mut [f64; S]),
    ) {
        for n in LENGTHS {
            let mut param = random(n, 1);
            let mut state: [Vec<f32>; S] = std::array::from_fn(|_| vec![0.0; n]);
            let mut want: Vec<(f64, [f64; S])> =
                to_f64(&param).into_iter().map(|p| (p, [0.0; S])).collect();
            for t in 1..=3 {
                let grad = random(n, 10 + t);
                step(t, &mut param, &grad, &mut state);
                for ((p, s), &g) in want.iter_mut().zip(&grad) {
                    definition(t, p, f64::from(g), s);
                }
            }
            assert_close(
                &param,
                &want.iter().map(|(p, _)| *p).collect::<Vec<_>>(),
                1e-5,
            );
        }
    }

    #[test]
    fn sgd_follows_its_definition() {
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            let sgd = Sgd {
                learning_rate: 0.1,
                momentum,
                weight_decay: 0.01,
                nesterov,
            };
            let mu = f64::from(momentum);
            compare(
                |_, p, g, [v]| sgd.step(p, g, v),
                |_, p, g, [v]| {
                    let g = g + 0.01 * *p;
                    *v = mu * *v + g;
                    *p -= 0.1 * if nesterov { g + mu * *v } else { *v };
                },
            );
        }
    }

    #[test]
    fn adamw_follows_its_definition() {
        compare(
            |step, p, g, [m, v]| {
                let (beta1, beta2) = (0.9, 0.999);
                AdamW {
                    learning_rate: 0.01,
                    beta1,
                    beta2,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    step,
                }
                .step(p, g, m, v);
            },
            |t, p, g, [m, v]| {
                *p -= 0.01 * 0.1 * *p;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m_hat, v_hat) = (
                    *m / (1.0 - 0.9f64.powf(t as f64)),
                    *v / (1.0 - 0.999f64.powf(t as f64)),
                );
                *p -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            },
        );
    }

    #[test]
    fn adagrad_follows_its_definition() {
        let adagrad = AdaGrad {
            learning_rate: 0.1,
            epsilon: 1e-10,
            weight_decay: 0.01,
        };
        compare(
            |_, p, g, [s]| adagrad.step(p, g, s),
            |_, p, g, [s]| {
                let g = g + 0.01 * *p;
                *s += g * g;
                *p -= 0.1 * g / (s.sqrt() + 1e-10);
            },
        );
    }

    #[test]
    fn norm_scale_and_average_follow_their_definitions() {
        for n in LENGTHS {
            let (x, mut average) = (random(n, 1), random(n, 2));
            let norm: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!((squared_norm(&x) - norm).abs() <= 1e-12 * norm);
            let want: Vec<f64> = average
                .iter()
                .zip(&x)
                .map(|(&a, &p)| 0.9 * f64::from(a) + 0.1 * f64::from(p))
                .collect();
            ema(0.9, &x, &mut average);
            assert_close(&average, &want, 1e-6);
            let mut scaled = x.clone();
            scale(&mut scaled, 0.5);
            assert!(scaled.iter().zip(&x).all(|(s, x)| *s == 0.5 * x));
        }
    }

    #[test]
    fn the_first_broken_number_is_found() {
        let mut x = vec![1.0; 3 * GRAIN + 5];
        assert_eq!(first_non_finite(&x), None);
        x[3 * GRAIN + 1] = f32::NAN;
        assert_eq!(first_non_finite(&x), Some(3 * GRAIN + 1));
        x[GRAIN + 7] = f32::NEG_INFINITY;
        assert_eq!(first_non_finite(&x), Some(GRAIN + 7));
    }
}
