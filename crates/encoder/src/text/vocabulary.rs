//! Tokenizers of folders that have a vocabulary and no `tokenizer.json`.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The `tokenizer.json` that says what `vocab.txt`, or `vocab.json` with `merges.txt`, mean.
///
/// # Errors
/// The folder has neither, a file cannot be read, or a special token is missing.
pub(super) fn tokenizer_json(folder: &Path, settings: &Map<String, Value>) -> Result<Vec<u8>> {
    let [words, pieces, merges] =
        ["vocab.txt", "vocab.json", "merges.txt"].map(|name| folder.join(name));
    let made = if words.exists() {
        word_piece(&words, settings)?
    } else if pieces.exists() && merges.exists() {
        byte_level(&pieces, &merges, settings)?
    } else {
        return Err(Error::File {
            path: folder.into(),
            reason: "no tokenizer.json, no vocab.txt and no vocab.json with merges.txt in it"
                .into(),
        });
    };
    Ok(made.to_string().into_bytes())
}

/// BERT's: lowercasing where the settings say so, words, then pieces of words.
fn word_piece(path: &Path, settings: &Map<String, Value>) -> Result<Value> {
    let text = fs_err::read_to_string(path)?;
    let vocabulary: Map<String, Value> = (0u32..)
        .zip(text.lines())
        .map(|(id, word)| (word.trim_end().to_owned(), id.into()))
        .collect();
    let flag =
        |key: &str, otherwise: bool| settings.get(key).map_or(otherwise.into(), Clone::clone);
    // MPNet's vocabulary is BERT's words with RoBERTa's marks, two of them between the texts of a pair.
    let is_mpnet = vocabulary.contains_key("<s>") && !vocabulary.contains_key("[CLS]");
    let names = if is_mpnet {
        ["<s>", "</s>", "[UNK]", "<pad>", "<mask>"]
    } else {
        ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]
    };
    let [first, end, ..] = names;
    let special = Special::find(path, &vocabulary, &names)?;
    let part = |id: &str, segment: u32| json!({ "Sequence": { "id": id, "type_id": segment } });
    let mark = |id: &str, segment: u32| json!({ "SpecialToken": { "id": id, "type_id": segment } });
    Ok(json!({
        "version": "1.0",
        "added_tokens": special.added(),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": flag("do_lower_case", true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark(first, 0), part("A", 0), mark(end, 0)],
            "pair": if is_mpnet {
                [mark(first, 0), part("A", 0), mark(end, 0), mark(end, 0), part("B", 0), mark(end, 0)].to_vec()
            } else {
                [mark(first, 0), part("A", 0), mark(end, 0), part("B", 1), mark(end, 1)].to_vec()
            },
            "special_tokens": special.template(&[first, end]),
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}

/// RoBERTa's: merged pairs of bytes.
fn byte_level(pieces: &Path, merges: &Path, settings: &Map<String, Value>) -> Result<Value> {
    let text = fs_err::read_to_string(pieces)?;
    let vocabulary: Map<String, Value> = serde_json::from_str(&text).map_err(|e| Error::File {
        path: pieces.into(),
        reason: e.to_string(),
    })?;
    let names = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"];
    let special = Special::find(pieces, &vocabulary, &names)?;
    let merges = fs_err::read_to_string(merges)?;
    let merges: Vec<&str> = merges
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("#version"))
        .collect();
    let space = settings.get("add_prefix_space") == Some(&Value::Bool(true));
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true
    });
    Ok(json!({
        "version": "1.0",
        "added_tokens": special.added(),
        "pre_tokenizer": bytes,
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", special.id("</s>")],
            "cls": ["<s>", special.id("<s>")],
            "trim_offsets": true,
            "add_prefix_space": space,
        },
        "decoder": bytes,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

/// Special tokens with their numbers.
struct Special(Vec<(&'static str, Value)>);

impl Special {
    fn find(path: &Path, vocabulary: &Map<String, Value>, names: &[&'static str]) -> Result<Self> {
        let find = |&name: &&'static str| match vocabulary.get(name) {
            Some(id) => Ok((name, id.clone())),
            None => Err(Error::File {
                path: path.into(),
                reason: format!("the token {name} is missing"),
            }),
        };
        names.iter().map(find).collect::<Result<_>>().map(Self)
    }

    fn id(&self, name: &str) -> Value {
        let found = self.0.iter().find(|(token, _)| *token == name);
        found.map_or(Value::Null, |(_, id)| id.clone())
    }

    fn added(&self) -> Vec<Value> {
        let token = |(name, id): &(&str, Value)| {
            json!({
                "id": id, "content": name, "special": true, "single_word": false,
                // The mask takes the space before it in byte-level vocabularies.
                "lstrip": *name == "<mask>", "rstrip": false, "normalized": false
            })
        };
        self.0.iter().map(token).collect()
    }

    fn template(&self, names: &[&str]) -> Value {
        let token = |name: &&str| {
            let value = json!({ "id": name, "ids": [self.id(name)], "tokens": [name] });
            ((*name).to_owned(), value)
        };
        Value::Object(names.iter().map(token).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::text::Tokenizer;

    /// The tokens of a text, at most so many, by a folder of these files.
    fn ids(files: &[(&str, &str)], limit: usize, text: &str) -> Vec<u32> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs_err::write(folder.path().join(name), content).unwrap();
        }
        let mut tokenizer = Tokenizer::read(folder.path()).unwrap();
        tokenizer.set_limit(limit).unwrap();
        tokenizer.encode(&[text]).unwrap()[0].ids.clone()
    }

    #[test]
    fn mpnet_has_the_words_of_bert_and_the_marks_of_roberta() {
        let words = [("vocab.txt", "<s>\n<pad>\n</s>\n[UNK]\n<mask>\ncat\ndog")];
        assert_eq!(ids(&words, 9, "Cat dog ?"), [0, 5, 6, 3, 2]);
    }

    #[test]
    fn texts_are_cut_at_the_side_that_the_settings_name() {
        let words = ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\ndog");
        assert_eq!(ids(&[words], 3, "cat dog"), [2, 5, 3]);
        let settings = ("tokenizer_config.json", r#"{"truncation_side": "left"}"#);
        assert_eq!(ids(&[words, settings], 3, "cat dog"), [2, 6, 3]);
    }

    #[test]
    fn a_space_goes_before_the_first_word_where_the_settings_say_so() {
        let files = [
            (
                "vocab.json",
                r#"{"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3, "<mask>": 4, "a": 5, "Ġ": 6, "Ġa": 7}"#,
            ),
            ("merges.txt", "#version: 0.2\nĠ a\n"),
            ("tokenizer_config.json", r#"{"add_prefix_space": true}"#),
        ];
        assert_eq!(ids(&files[..2], 9, "a a"), [0, 5, 7, 1]);
        assert_eq!(ids(&files, 9, "a a"), [0, 7, 7, 1]);
    }
}
