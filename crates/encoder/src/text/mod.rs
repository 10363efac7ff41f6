//! Text encoders: from sentences to embeddings, in the folders of sentence-transformers.
//!
//! The central type is [`SentenceEncoder`]: a tokenizer and modules, the first of which is a [`Transformer`] or a table of
//! static vectors. A batch is [`Packed`]: its sentences lie one after another, and nothing is computed for padding, neither in
//! inference nor in training.

mod adapters;
mod architecture;
mod beginning;
mod cross_encoder;
mod dense;
mod encode;
mod folder;
mod frozen;
mod module;
mod packed;
mod pass;
mod pooling;
mod sentence_encoder;
mod sequence_classifier;
mod settings;
mod static_embedding;
mod tokenizer;
mod transformer;
mod vocabulary;
mod words;

pub use architecture::{Architecture, Family};
pub use cross_encoder::{CrossEncoder, Outcome, Outputs};
pub use dense::{Dense, DenseConfig};
pub use encode::{Embedder, Encoding, Options};
pub use folder::{Reading, base_of_adapters};
pub use frozen::Compute;
pub use module::{Module, Placed};
pub use packed::{Packed, Tokens};
pub use pass::Pass;
pub use pooling::Pooling;
pub use sentence_encoder::SentenceEncoder;
pub use sequence_classifier::SequenceClassifier;
pub use settings::Settings;
pub use static_embedding::StaticEmbedding;
pub use tokenizer::Tokenizer;
pub use transformer::Transformer;
pub use words::WordEmbeddings;

use crate::error::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// Writes a value as JSON, beside its target and renamed.
fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::File {
        path: path.into(),
        reason: e.to_string(),
    })?;
    text.push('\n');
    crate::weights::write_beside(path, text.as_bytes())
}
