//! AlexNet, and the two parts that a network of pairs has of it.

use super::layers::{Layer, Layers, Unit};
use super::{InputShape, Width};
use crate::error::Result;
use crate::layer::{Conv2d, Dropout, Kernel, Linear, Map, Mode};
use crate::op::{self, Activation, Pool, Pooling, ResponseNorm};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// AlexNet in Caffe's layout, up to the features before its last layer.
///
/// ```text
/// image → conv 11×11 → norm → pool → conv 5×5 → norm → pool → three conv 3×3 → pool → two linear layers
/// ```
///
/// With `[head] dim = 512` it is the tower of the quadruplet paper's Euclidean baseline (figure 2a). Tensor names are
/// Caffe's: `conv1.weight`, …, `conv5.bias`, `fc6.weight`, …, `fc7.bias`.
///
/// # Shapes
/// - input: `[N, H, W, C]`, in the paper 227 × 227
/// - output: `[N, hidden]`
///
/// # Reference
/// Krizhevsky, Sutskever and Hinton 2012, section 3.5; Chen et al. 2017, figure 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alexnet {
    /// What comes before the second convolution.
    pub stem: AlexnetStem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Outputs of either linear layer; 4096 · width where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<NonZeroUsize>,
    /// Share of the features that training drops behind each linear layer.
    pub dropout: f32,
}

/// The first convolution of an [`Alexnet`], and what comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlexnetStem {
    /// 3×3 with stride 1, no pooling: for images below about 32 pixels.
    Small,
    /// 5×5 with stride 2, then pooling: for images of about 24 to 100 pixels.
    Medium,
    /// The paper's 11×11 with stride 4, then pooling.
    Large,
}

impl Default for Alexnet {
    fn default() -> Self {
        Self {
            stem: AlexnetStem::Large,
            width: Width::PAPER,
            hidden: None,
            dropout: 0.5,
        }
    }
}

/// An [`Alexnet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    low: Layers,
    third: Conv2d,
    high: High,
}

/// The layers behind the third convolution.
#[derive(Clone, Debug)]
pub(super) struct High {
    layers: Layers,
    linears: [(Linear, Dropout); 2],
}

const NORM: ResponseNorm = ResponseNorm {
    size: 5,
    alpha: 1e-4,
    beta: 0.75,
    bias: 1.0,
};

const POOL: Pool = Pool::square(Pooling::Max, 3, 2, 0).ceil();

impl Alexnet {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.alexnet")?;
        super::check_share("network.alexnet.dropout", self.dropout)?;
        let low = self.low(scope, &mut map)?;
        let (place, outputs, kernel) = self.third(scope);
        let third = Conv2d::biased(&place, &mut map, outputs, kernel, true)?;
        let (high, features) = self.high(scope, map)?;
        Ok((Body { low, third, high }, features))
    }

    /// The first two convolutions, which see one image.
    pub(super) fn low(&self, scope: &Scope, map: &mut Map) -> Result<Layers> {
        let (first, is_pooled) = match self.stem {
            AlexnetStem::Small => (Kernel::same(3, 3), false),
            AlexnetStem::Medium => (Kernel::square(5, 2, 2), true),
            AlexnetStem::Large => (Kernel::square(11, 4, 0), true),
        };
        let mut table = vec![Layer::Conv("conv1", 96, first), Layer::ResponseNorm(NORM)];
        if is_pooled {
            table.push(Layer::Pool("pool1", POOL));
        }
        table.extend([
            Layer::Conv("conv2", 256, Kernel::same(5, 5).in_groups(2)),
            Layer::ResponseNorm(NORM),
            Layer::Pool("pool2", POOL),
        ]);
        Layers::new(scope, map, table, (Unit::Bias, self.width))
    }

    /// Place, outputs and kernel of the third convolution, which sees the map of one image or those of a pair.
    pub(super) fn third(&self, scope: &Scope) -> (Scope, usize, Kernel) {
        (scope.child("conv3"), self.width.of(384), Kernel::same(3, 3))
    }

    /// The rest, and the count of its outputs.
    pub(super) fn high(&self, scope: &Scope, mut map: Map) -> Result<(High, usize)> {
        let table = vec![
            Layer::Conv("conv4", 384, Kernel::same(3, 3).in_groups(2)),
            Layer::Conv("conv5", 256, Kernel::same(3, 3).in_groups(2)),
            Layer::Pool("pool5", POOL),
        ];
        let layers = Layers::new(scope, &mut map, table, (Unit::Bias, self.width))?;
        let features = self
            .hidden
            .map_or_else(|| self.width.of(4096), NonZeroUsize::get);
        let linear = |name: &str, inputs| {
            let place = scope.child(name);
            let linear = Linear::new(&place, inputs, features, Activation::Relu)?;
            Ok::<_, crate::Error>((linear, Dropout::new(&place, self.dropout)))
        };
        let linears = [linear("fc6", map.numbers())?, linear("fc7", features)?];
        Ok((High { layers, linears }, features))
    }
}

impl High {
    /// Features of maps; `batch` decides the dropout.
    pub(super) fn forward(&self, maps: &Tensor, batch: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = op::flatten(&self.layers.forward(maps, mode)?)?;
        for (linear, dropout) in &self.linears {
            x = dropout.forward(&linear.forward(&x, mode)?, batch, mode)?;
        }
        Ok(x)
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.third.forward(&self.low.forward(x, mode)?, mode)?;
        self.high.forward(&maps, x, mode)
    }
}
