//! Elementwise activations.

use crate::dispatch::{dispatch, fma};
use crate::exp::exp_scalar;
use crate::parallel::{GRAIN, for_pieces, for_pieces_in_place};
use rayon::prelude::*;

/// An elementwise function after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x
    None,
    /// max(x, 0)
    Relu,
    /// x Φ(x), with Φ the normal distribution function (the exact form, not the tanh approximation)
    Gelu,
    /// tanh(x)
    Tanh,
    /// 1 / (1 + exp(−x))
    Sigmoid,
    /// min(max(x + 3, 0), 6) / 6
    HardSigmoid,
    /// x min(max(x + 3, 0), 6) / 6 (Howard et al., *Searching for MobileNetV3*, 2019, section 5.2)
    HardSwish,
    /// x / (1 + exp(−x)), also called swish
    Silu,
    /// max(x, 0) + 0.01 min(x, 0)
    LeakyRelu,
    /// max(x, 0) + exp(min(x, 0)) − 1
    Elu,
}

/// The slope of [`Activation::LeakyRelu`] below zero, PyTorch's default.
const LEAK: f32 = 0.01;

/// yᵢ = act(xᵢ); GELU, tanh and the sigmoid within 1e-6.
///
/// # Panics
/// When the lengths differ.
///
/// ```
/// use nearkin_kernels::{Activation, activate};
/// let mut y = [0.0; 3];
/// activate(Activation::Relu, &[-1.0, 0.0, 2.0], &mut y);
/// assert_eq!(y, [0.0, 0.0, 2.0]);
/// ```
pub fn activate(act: Activation, x: &[f32], y: &mut [f32]) {
    for_pieces(x, y, GRAIN, |x, y| match act {
        Activation::None => y.copy_from_slice(x),
        Activation::Relu => relu(x, y),
        Activation::Gelu => gelu(x, y),
        Activation::Tanh => tanh(x, y),
        Activation::Sigmoid => sigmoid(x, y),
        Activation::HardSigmoid => hard_sigmoid(x, y),
        Activation::HardSwish => hard_swish(x, y),
        Activation::Silu => silu(x, y),
        Activation::LeakyRelu => leaky_relu(x, y),
        Activation::Elu => elu(x, y),
    });
}

/// [`activate`] over its own input, for callers that keep no pre-activation.
pub fn activate_in_place(act: Activation, y: &mut [f32]) {
    match act {
        Activation::None => {}
        Activation::Relu => for_pieces_in_place(y, GRAIN, relu_in_place),
        Activation::Gelu => for_pieces_in_place(y, GRAIN, gelu_in_place),
        Activation::Tanh => for_pieces_in_place(y, GRAIN, tanh_in_place),
        Activation::Sigmoid => for_pieces_in_place(y, GRAIN, sigmoid_in_place),
        Activation::HardSigmoid => for_pieces_in_place(y, GRAIN, hard_sigmoid_in_place),
        Activation::HardSwish => for_pieces_in_place(y, GRAIN, hard_swish_in_place),
        Activation::Silu => for_pieces_in_place(y, GRAIN, silu_in_place),
        Activation::LeakyRelu => for_pieces_in_place(y, GRAIN, leaky_relu_in_place),
        Activation::Elu => for_pieces_in_place(y, GRAIN, elu_in_place),
    }
}

/// dxᵢ = dyᵢ act′(xᵢ), from the input `x` of [`activate`]; the derivative of ReLU at 0 is 0, those of the leaky ReLU at 0 and of
/// the hard functions at ±3 as PyTorch has them.
///
/// For ReLU the output serves as well as the input.
///
/// # Panics
/// When the lengths differ.
pub fn activate_backward(act: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!(
        (x.len(), dy.len()),
        (dx.len(), dx.len()),
        "x, dy and dx differ in length"
    );
    let piece = |x: &[f32], dy: &[f32], dx: &mut [f32]| match act {
        Activation::None => dx.copy_from_slice(dy),
        Activation::Relu => relu_backward(x, dy, dx),
        Activation::Gelu => gelu_backward(x, dy, dx),
        Activation::Tanh => tanh_backward(x, dy, dx),
        Activation::Sigmoid => sigmoid_backward(x, dy, dx),
        Activation::HardSigmoid => hard_sigmoid_backward(x, dy, dx),
        Activation::HardSwish => hard_swish_backward(x, dy, dx),
        Activation::Silu => silu_backward(x, dy, dx),
        Activation::LeakyRelu => leaky_relu_backward(x, dy, dx),
        Activation::Elu => elu_backward(x, dy, dx),
    };
    if dx.len() <= GRAIN {
        piece(x, dy, dx);
    } else {
        let inputs = x.par_chunks(GRAIN).zip(dy.par_chunks(GRAIN));
        dx.par_chunks_mut(GRAIN)
            .zip(inputs)
            .for_each(|(dx, (x, dy))| piece(x, dy, dx));
    }
}

dispatch! {
    fn relu(x: &[f32], y: &mut [f32]) = relu_body;
    fn relu_in_place(y: &mut [f32]) = relu_in_place_body;
    fn relu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = relu_backward_body;
    fn gelu(x: &[f32], y: &mut [f32]) = gelu_body;
    fn gelu_in_place(y: &mut [f32]) = gelu_in_place_body;
    fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = gelu_backward_body;
    fn tanh(x: &[f32], y: &mut [f32]) = tanh_body;
    fn tanh_in_place(y: &mut [f32]) = tanh_in_place_body;
    fn tanh_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = tanh_backward_body;
    fn sigmoid(x: &[f32], y: &mut [f32]) = sigmoid_body;
    fn sigmoid_in_place(y: &mut [f32]) = sigmoid_in_place_body;
    fn sigmoid_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = sigmoid_backward_body;
    fn hard_sigmoid(x: &[f32], y: &mut [f32]) = hard_sigmoid_body;
    fn hard_sigmoid_in_place(y: &mut [f32]) = hard_sigmoid_in_place_body;
    fn hard_sigmoid_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = hard_sigmoid_backward_body;
    fn hard_swish(x: &[f32], y: &mut [f32]) = hard_swish_body;
    fn hard_swish_in_place(y: &mut [f32]) = hard_swish_in_place_body;
    fn hard_swish_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = hard_swish_backward_body;
    fn silu(x: &[f32], y: &mut [f32]) = silu_body;
    fn silu_in_place(y: &mut [f32]) = silu_in_place_body;
    fn silu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = silu_backward_body;
    fn leaky_relu(x: &[f32], y: &mut [f32]) = leaky_relu_body;
    fn leaky_relu_in_place(y: &mut [f32]) = leaky_relu_in_place_body;
    fn leaky_relu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = leaky_relu_backward_body;
    fn elu(x: &[f32], y: &mut [f32]) = elu_body;
    fn elu_in_place(y: &mut [f32]) = elu_in_place_body;
    fn elu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) = elu_backward_body;
}

/// The activation over a short piece, inside a kernel that is compiled for the same instructions.
#[inline(always)]
pub(crate) fn activate_piece<const FMA: bool>(act: Activation, y: &mut [f32]) {
    match act {
        Activation::None => {}
        Activation::Relu => relu_in_place_body::<FMA>(y),
        Activation::Gelu => gelu_in_place_body::<FMA>(y),
        Activation::Tanh => tanh_in_place_body::<FMA>(y),
        Activation::Sigmoid => sigmoid_in_place_body::<FMA>(y),
        Activation::HardSigmoid => hard_sigmoid_in_place_body::<FMA>(y),
        Activation::HardSwish => hard_swish_in_place_body::<FMA>(y),
        Activation::Silu => silu_in_place_body::<FMA>(y),
        Activation::LeakyRelu => leaky_relu_in_place_body::<FMA>(y),
        Activation::Elu => elu_in_place_body::<FMA>(y),
    }
}

/// max(x, 0), with NaN kept so that a broken network shows.
#[inline(always)]
pub(crate) fn relu_scalar(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn relu_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = relu_scalar(x);
    }
}

#[inline(always)]
fn relu_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = relu_scalar(*y);
    }
}

#[inline(always)]
fn relu_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = if x > 0.0 { dy } else { 0.0 };
    }
}

/// (Φ(x), √(2π) φ(x)): the normal distribution function and its unscaled density.
///
/// Φ(−|x|) = ½ erfc(|x| / √2) by Abramowitz & Stegun, *Handbook of Mathematical Functions* (1964), formula 7.1.26,
/// whose exponential is the density; the error is below 1e-7.
#[inline(always)]
fn normal<const FMA: bool>(x: f32) -> (f32, f32) {
    const P_OVER_SQRT_2: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(P_OVER_SQRT_2, x.abs(), 1.0);
    let mut p = 1.061_405_4;
    for a in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = fma::<FMA>(p, t, a);
    }
    let density = exp_scalar::<FMA>(-0.5 * x * x);
    let tail = 0.5 * p * t * density;
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

#[inline(always)]
fn gelu_scalar<const FMA: bool>(x: f32) -> f32 {
    // −∞ · 0 is NaN; the limit is 0.
    x.max(-1e30) * normal::<FMA>(x).0
}

#[inline(always)]
fn gelu_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = gelu_scalar::<FMA>(x);
    }
}

#[inline(always)]
fn gelu_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = gelu_scalar::<FMA>(*y);
    }
}

#[inline(always)]
fn gelu_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let (distribution, density) = normal::<FMA>(x);
        *dx = dy * fma::<FMA>(x * FRAC_1_SQRT_TAU, density, distribution);
    }
}

/// tanh(x) = 1 − 2 / (exp(2x) + 1): exact to 1e-7, though not relative to small x.
#[inline(always)]
fn tanh_scalar<const FMA: bool>(x: f32) -> f32 {
    1.0 - 2.0 / (exp_scalar::<FMA>(2.0 * x) + 1.0)
}

#[inline(always)]
fn tanh_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = tanh_scalar::<FMA>(x);
    }
}

#[inline(always)]
fn tanh_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = tanh_scalar::<FMA>(*y);
    }
}

#[inline(always)]
fn tanh_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let y = tanh_scalar::<FMA>(x);
        *dx = dy * fma::<FMA>(-y, y, 1.0);
    }
}

#[inline(always)]
fn sigmoid_scalar<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_scalar::<FMA>(-x))
}

#[inline(always)]
fn sigmoid_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = sigmoid_scalar::<FMA>(x);
    }
}

#[inline(always)]
fn sigmoid_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = sigmoid_scalar::<FMA>(*y);
    }
}

#[inline(always)]
fn sigmoid_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let y = sigmoid_scalar::<FMA>(x);
        *dx = dy * fma::<FMA>(-y, y, y);
    }
}

/// NaN is kept so that a broken network shows.
#[inline(always)]
fn hard_sigmoid_scalar(x: f32) -> f32 {
    let x = if x < -3.0 { -3.0 } else { x };
    let x = if x > 3.0 { 3.0 } else { x };
    (x + 3.0) / 6.0
}

#[inline(always)]
fn hard_sigmoid_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = hard_sigmoid_scalar(x);
    }
}

#[inline(always)]
fn hard_sigmoid_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = hard_sigmoid_scalar(*y);
    }
}

#[inline(always)]
fn hard_sigmoid_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = if x > -3.0 && x < 3.0 { dy / 6.0 } else { 0.0 };
    }
}

/// −∞ · 0 is NaN; the limit is 0.
#[inline(always)]
fn hard_swish_scalar(x: f32) -> f32 {
    if x <= -3.0 {
        0.0
    } else {
        x * hard_sigmoid_scalar(x)
    }
}

#[inline(always)]
fn hard_swish_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = hard_swish_scalar(x);
    }
}

#[inline(always)]
fn hard_swish_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = hard_swish_scalar(*y);
    }
}

#[inline(always)]
fn hard_swish_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let slope = if x > 3.0 { 1.0 } else { x / 3.0 + 0.5 };
        *dx = if x < -3.0 { 0.0 } else { dy * slope };
    }
}

/// −∞ · 0 is NaN; the limit is 0.
#[inline(always)]
fn silu_scalar<const FMA: bool>(x: f32) -> f32 {
    x.max(-1e30) * sigmoid_scalar::<FMA>(x)
}

#[inline(always)]
fn silu_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = silu_scalar::<FMA>(x);
    }
}

#[inline(always)]
fn silu_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = silu_scalar::<FMA>(*y);
    }
}

#[inline(always)]
fn silu_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let y = sigmoid_scalar::<FMA>(x);
        *dx = dy * fma::<FMA>(x * (1.0 - y), y, y);
    }
}

#[inline(always)]
fn leaky_relu_scalar(x: f32) -> f32 {
    if x < 0.0 { LEAK * x } else { x }
}

#[inline(always)]
fn leaky_relu_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = leaky_relu_scalar(x);
    }
}

#[inline(always)]
fn leaky_relu_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = leaky_relu_scalar(*y);
    }
}

#[inline(always)]
fn leaky_relu_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = if x > 0.0 { dy } else { LEAK * dy };
    }
}

#[inline(always)]
fn elu_scalar<const FMA: bool>(x: f32) -> f32 {
    // NaN is no number below zero, and kept.
    if x < 0.0 {
        exp_scalar::<FMA>(x) - 1.0
    } else {
        x
    }
}

#[inline(always)]
fn elu_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = elu_scalar::<FMA>(x);
    }
}

#[inline(always)]
fn elu_in_place_body<const FMA: bool>(y: &mut [f32]) {
    for y in y {
        *y = elu_scalar::<FMA>(*y);
    }
}

#[inline(always)]
fn elu_backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = if x > 0.0 {
            dy
        } else {
            dy * exp_scalar::<FMA>(x)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    /// Φ(x) by its Taylor series: ½ + φ(x) (x + x³/3 + x⁵/(3·5) + …).
    fn normal_distribution(x: f64) -> f64 {
        let (mut term, mut series, mut k) = (x, 0.0, 1.0);
        while term.abs() > 1e-18 {
            series += term;
            k += 2.0;
            term *= x * x / k;
        }
        0.5 + series * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    }

    fn reference(act: Activation, x: f64) -> f64 {
        match act {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::Gelu => x * normal_distribution(x),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
        }
    }

    const ALL: [Activation; 10] = [
        Activation::None,
        Activation::Relu,
        Activation::Gelu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Silu,
        Activation::LeakyRelu,
        Activation::Elu,
    ];

    #[test]
    fn values_agree_with_the_definition_at_every_length() {
        for n in [0, 1, 15, 33, 40_001] {
            let x: Vec<f32> = random(n, 1).iter().map(|x| x * 7.0).collect();
            for act in ALL {
                let mut y = vec![9.0; n];
                activate(act, &x, &mut y);
                let want: Vec<f64> = to_f64(&x).into_iter().map(|x| reference(act, x)).collect();
                for ((&x, &y), &want) in x.iter().zip(&y).zip(&want) {
                    assert!(
                        (f64::from(y) - want).abs() <= 1e-6,
                        "{act:?}({x}) = {y}, not {want}"
                    );
                }
                let mut in_place = x.clone();
                activate_in_place(act, &mut in_place);
                assert_eq!(in_place, y);
            }
        }
    }

    #[test]
    fn derivatives_agree_with_central_differences() {
        for n in [0, 1, 37, 20_003] {
            let x: Vec<f32> = random(n, 2).iter().map(|x| x * 6.0).collect();
            let dy = random(n, 3);
            for act in ALL {
                let mut dx = vec![9.0; n];
                activate_backward(act, &x, &dy, &mut dx);
                let want: Vec<f64> = to_f64(&x)
                    .into_iter()
                    .zip(&dy)
                    .map(|(x, &dy)| {
                        f64::from(dy) * (reference(act, x + 1e-5) - reference(act, x - 1e-5)) / 2e-5
                    })
                    .collect();
                assert_close(&dx, &want, 2e-6);
            }
        }
    }

    #[test]
    fn extremes_have_their_limits() {
        let x = [f32::NEG_INFINITY, -200.0, 200.0, f32::INFINITY, f32::NAN];
        for act in [
            Activation::Relu,
            Activation::Gelu,
            Activation::HardSwish,
            Activation::Silu,
        ] {
            let mut y = [9.0; 5];
            activate(act, &x, &mut y);
            assert_eq!(y[..4], [0.0, 0.0, 200.0, f32::INFINITY], "{act:?}");
            assert!(y[4].is_nan(), "{act:?}");
        }
        let mut y = [9.0; 5];
        activate(Activation::Tanh, &x, &mut y);
        assert_eq!(y[..4], [-1.0, -1.0, 1.0, 1.0]);
        assert!(y[4].is_nan());
        for act in [Activation::Sigmoid, Activation::HardSigmoid] {
            activate(act, &x, &mut y);
            assert_eq!(y[..4], [0.0, 0.0, 1.0, 1.0], "{act:?}");
            assert!(y[4].is_nan(), "{act:?}");
        }
    }
}
