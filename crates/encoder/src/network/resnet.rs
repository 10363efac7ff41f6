//! Residual networks of basic blocks.

use super::InputShape;
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Conv2d, Mode};
use crate::op::{self, Epilogue, Pooling, Window};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Residual network of basic blocks; the default is ResNet-18 with a stem for small images.
///
/// ```text
/// block:  y = relu( bn(conv(relu(bn(conv x)))) + shortcut x ),  shortcut = x or bn(conv 1×1 x)
/// image → stem → stages of blocks, each but the first halving the map and doubling the width → average
/// ```
///
/// Tensor names are `torchvision`'s, so its weights load unchanged.
///
/// # Shapes
/// - input: `[N, H, W, C]`
/// - output: `[N, width · 2^(stages − 1)]`
///
/// # Reference
/// He, Zhang, Ren and Sun 2016, table 1 and figure 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resnet {
    /// Blocks of each stage: `[2, 2, 2, 2]` is ResNet-18, `[3, 4, 6, 3]` ResNet-34.
    pub blocks: Vec<usize>,
    /// Channels of the first stage.
    pub width: usize,
    /// What comes before the stages.
    pub stem: Stem,
}

/// What comes before the residual stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3×3 convolution, stride 1, no pooling: for images of up to about 100 pixels.
    Small,
    /// 7×7 convolution, stride 2, then 3×3 max pooling, stride 2: the paper's, for 224 pixels.
    Large,
}

impl Default for Resnet {
    fn default() -> Self {
        Self {
            blocks: vec![2; 4],
            width: 64,
            stem: Stem::Small,
        }
    }
}

/// A [`Resnet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    stem: Stem,
    conv: Conv2d,
    norm: BatchNorm,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    first: (Conv2d, BatchNorm),
    second: (Conv2d, BatchNorm),
    shortcut: Option<(Conv2d, BatchNorm)>,
}

impl Resnet {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let (_, _, channels) = input.image("network.resnet")?;
        if self.blocks.is_empty()
            || self.blocks.contains(&0)
            || self.blocks.len() > 8
            || self.width == 0
        {
            return Err(Error::Setting {
                key: "network.resnet".into(),
                expected: "1 to 8 stages of at least one block, width above zero".into(),
                found: format!("blocks = {:?}, width = {}", self.blocks, self.width),
            });
        }
        let (kernel, window) = match self.stem {
            Stem::Small => (3, Window::square(1, 1)),
            Stem::Large => (7, Window::square(2, 3)),
        };
        let conv = Conv2d::new(
            &scope.child("conv1"),
            [channels, self.width],
            kernel,
            window,
        )?;
        let norm = BatchNorm::new(&scope.child("bn1"), self.width)?;
        let mut blocks = Vec::new();
        let mut inputs = self.width;
        for (stage, &count) in self.blocks.iter().enumerate() {
            let outputs = self.width << stage;
            let place = scope.child(format!("layer{}", stage + 1));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block::new(&place.child(index), [inputs, outputs], stride)?);
                inputs = outputs;
            }
        }
        Ok((
            Body {
                stem: self.stem,
                conv,
                norm,
                blocks,
            },
            inputs,
        ))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self.conv.forward(x, mode)?;
        let mut x = self.norm.forward(
            &x,
            Epilogue {
                residual: None,
                relu: true,
            },
            mode,
        )?;
        if self.stem == Stem::Large {
            x = op::pool2d(&x, Pooling::Max, [3, 3], Window::square(2, 1))?;
        }
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        Ok(op::global_average(&x)?)
    }
}

impl Block {
    fn new(scope: &Scope, [inputs, outputs]: [usize; 2], stride: usize) -> Result<Self> {
        let pair = |conv: &str, norm: &str, inputs: usize, kernel: usize, window: Window| {
            let conv = Conv2d::new(&scope.child(conv), [inputs, outputs], kernel, window)?;
            Ok::<_, Error>((conv, BatchNorm::new(&scope.child(norm), outputs)?))
        };
        let first = pair("conv1", "bn1", inputs, 3, Window::square(stride, 1))?;
        let second = pair("conv2", "bn2", outputs, 3, Window::square(1, 1))?;
        let shortcut = if stride == 1 && inputs == outputs {
            None
        } else {
            Some(pair(
                "downsample.0",
                "downsample.1",
                inputs,
                1,
                Window::square(stride, 0),
            )?)
        };
        Ok(Self {
            first,
            second,
            shortcut,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let plain = |relu: bool| Epilogue {
            residual: None,
            relu,
        };
        let y = self.first.0.forward(x, mode)?;
        let y = self.first.1.forward(&y, plain(true), mode)?;
        let y = self.second.0.forward(&y, mode)?;
        let shortcut = match &self.shortcut {
            Some((conv, norm)) => norm.forward(&conv.forward(x, mode)?, plain(false), mode)?,
            None => x.clone(),
        };
        self.second.1.forward(
            &y,
            Epilogue {
                residual: Some(&shortcut),
                relu: true,
            },
            mode,
        )
    }
}
