//! The small convolutional network of few-shot learning.

use super::InputShape;
use crate::error::{Error, Result};
use crate::layer::{BatchNorm, Conv2d, Kernel, Mode};
use crate::op::{self, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Blocks of 3×3 convolution, batch norm, ReLU and 2×2 max pooling.
///
/// ```text
/// image → [conv 3×3 → batch norm → ReLU → max pool 2×2] per width → flatten | average → features
/// ```
///
/// # Shapes
/// - input: `[N, H, W, C]`, H and W at least 2^blocks
/// - output: `[N, last width · H' · W']` flattened or `[N, last width]` averaged
///
/// # Reference
/// Snell, Swersky and Zemel 2017 (prototypical networks), section 3.1: four blocks of 64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Convnet {
    /// Channels of each block.
    pub widths: Vec<usize>,
    /// How the last map becomes a vector.
    pub reduce: Reduce,
}

/// How the last feature map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// All positions side by side.
    Flatten,
    /// The mean over positions.
    Average,
}

impl Default for Convnet {
    fn default() -> Self {
        Self {
            widths: vec![64; 4],
            reduce: Reduce::Flatten,
        }
    }
}

/// A [`Convnet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    blocks: Vec<(Conv2d, BatchNorm)>,
    reduce: Reduce,
}

/// The pool of each block, which its batch norm takes along.
const POOL: Pool = Pool::square(Pooling::Max, 2, 2, 0);

impl Convnet {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.convnet")?;
        if self.widths.is_empty() || self.widths.contains(&0) {
            return Err(Error::Setting {
                key: "network.convnet.widths".into(),
                expected: "at least one width, each above zero".into(),
                found: format!("{:?}", self.widths),
            });
        }
        let mut blocks = Vec::new();
        for (index, &outputs) in self.widths.iter().enumerate() {
            let block = scope.child(format!("block{index}"));
            let conv = Conv2d::new(&block.child("conv"), &mut map, outputs, Kernel::same(3, 3))?;
            map = map.pooled(block.child("pool").name(), POOL)?;
            blocks.push((conv, BatchNorm::new(&block.child("norm"), outputs)?));
        }
        let features = match self.reduce {
            Reduce::Flatten => map.numbers(),
            Reduce::Average => map.channels,
        };
        let reduce = self.reduce;
        Ok((Body { blocks, reduce }, features))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (conv, norm) in &self.blocks {
            x = norm.forward_pooled(&conv.forward(&x, mode)?, mode)?;
        }
        match self.reduce {
            Reduce::Flatten => Ok(op::flatten(&x)?),
            Reduce::Average => Ok(op::global_average(&x)?),
        }
    }
}
