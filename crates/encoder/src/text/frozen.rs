//! A Transformer that does not learn meanwhile: its weights packed for products, its buffers used again.

use super::packed::Packed;
use super::pass::Pass;
use super::transformer::{Layer, Transformer};
use crate::error::Result;
use crate::host::{Host, is_fused, tensor};
use candle_core::Tensor;
use nearkin_kernels::{Attention, LayerNorm, PackedLinear};
use std::sync::Mutex;

/// The layers of a [`Transformer`] for passes in which nothing is kept for gradients.
///
/// The numbers are those of its own forward pass but for the order of sums.
pub(super) struct Frozen<'a> {
    transformer: &'a Transformer,
    layers: Vec<FrozenLayer>,
    /// Buffers of passes that are over.
    rooms: Mutex<Vec<Rooms>>,
}

struct FrozenLayer {
    projections: PackedLinear,
    output: PackedLinear,
    attention_norm: Norm,
    up: PackedLinear,
    down: PackedLinear,
    output_norm: Norm,
}

struct Norm {
    /// γ, then β.
    affine: Vec<f32>,
    epsilon: f32,
}

/// The buffers of one pass, which grow to the largest batch.
#[derive(Default)]
struct Rooms {
    x: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    wide: Vec<f32>,
}

impl<'a> Frozen<'a> {
    /// Packs the weights; nothing where the layers are not plain ones of `f32` in host memory.
    ///
    /// # Errors
    /// A tensor cannot be read.
    pub(super) fn new(transformer: &'a Transformer) -> Result<Option<Self>> {
        let layers = transformer.layers().iter().map(FrozenLayer::new);
        let layers: Option<Vec<FrozenLayer>> = layers.collect::<Result<_>>()?;
        Ok(layers.map(|layers| Self {
            transformer,
            layers,
            rooms: Mutex::default(),
        }))
    }

    /// Token vectors `[tokens, width]` of a packed batch.
    ///
    /// # Errors
    /// A sentence is longer than the table of positions, or a token is not in the vocabulary.
    pub(super) fn forward(&self, batch: &Packed) -> Result<Tensor> {
        let (x, bias) = self.transformer.begin(batch, Pass::eval())?;
        let bias = bias.as_ref().map(Host::new).transpose()?;
        let a = self.transformer.architecture();
        let head_dim = a.width / a.heads;
        let attention = Attention {
            heads: a.heads,
            head_dim,
            offsets: &batch.offsets,
            scale: 1.0 / (head_dim as f32).sqrt(),
            bias: bias.as_deref(),
            dropout: None,
        };
        let mut rooms = self.take();
        let numbers = Host::new(&x)?;
        room(&mut rooms.x, numbers.len()).copy_from_slice(&numbers);
        for layer in &self.layers {
            layer.forward(&mut rooms, &attention, x.dims()[0]);
        }
        let y = tensor(rooms.x[..numbers.len()].to_vec(), x.shape())?;
        if let Ok(mut free) = self.rooms.lock() {
            free.push(rooms);
        }
        Ok(y)
    }

    fn take(&self) -> Rooms {
        let mut free = self.rooms.lock().ok();
        let last = free.as_mut().and_then(|free| free.pop());
        last.unwrap_or_default()
    }
}

impl FrozenLayer {
    fn new(layer: &Layer) -> Result<Option<Self>> {
        let [projections, output, up, down] = layer.linear();
        let [attention_norm, output_norm] = layer.norms();
        let parts = (
            projections.packed()?,
            output.packed()?,
            up.packed()?,
            down.packed()?,
        );
        let (Some(projections), Some(output), Some(up), Some(down)) = parts else {
            return Ok(None);
        };
        if !is_fused(attention_norm.tensor()) {
            return Ok(None);
        }
        Ok(Some(Self {
            projections,
            output,
            attention_norm: Norm::new(attention_norm)?,
            up,
            down,
            output_norm: Norm::new(output_norm)?,
        }))
    }

    /// Replaces the token vectors `rooms.x`.
    fn forward(&self, rooms: &mut Rooms, attention: &Attention, tokens: usize) {
        let len = tokens * self.output.outputs();
        let x = room(&mut rooms.x, len);
        let attended = room(&mut rooms.attended, len);
        let projected = room(&mut rooms.projected, len);
        let wide = room(&mut rooms.wide, tokens * self.projections.outputs());
        self.projections.forward(x, wide);
        attention.forward(wide, attended, None);
        self.output.forward(attended, projected);
        self.attention_norm.forward(projected, x, attended);
        let wide = room(&mut rooms.wide, tokens * self.up.outputs());
        self.up.forward(attended, wide);
        self.down.forward(wide, projected);
        self.output_norm.forward(projected, attended, x);
    }
}

impl Norm {
    fn new(norm: &crate::layer::LayerNorm) -> Result<Self> {
        Ok(Self {
            affine: Host::new(norm.tensor())?.to_vec(),
            epsilon: norm.epsilon(),
        })
    }

    /// Of x + residual into `y`.
    fn forward(&self, x: &[f32], residual: &[f32], y: &mut [f32]) {
        let (gamma, beta) = self.affine.split_at(self.affine.len() / 2);
        let norm = LayerNorm {
            gamma,
            beta,
            epsilon: self.epsilon,
        };
        norm.forward(x, Some(residual), y);
    }
}

/// The first `len` places of a buffer, whatever they hold.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
