//! The encoder that training begins with, `[encoder]`.

use crate::error::{Error, Result};
use crate::text::{open, open_with};
use nearkin_encoder::Lora;
use nearkin_encoder::Parameters;
use nearkin_encoder::op::TokenPooling;
use nearkin_encoder::parameters::begins;
use nearkin_encoder::text::{Architecture, Module, Pooling, Reading, SentenceEncoder, Tokenizer};
use nearkin_losses::range::NonNegative;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The encoder that training begins with, `[encoder]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// Its folder, of sentence-transformers or transformers, or its name on the model hub, `owner/name`.
    pub model: PathBuf,
    /// The most tokens of a text, special tokens included; the model's own limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<NonZeroUsize>,
    /// How token vectors become a sentence's, side by side where several; the model's own pooling where absent, and mean
    /// pooling for a model that has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pooling: Vec<PoolingMode>,
    /// Beginnings of the names of weights that start anew, such as `encoder.layer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<String>,
    /// Beginnings of the names of weights that stay as they are, such as `embeddings`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Low-rank adapters that learn in place of the Transformer's weights; they are merged when the model is written, and
    /// also written by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// Whether layers keep only their inputs and are computed again for their gradients: less memory, more time.
    #[serde(default)]
    pub checkpoint: bool,
    /// Factor on the dropout rates of the model: 1 as they are, 0 for none.
    #[serde(default = "as_it_is")]
    pub dropout: NonNegative,
    /// The folder of a frozen encoder that the loss asks: the guide of `gist`, the teacher of a distillation.
    #[serde(default, alias = "guide", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
}

pub(super) fn as_it_is() -> NonNegative {
    NonNegative::literal(1.0)
}

/// A way from token vectors to a sentence's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolingMode {
    /// The vector of the first token.
    Cls,
    /// The largest number of each component.
    Max,
    /// The mean.
    Mean,
    /// The sum over the root of the count.
    MeanSqrtLen,
    /// The mean, weighted by the place.
    WeightedMean,
    /// The vector of the last token.
    Last,
}

impl From<PoolingMode> for TokenPooling {
    fn from(mode: PoolingMode) -> Self {
        match mode {
            PoolingMode::Cls => Self::Cls,
            PoolingMode::Max => Self::Max,
            PoolingMode::Mean => Self::Mean,
            PoolingMode::MeanSqrtLen => Self::MeanSqrtLen,
            PoolingMode::WeightedMean => Self::WeightedMean,
            PoolingMode::Last => Self::Last,
        }
    }
}

impl Encoder {
    /// Reads the encoder as training begins with it; `seed` is for weights that start anew.
    ///
    /// # Errors
    /// The folder cannot be read, or a beginning of a name is none of any weight.
    pub fn read(&self, seed: u64) -> Result<SentenceEncoder> {
        let reading = Reading {
            fresh: self.fresh.clone(),
            freeze: self.freeze.clone(),
            lora: self.lora.clone(),
            seed,
            pooling: pooling(&self.model, &self.pooling)?,
            base: None,
        };
        let mut encoder = open_with(&self.model, reading)?;
        limited(
            &mut encoder.tokenizer,
            self.max_tokens,
            "encoder.max_tokens",
        )?;
        if let Some(lora) = self
            .lora
            .as_ref()
            .filter(|lora| !(lora.alpha > 0.0 && lora.alpha.is_finite()))
        {
            let expected = "a finite number above zero";
            return Err(setting(
                "encoder.lora.alpha",
                expected,
                lora.alpha.to_string(),
            ));
        }
        let mut names = encoder.parameters().iter().map(|p| &p.name);
        if let Some(lora) = &self.lora
            && !names.any(|name| name.contains(".lora_A"))
        {
            let expected =
                "targets that name projections of a Transformer, such as query or output.dense";
            let found = format!("{:?}, of which this model has none", lora.targets);
            return Err(setting("encoder.lora.targets", expected, found));
        }
        if self.lora.is_some() && !self.freeze.is_empty() {
            let expected = "nothing beside encoder.lora, which learns alone";
            return Err(setting("encoder.freeze", expected, "a list"));
        }
        for (key, names) in [("fresh", &self.fresh), ("freeze", &self.freeze)] {
            check_names(&format!("encoder.{key}"), names, encoder.parameters())?;
        }
        if let Some(Module::Transformer(transformer)) = encoder.modules().first().map(|m| &m.module)
        {
            check_dropout("encoder.dropout", self.dropout, transformer.architecture())?;
        }
        Ok(encoder)
    }
}

/// The pooling of a model's token vectors by these modes; none where there are none.
///
/// # Errors
/// The model cannot be read, or has no vectors of tokens.
pub fn pooling(model: &Path, modes: &[PoolingMode]) -> Result<Option<Pooling>> {
    if modes.is_empty() {
        return Ok(None);
    }
    let encoder = open(model)?;
    let width = match encoder.modules().first().map(|placed| &placed.module) {
        Some(Module::Transformer(transformer)) => transformer.architecture().width,
        Some(Module::Words(words)) => words.dim(),
        _ => {
            let expected = "none: the model has no vectors of tokens that could be pooled";
            return Err(setting("encoder.pooling", expected, "a list"));
        }
    };
    Ok(Some(Pooling {
        modes: modes.iter().map(|&mode| mode.into()).collect(),
        ..Pooling::mean(width)
    }))
}

/// Cuts texts to so many tokens, which must be within the model's own limit.
pub(super) fn limited(
    tokenizer: &mut Tokenizer,
    most: Option<NonZeroUsize>,
    key: &str,
) -> Result<()> {
    let Some(most) = most else { return Ok(()) };
    let limit = tokenizer.limit();
    if most.get() > limit {
        let expected = format!("at most the model's limit of {limit}");
        return Err(setting(key, expected, most.to_string()));
    }
    let refused = tokenizer.set_limit(most.get());
    refused.map_err(|error| setting(key, "room for a text", error.to_string()))
}

/// Each of the names begins that of a weight.
pub(super) fn check_names(key: &str, names: &[String], parameters: &Parameters) -> Result<()> {
    let unknown = |start: &&String| !parameters.iter().any(|p| begins(&p.name, start));
    let Some(unknown) = names.iter().find(unknown) else {
        return Ok(());
    };
    if let Some(whole) = parameters.around(unknown) {
        let expected = format!("\"{}\"", whole.name);
        return Err(setting(key, expected, whole.not_by(unknown)));
    }
    let some = parameters.iter().take(8);
    let some: Vec<&str> = some.map(|p| p.name.as_str()).collect();
    let expected = format!("the start of a weight's name ({}, …)", some.join(", "));
    Err(setting(key, expected, format!("\"{unknown}\"")))
}

/// A factor that leaves something of what is dropped from.
pub(super) fn check_dropout(key: &str, factor: NonNegative, of: &Architecture) -> Result<()> {
    let largest = of.dropout.max(of.attention_dropout).max(of.head_dropout);
    if largest * factor.get() < 1.0 {
        return Ok(());
    }
    let expected = format!("a factor that leaves the model's rates, up to {largest}, below 1");
    Err(setting(key, expected, factor.get().to_string()))
}

pub(in crate::text) fn setting(
    key: &str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Error {
    Error::Encoder(nearkin_encoder::Error::Setting {
        key: key.into(),
        expected: expected.into(),
        found: found.into(),
    })
}
