//! Settings of a sentence encoder beside its modules, `config_sentence_transformers.json`.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file's name.
pub(super) const FILE: &str = "config_sentence_transformers.json";

/// Prompts, the similarity that the vectors are meant for, and their length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Text that is put before a sentence, by its name.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is used where none is named.
    pub default_prompt: Option<String>,
    /// `cosine`, `dot`, `euclidean` or `manhattan`.
    pub similarity: Option<String>,
    /// Vectors are cut to so many numbers.
    pub truncate_dim: Option<usize>,
}

impl Settings {
    /// Reads the settings of a folder; the defaults where it has none.
    ///
    /// # Errors
    /// The file is damaged, of a model that is no sentence encoder, or its default prompt has no text.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs_err::read_to_string(&path)?;
        Self::parse(&text).map_err(|reason| Error::File { path, reason })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let config: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let word = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(kind) = word("model_type").filter(|kind| kind != "SentenceTransformer") {
            return Err(format!(
                "model_type is \"{kind}\", expected SentenceTransformer"
            ));
        }
        let prompts = config.get("prompts").and_then(Value::as_object);
        let text = |(name, text): (&String, &Value)| {
            let text = text.as_str().unwrap_or_default();
            (name.clone(), text.to_owned())
        };
        let settings = Self {
            prompts: prompts.into_iter().flatten().map(text).collect(),
            default_prompt: word("default_prompt_name"),
            similarity: word("similarity_fn_name"),
            truncate_dim: config
                .get("truncate_dim")
                .and_then(Value::as_u64)
                .map(|dim| dim as usize),
        };
        if let Some(name) = &settings.default_prompt {
            settings.prompt(name)?;
        }
        Ok(settings)
    }

    /// The text of a prompt.
    ///
    /// # Errors
    /// Names the prompts there are.
    pub fn prompt(&self, name: &str) -> std::result::Result<&str, String> {
        let found = self.prompts.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str()).ok_or_else(|| {
            let known: Vec<&str> = self.prompts.iter().map(|(name, _)| name.as_str()).collect();
            format!("prompt \"{name}\" is none of [{}]", known.join(", "))
        })
    }

    /// The settings as a file holds them.
    pub(super) fn config(&self) -> Value {
        let prompts = self.prompts.iter();
        let prompts: Map<String, Value> = prompts
            .map(|(name, text)| (name.clone(), text.clone().into()))
            .collect();
        let mut config = json!({
            "__version__": { "sentence_transformers": "5.0.0", "nearkin": env!("CARGO_PKG_VERSION") },
            "model_type": "SentenceTransformer",
            "prompts": prompts,
            "default_prompt_name": self.default_prompt,
            "similarity_fn_name": self.similarity,
        });
        if let Some(dim) = self.truncate_dim {
            config["truncate_dim"] = dim.into();
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_writing() {
        let text = r#"{"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query",
            "similarity_fn_name": "dot", "truncate_dim": 64}"#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.prompt("query"), Ok("find: "));
        assert_eq!(
            Settings::parse(&settings.config().to_string()).unwrap(),
            settings
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let error = |text: &str| Settings::parse(text).unwrap_err();
        assert!(error(r#"{"model_type": "CrossEncoder"}"#).contains("\"CrossEncoder\""));
        let unknown = error(r#"{"prompts": {"query": ""}, "default_prompt_name": "passage"}"#);
        assert_eq!(unknown, "prompt \"passage\" is none of [query]");
    }
}
