//! Word vectors: a vector for each word of a list, such as a GloVe file, as sentence-transformers has them.

use super::packed::{Packed, Tokens};
use super::pass::Pass;
use crate::error::{Error, Result};
use crate::op;
use crate::parameters::{Kind, Scope, Storage};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;

/// The word of the row of zeros that stands first.
const PADDING: &str = "PADDING_TOKEN";
/// What is cut off around a word that is not in the list.
const PUNCTUATION: &[char] = &[
    '!', '"', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', ':', ';', '<', '=',
    '>', '?', '@', '[', '\\', ']', '^', '_', '`', '{', '|', '}', '~',
];

/// Splits texts at white space and looks the words up: as they stand, without the punctuation around them, in lower case.
#[derive(Clone, Debug)]
pub(super) struct WordTokenizer {
    numbers: HashMap<String, u32>,
    stop_words: HashSet<String>,
    lowercase: bool,
}

/// The file of a [`WordTokenizer`], as sentence-transformers writes it.
#[derive(Serialize, Deserialize)]
struct Listed {
    vocab: Vec<String>,
    stop_words: Vec<String>,
    #[serde(default)]
    do_lower_case: bool,
}

impl WordTokenizer {
    /// The file's name.
    pub const FILE: &'static str = "whitespacetokenizer_config.json";

    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let listed: Listed = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        Ok(Self::new(listed))
    }

    fn new(listed: Listed) -> Self {
        Self {
            numbers: listed.vocab.into_iter().zip(0..).collect(),
            stop_words: listed.stop_words.into_iter().collect(),
            lowercase: listed.do_lower_case,
        }
    }

    pub fn vocabulary(&self) -> usize {
        self.numbers
            .values()
            .max()
            .map_or(0, |&last| last as usize + 1)
    }

    /// Words that are in no form in the list are left out, as are stop words.
    pub fn encode(&self, text: &str, limit: usize) -> Tokens {
        let lowered = self.lowercase.then(|| text.to_lowercase());
        let text = lowered.as_deref().unwrap_or(text);
        let ids: Vec<u32> = text
            .split(is_space)
            .filter(|word| !word.is_empty())
            .filter_map(|word| self.number(word))
            .take(limit)
            .collect();
        Tokens {
            segments: vec![0; ids.len()],
            ids,
        }
    }

    fn number(&self, word: &str) -> Option<u32> {
        let bare = word.trim_matches(PUNCTUATION);
        let lower = bare.to_lowercase();
        for form in [word, bare, &lower] {
            if self.stop_words.contains(form) {
                return None;
            }
            if let Some(&number) = self.numbers.get(form).filter(|_| !form.is_empty()) {
                return Some(number);
            }
        }
        None
    }
}

/// White space as Python has it: separators of data (U+001C to U+001F) too.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A table of word vectors.
#[derive(Clone, Debug)]
pub struct WordEmbeddings {
    table: Tensor,
    learned: bool,
}

impl WordEmbeddings {
    /// Takes the table of stored weights; it is frozen unless `learned`.
    ///
    /// # Errors
    /// The weights lack it.
    pub fn new(scope: &Scope, learned: bool) -> Result<Self> {
        let Some(stored) = scope.weights() else {
            return Err(Error::Setting {
                key: "word_embeddings".into(),
                expected: "stored weights".into(),
                found: "none".into(),
            });
        };
        let name = "emb_layer.weight";
        let (shape, _) = stored.tensor(name)?;
        let scope = if learned {
            scope.clone()
        } else {
            scope.clone().freezing(&[String::new()])
        };
        let init = crate::parameters::Init::Normal(1.0);
        let table = scope.parameter(name, &shape, init, (Kind::Weight, Storage::Plain))?;
        table.dims2()?;
        Ok(Self { table, learned })
    }

    /// Reads a text file of vectors: on each line a word and its numbers, separated by spaces, as GloVe and word2vec write
    /// them. Returns the table with the tokenizer's file; a row of zeros stands first.
    ///
    /// # Errors
    /// The file cannot be read, or no line of it holds a vector; lines of another length are left out, as
    /// sentence-transformers does.
    pub(super) fn read_text(path: &Path, scope: &Scope) -> Result<(Self, Vec<u8>)> {
        let wrong = |reason: String| Error::File {
            path: path.into(),
            reason,
        };
        let (mut vocab, mut numbers, mut dim) = (vec![PADDING.to_owned()], Vec::new(), None);
        for (number, line) in (1..).zip(std::io::BufReader::new(fs_err::File::open(path)?).lines())
        {
            let line = line.map_err(|e| wrong(format!("line {number}: {e}")))?;
            let mut parts = line.trim_end().split(' ');
            let word = parts.next().unwrap_or_default();
            let Ok(vector) = parts
                .map(str::parse)
                .collect::<std::result::Result<Vec<f32>, _>>()
            else {
                continue;
            };
            // The first line of word2vec's files counts words and numbers.
            if vector.is_empty() || (dim.is_none() && vector.len() == 1) {
                continue;
            }
            let dim = *dim.get_or_insert(vector.len());
            if let Some(x) = vector.iter().find(|x| !x.is_finite()) {
                let reason = format!(
                    "line {number}: {x} in the vector of \"{word}\", expected finite numbers"
                );
                return Err(wrong(reason));
            }
            if vector.len() == dim {
                if numbers.is_empty() {
                    numbers.resize(dim, 0.0);
                }
                vocab.push(word.to_owned());
                numbers.extend(vector);
            }
        }
        let Some(dim) = dim else {
            return Err(wrong("no line holds a word and its vector".into()));
        };
        let shape = [vocab.len(), dim];
        let frozen = scope.clone().freezing(&[String::new()]);
        let table = frozen.given("emb_layer.weight", numbers, &shape)?;
        let listed = Listed {
            vocab,
            stop_words: Vec::new(),
            do_lower_case: false,
        };
        let listed = serde_json::to_vec(&listed).map_err(|e| wrong(e.to_string()))?;
        let learned = false;
        Ok((Self { table, learned }, listed))
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.table.dims()[0]
    }

    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.table.dims()[1]
    }

    /// Whether the vectors are learned.
    pub fn learned(&self) -> bool {
        self.learned
    }

    /// `[tokens, dim]`
    ///
    /// # Errors
    /// A token is not in the table.
    pub fn forward(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        Ok(op::gather(&pass.mode.parameter(&self.table), &batch.ids)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_they_stand_bare_or_in_lower_case() {
        let text =
            br#"{"vocab": ["PADDING_TOKEN", "The", "cat", "n't", "sat"], "stop_words": ["sat"]}"#;
        let words = WordTokenizer::parse(text).unwrap();
        assert_eq!(words.encode("The (Cat), sat. on n't -", 9).ids, [1, 2, 3]);
        assert_eq!(words.encode("The cat cat", 2).ids, [1, 2]);
        assert_eq!(words.vocabulary(), 5);
    }

    #[test]
    fn stop_words_count_in_every_form_and_in_lower_case_where_all_is() {
        let listed = |lower: bool| {
            let text = format!(
                r#"{{"vocab": ["PADDING_TOKEN", "Cat", "cat", "the", "us"], "stop_words": ["the", "us", "Cat"],
                    "do_lower_case": {lower}}}"#
            );
            WordTokenizer::parse(text.as_bytes()).unwrap()
        };
        let text = "The (the) CAT Cat cat\u{1c}cat, US! (Cat)";
        assert_eq!(listed(false).encode(text, 9).ids, [2, 2, 2]);
        assert_eq!(listed(true).encode(text, 9).ids, [2, 2, 2, 2, 2]);
        let without = WordTokenizer::parse(br#"{"vocab": ["a"]}"#).unwrap_err();
        assert!(without.contains("missing field `stop_words`"), "{without}");
    }
}
