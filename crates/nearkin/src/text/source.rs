//! What vectors are of, as a number that tells others apart.

use crate::error::Result;
use nearkin_encoder::host::Host;
use nearkin_encoder::text::{Options, SentenceEncoder};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A number of texts that come one after another, of the model that embeds them, and of how it is asked.
///
/// Numbers are those of one build of the program: another may have others, and then nothing goes on.
#[derive(Clone, Default)]
pub(super) struct Source {
    texts: DefaultHasher,
    /// Known once it is asked for: the weights are read for it.
    model: Option<u64>,
}

impl Source {
    /// Takes the next text.
    pub fn push(&mut self, text: &str) {
        text.hash(&mut self.texts);
    }

    /// The numbers of the model and of the texts so far.
    ///
    /// # Errors
    /// The weights are not in host memory.
    pub fn name(&mut self, encoder: &SentenceEncoder, options: &Options) -> Result<String> {
        let model = match self.model {
            Some(model) => model,
            None => *self.model.insert(number(encoder, options)?),
        };
        Ok(format!("{model:016x} {:016x}", self.texts.finish()))
    }
}

fn number(encoder: &SentenceEncoder, options: &Options) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    format!("{options:?}").hash(&mut hasher);
    for parameter in encoder.parameters() {
        parameter.name.hash(&mut hasher);
        let weights = parameter.var.as_detached_tensor();
        for weight in Host::new(&weights)?.iter() {
            hasher.write_u32(weight.to_bits());
        }
    }
    Ok(hasher.finish())
}
