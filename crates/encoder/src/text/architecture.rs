//! The settings of a Transformer, from the `config.json` of its folder.

use crate::error::{Error, Result};
use crate::layer::Blocks;
use serde::Deserialize;
use std::path::Path;

/// The Transformers that can be read, by `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `bert`, MiniLM among them.
    Bert,
    /// `roberta`, `xlm-roberta`, `camembert`.
    Roberta,
    /// `distilbert`
    DistilBert,
    /// `mpnet`
    MpNet,
}

/// The settings of a Transformer encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Which one it is.
    pub family: Family,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Width of a token's vector.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Heads of an attention.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Rows of the table of positions.
    pub positions: usize,
    /// Kinds of segments; none for a Transformer without.
    pub segments: usize,
    /// The row of the table of positions that belongs to a sentence's first token.
    pub first_position: usize,
    /// ε of the norms.
    pub epsilon: f32,
    /// Dropout of vectors in training.
    pub dropout: f32,
    /// Dropout of attention's probabilities in training.
    pub attention_dropout: f32,
    /// Dropout of the classification head in training.
    pub head_dropout: f32,
    /// Buckets of relative positions, MPNet.
    pub buckets: Option<usize>,
    /// Outputs of the classification head, where the folder is of one.
    pub labels: Option<usize>,
}

/// `config.json`, the keys that matter; DistilBERT has names of its own.
#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
    vocab_size: usize,
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    pad_token_id: Option<usize>,
    layer_norm_eps: Option<f32>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    #[serde(alias = "dropout")]
    hidden_dropout_prob: Option<f32>,
    #[serde(alias = "attention_dropout")]
    attention_probs_dropout_prob: Option<f32>,
    #[serde(alias = "seq_classif_dropout")]
    classifier_dropout: Option<f32>,
    relative_attention_num_buckets: Option<usize>,
    position_embedding_type: Option<String>,
    sinusoidal_pos_embds: Option<bool>,
    architectures: Option<Vec<String>>,
    num_labels: Option<usize>,
    id2label: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Architecture {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// The file cannot be read, or describes a Transformer that is not one of the [`Family`]s.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        Self::parse(&text).map_err(|reason| Error::File {
            path: path.into(),
            reason,
        })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let config: Config = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let family = family(config.model_type.as_deref())?;
        let architecture = config.architecture(family);
        config.check(&architecture)?;
        Ok(architecture)
    }

    /// The longest sentence, special tokens included.
    pub fn longest(&self) -> usize {
        self.positions.saturating_sub(self.first_position)
    }

    /// What may stand before the names of tensors in files.
    pub(crate) fn prefixes(&self) -> &'static [&'static str] {
        match self.family {
            Family::Bert => &["", "bert.", "model.", "0.auto_model.", "auto_model."],
            Family::Roberta => &["", "roberta.", "model.", "0.auto_model.", "auto_model."],
            Family::DistilBert => &["", "distilbert.", "model.", "0.auto_model.", "auto_model."],
            Family::MpNet => &["", "mpnet.", "model.", "0.auto_model.", "auto_model."],
        }
    }

    /// What transformers puts before the names of the tensors in folders with a head.
    pub(crate) fn own_prefix(&self) -> &'static str {
        self.prefixes()[1]
    }

    pub(crate) fn names(&self) -> &'static Names {
        match self.family {
            Family::Bert | Family::Roberta => &BERT,
            Family::DistilBert => &DISTILBERT,
            Family::MpNet => &MPNET,
        }
    }
}

fn family(model_type: Option<&str>) -> std::result::Result<Family, String> {
    match model_type {
        Some("bert") => Ok(Family::Bert),
        Some("roberta" | "xlm-roberta" | "camembert") => Ok(Family::Roberta),
        Some("distilbert") => Ok(Family::DistilBert),
        Some("mpnet") => Ok(Family::MpNet),
        other => Err(format!(
            "model_type is {}, expected bert, roberta, xlm-roberta, camembert, distilbert or mpnet",
            other.map_or("missing".into(), |name| format!("\"{name}\""))
        )),
    }
}

impl Config {
    fn architecture(&self, family: Family) -> Architecture {
        let padding = self.pad_token_id.unwrap_or(1);
        let classifies = self.architectures.iter().flatten();
        let classifies = classifies
            .clone()
            .any(|name| name.ends_with("ForSequenceClassification"));
        let labels = self
            .num_labels
            .or_else(|| self.id2label.as_ref().map(serde_json::Map::len));
        Architecture {
            family,
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            positions: self.max_position_embeddings,
            segments: match family {
                Family::Bert => self.type_vocab_size.unwrap_or(2),
                Family::Roberta => self.type_vocab_size.unwrap_or(1),
                Family::DistilBert | Family::MpNet => 0,
            },
            first_position: match family {
                Family::Bert | Family::DistilBert => 0,
                // These count positions from the padding token's number on.
                Family::Roberta | Family::MpNet => padding + 1,
            },
            epsilon: self.layer_norm_eps.unwrap_or(1e-12),
            dropout: self.hidden_dropout_prob.unwrap_or(0.1),
            attention_dropout: self.attention_probs_dropout_prob.unwrap_or(0.1),
            head_dropout: self.classifier_dropout.unwrap_or(match family {
                Family::DistilBert => 0.2,
                _ => self.hidden_dropout_prob.unwrap_or(0.1),
            }),
            buckets: (family == Family::MpNet)
                .then(|| self.relative_attention_num_buckets.unwrap_or(32)),
            labels: classifies.then(|| labels.unwrap_or(2)),
        }
    }

    fn check(&self, a: &Architecture) -> std::result::Result<(), String> {
        let act = self.hidden_act.as_deref().unwrap_or("gelu");
        if act != "gelu" {
            return Err(format!("hidden_act is \"{act}\", expected \"gelu\""));
        }
        let positions = self
            .position_embedding_type
            .as_deref()
            .unwrap_or("absolute");
        if positions != "absolute" {
            return Err(format!(
                "position_embedding_type is \"{positions}\", expected \"absolute\""
            ));
        }
        if self.sinusoidal_pos_embds == Some(true) {
            return Err("sinusoidal_pos_embds is true, expected learned positions".into());
        }
        if a.heads == 0 || a.width == 0 || !a.width.is_multiple_of(a.heads) {
            return Err(format!(
                "{} heads do not divide a width of {}",
                a.heads, a.width
            ));
        }
        if a.longest() < 2 {
            return Err(format!(
                "{} positions leave no room for tokens",
                a.positions
            ));
        }
        let rates = [a.dropout, a.attention_dropout, a.head_dropout];
        if rates.iter().any(|rate| !(0.0..1.0).contains(rate)) {
            return Err(format!(
                "dropout is {rates:?}, expected at least 0 and below 1"
            ));
        }
        Ok(())
    }
}

/// The names of a family's tensors, as its files have them.
pub(crate) struct Names {
    pub layer: &'static str,
    /// Where the projections stand in a layer.
    pub projections: &'static str,
    pub blocks: Blocks,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub output_norm: &'static str,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    projections: "attention.self",
    blocks: Blocks {
        weights: &["query.weight", "key.weight", "value.weight"],
        biases: &["query.bias", "key.bias", "value.bias"],
    },
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    layer: "transformer.layer",
    projections: "attention",
    blocks: Blocks {
        weights: &["q_lin.weight", "k_lin.weight", "v_lin.weight"],
        biases: &["q_lin.bias", "k_lin.bias", "v_lin.bias"],
    },
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
};

const MPNET: Names = Names {
    layer: "encoder.layer",
    projections: "attention.attn",
    blocks: Blocks {
        weights: &["q.weight", "k.weight", "v.weight"],
        biases: &["q.bias", "k.bias", "v.bias"],
    },
    output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#""vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 20, "pad_token_id": 1"#;

    fn parse(more: &str) -> std::result::Result<Architecture, String> {
        Architecture::parse(&format!("{{{BASE}, {more}}}"))
    }

    #[test]
    fn positions_of_roberta_begin_after_the_padding() {
        let roberta = parse(r#""model_type": "xlm-roberta", "type_vocab_size": 1"#).unwrap();
        assert_eq!((roberta.first_position, roberta.longest()), (2, 18));
        let bert = parse(r#""model_type": "bert""#).unwrap();
        assert_eq!(
            (bert.first_position, bert.longest(), bert.segments),
            (0, 20, 2)
        );
    }

    #[test]
    fn distilberts_own_names_are_read() {
        let text = r#"{"model_type": "distilbert", "vocab_size": 9, "dim": 8, "n_layers": 1, "n_heads": 2,
            "hidden_dim": 16, "max_position_embeddings": 12, "activation": "gelu", "dropout": 0.2}"#;
        let a = Architecture::parse(text).unwrap();
        assert_eq!(
            (a.width, a.layers, a.heads, a.inner, a.segments),
            (8, 1, 2, 16, 0)
        );
        assert_eq!((a.dropout, a.head_dropout), (0.2, 0.2));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_with_its_key() {
        for (more, message) in [
            (r#""model_type": "llama""#, "model_type is \"llama\""),
            (r#""hidden_act": "gelu""#, "model_type is missing"),
            (
                r#""model_type": "bert", "hidden_act": "swish""#,
                "hidden_act",
            ),
            (
                r#""model_type": "bert", "position_embedding_type": "relative_key""#,
                "position_embedding_type",
            ),
            (
                r#""model_type": "bert", "hidden_dropout_prob": 1.0"#,
                "dropout",
            ),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_classification_folder_says_how_many_outputs_it_has() {
        let head = r#""model_type": "bert", "architectures": ["BertForSequenceClassification"]"#;
        assert_eq!(parse(head).unwrap().labels, Some(2));
        let one = format!(r#"{head}, "id2label": {{"0": "LABEL_0"}}"#);
        assert_eq!(parse(&one).unwrap().labels, Some(1));
        assert_eq!(parse(r#""model_type": "bert""#).unwrap().labels, None);
        let dropout = r#""model_type": "bert", "hidden_dropout_prob": 0.3, "classifier_dropout""#;
        let head = |rate: &str| parse(&format!("{dropout}: {rate}")).unwrap().head_dropout;
        assert_eq!((head("null"), head("0.5")), (0.3, 0.5));
    }
}
