//! Folders of PEFT's adapters, worked into a tiny BERT.

use nearkin_encoder::parameters::Scope;
use nearkin_encoder::text::{
    Architecture, CrossEncoder, Reading, SentenceEncoder, Transformer, base_of_adapters,
};
use nearkin_encoder::{DType, Device, Error, Tensor, weights};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

const WIDTH: usize = 4;
const A: &str = "bert.encoder.layer.0.attention.self.key.lora_A.weight";
const B: &str = "bert.encoder.layer.0.attention.self.key.lora_B.weight";
/// Adapters of rank two.
const PAIR: [(&str, &[usize]); 2] = [(A, &[2, WIDTH]), (B, &[WIDTH, 2])];

/// A folder of a BERT of one layer.
fn bert() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = json!({
        "model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "vocab_size": 6, "max_position_embeddings": 16, "type_vocab_size": 2
    });
    fs_err::write(&path, config.to_string()).unwrap();
    let scope = Scope::new(0, DType::F32, &Device::Cpu);
    Transformer::new(&scope, Architecture::read(&path).unwrap()).unwrap();
    weights::save(
        &scope.parameters(),
        &folder.path().join("model.safetensors"),
    )
    .unwrap();
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"];
    fs_err::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    folder
}

/// Writes adapters as PEFT does, of ones, so that `B A` is 2 everywhere.
fn peft(folder: &Path, settings: &Value, tensors: &[(&str, &[usize])]) {
    let mut config = json!({
        "peft_type": "LORA", "base_model_name_or_path": "nowhere", "r": 2, "lora_alpha": 8
    });
    let settings = settings.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(settings);
    fs_err::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let tensors = tensors.iter().map(|(name, shape)| {
        let ones = Tensor::ones(*shape, DType::F32, &Device::Cpu).unwrap();
        (format!("base_model.model.{name}"), ones)
    });
    let path = folder.join("adapter_model.safetensors");
    weights::write(&tensors.collect(), &path).unwrap();
}

/// The encoder in a folder of adapters of the model in another one.
fn of(adapters: &Path, base: &Path) -> Result<SentenceEncoder, Error> {
    let reading = Reading {
        base: Some(base.into()),
        ..Reading::default()
    };
    SentenceEncoder::load_with(adapters, &reading)
}

/// The weights of the layer that the adapters change.
fn weight(encoder: &SentenceEncoder) -> Vec<f32> {
    let tensors = weights::tensors(encoder.parameters()).unwrap();
    let key = &tensors["encoder.layer.0.attention.self.key.weight"];
    key.flatten_all().unwrap().to_vec1().unwrap()
}

/// Every weight has changed by so much.
fn assert_changed(before: &[f32], after: &[f32], change: f32) {
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(after) {
        assert!((after - before - change).abs() < 1e-5);
    }
}

#[test]
fn they_are_scaled_as_they_say() {
    let (base, folder) = (bert(), tempfile::tempdir().unwrap());
    let before = weight(&SentenceEncoder::load(base.path()).unwrap());
    for (settings, change) in [
        (json!({}), 8.0),
        (json!({ "use_rslora": true }), 16.0 / 2_f32.sqrt()),
        (json!({ "alpha_pattern": { "self.key": 3 } }), 3.0),
        (json!({ "alpha_pattern": { "self.k.y": 3 } }), 3.0),
        (
            json!({ "alpha_pattern": { "query": 3, "elf.key": 3 } }),
            8.0,
        ),
        (
            json!({ "lora_alpha": 2, "alpha_pattern": {}, "use_rslora": null }),
            2.0,
        ),
    ] {
        peft(folder.path(), &settings, &PAIR);
        let after = of(folder.path(), base.path()).unwrap();
        assert_changed(&before, &weight(&after), change);
    }
}

#[test]
fn beside_a_model_they_are_of_it_whatever_they_name() {
    let folder = bert();
    let before = weight(&SentenceEncoder::load(folder.path()).unwrap());
    peft(folder.path(), &json!({}), &PAIR);
    assert_eq!(base_of_adapters(folder.path()).unwrap(), None);
    let after = SentenceEncoder::load(folder.path()).unwrap();
    assert_changed(&before, &weight(&after), 8.0);
}

#[test]
fn their_own_tokenizer_counts_with_its_limit() {
    let (base, folder) = (bert(), tempfile::tempdir().unwrap());
    peft(folder.path(), &json!({}), &PAIR);
    let limit = |encoder: SentenceEncoder| encoder.tokenizer.limit();
    assert_eq!(limit(of(folder.path(), base.path()).unwrap()), 16);
    let from = base.path().join("vocab.txt");
    fs_err::copy(from, folder.path().join("vocab.txt")).unwrap();
    let settings = folder.path().join("tokenizer_config.json");
    fs_err::write(settings, r#"{"model_max_length": 4}"#).unwrap();
    assert_eq!(limit(of(folder.path(), base.path()).unwrap()), 4);
}

#[test]
fn those_of_cross_encoders_are_refused() {
    let (base, folder) = (bert(), tempfile::tempdir().unwrap());
    let config = base.path().join("config.json");
    let text = fs_err::read_to_string(&config).unwrap();
    let head = r#"{"architectures": ["BertForSequenceClassification"], "#;
    fs_err::write(&config, text.replacen('{', head, 1)).unwrap();
    peft(folder.path(), &json!({}), &PAIR);
    let expected = "adapters of a cross-encoder";
    let error = of(folder.path(), base.path()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    peft(base.path(), &json!({}), &PAIR);
    let error = CrossEncoder::load(base.path()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_not_understood_is_refused_by_its_name() {
    let (base, folder) = (bert(), tempfile::tempdir().unwrap());
    let [narrow, head] = [
        [(A, &[2, 3][..]), (B, &[WIDTH, 2])].to_vec(),
        [PAIR[0], PAIR[1], ("classifier.weight", &[3, WIDTH])].to_vec(),
    ];
    for (settings, tensors, expected) in [
        (
            json!({}),
            &narrow[..],
            "lora_A.weight\" is [2, 3], expected [2, 4]",
        ),
        (json!({}), &PAIR[..1], "lora_B.weight\" is missing"),
        (
            json!({}),
            &head,
            "classifier.weight\" is no adapter of a linear layer of nowhere",
        ),
        (json!({}), &[], "it holds no adapters"),
        (json!({ "peft_type": "IA3" }), &PAIR, "peft_type is \"IA3\""),
        (json!({ "use_dora": true }), &PAIR, "use_dora is true"),
        (
            json!({ "init_lora_weights": "pissa" }),
            &PAIR,
            "init_lora_weights is \"pissa\"",
        ),
        (
            json!({ "alpha_pattern": { "^q.*": 3 } }),
            &PAIR,
            "alpha_pattern \"^q.*\"",
        ),
        (json!({ "revision": "v1" }), &PAIR, "revision is \"v1\""),
        (
            json!({ "alpha_pattern": { "key": 3, "self.key": 3 } }),
            &PAIR,
            "\"key\" and \"self.key\" are both of",
        ),
    ] {
        peft(folder.path(), &settings, tensors);
        let error = of(folder.path(), base.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let unnamed = json!({ "base_model_name_or_path": null });
    peft(folder.path(), &unnamed, &PAIR);
    let error = SentenceEncoder::load(folder.path()).unwrap_err();
    let expected = "base_model_name_or_path is missing";
    assert!(error.to_string().contains(expected), "{error}");
    peft(folder.path(), &json!({}), &PAIR);
    let error = SentenceEncoder::load(folder.path()).unwrap_err();
    let expected = "adapters of \"nowhere\", which is no folder";
    assert!(error.to_string().contains(expected), "{error}");
    let error = of(folder.path(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("which are adapters"), "{error}");
}
