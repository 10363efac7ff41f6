//! A Transformer that does not learn meanwhile: its weights packed for products, its buffers used again.

use super::packed::Packed;
use super::pass::Pass;
use super::transformer::{Layer, Transformer};
use crate::error::{Error, Result};
use crate::host::{Host, is_fused, tensor};
use crate::layer::Linear;
use candle_core::Tensor;
use nearkin_kernels::{Attention, LayerNorm, PackedLinear, QuantizedLinear, gather_rows};
use std::sync::{Arc, Mutex};

/// In what the products of a Transformer are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// 32-bit floats, as the weights are.
    #[default]
    F32,
    /// Bytes: weights rounded to one scale for each output, inputs to one range for each token. A quarter of the memory, and faster
    /// where the processor has products of bytes; see [`QuantizedLinear`].
    Int8,
}

/// The layers of a [`Transformer`] for passes in which nothing is kept for gradients.
///
/// The numbers are those of its own forward pass but for the order of sums.
pub(super) struct Frozen<'a> {
    transformer: &'a Transformer,
    /// That of the embeddings.
    norm: Norm,
    layers: Vec<FrozenLayer>,
    /// Buffers of passes that are over.
    rooms: Mutex<Vec<Rooms>>,
}

struct FrozenLayer {
    projections: Product,
    output: Product,
    attention_norm: Norm,
    up: Product,
    down: Product,
    output_norm: Norm,
}

/// A linear layer, packed.
enum Product {
    F32(PackedLinear),
    Int8(QuantizedLinear),
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
    pub(super) fn new(transformer: &'a Transformer, compute: Compute) -> Result<Option<Self>> {
        let layer = |layer| FrozenLayer::new(layer, compute);
        let layers = transformer.layers().iter().map(layer);
        let layers: Option<Vec<FrozenLayer>> = layers.collect::<Result<_>>()?;
        let tables = transformer.tables(&Packed::new([]));
        let mut others = [tables.words.0, tables.positions.0, tables.norm.tensor()]
            .into_iter()
            .chain(tables.segments.as_ref().map(|(table, _)| *table));
        let (Some(layers), true) = (layers, others.all(is_fused)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            transformer,
            norm: Norm::new(tables.norm)?,
            layers,
            rooms: Mutex::default(),
        }))
    }

    /// Token vectors `[tokens, width]` of a packed batch.
    ///
    /// # Errors
    /// A sentence is longer than the table of positions, or a token is not in the vocabulary.
    pub(super) fn forward(&self, batch: &Packed) -> Result<Tensor> {
        self.transformer.fits(batch)?;
        let bias = self
            .transformer
            .relative_bias(batch.longest(), Pass::eval())?;
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
        let tokens = batch.ids.len();
        self.embed(batch, &mut rooms)?;
        for layer in &self.layers {
            layer.forward(&mut rooms, &attention, tokens);
        }
        let y = tensor(rooms.x[..tokens * a.width].to_vec(), (tokens, a.width))?;
        if let Ok(mut free) = self.rooms.lock() {
            free.push(rooms);
        }
        Ok(y)
    }

    /// The token vectors that the first layer gets, in `rooms.x`.
    fn embed(&self, batch: &Packed, rooms: &mut Rooms) -> Result<()> {
        let tables = self.transformer.tables(batch);
        let len = batch.ids.len() * self.transformer.architecture().width;
        let [words, rest, x] = [&mut rooms.projected, &mut rooms.attended, &mut rooms.x]
            .map(|buffer| room(buffer, len));
        look_up(tables.words, words)?;
        look_up(tables.positions, rest)?;
        if let Some(segments) = tables.segments {
            look_up(segments, x)?;
            nearkin_kernels::add(x, rest);
        }
        self.norm.forward(words, rest, x);
        Ok(())
    }

    fn take(&self) -> Rooms {
        let mut free = self.rooms.lock().ok();
        let last = free.as_mut().and_then(|free| free.pop());
        last.unwrap_or_default()
    }
}

impl FrozenLayer {
    fn new(layer: &Layer, compute: Compute) -> Result<Option<Self>> {
        let [projections, output, up, down] = layer.linear();
        let [attention_norm, output_norm] = layer.norms();
        let packed = |linear| Product::new(linear, compute);
        let parts = (
            packed(projections)?,
            packed(output)?,
            packed(up)?,
            packed(down)?,
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

impl Product {
    fn new(linear: &Linear, compute: Compute) -> Result<Option<Self>> {
        Ok(match compute {
            Compute::F32 => linear.packed()?.map(Self::F32),
            Compute::Int8 => linear.quantized()?.map(Self::Int8),
        })
    }

    fn outputs(&self) -> usize {
        match self {
            Self::F32(linear) => linear.outputs(),
            Self::Int8(linear) => linear.outputs(),
        }
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        match self {
            Self::F32(linear) => linear.forward(x, y),
            Self::Int8(linear) => linear.forward(x, y),
        }
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

/// The rows of a table, into `y`.
fn look_up((table, rows): (&Tensor, Arc<[u32]>), y: &mut [f32]) -> Result<()> {
    let (entries, width) = table.dims2()?;
    if let Some(&row) = rows.iter().find(|&&row| row as usize >= entries) {
        return Err(Error::Setting {
            key: "tokens".into(),
            expected: format!("rows below the {entries} of the embeddings"),
            found: row.to_string(),
        });
    }
    gather_rows(&Host::new(table)?, width, &rows, y);
    Ok(())
}

/// The first `len` places of a buffer, whatever they hold.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
