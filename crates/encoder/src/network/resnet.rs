//! Residual networks of basic and bottleneck blocks.

use super::{InputShape, Stem};
use crate::error::{Error, Result};
use crate::layer::{ConvNorm, Kernel, Map, Mode};
use crate::op::{self, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Residual network; the default is ResNet-18 with a stem for small images.
///
/// ```text
/// basic:       y = relu( bn(conv(relu(bn(conv x)))) + shortcut x ),  shortcut = x or bn(conv 1×1 x)
/// bottleneck:  the same with conv 1×1, 3×3, 1×1, the last with four times the channels
/// image → stem → stages of blocks, each but the first halving the map and doubling the width → average
/// ```
///
/// Tensor names are `torchvision`'s (`conv1.weight`, `layer1.0.bn1.weight`, `layer2.0.downsample.0.weight`, …), so its
/// weights load unchanged; its `fc` is not read.
///
/// # Shapes
/// - input: `[N, H, W, C]`
/// - output: `[N, width · 2^(stages − 1)]`, of bottlenecks four times that
///
/// # Reference
/// He, Zhang, Ren and Sun 2016, table 1 and figures 2 and 5; a bottleneck's stride is that of its 3×3 convolution, as
/// `torchvision` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resnet {
    /// Blocks of each stage: `[2, 2, 2, 2]` is ResNet-18, `[3, 4, 6, 3]` ResNet-34 and, of bottlenecks, ResNet-50.
    pub blocks: Vec<usize>,
    /// Whether blocks are bottlenecks.
    pub bottleneck: bool,
    /// Channels of the first stage, of a bottleneck those of its 3×3 convolution.
    pub width: usize,
    /// What comes before the stages.
    pub stem: Stem,
}

impl Default for Resnet {
    fn default() -> Self {
        Self {
            blocks: vec![2; 4],
            bottleneck: false,
            width: 64,
            stem: Stem::Small,
        }
    }
}

/// A [`Resnet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    first: ConvNorm,
    pool: Option<Pool>,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    /// All but the last of its convolutions.
    inner: Vec<ConvNorm>,
    last: ConvNorm,
    shortcut: Option<ConvNorm>,
}

/// Channels of a bottleneck's output for one of its inner ones.
const EXPANSION: usize = 4;

impl Resnet {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.resnet")?;
        if self.blocks.is_empty() || self.blocks.contains(&0) || self.blocks.len() > 8 {
            return Err(Error::Setting {
                key: "network.resnet.blocks".into(),
                expected: "1 to 8 stages of at least one block".into(),
                found: format!("{:?}", self.blocks),
            });
        }
        if self.width == 0 {
            return Err(Error::Setting {
                key: "network.resnet.width".into(),
                expected: "a width above zero".into(),
                found: "0".into(),
            });
        }
        let (kernel, pool) = match self.stem {
            Stem::Small => (Kernel::same(3, 3), None),
            Stem::Large => (
                Kernel::square(7, 2, 3),
                Some(Pool::square(Pooling::Max, 3, 2, 1)),
            ),
        };
        let places = [&scope.child("conv1"), &scope.child("bn1")];
        let first = ConvNorm::new(places, &mut map, self.width, kernel)?;
        if let Some(pool) = pool {
            map = map.pooled("maxpool", pool)?;
        }
        let mut blocks = Vec::new();
        for (stage, &count) in self.blocks.iter().enumerate() {
            let place = scope.child(format!("layer{}", stage + 1));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = Shape {
                    width: self.width << stage,
                    stride,
                    bottleneck: self.bottleneck,
                };
                blocks.push(Block::new(&place.child(index), &mut map, block)?);
            }
        }
        let body = Body {
            first,
            pool,
            blocks,
        };
        Ok((body, map.channels))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = self.first.forward(x, mode)?;
        if let Some(pool) = self.pool {
            x = op::pool2d(&x, pool)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(op::global_average(&x)?)
    }
}

/// What a block is made of.
#[derive(Clone, Copy)]
struct Shape {
    width: usize,
    stride: usize,
    bottleneck: bool,
}

impl Block {
    fn new(scope: &Scope, map: &mut Map, shape: Shape) -> Result<Self> {
        let (input, halving) = (*map, Kernel::square(3, shape.stride, 1));
        let mut unit = |index: usize, outputs: usize, kernel: Kernel| {
            let places = [
                scope.child(format!("conv{index}")),
                scope.child(format!("bn{index}")),
            ];
            ConvNorm::new([&places[0], &places[1]], map, outputs, kernel)
        };
        let (width, one) = (shape.width, Kernel::same(1, 1));
        let (inner, last) = if shape.bottleneck {
            let inner = vec![unit(1, width, one)?, unit(2, width, halving)?];
            (inner, unit(3, EXPANSION * width, one)?)
        } else {
            (
                vec![unit(1, width, halving)?],
                unit(2, width, Kernel::same(3, 3))?,
            )
        };
        let shortcut = if *map == input {
            None
        } else {
            let places = [&scope.child("downsample.0"), &scope.child("downsample.1")];
            let (mut side, kernel) = (input, Kernel::square(1, shape.stride, 0));
            Some(ConvNorm::new(places, &mut side, map.channels, kernel)?.linear())
        };
        Ok(Self {
            inner,
            last,
            shortcut,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut y = x.clone();
        for unit in &self.inner {
            y = unit.forward(&y, mode)?;
        }
        let shortcut = match &self.shortcut {
            Some(unit) => unit.forward(x, mode)?,
            None => x.clone(),
        };
        self.last.forward_with(&y, Some(&shortcut), mode)
    }
}
