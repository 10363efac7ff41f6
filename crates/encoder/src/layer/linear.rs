//! Linear layer.

use super::Mode;
use crate::error::Result;
use crate::op::{self, Activation};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::Tensor;

/// `y = act(x wᵀ + b)`; parameters `weight` `[out, in]` and `bias` `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Linear {
    /// Makes the layer; both parameters start uniform in `± 1/√in`, as `PyTorch`'s do.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(
        scope: &Scope,
        inputs: usize,
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let weight = scope.parameter(
            "weight",
            &[outputs, inputs],
            init,
            (Kind::Weight, Storage::Plain),
        )?;
        let bias = scope.parameter("bias", &[outputs], init, (Kind::Offset, Storage::Plain))?;
        Ok(Self {
            weight,
            bias,
            activation,
        })
    }

    /// `[N, in]` to `[N, out]`.
    ///
    /// # Errors
    /// The width of `x` is not `in`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(op::linear(
            x,
            &mode.parameter(&self.weight),
            &mode.parameter(&self.bias),
            self.activation,
        )?)
    }
}
