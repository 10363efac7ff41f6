//! Tiny encoders of text with weights drawn at random.

use nearkin_encoder::parameters::Scope;
use nearkin_encoder::text::{Architecture, SequenceClassifier, Transformer};
use nearkin_encoder::{DType, Device, weights};
use std::path::Path;

/// Settings of a BERT of two layers whose vocabulary is the letters.
fn settings(folder: &Path, more: &str) -> Architecture {
    std::fs::create_dir_all(folder).unwrap();
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let vocabulary: Vec<String> = special.into_iter().chain(letters).collect();
    std::fs::write(folder.join("vocab.txt"), vocabulary.join("\n")).unwrap();
    let config = folder.join("config.json");
    let text = format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 40{more}}}"#,
        vocabulary.len()
    );
    std::fs::write(&config, text).unwrap();
    Architecture::read(&config).unwrap()
}

/// A folder of a sentence encoder with vectors of 16 numbers.
pub fn sentence_encoder(folder: &Path, seed: u64) {
    let architecture = settings(folder, "");
    let scope = Scope::new(seed, DType::F32, &Device::Cpu);
    Transformer::new(&scope, architecture).unwrap();
    weights::save(&scope.parameters(), &folder.join("model.safetensors")).unwrap();
}

/// A folder of a cross-encoder with one score.
pub fn cross_encoder(folder: &Path) {
    let head = r#", "architectures": ["BertForSequenceClassification"], "num_labels": 1"#;
    let architecture = settings(folder, head);
    let scope = Scope::new(3, DType::F32, &Device::Cpu);
    SequenceClassifier::new(&scope, architecture).unwrap();
    weights::save(&scope.parameters(), &folder.join("model.safetensors")).unwrap();
}
