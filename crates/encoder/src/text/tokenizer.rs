//! From text to tokens.

use super::beginning::beginning;
use super::packed::Tokens;
use super::vocabulary;
use super::words::WordTokenizer;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizers::PostProcessor as _;
use tokenizers::{
    EncodeInput, Encoding, TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Files that belong to a tokenizer and are carried along unchanged.
const FILES: [&str; 9] = [
    WordTokenizer::FILE,
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
    inner: Inner,
    path: PathBuf,
    limit: usize,
    lowercase: bool,
    /// Files as they were found, to be written again.
    files: Arc<Vec<(&'static str, Vec<u8>)>>,
    settings: Arc<Map<String, Value>>,
}

#[derive(Clone)]
enum Inner {
    /// Pieces of words, by the tokenizers library.
    Pieces(Arc<tokenizers::Tokenizer>),
    /// Words of a list.
    Words(Arc<WordTokenizer>),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(f, "Tokenizer({path}, at most {} tokens)", self.limit)
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a folder: `tokenizer.json`, or `vocab.txt` (WordPiece), or `vocab.json` with `merges.txt`
    /// (byte-level BPE of RoBERTa), or a list of words.
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
        let has = |name: &str| files.iter().any(|(file, _)| *file == name);
        if !has("tokenizer.json") && !has(WordTokenizer::FILE) {
            let made = vocabulary::tokenizer_json(folder, &settings)?;
            files.push(("tokenizer.json", made));
        }
        Self::of_files(folder, files, settings)
    }

    /// The tokenizer of a list of words, the file of which is given.
    pub(super) fn of_words(path: &Path, file: Vec<u8>) -> Result<Self> {
        Self::of_files(path, vec![(WordTokenizer::FILE, file)], Map::new())
    }

    fn of_files(
        folder: &Path,
        files: Vec<(&'static str, Vec<u8>)>,
        settings: Map<String, Value>,
    ) -> Result<Self> {
        let named = |name: &str| files.iter().find(|(file, _)| *file == name);
        let path = |name: &str| folder.join(name);
        let wrong = |name: &str, reason: String| Error::File {
            path: path(name),
            reason: format!("not a tokenizer that can be read ({reason})"),
        };
        let (name, inner) = match (named("tokenizer.json"), named(WordTokenizer::FILE)) {
            (Some((name, bytes)), _) => {
                let inner = tokenizers::Tokenizer::from_bytes(bytes);
                let mut inner = inner.map_err(|e| wrong(name, e.to_string()))?;
                // What widely used files say of these differs from their model's limit.
                inner.with_padding(None);
                (*name, Inner::Pieces(Arc::new(inner)))
            }
            (None, Some((name, bytes))) => {
                let words = WordTokenizer::parse(bytes).map_err(|e| wrong(name, e))?;
                (*name, Inner::Words(Arc::new(words)))
            }
            (None, None) => return Err(wrong("tokenizer.json", "no such file".into())),
        };
        let mut tokenizer = Self {
            inner,
            path: path(name),
            limit: usize::MAX,
            lowercase: false,
            files: Arc::new(files),
            settings: Arc::new(settings),
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
    /// The special tokens leave no room for a text.
    pub fn set_limit(&mut self, limit: usize) -> Result<()> {
        let special = self.special_tokens();
        if limit <= special {
            let reason = format!(
                "texts of at most {limit} tokens have no room beside {special} special tokens"
            );
            return Err(self.wrong(&reason));
        }
        let truncation = (limit < usize::MAX).then_some(TruncationParams {
            direction: if self
                .settings
                .get("truncation_side")
                .is_some_and(|side| side == "left")
            {
                TruncationDirection::Left
            } else {
                TruncationDirection::Right
            },
            max_length: limit,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        if let Inner::Pieces(inner) = &mut self.inner
            && let Err(reason) = Arc::make_mut(inner).with_truncation(truncation)
        {
            let reason = reason.to_string();
            return Err(self.wrong(&reason));
        }
        self.limit = limit;
        Ok(())
    }

    /// How many special tokens a text is given.
    fn special_tokens(&self) -> usize {
        let Inner::Pieces(inner) = &self.inner else {
            return 0;
        };
        let given = inner.get_post_processor().map(|p| p.added_tokens(false));
        given.unwrap_or(0)
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
        match &self.inner {
            Inner::Pieces(inner) => {
                let ids = inner.get_vocab(true);
                ids.values().max().map_or(0, |&id| id as usize + 1)
            }
            Inner::Words(words) => words.vocabulary(),
        }
    }

    /// Tokens of texts, special tokens added, in parallel.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Tokens>> {
        match &self.inner {
            Inner::Pieces(inner) => self.run(inner, self.inputs(inner, texts), true),
            Inner::Words(words) => Ok(texts
                .par_iter()
                .map(|text| words.encode(&self.input(text.as_ref()), self.limit))
                .collect()),
        }
    }

    /// Tokens of texts without special tokens, as static embeddings take them.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode_plain(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Tokens>> {
        match &self.inner {
            Inner::Pieces(inner) => self.run(inner, self.inputs(inner, texts), false),
            Inner::Words(_) => self.encode(texts),
        }
    }

    /// Tokens of pairs of texts, one after another between special tokens, the second in segment 1 where the model knows
    /// segments.
    ///
    /// # Errors
    /// The tokenizer refuses a text, or is a list of words, which has no special tokens.
    pub fn encode_pairs(&self, pairs: &[[&str; 2]]) -> Result<Vec<Tokens>> {
        let Inner::Pieces(inner) = &self.inner else {
            return Err(self.wrong("a list of words cannot join two texts"));
        };
        let inputs = pairs
            .iter()
            .map(|[first, second]| EncodeInput::from((self.input(first), self.input(second))));
        self.run(inner, inputs.collect(), true)
    }

    /// As much of each text as its tokens need.
    fn inputs<'t>(
        &self,
        inner: &tokenizers::Tokenizer,
        texts: &'t [impl AsRef<str> + Sync],
    ) -> Vec<EncodeInput<'t>> {
        let input = |text: &'t str| match self.input(text) {
            Cow::Borrowed(text) => beginning(inner, text).into(),
            Cow::Owned(mut text) => {
                text.truncate(beginning(inner, &text).len());
                text.into()
            }
        };
        let texts = texts.par_iter();
        texts.map(|text| input(text.as_ref())).collect()
    }

    fn input<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.lowercase {
            text.to_lowercase().into()
        } else {
            text.into()
        }
    }

    fn run(
        &self,
        inner: &tokenizers::Tokenizer,
        inputs: Vec<EncodeInput<'_>>,
        special: bool,
    ) -> Result<Vec<Tokens>> {
        let encoded = inner.encode_batch_fast(inputs, special);
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
        for (name, bytes) in self.files.iter() {
            crate::weights::write_beside(&folder.join(name), bytes)?;
        }
        let mut settings = (*self.settings).clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of a few words, with more settings.
    fn tokenizer(settings: &str) -> (tempfile::TempDir, Tokenizer) {
        let folder = tempfile::tempdir().unwrap();
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\nsat\nend";
        fs_err::write(folder.path().join("vocab.txt"), words).unwrap();
        fs_err::write(folder.path().join(SETTINGS), settings).unwrap();
        let tokenizer = Tokenizer::read(folder.path()).unwrap();
        (folder, tokenizer)
    }

    /// The first tokens of a text that is tokenized whole, of which none is cut away.
    fn whole(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut unlimited = tokenizer.clone();
        unlimited.set_limit(usize::MAX).unwrap();
        let ids = unlimited.encode(&[text]).unwrap()[0].ids.clone();
        let limit = tokenizer.limit();
        if ids.len() <= limit {
            return ids;
        }
        // The special token at the end stays.
        [&ids[..limit - 1], &ids[ids.len() - 1..]].concat()
    }

    #[test]
    fn a_long_text_is_cut_before_it_is_tokenized_and_has_the_same_tokens() {
        let (_folder, mut tokenizer) = tokenizer("{}");
        tokenizer.set_limit(16).unwrap();
        let texts = [
            "the cats sat ".repeat(2000),
            // Too few tokens at first, then no spaces, then one word of no piece.
            format!("{}{}", " ".repeat(5000), "the cats sat ".repeat(9000)),
            "thecats".repeat(1000),
            format!("the {} cats sat", "é".repeat(3000)),
            format!("{} the cats", "the,cats,".repeat(400)),
            "é the Σ cats ".repeat(900),
            "the cats sat".to_owned(),
        ];
        for text in &texts {
            let found = &tokenizer.encode(&[text]).unwrap()[0].ids;
            assert_eq!(found, &whole(&tokenizer, text), "{}", &text[..12]);
        }
        let Inner::Pieces(inner) = &tokenizer.inner else {
            panic!("a list of words");
        };
        let lengths = texts.map(|text| (beginning(inner, &text).len(), text.len()));
        assert_eq!(lengths[0].0, 1022);
        assert!(lengths[1].0 < lengths[1].1, "{lengths:?}");
        assert!(
            lengths[2..5].iter().all(|(cut, all)| cut == all),
            "{lengths:?}"
        );
    }

    #[test]
    fn a_limit_without_room_for_a_text_is_refused() {
        let (_folder, mut tokenizer) = tokenizer("{}");
        for limit in [0, 1, 2] {
            let error = tokenizer.set_limit(limit).unwrap_err().to_string();
            assert!(error.contains("no room beside 2 special tokens"), "{error}");
        }
        tokenizer.set_limit(3).unwrap();
        assert_eq!(tokenizer.encode(&["the cat"]).unwrap()[0].ids, [2, 5, 3]);
    }

    #[test]
    fn a_text_that_is_cut_on_the_left_keeps_its_end() {
        let (_folder, mut tokenizer) = tokenizer(r#"{"truncation_side": "left"}"#);
        tokenizer.set_limit(16).unwrap();
        let text = "the cats sat ".repeat(2000) + "end";
        let ids = &tokenizer.encode(&[&text]).unwrap()[0].ids;
        assert_eq!((ids.len(), ids[14]), (16, 9));
    }
}
