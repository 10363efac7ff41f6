//! Fully connected network for precomputed features.

use super::InputShape;
use crate::error::{Error, Result};
use crate::layer::{Linear, Mode};
use crate::op::{self, Activation};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Linear layers with ReLU; without hidden layers the features go to the head as they are.
///
/// ```text
/// h₀ = x        h_i = relu(h_{i−1} w_iᵀ + b_i)
/// ```
///
/// # Shapes
/// - input: `[N, F]` features, or images, which are flattened
/// - output: `[N, last hidden width]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlp {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
}

impl Default for Mlp {
    fn default() -> Self {
        Self { hidden: vec![256] }
    }
}

/// An [`Mlp`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Vec<Linear>,
}

impl Mlp {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        if self.hidden.contains(&0) {
            return Err(Error::Setting {
                key: "network.mlp.hidden".into(),
                expected: "widths above zero".into(),
                found: format!("{:?}", self.hidden),
            });
        }
        let mut inputs = input.numbers();
        let mut layers = Vec::new();
        for (index, &outputs) in self.hidden.iter().enumerate() {
            let place = scope.child(format!("hidden{index}"));
            layers.push(Linear::new(&place, inputs, outputs, Activation::Relu)?);
            inputs = outputs;
        }
        Ok((Body { layers }, inputs))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = op::flatten(x)?;
        for layer in &self.layers {
            x = layer.forward(&x, mode)?;
        }
        Ok(x)
    }
}
