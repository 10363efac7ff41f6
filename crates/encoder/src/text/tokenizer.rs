//! From text to tokens.

use super::packed::Tokens;
use super::vocabulary;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tokenizers::{
    EncodeInput, Encoding, TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Files that belong to a tokenizer and are carried along unchanged.
const FILES: [&str; 8] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
];
/// The file of a tokenizer's settings.
const SETTINGS: &str = "tokenizer_config.json";
/// Unset limits are written as about 1e30.
const SANE: u64 = 1 << 24;

/// A tokenizer with the limit of its model.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    limit: usize,
    lowercase: bool,
    /// Files as they were found, to be written again.
    files: Vec<(&'static str, Vec<u8>)>,
    settings: Map<String, Value>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(f, "Tokenizer({path}, at most {} tokens)", self.limit)
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a folder: `tokenizer.json`, or `vocab.txt` (`WordPiece`), or `vocab.json` with `merges.txt`
    /// (byte-level BPE of `RoBERTa`).
    ///
    /// # Errors
    /// There is none, or a file is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            if path.exists() {
                files.push((name, fs_err::read(path)?));
            }
        }
        let settings = settings(&folder.join(SETTINGS))?;
        let named = |name: &str| files.iter().find(|(file, _)| *file == name);
        if named("tokenizer.json").is_none() {
            let made = vocabulary::tokenizer_json(folder, &settings)?;
            files.push(("tokenizer.json", made));
        }
        let path = folder.join("tokenizer.json");
        let bytes = files.iter().find(|(file, _)| *file == "tokenizer.json");
        let bytes = bytes.map(|(_, bytes)| &bytes[..]).unwrap_or_default();
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| Error::File {
            path: path.clone(),
            reason: format!("not a tokenizer that can be read ({e})"),
        })?;
        // What widely used files say of these differs from their model's limit.
        inner.with_padding(None);
        let mut tokenizer = Self {
            inner,
            path,
            limit: usize::MAX,
            lowercase: false,
            files,
            settings,
        };
        tokenizer.set_limit(usize::MAX)?;
        Ok(tokenizer)
    }

    /// The limit in the tokenizer's own settings, where it is a sane number.
    pub fn own_limit(&self) -> Option<usize> {
        let limit = self.settings.get("model_max_length")?.as_u64()?;
        (limit < SANE).then_some(limit as usize)
    }

    /// The most tokens of a text, special tokens included.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Cuts texts to so many tokens, special tokens included; of a pair the longer text first.
    ///
    /// # Errors
    /// The special tokens alone are more.
    pub fn set_limit(&mut self, limit: usize) -> Result<()> {
        let truncation = (limit < usize::MAX).then_some(TruncationParams {
            direction: TruncationDirection::Right,
            max_length: limit,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        if let Err(reason) = self.inner.with_truncation(truncation) {
            return Err(self.wrong(&reason.to_string()));
        }
        self.limit = limit;
        Ok(())
    }

    /// Lowercases texts before they are tokenized.
    pub fn set_lowercase(&mut self, lowercase: bool) {
        self.lowercase = lowercase;
    }

    /// Whether texts are lowercased first.
    pub fn lowercase(&self) -> bool {
        self.lowercase
    }

    /// One more than the largest number of a token.
    pub fn vocabulary(&self) -> usize {
        let ids = self.inner.get_vocab(true);
        ids.values().max().map_or(0, |&id| id as usize + 1)
    }

    /// Tokens of texts, special tokens added, in parallel.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Tokens>> {
        self.run(
            texts.iter().map(|text| self.input(text.as_ref()).into()),
            true,
        )
    }

    /// Tokens of pairs of texts, one after another between special tokens, the second in segment 1.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode_pairs(&self, pairs: &[[&str; 2]]) -> Result<Vec<Tokens>> {
        let inputs = pairs
            .iter()
            .map(|[first, second]| EncodeInput::from((self.input(first), self.input(second))));
        self.run(inputs, true)
    }

    /// Tokens of texts without special tokens, as static embeddings take them.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode_plain(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Tokens>> {
        self.run(
            texts.iter().map(|text| self.input(text.as_ref()).into()),
            false,
        )
    }

    fn input<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        if self.lowercase {
            text.to_lowercase().into()
        } else {
            text.into()
        }
    }

    fn run<'t>(
        &self,
        inputs: impl Iterator<Item = EncodeInput<'t>>,
        special: bool,
    ) -> Result<Vec<Tokens>> {
        let encoded = self.inner.encode_batch_fast(inputs.collect(), special);
        let encoded = encoded.map_err(|e| self.wrong(&e.to_string()))?;
        Ok(encoded.iter().map(tokens).collect())
    }

    fn wrong(&self, reason: &str) -> Error {
        Error::File {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Writes the tokenizer's files into a folder, with its limit in the settings.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        for (name, bytes) in &self.files {
            crate::weights::write_beside(&folder.join(name), bytes)?;
        }
        let mut settings = self.settings.clone();
        if self.limit < usize::MAX {
            settings.insert("model_max_length".into(), self.limit.into());
        }
        crate::text::write_json(&folder.join(SETTINGS), &Value::Object(settings))
    }
}

fn tokens(encoding: &Encoding) -> Tokens {
    Tokens {
        ids: encoding.get_ids().to_vec(),
        segments: encoding.get_type_ids().to_vec(),
    }
}

fn settings(path: &Path) -> Result<Map<String, Value>> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|e| Error::File {
        path: path.into(),
        reason: e.to_string(),
    })
}
