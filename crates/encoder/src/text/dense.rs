//! A fully connected layer after pooling.

use super::pass::Pass;
use crate::error::Result;
use crate::op::{self, Activation};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

/// The settings of a [`Dense`], as sentence-transformers writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseConfig {
    /// Width of the input.
    pub in_features: usize,
    /// Width of the output.
    pub out_features: usize,
    /// Whether there is a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// The dotted name of a class of `torch`.
    #[serde(default = "tanh")]
    pub activation_function: String,
    /// Whether the input is added to the output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub use_residual: bool,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".into()
}

/// `y = act(x wᵀ + b)`, plus `x` where the settings say so.
#[derive(Clone, Debug)]
pub struct Dense {
    config: DenseConfig,
    activation: Activation,
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Makes the layer.
    ///
    /// # Errors
    /// A tensor is missing or of another shape; says which activations and forms there are.
    pub fn new(scope: &Scope, config: DenseConfig) -> Result<Self> {
        let unknown = |key: &str, expected: &str, found: String| crate::Error::Setting {
            key: key.into(),
            expected: expected.into(),
            found,
        };
        let activation = match config.activation_function.rsplit('.').next() {
            Some("Identity") => Activation::None,
            Some("Tanh") => Activation::Tanh,
            Some("ReLU") => Activation::Relu,
            Some("GELU") => Activation::Gelu,
            Some("Sigmoid") => Activation::Sigmoid,
            _ => {
                let found = format!("\"{}\"", config.activation_function);
                let expected = "Tanh, Identity, ReLU, GELU or Sigmoid of torch.nn.modules";
                return Err(unknown("activation_function", expected, found));
            }
        };
        if config.use_residual && config.in_features != config.out_features {
            let found = format!("{} to {}", config.in_features, config.out_features);
            return Err(unknown(
                "use_residual",
                "equal widths of input and output",
                found,
            ));
        }
        let shape = [config.out_features, config.in_features];
        let init = Init::Uniform(1.0 / (config.in_features.max(1) as f32).sqrt());
        let kind = |kind| (kind, Storage::Plain);
        let place = scope.child("linear");
        let bias = if config.bias {
            place.parameter("bias", &shape[..1], init, kind(Kind::Offset))?
        } else {
            Var::zeros(shape[0], candle_core::DType::F32, &candle_core::Device::Cpu)?
                .as_detached_tensor()
        };
        Ok(Self {
            weight: place.parameter("weight", &shape, init, kind(Kind::Weight))?,
            bias,
            activation,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &DenseConfig {
        &self.config
    }

    /// `[N, in_features]` to `[N, out_features]`.
    ///
    /// # Errors
    /// The width of `x` is another.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let weight = pass.mode.parameter(&self.weight);
        let y = op::linear(
            x,
            &weight,
            &pass.mode.parameter(&self.bias),
            self.activation,
        )?;
        if self.config.use_residual {
            return Ok(op::sum(&y, x)?);
        }
        Ok(y)
    }
}
