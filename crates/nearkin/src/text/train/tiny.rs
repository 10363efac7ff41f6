//! A tiny encoder and tiny tables, made on the fly for tests.

use crate::recipe::Document;
use crate::text::recipe::TextRecipe;
use nearkin_encoder::parameters::{Scope, named_rng};
use nearkin_encoder::text::{Architecture, Transformer};
use nearkin_encoder::{DType, Device, weights};
use rand::RngExt;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const WORDS: [&str; 12] = [
    "cat", "dog", "runs", "sleeps", "a", "the", "red", "blue", "house", "tree", "sees", "old",
];
const CONFIG: &str = r#"{"model_type": "bert", "vocab_size": 17, "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 24, "type_vocab_size": 2,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}"#;

/// A folder with an encoder, a teacher and tables.
pub struct Tiny {
    folder: TempDir,
}

impl Tiny {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_encoder(&folder.path().join("encoder"), 1);
        write_encoder(&folder.path().join("teacher"), 2);
        let tiny = Self { folder };
        let mut rng = named_rng(7, "tables");
        let mut sentence = || {
            let words = rng.random_range(2..8);
            let words = (0..words).map(|_| WORDS[rng.random_range(0..WORDS.len())]);
            words.collect::<Vec<_>>().join(" ")
        };
        let mut table = String::from("a\tb\tc\tscore\tbinary\tclass\n");
        for row in 0..40 {
            let texts = [sentence(), sentence(), sentence()].join("\t");
            let class = ["no", "yes", "maybe"][row % 3];
            let (score, binary) = (row % 6, row % 2);
            writeln!(table, "{texts}\t{score}\t{binary}\t{class}").unwrap();
        }
        std::fs::write(tiny.path("table.tsv"), table).unwrap();
        tiny
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A recipe on these rows of the table, with more of the document after it.
    pub fn document(&self, rows: &str, more: &str) -> Document {
        let root = self.folder.path().display();
        let text = format!(
            "root = '{root}'\n[encoder]\nmodel = '{}'\n{more}\n[[data]]\nname = 'one'\ntable.path = 'table.tsv'\nrows.{rows}\n",
            self.path("encoder").display()
        );
        Document::parse("tiny.toml", &text).unwrap()
    }

    pub fn recipe(&self, rows: &str, more: &str) -> TextRecipe {
        self.document(rows, more).text_recipe().unwrap()
    }
}

fn write_encoder(folder: &Path, seed: u64) {
    std::fs::create_dir(folder).unwrap();
    let config = folder.join("config.json");
    std::fs::write(&config, CONFIG).unwrap();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    std::fs::write(
        folder.join("vocab.txt"),
        [&special[..], &WORDS[..]].concat().join("\n"),
    )
    .unwrap();
    let scope = Scope::new(seed, DType::F32, &Device::Cpu);
    Transformer::new(&scope, Architecture::read(&config).unwrap()).unwrap();
    weights::save(&scope.parameters(), &folder.join("model.safetensors")).unwrap();
}
