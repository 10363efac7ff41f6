//! Networks as lists of layers: convolutions and pools one after another, and forks whose branches see the same map.

use super::Width;
use crate::error::Result;
use crate::layer::{Conv2d, ConvNorm, Kernel, Map, Mode};
use crate::op::{self, Activation, Pool, ResponseNorm};
use crate::parameters::Scope;
use candle_core::Tensor;

/// A layer as a network's table has it.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    /// A convolution of this name with these outputs.
    Conv(&'static str, usize, Kernel),
    /// A pool of this name.
    Pool(&'static str, Pool),
    /// Local response normalization.
    ResponseNorm(ResponseNorm),
    /// Branches under a name, concatenated over channels.
    Fork(&'static str, Vec<Vec<Layer>>),
    /// The same under the name of what they are in.
    Beside(Vec<Vec<Layer>>),
    /// `relu(x + scale · conv(branches of x))` under a name.
    Residual(Residual),
}

/// A residual unit of Inception-ResNet.
#[derive(Clone, Debug)]
pub(super) struct Residual {
    /// Its name.
    pub name: String,
    /// Concatenated over channels and led back to those of its input by a 1×1 convolution.
    pub branches: Vec<Vec<Layer>>,
    /// Factor on what is added.
    pub scale: f64,
    /// Whether a ReLU ends it.
    pub relu: bool,
}

/// What a convolution of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Without bias, then batch norm and ReLU, under `conv` and `bn`.
    Norm,
    /// With bias, then ReLU.
    Bias,
}

impl Unit {
    /// With batch norm or without.
    pub(super) fn of(batch_norm: bool) -> Self {
        if batch_norm { Self::Norm } else { Self::Bias }
    }
}

/// Layers with their parameters.
#[derive(Clone, Debug)]
pub(super) struct Layers(Vec<Built>);

#[derive(Clone, Debug)]
enum Built {
    ConvNorm(ConvNorm),
    Conv(Conv2d),
    Pool(Pool),
    ResponseNorm(ResponseNorm),
    Fork(Vec<Layers>),
    Residual {
        branches: Vec<Layers>,
        conv: Conv2d,
        scale: f64,
        relu: bool,
    },
}

impl Layers {
    /// Makes the layers for `map`, and moves `map` behind them.
    pub(super) fn new(
        scope: &Scope,
        map: &mut Map,
        layers: Vec<Layer>,
        (unit, width): (Unit, Width),
    ) -> Result<Self> {
        let built = layers
            .into_iter()
            .map(|layer| Built::new(scope, map, layer, (unit, width)));
        Ok(Self(built.collect::<Result<_>>()?))
    }

    /// `[N, H, W, C]` to `[N, H', W', C']`.
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.0 {
            x = layer.forward(&x, mode)?;
        }
        Ok(x)
    }
}

impl Built {
    fn new(scope: &Scope, map: &mut Map, layer: Layer, how: (Unit, Width)) -> Result<Self> {
        let (unit, width) = how;
        Ok(match layer {
            Layer::Conv(name, outputs, kernel) => {
                let (scope, outputs) = (scope.child(name), width.of(outputs));
                match unit {
                    Unit::Norm => Self::ConvNorm(ConvNorm::basic(&scope, map, outputs, kernel)?),
                    Unit::Bias => Self::Conv(Conv2d::biased(&scope, map, outputs, kernel, true)?),
                }
            }
            Layer::Pool(name, pool) => {
                *map = map.pooled(scope.child(name).name(), pool)?;
                Self::Pool(pool)
            }
            Layer::ResponseNorm(norm) => Self::ResponseNorm(norm),
            Layer::Fork(name, branches) => {
                Self::Fork(fork(&scope.child(name), map, branches, how)?)
            }
            Layer::Beside(branches) => Self::Fork(fork(scope, map, branches, how)?),
            Layer::Residual(residual) => {
                let (scope, outputs) = (scope.child(&residual.name), map.channels);
                let mut inner = *map;
                let branches = fork(&scope, &mut inner, residual.branches, how)?;
                let (place, kernel) = (scope.child("conv2d"), Kernel::same(1, 1));
                Self::Residual {
                    branches,
                    conv: Conv2d::biased(&place, &mut inner, outputs, kernel, false)?,
                    scale: residual.scale,
                    relu: residual.relu,
                }
            }
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::ConvNorm(unit) => unit.forward(x, mode),
            Self::Conv(conv) => conv.forward(x, mode),
            Self::Pool(pool) => Ok(op::pool2d(x, *pool)?),
            Self::ResponseNorm(norm) => Ok(op::response_norm(x, *norm)?),
            Self::Fork(branches) => together(branches, x, mode),
            Self::Residual {
                branches,
                conv,
                scale,
                relu,
            } => {
                let change = conv.forward(&together(branches, x, mode)?, mode)?;
                let sum = op::sum(x, &op::scale(&change, *scale)?)?;
                let last = if *relu {
                    Activation::Relu
                } else {
                    Activation::None
                };
                Ok(op::activation(&sum, last)?)
            }
        }
    }
}

/// Makes branches that all see `map`, and moves it behind them.
fn fork(
    scope: &Scope,
    map: &mut Map,
    branches: Vec<Vec<Layer>>,
    how: (Unit, Width),
) -> Result<Vec<Layers>> {
    let (before, mut channels) = (*map, 0);
    let mut built = Vec::new();
    for branch in branches {
        *map = before;
        built.push(Layers::new(scope, map, branch, how)?);
        channels += map.channels;
    }
    map.channels = channels;
    Ok(built)
}

/// The outputs of all branches, concatenated over channels.
fn together(branches: &[Layers], x: &Tensor, mode: Mode) -> Result<Tensor> {
    let outputs = branches.iter().map(|branch| branch.forward(x, mode));
    Ok(op::concat(&outputs.collect::<Result<Vec<_>>>()?)?)
}
