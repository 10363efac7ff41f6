//! A sentence encoder: tokenizer, modules, settings.

use super::frozen::{Compute, Frozen};
use super::module::{Flow, Module, Placed};
use super::packed::{Packed, Tokens};
use super::pass::Pass;
use super::settings::Settings;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::parameters::Parameters;
use candle_core::Tensor;

/// From sentences to vectors.
#[derive(Clone, Debug)]
pub struct SentenceEncoder {
    /// Texts to tokens.
    pub tokenizer: Tokenizer,
    /// Prompts, similarity, length of the vectors.
    pub settings: Settings,
    /// The modules, in the order in which they run.
    modules: Vec<Placed>,
    parameters: Parameters,
    dim: usize,
}

impl SentenceEncoder {
    /// Puts an encoder together.
    ///
    /// # Errors
    /// The modules do not follow one another, or the tokenizer has more tokens than the first module.
    pub fn new(tokenizer: Tokenizer, modules: Vec<Placed>, settings: Settings) -> Result<Self> {
        let wrong = |expected: &str, found: String| Error::Setting {
            key: "modules".into(),
            expected: expected.into(),
            found,
        };
        let mut width = None;
        let mut pooled = false;
        for placed in &modules {
            let fits = placed.module.width(width);
            width = Some(fits.map_err(|found| wrong("modules that fit", found))?);
            pooled |= matches!(placed.module, Module::Pooling(_) | Module::Static(_));
        }
        let (Some(dim), true) = (width, pooled) else {
            return Err(wrong("a Pooling module", "none".into()));
        };
        let vocabulary = match modules.first().map(|placed| &placed.module) {
            Some(Module::Transformer(t)) => t.architecture().vocabulary,
            Some(Module::Static(table)) => table.vocabulary(),
            Some(Module::Words(words)) => words.vocabulary(),
            _ => 0,
        };
        if tokenizer.vocabulary() > vocabulary {
            return Err(Error::Setting {
                key: "vocabulary".into(),
                expected: format!("at most the {vocabulary} rows of the embeddings"),
                found: format!("a tokenizer of {} tokens", tokenizer.vocabulary()),
            });
        }
        let parameters = modules
            .iter()
            .flat_map(|placed| placed.parameters.iter().cloned());
        Ok(Self {
            parameters: parameters.collect(),
            tokenizer,
            settings,
            modules,
            dim,
        })
    }

    /// The modules, in the order in which they run.
    pub fn modules(&self) -> &[Placed] {
        &self.modules
    }

    /// The parameters of all modules.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Length of a vector, before [`Settings::truncate_dim`].
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Tokens of texts, as the first module takes them.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn tokenize(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Tokens>> {
        match self.modules.first().map(|placed| &placed.module) {
            Some(Module::Static(_)) => self.tokenizer.encode_plain(texts),
            _ => self.tokenizer.encode(texts),
        }
    }

    /// `[sentences, dim]` of a packed batch.
    ///
    /// # Errors
    /// A sentence is longer than the encoder takes, or a token is not in its vocabulary.
    pub fn forward(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        Self::run(Flow::Start, &self.modules, (batch, pass))
    }

    /// The first module for many passes in which nothing learns, where it is a Transformer that can be frozen.
    pub(super) fn frozen(&self, compute: Compute) -> Result<Option<Frozen<'_>>> {
        match self.modules.first().map(|placed| &placed.module) {
            Some(Module::Transformer(transformer)) => Frozen::new(transformer, compute),
            _ => Ok(None),
        }
    }

    /// [`forward`](Self::forward) without gradients, with the first module frozen.
    pub(super) fn forward_frozen(
        &self,
        frozen: &Frozen,
        batch: &Packed,
        pass: Pass,
    ) -> Result<Tensor> {
        let tokens = Flow::Tokens(frozen.forward(batch)?);
        Self::run(tokens, &self.modules[1..], (batch, pass))
    }

    fn run(mut flow: Flow, modules: &[Placed], (batch, pass): (&Packed, Pass)) -> Result<Tensor> {
        for placed in modules {
            flow = placed.module.forward(flow, batch, pass)?;
        }
        match flow {
            Flow::Sentences(x) => Ok(x),
            Flow::Start | Flow::Tokens(_) => Err(Error::Setting {
                key: "modules".into(),
                expected: "a Pooling module".into(),
                found: "none".into(),
            }),
        }
    }
}
