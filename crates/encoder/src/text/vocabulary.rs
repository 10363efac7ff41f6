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
        byte_level(&pieces, &merges)?
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
    let special = Special::find(
        path,
        &vocabulary,
        &["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"],
    )?;
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
            "single": [mark("[CLS]", 0), part("A", 0), mark("[SEP]", 0)],
            "pair": [mark("[CLS]", 0), part("A", 0), mark("[SEP]", 0), part("B", 1), mark("[SEP]", 1)],
            "special_tokens": special.template(&["[CLS]", "[SEP]"]),
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

/// `RoBERTa`'s: merged pairs of bytes.
fn byte_level(pieces: &Path, merges: &Path) -> Result<Value> {
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
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
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
            "add_prefix_space": false,
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
