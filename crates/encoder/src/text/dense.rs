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

/// What follows the linear layer.
#[derive(Clone, Copy, Debug)]
enum After {
    /// A function of each number.
    Each(Activation),
    /// Softmax of each row.
    Softmax,
}

/// The classes of `torch` that are known, as they are without arguments: sentence-transformers keeps none.
const ACTIVATIONS: [(&str, After); 11] = [
    ("Tanh", After::Each(Activation::Tanh)),
    ("Identity", After::Each(Activation::None)),
    ("ReLU", After::Each(Activation::Relu)),
    ("LeakyReLU", After::Each(Activation::LeakyRelu)),
    ("ELU", After::Each(Activation::Elu)),
    ("GELU", After::Each(Activation::Gelu)),
    ("SiLU", After::Each(Activation::Silu)),
    ("Hardswish", After::Each(Activation::HardSwish)),
    ("Sigmoid", After::Each(Activation::Sigmoid)),
    ("Hardsigmoid", After::Each(Activation::HardSigmoid)),
    ("Softmax", After::Softmax),
];

/// `y = act(x wᵀ + b)`, plus `x` where the settings say so.
#[derive(Clone, Debug)]
pub struct Dense {
    config: DenseConfig,
    after: After,
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
        let name = config.activation_function.rsplit('.').next();
        let known = ACTIVATIONS.iter().find(|(known, _)| Some(*known) == name);
        let Some(&(_, after)) = known else {
            let names: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
            let expected = format!("one of {} of torch.nn.modules", names.join(", "));
            let found = format!("\"{}\"", config.activation_function);
            return Err(unknown("activation_function", &expected, found));
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
            after,
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
        let bias = pass.mode.parameter(&self.bias);
        let y = match self.after {
            After::Each(activation) => op::linear(x, &weight, &bias, activation)?,
            After::Softmax => op::softmax(&op::linear(x, &weight, &bias, Activation::None)?)?,
        };
        if self.config.use_residual {
            return Ok(op::sum(&y, x)?);
        }
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn dense(class: &str) -> Result<Dense> {
        let scope = Scope::new(3, DType::F32, &Device::Cpu);
        let config = DenseConfig {
            in_features: 3,
            out_features: 4,
            bias: true,
            activation_function: class.into(),
            use_residual: false,
        };
        Dense::new(&scope, config)
    }

    #[test]
    fn every_activation_is_that_of_its_name_and_others_are_refused() {
        let x = Tensor::new(&[[4f32, -2.0, 1.0]], &Device::Cpu).unwrap();
        let forward = |class: &str| -> Vec<f32> {
            let y = dense(class).unwrap().forward(&x, Pass::eval()).unwrap();
            y.flatten_all().unwrap().to_vec1().unwrap()
        };
        let z = forward("torch.nn.modules.linear.Identity");
        let powers: f32 = z.iter().map(|z| z.exp()).sum();
        let formulas: [(&str, &dyn Fn(f32) -> f32); 6] = [
            ("SiLU", &|z| z / (1.0 + (-z).exp())),
            ("LeakyReLU", &|z| z.max(0.01 * z)),
            ("ELU", &|z| z.max(0.0) + z.min(0.0).exp_m1()),
            ("Hardsigmoid", &|z| (z / 6.0 + 0.5).clamp(0.0, 1.0)),
            ("Hardswish", &|z| z * (z / 6.0 + 0.5).clamp(0.0, 1.0)),
            ("Softmax", &|z| z.exp() / powers),
        ];
        for (name, formula) in formulas {
            let found = forward(&format!("torch.nn.modules.activation.{name}"));
            for (found, &z) in found.iter().zip(&z) {
                assert!((found - formula(z)).abs() < 1e-6, "{name}({z}) = {found}");
            }
        }
        let error = dense("torch.nn.modules.activation.PReLU").map(|_| ());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("Softmax of torch.nn.modules, found") && error.contains("PReLU"),
            "{error}"
        );
    }
}
