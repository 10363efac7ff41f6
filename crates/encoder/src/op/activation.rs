//! ReLU and its smooth and leaky forms, tanh, and the sigmoid with its piecewise linear forms.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nearkin_kernels::{Activation, activate, activate_backward};

/// Applies an activation to every number.
///
/// ```text
/// Relu: y = max(x, 0)        Gelu: y = x · Φ(x)  (Φ the normal distribution function, exact form)
/// Tanh: y = tanh(x)              Sigmoid: y = 1 / (1 + exp(−x))
/// HardSigmoid: y = min(max(x + 3, 0), 6) / 6        HardSwish: y = x · HardSigmoid(x)
/// Silu: y = x · Sigmoid(x)        LeakyRelu: y = max(x, 0) + min(x, 0) / 100
/// Elu: y = max(x, 0) + exp(min(x, 0)) − 1
/// ```
///
/// # Shapes
/// - `x` and the output: any, equal
///
/// # Errors
/// Fails only if memory or the device fails.
///
/// # Reference
/// GELU and `SiLU`: Hendrycks and Gimpel 2016, sections 2 and 4. ELU: Clevert, Unterthiner and Hochreiter 2015, section 3.
/// Hard functions: Howard et al. 2019 (MobileNetV3), section 5.2.
pub fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
    if kind == Activation::None {
        return Ok(x.clone());
    }
    if is_fused(x) {
        return apply1(&x.contiguous()?, Activate(kind));
    }
    composed(x, kind)
}

/// The same from candle's differentiable operations, for other devices and number types.
pub(crate) fn composed(x: &Tensor, kind: Activation) -> Result<Tensor> {
    match kind {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        // candle's own GELU has a derivative that is exact to seven digits only.
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x)?,
        Activation::LeakyRelu => x.relu()? - (below(x)? * 0.01)?,
        Activation::Elu => x.relu()? + (below(x)?.neg()?.exp()? - 1.0)?,
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::HardSwish => x * hard_sigmoid(x)?,
        Activation::Gelu => (x * 0.5)? * ((x / std::f64::consts::SQRT_2)?.erf()? + 1.0)?,
    }
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// −min(x, 0)
fn below(x: &Tensor) -> Result<Tensor> {
    x.neg()?.relu()
}

fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    // min(z, 6) = 6 − relu(6 − z): candle's clamp has a gradient beyond its bounds.
    let z = (x + 3.0)?.relu()?;
    ((z * -1.0)? + 6.0)?.relu()?.affine(-1.0 / 6.0, 1.0)
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("activation forward");
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len()];
        activate(self.0, x, &mut y);
        Ok(output(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("activation backward");
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        activate_backward(self.0, &Host::new(x)?, &Host::new(&dy)?, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
