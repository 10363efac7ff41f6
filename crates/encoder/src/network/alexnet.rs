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

/// AlexNet up to the features before its last layer, in the layout of Caffe or of `torchvision`.
///
/// ```text
/// caffe:        image → conv 11×11 → norm → pool → conv 5×5 → norm → pool → three conv 3×3 → pool → two linear layers
/// torchvision:  the same without norms and groups, with 64, 192, 384, 256 and 256 channels for 96, 256, 384, 384 and 256
/// ```
///
/// With `[head] dim = 512` it is the tower of the quadruplet paper's Euclidean baseline (figure 2a). Tensor names are
/// those of the layout: `conv1.weight`, …, `conv5.bias`, `fc6.weight`, …, `fc7.bias`, or `features.0.weight`, …,
/// `classifier.4.bias`. Weights of `torchvision` load unchanged; its last layer, `classifier.6`, is not read, and where its
/// adaptive average would not be of 6 × 6 places already (224 × 224 pixels are), `classifier.1` has another shape here.
///
/// # Shapes
/// - input: `[N, H, W, C]`, in the paper 227 × 227, of `torchvision` 224 × 224
/// - output: `[N, hidden]`
///
/// # Reference
/// Krizhevsky, Sutskever and Hinton 2012, section 3.5; Chen et al. 2017, figure 2; for `torchvision`'s layout Krizhevsky
/// 2014 (*One weird trick*), as `torchvision` reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alexnet {
    /// Whose layers and tensor names.
    pub layout: AlexnetLayout,
    /// What comes before the second convolution.
    pub stem: AlexnetStem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Outputs of either linear layer; 4096 · width where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<NonZeroUsize>,
    /// Share of the features that training drops behind each linear layer, in `torchvision`'s layout before each.
    pub dropout: f32,
}

/// Whose layers and tensor names an [`Alexnet`] has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlexnetLayout {
    /// The paper's, as Caffe has it: two groups, response norms.
    #[default]
    Caffe,
    /// `torchvision`'s, whose weights it takes.
    Torchvision,
}

/// A layout as data.
struct Plan {
    /// Names and outputs of the convolutions.
    convs: [(&'static str, usize); 5],
    pools: [&'static str; 3],
    linears: [&'static str; 2],
    pool: Pool,
    /// Groups of the second, fourth and fifth convolution.
    groups: usize,
    /// Around the image, where the first convolution is 11×11.
    padding: usize,
    has_norms: bool,
}

const CAFFE: Plan = Plan {
    convs: [
        ("conv1", 96),
        ("conv2", 256),
        ("conv3", 384),
        ("conv4", 384),
        ("conv5", 256),
    ],
    pools: ["pool1", "pool2", "pool5"],
    linears: ["fc6", "fc7"],
    pool: Pool::square(Pooling::Max, 3, 2, 0).ceil(),
    groups: 2,
    padding: 0,
    has_norms: true,
};

const TORCHVISION: Plan = Plan {
    convs: [
        ("features.0", 64),
        ("features.3", 192),
        ("features.6", 384),
        ("features.8", 256),
        ("features.10", 256),
    ],
    pools: ["features.2", "features.5", "features.12"],
    linears: ["classifier.1", "classifier.4"],
    pool: Pool::square(Pooling::Max, 3, 2, 0),
    groups: 1,
    padding: 2,
    has_norms: false,
};

impl AlexnetLayout {
    fn plan(self) -> &'static Plan {
        match self {
            Self::Caffe => &CAFFE,
            Self::Torchvision => &TORCHVISION,
        }
    }
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
            layout: AlexnetLayout::default(),
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
    layout: AlexnetLayout,
    layers: Layers,
    linears: [(Linear, Dropout); 2],
}

const NORM: ResponseNorm = ResponseNorm {
    size: 5,
    alpha: 1e-4,
    beta: 0.75,
    bias: 1.0,
};

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
        let plan = self.layout.plan();
        let (first, is_pooled) = match self.stem {
            AlexnetStem::Small => (Kernel::same(3, 3), false),
            AlexnetStem::Medium => (Kernel::square(5, 2, 2), true),
            AlexnetStem::Large => (Kernel::square(11, 4, plan.padding), true),
        };
        let kernels = [first, Kernel::same(5, 5).in_groups(plan.groups)];
        let mut table = Vec::new();
        for (place, kernel) in kernels.into_iter().enumerate() {
            let (name, outputs) = plan.convs[place];
            table.push(Layer::Conv(name, outputs, kernel));
            if plan.has_norms {
                table.push(Layer::ResponseNorm(NORM));
            }
            if place > 0 || is_pooled {
                table.push(Layer::Pool(plan.pools[place], plan.pool));
            }
        }
        Layers::new(scope, map, table, (Unit::Bias, self.width))
    }

    /// Place, outputs and kernel of the third convolution, which sees the map of one image or those of a pair.
    pub(super) fn third(&self, scope: &Scope) -> (Scope, usize, Kernel) {
        let (name, outputs) = self.layout.plan().convs[2];
        (
            scope.child(name),
            self.width.of(outputs),
            Kernel::same(3, 3),
        )
    }

    /// The rest, and the count of its outputs.
    pub(super) fn high(&self, scope: &Scope, mut map: Map) -> Result<(High, usize)> {
        let plan = self.layout.plan();
        let kernel = Kernel::same(3, 3).in_groups(plan.groups);
        let [.., fourth, fifth] = plan.convs;
        let table = vec![
            Layer::Conv(fourth.0, fourth.1, kernel),
            Layer::Conv(fifth.0, fifth.1, kernel),
            Layer::Pool(plan.pools[2], plan.pool),
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
        let [sixth, seventh] = plan.linears;
        let linears = [linear(sixth, map.numbers())?, linear(seventh, features)?];
        let high = High {
            layout: self.layout,
            layers,
            linears,
        };
        Ok((high, features))
    }
}

impl High {
    /// Features of maps; `batch` decides the dropout.
    pub(super) fn forward(&self, maps: &Tensor, batch: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.layers.forward(maps, mode)?;
        let mut x = match self.layout {
            AlexnetLayout::Caffe => op::flatten(&maps)?,
            AlexnetLayout::Torchvision => op::flatten_by_channel(&maps)?,
        };
        for (linear, dropout) in &self.linears {
            x = match self.layout {
                AlexnetLayout::Caffe => dropout.forward(&linear.forward(&x, mode)?, batch, mode)?,
                AlexnetLayout::Torchvision => {
                    linear.forward(&dropout.forward(&x, batch, mode)?, mode)?
                }
            };
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
