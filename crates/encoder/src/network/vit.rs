//! Vision Transformer.

use super::{InputShape, vit_positions};
use crate::error::{Error, Result};
use crate::layer::{Blocks, Conv2d, Kernel, LayerNorm, Linear, Mode};
use crate::op::{self, Activation, Heads, TokenPooling};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Vision Transformer; the default is ViT-S/16.
///
/// ```text
/// tokens = [class token; patches · w + b] + positions
/// x ← x + attention(norm₁ x)        x ← x + w₂ gelu(w₁ norm₂ x)        per block; features = norm(x)₀
/// ```
///
/// Tensor names are `timm`'s (`cls_token`, `pos_embed`, `patch_embed.proj.weight`, `blocks.0.attn.qkv.weight`, …), so its
/// weights load unchanged; its `head` is not read. For images of another size than theirs the positions are resampled, as
/// `timm` does. Images are cut into whole patches; what is left over at the right and at the bottom is not seen.
///
/// # Shapes
/// - input: `[N, H, W, C]`
/// - output: `[N, width]`
///
/// # Reference
/// Dosovitskiy et al. 2021, equations 1 to 4; the small size is that of Touvron et al. 2021 (DeiT), table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vit {
    /// Rows and columns of a patch.
    pub patch: usize,
    /// Numbers of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of the attention, which divide the width.
    pub heads: usize,
}

impl Default for Vit {
    fn default() -> Self {
        Self {
            patch: 16,
            width: 384,
            depth: 12,
            heads: 6,
        }
    }
}

/// A [`Vit`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    patches: Conv2d,
    class_token: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    heads: usize,
}

#[derive(Clone, Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    project: Linear,
    norm2: LayerNorm,
    expand: Linear,
    contract: Linear,
}

/// ε of all norms.
const EPSILON: f32 = 1e-6;

impl Vit {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.vit")?;
        let width = self.width;
        let sizes = [
            ("patch", self.patch),
            ("width", width),
            ("depth", self.depth),
            ("heads", self.heads),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(refused(key, "a number above zero", 0));
        }
        if !width.is_multiple_of(self.heads) {
            let expected = format!("a number that divides the width, {width}");
            return Err(refused("heads", &expected, self.heads));
        }
        let (place, kernel) = (
            scope.child("patch_embed.proj"),
            Kernel::square(self.patch, self.patch, 0),
        );
        let patches = Conv2d::biased(&place, &mut map, width, kernel, false)?;
        let tokens = map.height * map.width + 1;
        let learned = |name: &str, rows: usize| {
            let kind = (Kind::Offset, Storage::Plain);
            scope.parameter(name, &[1, rows, width], Init::Normal(0.02), kind)
        };
        let class_token = learned("cls_token", 1)?;
        let positions = match vit_positions::resampled(scope, [map.height, map.width], width)? {
            Some(positions) => positions,
            None => learned("pos_embed", tokens)?,
        };
        let blocks =
            (0..self.depth).map(|index| Block::new(&scope.child("blocks").child(index), width));
        let blocks = blocks.collect::<Result<_>>()?;
        let body = Body {
            patches,
            class_token,
            positions,
            blocks,
            norm: LayerNorm::new(&scope.child("norm"), width, EPSILON)?,
            heads: self.heads,
        };
        Ok((body, width))
    }
}

fn refused(key: &str, expected: &str, found: usize) -> Error {
    Error::Setting {
        key: format!("network.vit.{key}"),
        expected: expected.into(),
        found: found.to_string(),
    }
}

impl Block {
    fn new(scope: &Scope, width: usize) -> Result<Self> {
        let norm = |name: &str| LayerNorm::new(&scope.child(name), width, EPSILON);
        let linear = |name: &str, sizes, activation| {
            Linear::of_transformer(&scope.child(name), sizes, activation, Blocks::default())
        };
        Ok(Self {
            norm1: norm("norm1")?,
            qkv: linear("attn.qkv", [width, 3 * width], Activation::None)?,
            project: linear("attn.proj", [width, width], Activation::None)?,
            norm2: norm("norm2")?,
            expand: linear("mlp.fc1", [width, 4 * width], Activation::Gelu)?,
            contract: linear("mlp.fc2", [4 * width, width], Activation::None)?,
        })
    }

    /// `[tokens, width]` to the same shape.
    fn forward(&self, x: &Tensor, heads: &Heads, mode: Mode) -> Result<Tensor> {
        let qkv = self
            .qkv
            .forward(&self.norm1.forward(x, None, mode)?, mode)?;
        let seen = op::attention(&qkv, None, heads)?;
        let x = op::sum(x, &self.project.forward(&seen, mode)?)?;
        let inner = self
            .expand
            .forward(&self.norm2.forward(&x, None, mode)?, mode)?;
        Ok(op::sum(&x, &self.contract.forward(&inner, mode)?)?)
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let patches = self.patches.forward(x, mode)?;
        let (batch, _, _, width) = patches.dims4()?;
        let (class_token, positions) = (
            mode.parameter(&self.class_token),
            mode.parameter(&self.positions),
        );
        let mut tokens = op::image_tokens(&patches, &class_token, &positions)?;
        let each = positions.dim(1)?;
        let offsets: Arc<[usize]> = (0..=batch).map(|image| image * each).collect();
        let heads = Heads {
            heads: self.heads,
            head_dim: width / self.heads,
            offsets: offsets.clone(),
            dropout: None,
        };
        for block in &self.blocks {
            tokens = block.forward(&tokens, &heads, mode)?;
        }
        // The norm is of each token alone: the others need none.
        let first = op::token_pool(&tokens, TokenPooling::Cls, &offsets, 0)?;
        self.norm.forward(&first, None, mode)
    }
}
