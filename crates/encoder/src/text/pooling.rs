//! The pooling module: token vectors to a sentence vector.

use super::packed::Packed;
use super::pass::Pass;
use crate::error::Result;
use crate::op::{self, TokenPooling};
use candle_core::Tensor;
use serde_json::{Map, Value, json};

/// The modes in the order in which they are concatenated, with the key of each in folders of before 5.4 and its name since.
const MODES: [(TokenPooling, &str, &str); 6] = [
    (TokenPooling::Cls, "pooling_mode_cls_token", "cls"),
    (TokenPooling::Max, "pooling_mode_max_tokens", "max"),
    (TokenPooling::Mean, "pooling_mode_mean_tokens", "mean"),
    (
        TokenPooling::MeanSqrtLen,
        "pooling_mode_mean_sqrt_len_tokens",
        "mean_sqrt_len_tokens",
    ),
    (
        TokenPooling::WeightedMean,
        "pooling_mode_weightedmean_tokens",
        "weightedmean",
    ),
    (TokenPooling::Last, "pooling_mode_lasttoken", "lasttoken"),
];

/// Pools in one or more ways, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooling {
    /// Width of a token's vector.
    pub width: usize,
    /// The ways, in their order.
    pub modes: Vec<TokenPooling>,
    /// Whether the tokens of a prompt take part.
    pub include_prompt: bool,
}

impl Pooling {
    /// Mean pooling, the default of Sentence-BERT.
    pub fn mean(width: usize) -> Self {
        Self {
            width,
            modes: vec![TokenPooling::Mean],
            include_prompt: true,
        }
    }

    /// Reads the settings of any version of sentence-transformers.
    ///
    /// # Errors
    /// Says what is missing or unknown.
    pub fn parse(config: &Map<String, Value>) -> std::result::Result<Self, String> {
        let width = ["word_embedding_dimension", "embedding_dimension"]
            .iter()
            .find_map(|key| config.get(*key)?.as_u64())
            .ok_or("word_embedding_dimension is missing")?;
        let mut modes = match config.get("pooling_mode") {
            Some(Value::String(name)) => vec![mode(name)?],
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| mode(name.as_str().unwrap_or_default()))
                .collect::<std::result::Result<_, _>>()?,
            _ => {
                let on = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
                let active = MODES.iter().filter(|(_, key, _)| on(key));
                active.map(|(mode, ..)| *mode).collect()
            }
        };
        if modes.is_empty() {
            modes.push(TokenPooling::Mean);
        }
        let include_prompt = config.get("include_prompt").and_then(Value::as_bool);
        Ok(Self {
            width: width as usize,
            modes,
            include_prompt: include_prompt.unwrap_or(true),
        })
    }

    /// The settings in the form that every version of sentence-transformers and text-embeddings-inference reads; an order of
    /// modes that this form has no word for is added under the newer key.
    pub fn config(&self) -> Value {
        let mut config = Map::new();
        config.insert("word_embedding_dimension".into(), self.width.into());
        for (mode, key, _) in MODES {
            config.insert(key.into(), self.modes.contains(&mode).into());
        }
        config.insert("include_prompt".into(), self.include_prompt.into());
        let in_order = MODES.iter().filter(|(mode, ..)| self.modes.contains(mode));
        if !in_order.map(|(mode, ..)| mode).eq(&self.modes) {
            let name = |mode: &TokenPooling| MODES.iter().find(|(m, ..)| m == mode).map(|m| m.2);
            let names: Vec<_> = self.modes.iter().filter_map(name).collect();
            config.insert("pooling_mode".into(), json!(names));
        }
        Value::Object(config)
    }

    /// The mode of a name: `cls`, `max`, `mean`, `mean_sqrt_len_tokens`, `weightedmean` or `lasttoken`.
    ///
    /// # Errors
    /// Names the modes there are.
    pub fn mode(name: &str) -> std::result::Result<TokenPooling, String> {
        mode(name)
    }

    /// Width of a sentence's vector.
    pub fn dim(&self) -> usize {
        self.width * self.modes.len()
    }

    /// `[tokens, width]` to `[sentences, dim]`.
    ///
    /// # Errors
    /// The tokens are not the batch's.
    pub fn forward(&self, x: &Tensor, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let skip = if self.include_prompt { 0 } else { pass.skip };
        let pool = |&mode: &TokenPooling| op::token_pool(x, mode, &batch.offsets, skip);
        let pooled: candle_core::Result<Vec<Tensor>> = self.modes.iter().map(pool).collect();
        Ok(op::concat(&pooled?)?)
    }
}

fn mode(name: &str) -> std::result::Result<TokenPooling, String> {
    let found = MODES.iter().find(|(_, _, known)| *known == name);
    found.map(|(mode, ..)| *mode).ok_or_else(|| {
        let known: Vec<&str> = MODES.iter().map(|(_, _, name)| *name).collect();
        format!("pooling_mode \"{name}\" is none of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Pooling, String> {
        Pooling::parse(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn both_forms_of_the_settings_are_read() {
        let old = parse(
            r#"{"word_embedding_dimension": 4, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
        );
        let old = old.unwrap();
        assert_eq!(old.modes, [TokenPooling::Cls, TokenPooling::Mean]);
        assert_eq!((old.dim(), old.include_prompt), (8, true));
        let new = parse(
            r#"{"embedding_dimension": 4, "pooling_mode": "lasttoken", "include_prompt": false}"#,
        );
        let new = new.unwrap();
        assert_eq!(
            (new.modes, new.include_prompt),
            (vec![TokenPooling::Last], false)
        );
        assert_eq!(
            parse(r#"{"embedding_dimension": 4}"#).unwrap().modes,
            [TokenPooling::Mean]
        );
    }

    #[test]
    fn an_order_of_its_own_survives_writing() {
        let pooling =
            parse(r#"{"embedding_dimension": 4, "pooling_mode": ["mean", "cls"]}"#).unwrap();
        let Value::Object(config) = pooling.config() else {
            unreachable!()
        };
        assert_eq!(Pooling::parse(&config).unwrap(), pooling);
        let Value::Object(config) = Pooling::mean(4).config() else {
            unreachable!()
        };
        assert!(!config.contains_key("pooling_mode"));
        assert_eq!(Pooling::parse(&config).unwrap(), Pooling::mean(4));
    }

    #[test]
    fn an_unknown_mode_is_refused_with_the_known_ones() {
        let error = parse(r#"{"embedding_dimension": 4, "pooling_mode": "average"}"#).unwrap_err();
        assert!(
            error.contains("\"average\"") && error.contains("weightedmean"),
            "{error}"
        );
    }
}
