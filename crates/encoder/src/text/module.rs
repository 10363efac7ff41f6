//! The modules of a sentence encoder, one after another.

use super::dense::Dense;
use super::packed::Packed;
use super::pass::Pass;
use super::pooling::Pooling;
use super::static_embedding::StaticEmbedding;
use super::transformer::Transformer;
use super::words::WordEmbeddings;
use crate::error::Result;
use crate::layer::LayerNorm;
use crate::op;
use crate::parameters::Parameters;
use candle_core::Tensor;

/// What a sentence encoder is made of.
#[derive(Clone, Debug)]
pub enum Module {
    /// Token vectors in context.
    Transformer(Box<Transformer>),
    /// The mean of token vectors without context.
    Static(StaticEmbedding),
    /// Vectors of words without context.
    Words(WordEmbeddings),
    /// Token vectors to a sentence vector.
    Pooling(Pooling),
    /// A fully connected layer.
    Dense(Dense),
    /// Layer normalization of the sentence vector.
    LayerNorm(LayerNorm, usize),
    /// Vectors of unit length.
    Normalize,
    /// Dropout in training.
    Dropout(f32),
}

/// A module with its parameters and its place in the folder.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The module.
    pub module: Module,
    /// Its folder, relative to the model's; empty for the model's own.
    pub path: String,
    /// Its parameters.
    pub parameters: Parameters,
}

/// What goes from module to module.
pub(super) enum Flow {
    /// Nothing yet.
    Start,
    /// `[tokens, width]`
    Tokens(Tensor),
    /// `[sentences, dim]`
    Sentences(Tensor),
}

impl Module {
    /// The name of its class in sentence-transformers.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Transformer(_) => "Transformer",
            Self::Static(_) => "StaticEmbedding",
            Self::Words(_) => "WordEmbeddings",
            Self::Pooling(_) => "Pooling",
            Self::Dense(_) => "Dense",
            Self::LayerNorm(..) => "LayerNorm",
            Self::Normalize => "Normalize",
            Self::Dropout(_) => "Dropout",
        }
    }

    /// The width of its output, from that of its input; a message where the two do not fit.
    pub(super) fn width(&self, input: Option<usize>) -> std::result::Result<usize, String> {
        let (expected, output) = match self {
            Self::Transformer(t) => (None, t.architecture().width),
            Self::Static(table) => (None, table.dim()),
            Self::Words(words) => (None, words.dim()),
            Self::Pooling(pooling) => (Some(pooling.width), pooling.dim()),
            Self::Dense(dense) => (
                Some(dense.config().in_features),
                dense.config().out_features,
            ),
            Self::LayerNorm(_, width) => (Some(*width), *width),
            Self::Normalize | Self::Dropout(_) => (input, input.unwrap_or(0)),
        };
        let is_first = matches!(
            self,
            Self::Transformer(_) | Self::Static(_) | Self::Words(_)
        );
        match (is_first, input) {
            (true, Some(_)) => Err(format!("{} is not the first module", self.class())),
            (false, None) => Err(format!("{} is the first module", self.class())),
            _ if expected != input => Err(format!(
                "{} takes vectors of {}, the module before it gives {}",
                self.class(),
                expected.unwrap_or(0),
                input.unwrap_or(0)
            )),
            _ => Ok(output),
        }
    }

    pub(super) fn forward(&self, flow: Flow, batch: &Packed, pass: Pass) -> Result<Flow> {
        Ok(match (self, flow) {
            (Self::Transformer(t), _) => Flow::Tokens(t.forward(batch, pass)?),
            (Self::Static(table), _) => Flow::Sentences(table.forward(batch, pass)?),
            (Self::Words(words), _) => Flow::Tokens(words.forward(batch, pass)?),
            (Self::Pooling(pooling), Flow::Tokens(x)) => {
                Flow::Sentences(pooling.forward(&x, batch, pass)?)
            }
            (Self::Dense(dense), Flow::Sentences(x)) => Flow::Sentences(dense.forward(&x, pass)?),
            (Self::LayerNorm(norm, _), Flow::Sentences(x)) => {
                Flow::Sentences(norm.forward(&x, None, pass.mode)?)
            }
            (Self::Normalize, Flow::Sentences(x)) => Flow::Sentences(op::normalize(&x)?),
            (Self::Dropout(rate), Flow::Sentences(x)) => {
                Flow::Sentences(pass.drop(u64::MAX, &x, *rate)?)
            }
            (_, flow) => {
                let found = match flow {
                    Flow::Start => "nothing",
                    Flow::Tokens(_) => "token vectors",
                    Flow::Sentences(_) => "sentence vectors",
                };
                return Err(crate::Error::Setting {
                    key: "modules".into(),
                    expected: format!("what {} can take", self.class()),
                    found: found.into(),
                });
            }
        })
    }
}
