//! Inception-v3.

use super::layers::{Layer, Layers, Unit};
use super::{InputShape, Stem, Width};
use crate::error::Result;
use crate::layer::{Dropout, Kernel, Mode};
use crate::op::{self, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Inception-v3, as `torchvision` has it, up to its global average.
///
/// ```text
/// image → 5 convolutions, 2 pools → 3 × A → B → 4 × C → D → 2 × E → average
/// A: 1×1 ‖ 5×5 ‖ two 3×3 ‖ average pool      C: 1×1 ‖ 1×7, 7×1 ‖ twice that ‖ average pool
/// E: 1×1 ‖ 1×3 beside 3×1 ‖ 3×3, then 1×3 beside 3×1 ‖ average pool      B and D halve the map
/// ```
///
/// Tensor names are `torchvision`'s (`Conv2d_1a_3x3.conv.weight`, `Mixed_5b.branch5x5_1.bn.weight`, …), so its weights
/// load unchanged; its auxiliary classifier and its `fc` are not read. With `[head] dim = 128, activation = "sigmoid"` it
/// is the network of the constellation loss.
///
/// # Shapes
/// - input: `[N, H, W, C]`, H and W at least 75, with the small stem 21
/// - output: `[N, 2048 · width]`
///
/// # Reference
/// Szegedy et al. 2016 (*Rethinking the inception architecture*), table 1 and figures 5 to 7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InceptionV3 {
    /// What comes before the inceptions.
    pub stem: Stem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Share of the features that training drops; `torchvision`'s is 0.5, the constellation paper has none.
    pub dropout: f32,
}

impl Default for InceptionV3 {
    fn default() -> Self {
        Self {
            stem: Stem::Large,
            width: Width::PAPER,
            dropout: 0.0,
        }
    }
}

/// An [`InceptionV3`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Layers,
    dropout: Dropout,
}

const HALVING: Kernel = Kernel::square(3, 2, 0);
const HALVING_POOL: Pool = Pool::square(Pooling::Max, 3, 2, 0);

fn conv(name: &'static str, outputs: usize, [height, width]: [usize; 2]) -> Layer {
    Layer::Conv(name, outputs, Kernel::same(height, width))
}

/// The branch that every inception of one size has.
fn pooled(outputs: usize) -> Vec<Layer> {
    vec![
        Layer::Pool("pool", Pool::square(Pooling::PaddedAverage, 3, 1, 1)),
        conv("branch_pool", outputs, [1, 1]),
    ]
}

fn stem(stem: Stem) -> Vec<Layer> {
    let (stride, is_pooled) = match stem {
        Stem::Large => (2, true),
        Stem::Small => (1, false),
    };
    let mut table = vec![
        Layer::Conv("Conv2d_1a_3x3", 32, Kernel::square(3, stride, 0)),
        Layer::Conv("Conv2d_2a_3x3", 32, Kernel::square(3, 1, 0)),
        conv("Conv2d_2b_3x3", 64, [3, 3]),
    ];
    if is_pooled {
        table.push(Layer::Pool("maxpool1", HALVING_POOL));
    }
    table.push(conv("Conv2d_3b_1x1", 80, [1, 1]));
    table.push(Layer::Conv("Conv2d_4a_3x3", 192, Kernel::square(3, 1, 0)));
    table.push(Layer::Pool("maxpool2", HALVING_POOL));
    table
}

fn inception_a(name: &'static str, projection: usize) -> Layer {
    Layer::Fork(
        name,
        vec![
            vec![conv("branch1x1", 64, [1, 1])],
            vec![
                conv("branch5x5_1", 48, [1, 1]),
                conv("branch5x5_2", 64, [5, 5]),
            ],
            vec![
                conv("branch3x3dbl_1", 64, [1, 1]),
                conv("branch3x3dbl_2", 96, [3, 3]),
                conv("branch3x3dbl_3", 96, [3, 3]),
            ],
            pooled(projection),
        ],
    )
}

fn inception_b(name: &'static str) -> Layer {
    Layer::Fork(
        name,
        vec![
            vec![Layer::Conv("branch3x3", 384, HALVING)],
            vec![
                conv("branch3x3dbl_1", 64, [1, 1]),
                conv("branch3x3dbl_2", 96, [3, 3]),
                Layer::Conv("branch3x3dbl_3", 96, HALVING),
            ],
            vec![Layer::Pool("pool", HALVING_POOL)],
        ],
    )
}

fn inception_c(name: &'static str, inner: usize) -> Layer {
    Layer::Fork(
        name,
        vec![
            vec![conv("branch1x1", 192, [1, 1])],
            vec![
                conv("branch7x7_1", inner, [1, 1]),
                conv("branch7x7_2", inner, [1, 7]),
                conv("branch7x7_3", 192, [7, 1]),
            ],
            vec![
                conv("branch7x7dbl_1", inner, [1, 1]),
                conv("branch7x7dbl_2", inner, [7, 1]),
                conv("branch7x7dbl_3", inner, [1, 7]),
                conv("branch7x7dbl_4", inner, [7, 1]),
                conv("branch7x7dbl_5", 192, [1, 7]),
            ],
            pooled(192),
        ],
    )
}

fn inception_d(name: &'static str) -> Layer {
    Layer::Fork(
        name,
        vec![
            vec![
                conv("branch3x3_1", 192, [1, 1]),
                Layer::Conv("branch3x3_2", 320, HALVING),
            ],
            vec![
                conv("branch7x7x3_1", 192, [1, 1]),
                conv("branch7x7x3_2", 192, [1, 7]),
                conv("branch7x7x3_3", 192, [7, 1]),
                Layer::Conv("branch7x7x3_4", 192, HALVING),
            ],
            vec![Layer::Pool("pool", HALVING_POOL)],
        ],
    )
}

fn inception_e(name: &'static str) -> Layer {
    let beside = |line, column| {
        Layer::Beside(vec![
            vec![conv(line, 384, [1, 3])],
            vec![conv(column, 384, [3, 1])],
        ])
    };
    Layer::Fork(
        name,
        vec![
            vec![conv("branch1x1", 320, [1, 1])],
            vec![
                conv("branch3x3_1", 384, [1, 1]),
                beside("branch3x3_2a", "branch3x3_2b"),
            ],
            vec![
                conv("branch3x3dbl_1", 448, [1, 1]),
                conv("branch3x3dbl_2", 384, [3, 3]),
                beside("branch3x3dbl_3a", "branch3x3dbl_3b"),
            ],
            pooled(192),
        ],
    )
}

impl InceptionV3 {
    fn table(&self) -> Vec<Layer> {
        let mut table = stem(self.stem);
        table.extend([
            inception_a("Mixed_5b", 32),
            inception_a("Mixed_5c", 64),
            inception_a("Mixed_5d", 64),
            inception_b("Mixed_6a"),
            inception_c("Mixed_6b", 128),
            inception_c("Mixed_6c", 160),
            inception_c("Mixed_6d", 160),
            inception_c("Mixed_6e", 192),
            inception_d("Mixed_7a"),
            inception_e("Mixed_7b"),
            inception_e("Mixed_7c"),
        ]);
        table
    }

    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.inception_v3")?;
        super::check_share("network.inception_v3.dropout", self.dropout)?;
        let layers = Layers::new(scope, &mut map, self.table(), (Unit::Norm, self.width))?;
        let dropout = Dropout::new(&scope.child("dropout"), self.dropout);
        Ok((Body { layers, dropout }, map.channels))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let features = op::global_average(&self.layers.forward(x, mode)?)?;
        self.dropout.forward(&features, x, mode)
    }
}
