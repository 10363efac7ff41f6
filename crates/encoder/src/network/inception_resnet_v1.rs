//! Inception-ResNet-v1, the usual face network.

use super::layers::{Layer, Layers, Residual, Unit};
use super::{InputShape, Stem, Width};
use crate::error::Result;
use crate::layer::{BatchNorm, Dropout, Kernel, Linear, Mode};
use crate::op::{self, Epilogue, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Inception-ResNet-v1, as `facenet-pytorch` has it, up to its embedding.
///
/// ```text
/// image → 6 convolutions, a pool → 5 × block 35 → reduction → 10 × block 17 → reduction → 6 × block 8 → average
/// → dropout → linear 512 → batch norm
/// block:  y = relu(x + scale · conv 1×1 (branches of x))
/// ```
///
/// Tensor names are `facenet-pytorch`'s (`conv2d_1a.conv.weight`, `repeat_1.0.branch1.1.bn.weight`, …), so its weights
/// load unchanged; with `[head] dim = 512, linear = false` the embeddings are its own. Its `logits` are not read.
///
/// # Shapes
/// - input: `[N, H, W, C]`, H and W at least 75, with the small stem 21
/// - output: `[N, 512]`, or `[N, 1792 · width]` without `last`
///
/// # Reference
/// Szegedy, Ioffe, Vanhoucke and Alemi 2017, figures 10 to 14.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InceptionResnetV1 {
    /// What comes before the blocks.
    pub stem: Stem,
    /// Blocks 35, 17 and 8; the last of the blocks 8, which has no ReLU, is beside these.
    pub blocks: [usize; 3],
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Share of the features that training drops; `facenet-pytorch`'s is 0.6.
    pub dropout: f32,
    /// Whether its own linear layer and batch norm end it, `last_linear` and `last_bn`.
    pub last: bool,
}

impl Default for InceptionResnetV1 {
    fn default() -> Self {
        Self {
            stem: Stem::Large,
            blocks: [5, 10, 5],
            width: Width::PAPER,
            dropout: 0.6,
            last: true,
        }
    }
}

/// An [`InceptionResnetV1`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Layers,
    dropout: Dropout,
    last: Option<(Linear, BatchNorm)>,
}

/// Numbers of its own embedding.
const EMBEDDING: usize = 512;
const HALVING: Kernel = Kernel::square(3, 2, 0);
const HALVING_POOL: Pool = Pool::square(Pooling::Max, 3, 2, 0);

fn conv(name: &'static str, outputs: usize, [height, width]: [usize; 2]) -> Layer {
    Layer::Conv(name, outputs, Kernel::same(height, width))
}

fn stem(stem: Stem) -> Vec<Layer> {
    let (stride, is_pooled) = match stem {
        Stem::Large => (2, true),
        Stem::Small => (1, false),
    };
    let mut table = vec![
        Layer::Conv("conv2d_1a", 32, Kernel::square(3, stride, 0)),
        Layer::Conv("conv2d_2a", 32, Kernel::square(3, 1, 0)),
        conv("conv2d_2b", 64, [3, 3]),
    ];
    if is_pooled {
        table.push(Layer::Pool("maxpool_3a", HALVING_POOL));
    }
    table.push(conv("conv2d_3b", 80, [1, 1]));
    table.push(Layer::Conv("conv2d_4a", 192, Kernel::square(3, 1, 0)));
    table.push(Layer::Conv("conv2d_4b", 256, HALVING));
    table
}

fn block_35(name: String) -> Residual {
    Residual {
        name,
        branches: vec![
            vec![conv("branch0", 32, [1, 1])],
            vec![conv("branch1.0", 32, [1, 1]), conv("branch1.1", 32, [3, 3])],
            vec![
                conv("branch2.0", 32, [1, 1]),
                conv("branch2.1", 32, [3, 3]),
                conv("branch2.2", 32, [3, 3]),
            ],
        ],
        scale: 0.17,
        relu: true,
    }
}

fn block_17(name: String) -> Residual {
    Residual {
        name,
        branches: vec![
            vec![conv("branch0", 128, [1, 1])],
            vec![
                conv("branch1.0", 128, [1, 1]),
                conv("branch1.1", 128, [1, 7]),
                conv("branch1.2", 128, [7, 1]),
            ],
        ],
        scale: 0.1,
        relu: true,
    }
}

fn block_8(name: String) -> Residual {
    Residual {
        name,
        branches: vec![
            vec![conv("branch0", 192, [1, 1])],
            vec![
                conv("branch1.0", 192, [1, 1]),
                conv("branch1.1", 192, [1, 3]),
                conv("branch1.2", 192, [3, 1]),
            ],
        ],
        scale: 0.2,
        relu: true,
    }
}

fn reduction_6a() -> Layer {
    Layer::Fork(
        "mixed_6a",
        vec![
            vec![Layer::Conv("branch0", 384, HALVING)],
            vec![
                conv("branch1.0", 192, [1, 1]),
                conv("branch1.1", 192, [3, 3]),
                Layer::Conv("branch1.2", 256, HALVING),
            ],
            vec![Layer::Pool("branch2", HALVING_POOL)],
        ],
    )
}

fn reduction_7a() -> Layer {
    Layer::Fork(
        "mixed_7a",
        vec![
            vec![
                conv("branch0.0", 256, [1, 1]),
                Layer::Conv("branch0.1", 384, HALVING),
            ],
            vec![
                conv("branch1.0", 256, [1, 1]),
                Layer::Conv("branch1.1", 256, HALVING),
            ],
            vec![
                conv("branch2.0", 256, [1, 1]),
                conv("branch2.1", 256, [3, 3]),
                Layer::Conv("branch2.2", 256, HALVING),
            ],
            vec![Layer::Pool("branch3", HALVING_POOL)],
        ],
    )
}

impl InceptionResnetV1 {
    fn table(&self) -> Vec<Layer> {
        let repeated = |count: usize, name: &str, block: fn(String) -> Residual| {
            let names: Vec<String> = (0..count).map(|i| format!("{name}.{i}")).collect();
            names
                .into_iter()
                .map(move |name| Layer::Residual(block(name)))
        };
        let [first, second, third] = self.blocks;
        let mut table = stem(self.stem);
        table.extend(repeated(first, "repeat_1", block_35));
        table.push(reduction_6a());
        table.extend(repeated(second, "repeat_2", block_17));
        table.push(reduction_7a());
        table.extend(repeated(third, "repeat_3", block_8));
        table.push(Layer::Residual(Residual {
            scale: 1.0,
            relu: false,
            ..block_8("block8".into())
        }));
        table
    }

    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.inception_resnet_v1")?;
        super::check_share("network.inception_resnet_v1.dropout", self.dropout)?;
        let layers = Layers::new(scope, &mut map, self.table(), (Unit::Norm, self.width))?;
        let dropout = Dropout::new(&scope.child("dropout"), self.dropout);
        let last = if self.last {
            let linear = scope.child("last_linear");
            let linear = Linear::without_bias(&linear, map.channels, EMBEDDING)?;
            Some((
                linear,
                BatchNorm::new(&scope.child("last_bn"), EMBEDDING)?.epsilon(1e-3),
            ))
        } else {
            None
        };
        let features = if self.last { EMBEDDING } else { map.channels };
        Ok((
            Body {
                layers,
                dropout,
                last,
            },
            features,
        ))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let features = op::global_average(&self.layers.forward(x, mode)?)?;
        let features = self.dropout.forward(&features, x, mode)?;
        let Some((linear, norm)) = &self.last else {
            return Ok(features);
        };
        let plain = Epilogue {
            residual: None,
            relu: false,
        };
        norm.forward(&linear.forward(&features, mode)?, plain, mode)
    }
}
