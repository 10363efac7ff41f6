//! The Transformer encoder: from tokens to a vector for each.

use super::architecture::{Architecture, Names};
use super::packed::Packed;
use super::pass::Pass;
use crate::error::{Error, Result};
use crate::layer::{Blocks, LayerNorm, Linear};
use crate::lora::Lora;
use crate::op::{self, Activation, Heads};
use crate::parameters::{Init, Kind, Scope, Storage};
use crate::tape;
use candle_core::Tensor;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Distance from which relative positions share the last bucket, as MPNet has it.
const FARTHEST: f64 = 128.0;

/// A Transformer encoder after Devlin et al. 2019, figure 1, and its relatives.
///
/// ```text
/// x = norm(word[id] + position[place] + segment[s])
/// x ← norm(x + attention(x))        x ← norm(x + W₂ gelu(W₁ x))        layer by layer
/// ```
#[derive(Clone, Debug)]
pub struct Transformer {
    architecture: Architecture,
    /// `config.json` as it was found, to be written again.
    config: Map<String, Value>,
    /// The adapters of its linear layers.
    lora: Option<Lora>,
    /// The folder that it was read from, which its adapters belong to.
    origin: String,
    words: Tensor,
    positions: Tensor,
    segments: Option<Tensor>,
    norm: LayerNorm,
    /// `[buckets, heads]`, MPNet.
    relative: Option<Tensor>,
    layers: Vec<Layer>,
}

/// Tables with the rows of each token of a batch, and the norm of the rows' sum.
pub(super) struct Tables<'a> {
    pub(super) words: (&'a Tensor, Arc<[u32]>),
    pub(super) positions: (&'a Tensor, Arc<[u32]>),
    pub(super) segments: Option<(&'a Tensor, Arc<[u32]>)>,
    pub(super) norm: &'a LayerNorm,
}

/// Where a forward pass is.
#[derive(Clone, Copy)]
struct At<'a> {
    a: &'a Architecture,
    heads: &'a Heads,
    /// Layers before this one.
    number: usize,
    pass: Pass,
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    projections: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl Transformer {
    /// Makes the encoder, from stored weights where the scope has them.
    ///
    /// # Errors
    /// A tensor is missing or of another shape.
    pub fn new(scope: &Scope, architecture: Architecture) -> Result<Self> {
        let (a, names) = (&architecture, architecture.names());
        let place = scope.child("embeddings");
        let table = |scope: &Scope, name: &str, rows: usize, cols: usize| {
            let kind = (Kind::Weight, Storage::Plain);
            scope.parameter(name, &[rows, cols], Init::Normal(0.02), kind)
        };
        let segments = (a.segments > 0)
            .then(|| table(&place, "token_type_embeddings.weight", a.segments, a.width));
        let relative = a.buckets.map(|buckets| {
            let place = scope.child("encoder");
            table(&place, "relative_attention_bias.weight", buckets, a.heads)
        });
        let layer = |i| Layer::new(&scope.child(names.layer).child(i), a, names);
        Ok(Self {
            words: table(&place, "word_embeddings.weight", a.vocabulary, a.width)?,
            positions: table(&place, "position_embeddings.weight", a.positions, a.width)?,
            segments: segments.transpose()?,
            norm: LayerNorm::new(&place.child("LayerNorm"), a.width, a.epsilon)?,
            relative: relative.transpose()?,
            layers: (0..a.layers).map(layer).collect::<Result<_>>()?,
            architecture,
            config: Map::new(),
            lora: scope.lora().cloned(),
            origin: String::new(),
        })
    }

    /// The same with the `config.json` that it came from.
    #[must_use]
    pub(super) fn described(self, config: Map<String, Value>) -> Self {
        Self { config, ..self }
    }

    /// The same with the folder that it was read from.
    #[must_use]
    pub(super) fn from(self, folder: &Path) -> Self {
        let origin = folder.display().to_string();
        Self { origin, ..self }
    }

    /// The folder that it was read from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The adapters of its linear layers.
    pub fn lora(&self) -> Option<&Lora> {
        self.lora.as_ref()
    }

    /// The `config.json` that it came from.
    pub(super) fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The settings.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The layers, first to last.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What the first layer gets: token vectors `[tokens, width]`, and the bias of relative positions where there is one.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn begin(&self, batch: &Packed, pass: Pass) -> Result<(Tensor, Option<Tensor>)> {
        self.fits(batch)?;
        let x = pass.drop(0, &self.embed(batch, pass)?, self.architecture.dropout)?;
        Ok((x, self.relative_bias(batch.longest(), pass)?))
    }

    /// Whether no sentence is longer than the table of positions.
    pub(super) fn fits(&self, batch: &Packed) -> Result<()> {
        let longest = self.architecture.longest();
        if batch.longest() <= longest {
            return Ok(());
        }
        Err(Error::Setting {
            key: "tokens".into(),
            expected: format!("at most {longest} tokens in a sentence"),
            found: format!("{}", batch.longest()),
        })
    }

    /// Token vectors `[tokens, width]` of a packed batch.
    ///
    /// # Errors
    /// A sentence is longer than the table of positions, or a token is not in the vocabulary.
    pub fn forward(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let a = &self.architecture;
        let (mut x, bias) = self.begin(batch, pass)?;
        let heads = Heads {
            heads: a.heads,
            head_dim: a.width / a.heads,
            offsets: batch.offsets.clone(),
            dropout: None,
        };
        for (number, layer) in self.layers.iter().enumerate() {
            let at = At {
                a,
                heads: &heads,
                number,
                pass,
            };
            x = if pass.checkpoint {
                layer.checkpointed(&x, bias.as_ref(), at)?
            } else {
                layer.forward(&x, bias.as_ref(), at)?
            };
        }
        Ok(x)
    }

    fn embed(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let Tables {
            words,
            positions,
            segments,
            norm,
        } = self.tables(batch);
        let look_up =
            |(table, rows): (&Tensor, Arc<[u32]>)| op::gather(&pass.mode.parameter(table), &rows);
        let (words, mut rest) = (look_up(words)?, look_up(positions)?);
        if let Some(segments) = segments {
            rest = op::sum(&rest, &look_up(segments)?)?;
        }
        norm.forward(&words, Some(&rest), pass.mode)
    }

    /// What the vectors of a batch's tokens are looked up in.
    pub(super) fn tables(&self, batch: &Packed) -> Tables<'_> {
        let a = &self.architecture;
        let first = a.first_position as u32;
        // With one kind of segment there is one, whatever the tokenizer says of pairs: transformers does not ask it.
        let kinds = || match a.segments {
            1 => vec![0; batch.segments.len()].into(),
            _ => batch.segments.clone(),
        };
        Tables {
            words: (&self.words, batch.ids.clone()),
            positions: (
                &self.positions,
                batch.places.iter().map(|place| place + first).collect(),
            ),
            segments: self.segments.as_ref().map(|table| (table, kinds())),
            norm: &self.norm,
        }
    }

    /// `[2 · longest − 1, heads]`
    pub(super) fn relative_bias(&self, longest: usize, pass: Pass) -> Result<Option<Tensor>> {
        let (Some(table), Some(buckets)) = (&self.relative, self.architecture.buckets) else {
            return Ok(None);
        };
        let reach = longest as i64;
        let ids: Arc<[u32]> = (1 - reach..reach)
            .map(|offset| bucket(offset, buckets))
            .collect();
        Ok(Some(op::gather(&pass.mode.parameter(table), &ids)?))
    }
}

/// The bucket of the relative position j − i: exact when near, logarithmic when far, one half for each direction
/// (Raffel et al. 2020, section 2.1).
fn bucket(offset: i64, buckets: usize) -> u32 {
    let half = buckets / 2;
    let direction = if offset > 0 { half } else { 0 };
    let distance = offset.unsigned_abs() as usize;
    let exact = half / 2;
    if distance < exact {
        return (direction + distance) as u32;
    }
    let far = (distance as f64 / exact as f64).ln() / (FARTHEST / exact as f64).ln();
    let far = exact + (far * (half - exact) as f64) as usize;
    (direction + far.min(half - 1)) as u32
}

impl Layer {
    fn new(scope: &Scope, a: &Architecture, names: &Names) -> Result<Self> {
        let linear = |name: &str, shape, act| {
            Linear::of_transformer(&scope.child(name), shape, act, Blocks::default())
        };
        let norm = |name: &str| LayerNorm::new(&scope.child(name), a.width, a.epsilon);
        let (square, none) = ([a.width, a.width], Activation::None);
        let place = scope.child(names.projections);
        Ok(Self {
            projections: Linear::of_transformer(
                &place,
                [a.width, 3 * a.width],
                none,
                names.blocks,
            )?,
            output: linear(names.output, square, none)?,
            attention_norm: norm(names.attention_norm)?,
            up: linear(names.up, [a.width, a.inner], Activation::Gelu)?,
            down: linear(names.down, [a.inner, a.width], none)?,
            output_norm: norm(names.output_norm)?,
        })
    }

    /// The same forward pass, of which only the inputs are kept.
    fn checkpointed(&self, x: &Tensor, bias: Option<&Tensor>, at: At) -> Result<Tensor> {
        let biased = bias.is_some();
        let inputs = [x].into_iter().chain(bias).chain(self.tensors());
        let inputs: Vec<Tensor> = inputs.cloned().collect();
        let (layer, a, heads) = (self.clone(), at.a.clone(), at.heads.clone());
        let (number, pass) = (at.number, at.pass);
        let y = tape::checkpoint(&inputs, move |inputs| {
            let at = At {
                a: &a,
                heads: &heads,
                number,
                pass,
            };
            let bias = biased.then(|| &inputs[1]);
            let y = layer.forward(&inputs[0], bias, at);
            y.map_err(|e| candle_core::Error::Msg(e.to_string()))
        });
        Ok(y?)
    }

    /// The linear layers, in the order of their work.
    pub(super) fn linear(&self) -> [&Linear; 4] {
        [&self.projections, &self.output, &self.up, &self.down]
    }

    /// The norms, in the order of their work.
    pub(super) fn norms(&self) -> [&LayerNorm; 2] {
        [&self.attention_norm, &self.output_norm]
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let norms = self.norms().into_iter().map(LayerNorm::tensor);
        let linear = self.linear().into_iter().flat_map(Linear::tensors);
        linear.chain(norms)
    }

    fn forward(
        &self,
        x: &Tensor,
        bias: Option<&Tensor>,
        At {
            a,
            heads,
            number,
            pass,
        }: At,
    ) -> Result<Tensor> {
        // Place 0 is the embeddings'.
        let place = |which: u64| 3 * number as u64 + which;
        let heads = Heads {
            dropout: pass.dropout(place(1), a.attention_dropout),
            ..heads.clone()
        };
        let qkv = self.projections.forward(x, pass.mode)?;
        let attended = op::attention(&qkv, bias, &heads)?;
        let attended = self.output.forward(&attended, pass.mode)?;
        let attended = pass.drop(place(2), &attended, a.dropout)?;
        let x = self.attention_norm.forward(&attended, Some(x), pass.mode)?;
        let inner = self.up.forward(&x, pass.mode)?;
        let fed = self.down.forward(&inner, pass.mode)?;
        let fed = pass.drop(place(3), &fed, a.dropout)?;
        self.output_norm.forward(&fed, Some(&x), pass.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn relative_positions_fall_into_the_buckets_of_mpnet() {
        // From transformers' MPNetEncoder.relative_position_bucket with 32 buckets and distances up to 128.
        let offsets = [
            -200, -128, -64, -16, -9, -8, -7, -1, 0, 1, 7, 8, 16, 64, 127, 500,
        ];
        let want = [15, 15, 14, 10, 8, 8, 7, 1, 0, 17, 23, 24, 26, 30, 31, 31];
        assert_eq!(offsets.map(|offset| bucket(offset, 32)), want);
    }
}
