//! Cross-encoders that training begins with: from bare Transformers, sentence encoders and other cross-encoders.

use nearkin_encoder::parameters::Scope;
use nearkin_encoder::text::{
    Architecture, CrossEncoder, Outcome, Outputs, Packed, Pass, Reading, SentenceEncoder,
    Transformer,
};
use nearkin_encoder::{DType, Device, Tensor, tape, weights};
use std::path::Path;
use tempfile::TempDir;

const PAIRS: [[&str; 2]; 3] = [["cat runs", "dog"], ["dog", "cat cat"], ["runs", "runs"]];
/// `model_type` with the layers of its head, and its class.
const FAMILIES: [(&str, [&str; 2], &str); 5] = [
    (
        "bert",
        ["pooler.dense", "classifier"],
        "BertForSequenceClassification",
    ),
    (
        "roberta",
        ["classifier.dense", "classifier.out_proj"],
        "RobertaForSequenceClassification",
    ),
    (
        "xlm-roberta",
        ["classifier.dense", "classifier.out_proj"],
        "XLMRobertaForSequenceClassification",
    ),
    (
        "distilbert",
        ["pre_classifier", "classifier"],
        "DistilBertForSequenceClassification",
    ),
    (
        "mpnet",
        ["classifier.dense", "classifier.out_proj"],
        "MPNetForSequenceClassification",
    ),
];

/// A bare Transformer of this family.
fn bare(folder: &Path, family: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let config = format!(
        r#"{{"model_type": "{family}", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 20, "pad_token_id": 0}}"#
    );
    std::fs::write(folder.join("config.json"), config).unwrap();
    let words = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "runs", ".",
    ];
    std::fs::write(folder.join("vocab.txt"), words.join("\n")).unwrap();
    let scope = Scope::new(1, DType::F32, &Device::Cpu);
    let architecture = Architecture::read(&folder.join("config.json")).unwrap();
    Transformer::new(&scope, architecture).unwrap();
    weights::save(&scope.parameters(), &folder.join("model.safetensors")).unwrap();
}

fn begin(folder: &Path, outputs: &Outputs, seed: u64) -> CrossEncoder {
    let reading = Reading {
        seed,
        ..Reading::default()
    };
    CrossEncoder::begin(folder, &reading, outputs).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The numbers of the parameters whose names begin so.
fn of(judge: &CrossEncoder, start: &str) -> Vec<f32> {
    let named = judge
        .parameters()
        .iter()
        .filter(|p| p.name.starts_with(start));
    let found: Vec<f32> = named.flat_map(|p| numbers(&p.var)).collect();
    assert!(!found.is_empty(), "no parameter {start}");
    found
}

fn outputs(judge: &CrossEncoder) -> Vec<f32> {
    judge.predict(&PAIRS, &mut |_| {}).unwrap().numbers
}

const SCORE: Outputs = Outputs::Score(Outcome::Sigmoid);

fn classes(names: [&str; 3]) -> Outputs {
    Outputs::Classes(names.map(str::to_owned).into())
}

#[test]
fn a_head_on_a_bare_transformer_starts_from_the_seed_and_survives_saving() {
    for (family, layers, class) in FAMILIES {
        let folder = TempDir::new().unwrap();
        bare(folder.path(), family);
        let [one, same, other] = [3, 3, 4].map(|seed| begin(folder.path(), &SCORE, seed));
        for layer in layers {
            let weight = format!("{layer}.weight");
            assert_eq!(of(&one, &weight), of(&same, &weight), "{family}");
            assert_ne!(of(&one, &weight), of(&other, &weight), "{family}");
        }
        assert_eq!(of(&one, "embeddings"), of(&other, "embeddings"), "{family}");
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved).unwrap();
        one.save(&saved).unwrap();
        let again = CrossEncoder::load(&saved).unwrap();
        assert_eq!(outputs(&again), outputs(&one), "{family}");
        assert_eq!(again.outcome, Outcome::Sigmoid);
        let config = std::fs::read_to_string(saved.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["architectures"][0], class);
        assert_eq!(
            (&config["num_labels"], &config["id2label"]["0"]),
            (&1.into(), &"LABEL_0".into())
        );
        // What was trained goes on as it is.
        assert_eq!(
            outputs(&begin(&saved, &SCORE, 9)),
            outputs(&one),
            "{family}"
        );
    }
}

#[test]
fn every_parameter_of_every_family_gets_a_gradient() {
    for (family, ..) in FAMILIES {
        let folder = TempDir::new().unwrap();
        bare(folder.path(), family);
        let judge = begin(folder.path(), &classes(["a", "b", "c"]), 3);
        let tokens = judge.tokenizer.encode_pairs(&PAIRS).unwrap();
        let packed = Packed::new(&tokens);
        let forward = || judge.network().forward(&packed, Pass::train(5));
        let (logits, tape) = tape::record(forward).unwrap();
        let slopes = (0..9).map(|i| (i as f32 * 0.7 + 0.3).sin()).collect();
        let gradients = tape.backward(&logits, slopes).unwrap();
        for p in judge.parameters().learned() {
            let gradient = gradients.get(&p.var);
            let gradient = gradient.unwrap_or_else(|| panic!("{family}: none of {}", p.name));
            assert!(
                numbers(gradient).iter().any(|&x| x != 0.0),
                "{family}: {}",
                p.name
            );
        }
    }
}

#[test]
fn the_output_layer_starts_anew_where_the_outputs_are_others() {
    let folder = TempDir::new().unwrap();
    bare(folder.path(), "bert");
    let nli = begin(folder.path(), &classes(["no", "yes", "maybe"]), 3);
    let saved = folder.path().join("nli");
    std::fs::create_dir(&saved).unwrap();
    nli.save(&saved).unwrap();
    let loaded = CrossEncoder::load(&saved).unwrap();
    assert_eq!(loaded.classes(), ["no", "yes", "maybe"]);
    assert!(loaded.names_classes());
    let classified = loaded.classify(&PAIRS, &mut |_| {}).unwrap();
    for (row, class) in outputs(&loaded).chunks(3).zip(classified) {
        assert!(row.iter().all(|&logit| logit <= row[class as usize]));
    }
    let same = begin(&saved, &classes(["no", "yes", "maybe"]), 8);
    assert_eq!(outputs(&same), outputs(&nli));
    for other in [SCORE, classes(["yes", "no", "maybe"])] {
        let judge = begin(&saved, &other, 8);
        assert_eq!(of(&judge, "pooler"), of(&nli, "pooler"));
        assert_ne!(
            of(&judge, "classifier.weight")[..8],
            of(&nli, "classifier.weight")[..8]
        );
    }
    let refused = loaded.score(&PAIRS, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("3 classes (no, yes, maybe)"), "{refused}");
    let score = begin(&saved, &SCORE, 8);
    assert!(score.classify(&PAIRS, &mut |_| {}).is_err());
}

#[test]
fn the_transformer_of_a_sentence_encoder_is_taken_with_its_limit() {
    let folder = TempDir::new().unwrap();
    let [plain, saved] = ["plain", "saved"].map(|name| folder.path().join(name));
    bare(&plain, "bert");
    let mut encoder = SentenceEncoder::load(&plain).unwrap();
    encoder.tokenizer.set_limit(7).unwrap();
    std::fs::create_dir(&saved).unwrap();
    encoder.save(&saved).unwrap();
    let judge = begin(&saved, &SCORE, 3);
    assert_eq!(judge.tokenizer.limit(), 7);
    assert_eq!(
        of(&judge, "encoder"),
        of(&begin(&plain, &SCORE, 3), "encoder")
    );
    let modules = saved.join("modules.json");
    let text = std::fs::read_to_string(&modules)
        .unwrap()
        .replace("models.Transformer", "models.BoW");
    std::fs::write(&modules, text).unwrap();
    let refused = CrossEncoder::begin(&saved, &Reading::default(), &SCORE).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("\"BoW\", expected a Transformer"),
        "{refused}"
    );
}

#[test]
fn pairs_are_judged_alone_as_among_many_and_progress_counts_them() {
    let folder = TempDir::new().unwrap();
    bare(folder.path(), "mpnet");
    let judge = begin(folder.path(), &SCORE, 3);
    let many: Vec<[&str; 2]> = PAIRS.iter().cycle().take(5000).copied().collect();
    let mut told = Vec::new();
    let scores = judge.score(&many, &mut |done| told.push(done)).unwrap();
    assert!(told.is_sorted() && told.last() == Some(&5000), "{told:?}");
    for (k, pair) in PAIRS.iter().enumerate() {
        let alone = judge.score(&[*pair], &mut |_| {}).unwrap()[0];
        assert!(
            scores
                .iter()
                .skip(k)
                .step_by(3)
                .all(|score| (score - alone).abs() < 1e-5)
        );
    }
}
