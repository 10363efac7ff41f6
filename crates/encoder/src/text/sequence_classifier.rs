//! A Transformer with a classification head on its first token.

use super::architecture::{Architecture, Family};
use super::frozen::Frozen;
use super::packed::Packed;
use super::pass::Pass;
use super::transformer::Transformer;
use crate::error::Result;
use crate::layer::{Blocks, Linear};
use crate::op::{self, Activation, TokenPooling};
use crate::parameters::Scope;
use candle_core::Tensor;

/// Places of the head's dropout, beyond those of the Transformer.
const BEFORE: u64 = u64::MAX - 1;
const AFTER: u64 = u64::MAX - 2;

/// A Transformer and its head, as the `…ForSequenceClassification` classes of transformers have it.
///
/// ```text
/// h = the vector of the first token        y = W₂ act(W₁ h + b₁) + b₂
/// ```
///
/// act is tanh, in DistilBERT ReLU. Dropout stands before W₂, in RoBERTa and MPNet before W₁ too.
#[derive(Clone, Debug)]
pub struct SequenceClassifier {
    transformer: Transformer,
    dense: Linear,
    output: Linear,
    labels: usize,
    /// Dropout of the head.
    dropout: f32,
}

impl SequenceClassifier {
    /// Makes both, from stored weights where the scope has them; one output where the settings name no number.
    ///
    /// # Errors
    /// A tensor is missing or of another shape.
    pub fn new(scope: &Scope, architecture: Architecture) -> Result<Self> {
        let (width, labels) = (architecture.width, architecture.labels.unwrap_or(1));
        let [dense, output] = Self::layers(architecture.family);
        let activation = match architecture.family {
            Family::DistilBert => Activation::Relu,
            _ => Activation::Tanh,
        };
        let linear = |name: &str, shape, activation| {
            Linear::of_transformer(&scope.child(name), shape, activation, Blocks::default())
        };
        Ok(Self {
            dense: linear(dense, [width, width], activation)?,
            output: linear(output, [width, labels], Activation::None)?,
            labels,
            dropout: architecture.head_dropout,
            transformer: Transformer::new(scope, architecture)?,
        })
    }

    /// The names of the head's two layers, the inner one first.
    pub(super) fn layers(family: Family) -> [&'static str; 2] {
        match family {
            Family::Bert => ["pooler.dense", "classifier"],
            Family::DistilBert => ["pre_classifier", "classifier"],
            Family::Roberta | Family::MpNet => ["classifier.dense", "classifier.out_proj"],
        }
    }

    /// The Transformer.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    pub(super) fn map_transformer(self, map: impl FnOnce(Transformer) -> Transformer) -> Self {
        Self {
            transformer: map(self.transformer),
            ..self
        }
    }

    /// The number of outputs.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Logits `[sentences, labels]` of a packed batch.
    ///
    /// # Errors
    /// A sentence is empty or longer than the Transformer takes, or a token is not in its vocabulary.
    pub fn forward(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let tokens = self.transformer.forward(batch, pass)?;
        self.head(&tokens, batch, pass)
    }

    /// The same where nothing is kept for gradients.
    pub(super) fn forward_frozen(&self, frozen: &Frozen, batch: &Packed) -> Result<Tensor> {
        self.head(&frozen.forward(batch)?, batch, Pass::eval())
    }

    fn head(&self, tokens: &Tensor, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let mut first = op::token_pool(tokens, TokenPooling::Cls, &batch.offsets, 0)?;
        let family = self.transformer.architecture().family;
        if matches!(family, Family::Roberta | Family::MpNet) {
            first = pass.drop(BEFORE, &first, self.dropout)?;
        }
        let hidden = self.dense.forward(&first, pass.mode)?;
        let hidden = pass.drop(AFTER, &hidden, self.dropout)?;
        self.output.forward(&hidden, pass.mode)
    }
}
