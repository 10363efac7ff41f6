//! GoogLeNet.

use super::layers::{Layer, Layers, Unit};
use super::{InputShape, Stem, Width};
use crate::error::Result;
use crate::layer::{Dropout, Kernel, Mode};
use crate::op::{self, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// GoogLeNet with batch norm, as `torchvision` has it.
///
/// ```text
/// image → conv 7×7 → pool → conv 1×1 → conv 3×3 → pool → 2 inceptions → pool → 5 inceptions → pool → 2 inceptions → average
/// inception:  1×1 ‖ 1×1 → 3×3 ‖ 1×1 → 3×3 ‖ pool 3×3 → 1×1, concatenated over channels
/// ```
///
/// Tensor names are `torchvision`'s (`conv1.conv.weight`, `inception3a.branch2.0.bn.weight`, …), so its weights load
/// unchanged; its auxiliary classifiers and its `fc` are not read. Like it, this network has 3×3 kernels where the paper
/// has 5×5.
///
/// # Shapes
/// - input: `[N, H, W, C]`
/// - output: `[N, 1024 · width]`
///
/// # Reference
/// Szegedy et al. 2015 (*Going deeper with convolutions*), table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Googlenet {
    /// What comes before the inceptions.
    pub stem: Stem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Share of the features that training drops; `torchvision`'s is 0.2.
    pub dropout: f32,
}

impl Default for Googlenet {
    fn default() -> Self {
        Self {
            stem: Stem::Large,
            width: Width::PAPER,
            dropout: 0.2,
        }
    }
}

/// A [`Googlenet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Layers,
    dropout: Dropout,
}

/// The inceptions after each pool: name, then the outputs of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5 and pool projection.
const INCEPTIONS: [&[(&str, [usize; 6])]; 3] = [
    &[
        ("inception3a", [64, 96, 128, 16, 32, 32]),
        ("inception3b", [128, 128, 192, 32, 96, 64]),
    ],
    &[
        ("inception4a", [192, 96, 208, 16, 48, 64]),
        ("inception4b", [160, 112, 224, 24, 64, 64]),
        ("inception4c", [128, 128, 256, 24, 64, 64]),
        ("inception4d", [112, 144, 288, 32, 64, 64]),
        ("inception4e", [256, 160, 320, 32, 128, 128]),
    ],
    &[
        ("inception5a", [256, 160, 320, 32, 128, 128]),
        ("inception5b", [384, 192, 384, 48, 128, 128]),
    ],
];

impl Googlenet {
    fn table(&self) -> Vec<Layer> {
        let pool = |name, side| Layer::Pool(name, Pool::square(Pooling::Max, side, 2, 0).ceil());
        let mut table = match self.stem {
            Stem::Large => vec![
                Layer::Conv("conv1", 64, Kernel::square(7, 2, 3)),
                pool("maxpool1", 3),
            ],
            Stem::Small => vec![Layer::Conv("conv1", 64, Kernel::same(3, 3))],
        };
        table.push(Layer::Conv("conv2", 64, Kernel::same(1, 1)));
        table.push(Layer::Conv("conv3", 192, Kernel::same(3, 3)));
        let pools = [("maxpool2", 3), ("maxpool3", 3), ("maxpool4", 2)];
        for ((name, side), inceptions) in pools.into_iter().zip(INCEPTIONS) {
            table.push(pool(name, side));
            table.extend(inceptions.iter().map(|&row| inception(row)));
        }
        table
    }

    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.googlenet")?;
        super::check_share("network.googlenet.dropout", self.dropout)?;
        let layers = Layers::new(scope, &mut map, self.table(), (Unit::Norm, self.width))?;
        let dropout = Dropout::new(&scope.child("dropout"), self.dropout);
        Ok((Body { layers, dropout }, map.channels))
    }
}

fn inception((name, outputs): (&'static str, [usize; 6])) -> Layer {
    let [one, reduce3, three, reduce5, five, projection] = outputs;
    let conv = |name, outputs, side| Layer::Conv(name, outputs, Kernel::same(side, side));
    Layer::Fork(
        name,
        vec![
            vec![conv("branch1", one, 1)],
            vec![conv("branch2.0", reduce3, 1), conv("branch2.1", three, 3)],
            vec![conv("branch3.0", reduce5, 1), conv("branch3.1", five, 3)],
            vec![
                Layer::Pool("branch4.0", Pool::square(Pooling::Max, 3, 1, 1)),
                conv("branch4.1", projection, 1),
            ],
        ],
    )
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let features = op::global_average(&self.layers.forward(x, mode)?)?;
        self.dropout.forward(&features, x, mode)
    }
}
