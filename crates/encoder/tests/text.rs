//! Tiny Transformers of each family against the transformers library, and sentence encoders in their folders.

use nearkin_encoder::parameters::{Parameter, Scope};
use nearkin_encoder::text::{
    Architecture, Compute, CrossEncoder, Embedder, Options, Outcome, Packed, Pass, Reading,
    SentenceEncoder, SequenceClassifier, Tokens, Transformer, base_of_adapters,
};
use nearkin_encoder::{DType, Device, Lora, Tensor, tape, weights};
use serde::Deserialize;
use std::path::Path;

/// Phase of the weights in the loss whose gradients are recorded.
const WEIGHTS_PHASE: u32 = 99;

#[derive(Deserialize)]
struct Golden {
    sentences: Vec<Vec<u32>>,
    segments: Vec<Vec<u32>>,
    families: Vec<Family>,
    classifiers: Vec<Family>,
}

#[derive(Deserialize)]
struct Family {
    #[serde(rename = "family")]
    name: String,
    config: serde_json::Value,
    output: Vec<f64>,
    parameters: Vec<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    phase: u32,
    scale: f64,
    shift: f64,
    gradient: Vec<f64>,
}

/// The formula of `golden/wave.py`.
fn wave(count: usize, phase: u32, [scale, shift]: [f64; 2]) -> Vec<f64> {
    let phase = f64::from(phase);
    (0..count)
        .map(|i| i as f64)
        .map(|i| (0.37 * i + 0.11 * phase).sin() + 0.5 * (0.0173 * i * i + phase).sin())
        .map(|x| shift + scale * x)
        .collect()
}

impl Golden {
    fn read() -> Self {
        serde_json::from_str(include_str!("golden/text.json")).unwrap()
    }

    /// The sentences, of one segment where the family knows no more.
    fn packed(&self, segments: usize) -> Packed {
        let segments_known = segments.saturating_sub(1) as u32;
        let both = self.sentences.iter().zip(&self.segments);
        let tokens: Vec<Tokens> = both
            .map(|(ids, segments)| Tokens {
                ids: ids.clone(),
                segments: segments.iter().map(|&s| s.min(segments_known)).collect(),
            })
            .collect();
        Packed::new(&tokens)
    }
}

impl Family {
    fn architecture(&self, folder: &Path) -> Architecture {
        let path = folder.join("config.json");
        fs_err::write(&path, self.config.to_string()).unwrap();
        Architecture::read(&path).unwrap()
    }

    fn transformer(&self, folder: &Path, dtype: DType) -> (Transformer, Vec<Parameter>) {
        let scope = Scope::new(0, dtype, &Device::Cpu);
        let transformer = Transformer::new(&scope, self.architecture(folder)).unwrap();
        (transformer, self.fill(&scope, dtype))
    }

    fn classifier(&self, folder: &Path, dtype: DType) -> (SequenceClassifier, Vec<Parameter>) {
        let scope = Scope::new(0, dtype, &Device::Cpu);
        let classifier = SequenceClassifier::new(&scope, self.architecture(folder)).unwrap();
        (classifier, self.fill(&scope, dtype))
    }

    /// The parameters of a network with the golden numbers.
    fn fill(&self, scope: &Scope, dtype: DType) -> Vec<Parameter> {
        let parameters: Vec<Parameter> = scope.parameters().iter().cloned().collect();
        let count: usize = parameters.iter().map(|p| p.stored.len()).sum();
        assert_eq!(count, self.parameters.len(), "{}", self.name);
        for p in &parameters {
            let numbers = self.of(p, |w| {
                wave(w.shape.iter().product(), w.phase, [w.scale, w.shift])
            });
            let values = Tensor::from_vec(numbers, p.var.shape(), &Device::Cpu).unwrap();
            p.var.set(&values.to_dtype(dtype).unwrap()).unwrap();
        }
        parameters
    }

    /// The numbers of a parameter, put together from those of its tensors in files.
    fn of(&self, p: &Parameter, numbers: impl Fn(&Weight) -> Vec<f64>) -> Vec<f64> {
        let stored = p.stored.iter().flat_map(|name| {
            let weight = self.parameters.iter().find(|w| w.name == *name);
            let weight = weight.unwrap_or_else(|| panic!("no tensor {name}"));
            assert_eq!(
                weight.shape,
                p.storage.shape_in_file(p.var.dims()),
                "{name}"
            );
            numbers(weight)
        });
        stored.collect()
    }
}

/// Errors are relative to the largest number of the golden tensor.
fn assert_close(what: &str, found: &Tensor, golden: &[f64], tolerance: f64) {
    let exact = found.to_dtype(DType::F64).unwrap();
    let found: Vec<f64> = exact.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), golden.len(), "{what}");
    let scale = golden.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(golden).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * scale,
            "{what} [{i}]: {x} against {y}"
        );
    }
}

/// Output and gradients of a network against the golden ones.
fn compare(
    family: &Family,
    parameters: &[Parameter],
    forward: impl FnOnce(Pass) -> nearkin_encoder::Result<Tensor>,
    (dtype, tolerance): (DType, f64),
) {
    let what = |part: &str| format!("{part} of {} in {dtype:?}", family.name);
    let mut pass = Pass::train(0);
    pass.dropout = 0.0;
    let (y, tape) = tape::record(|| forward(pass)).unwrap();
    assert_close(&what("output"), &y, &family.output, tolerance);
    let upstream = wave(y.elem_count(), WEIGHTS_PHASE, [1.0, 0.0]);
    let upstream = upstream.iter().map(|&x| x as f32).collect();
    let gradients = tape.backward(&y, upstream).unwrap();
    for p in parameters {
        let golden = family.of(p, |w| w.gradient.clone());
        let found = gradients.get(&p.var).unwrap();
        // The gradient that goes in is f32.
        assert_close(&what(&p.name), found, &golden, tolerance.max(1e-6));
    }
}

const PRECISIONS: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-9)];

#[test]
fn every_family_and_its_gradients_equal_transformers() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    for (family, precision) in golden
        .families
        .iter()
        .flat_map(|f| PRECISIONS.map(|p| (f, p)))
    {
        let (network, parameters) = family.transformer(folder.path(), precision.0);
        let packed = golden.packed(network.architecture().segments);
        let forward = |pass| network.forward(&packed, pass);
        compare(family, &parameters, forward, precision);
    }
}

#[test]
fn every_classifier_and_its_gradients_equal_transformers() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    for (family, precision) in golden
        .classifiers
        .iter()
        .flat_map(|f| PRECISIONS.map(|p| (f, p)))
    {
        let (network, parameters) = family.classifier(folder.path(), precision.0);
        let packed = golden.packed(network.transformer().architecture().segments);
        let forward = |pass| network.forward(&packed, pass);
        compare(family, &parameters, forward, precision);
    }
}

#[test]
fn a_cross_encoder_survives_saving_and_reads_its_activation() {
    let golden = Golden::read();
    for (family, prefix) in
        golden
            .classifiers
            .iter()
            .zip(["bert.", "roberta.", "mpnet.", "distilbert."])
    {
        if !["bert", "distilbert"].contains(&&*family.name) {
            // The tiny vocabulary is of WordPiece.
            continue;
        }
        let [bare, saved] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (_, parameters) = family.classifier(bare.path(), DType::F32);
        write_weights(parameters, bare.path(), |name| {
            let beside = name.starts_with("classifier") || name.starts_with("pre_classifier");
            if beside {
                name.to_owned()
            } else {
                format!("{prefix}{name}")
            }
        });
        let one = CrossEncoder::load(bare.path()).unwrap();
        assert_eq!((one.outcome, one.network().labels()), (Outcome::Logit, 2));
        one.save(saved.path()).unwrap();
        let names = weights::read(&saved.path().join("model.safetensors")).unwrap();
        let word = format!("{prefix}embeddings.word_embeddings.weight");
        assert!(names.contains_key(&word) && names.contains_key("classifier.weight"));
        let other = CrossEncoder::load(saved.path()).unwrap();
        let pairs = [["a b", "c"], ["", "e f"], ["b", ""]];
        let predict = |judge: &CrossEncoder| judge.predict(&pairs, &mut |_| {}).unwrap().numbers;
        assert_eq!(predict(&one), predict(&other));
        let alone = one.predict(&pairs[1..2], &mut |_| {}).unwrap().numbers;
        let together = predict(&one)[2..4].to_vec();
        assert!(
            alone
                .iter()
                .zip(&together)
                .all(|(a, b)| (a - b).abs() < 1e-5),
            "{alone:?} {together:?}"
        );
        let error = one.score(&pairs, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("found 2 classes"), "{error}");
        let path = saved.path().join("config_sentence_transformers.json");
        fs_err::write(&path, r#"{"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Sigmoid"}"#).unwrap();
        let sigmoid = CrossEncoder::load(saved.path()).unwrap();
        let squashed = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected: Vec<f32> = predict(&one).into_iter().map(squashed).collect();
        assert_eq!(predict(&sigmoid), expected);
        fs_err::write(&path, r#"{"activation_fn": "custom.Odd"}"#).unwrap();
        let error = CrossEncoder::load(saved.path()).unwrap_err().to_string();
        assert!(error.contains("custom.Odd"), "{error}");
    }
}

#[test]
fn a_folder_without_a_head_is_no_cross_encoder() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&Golden::read().families[0], folder.path(), "");
    assert!(!CrossEncoder::is_in(folder.path()));
    let error = CrossEncoder::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no cross-encoder"), "{error}");
}

#[test]
fn dropout_follows_the_seed_and_spares_evaluation() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (transformer, _) = golden.families[0].transformer(folder.path(), DType::F32);
    let run = |pass: Pass| {
        let y = transformer
            .forward(&golden.packed(transformer.architecture().segments), pass)
            .unwrap();
        y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(run(Pass::eval()), run(Pass::eval()));
    assert_eq!(run(Pass::train(1)), run(Pass::train(1)));
    assert_ne!(run(Pass::train(1)), run(Pass::train(2)));
    assert_ne!(run(Pass::train(1)), run(Pass::eval()));
}

/// A folder of a tiny sentence encoder of a family, as the transformers library writes one.
fn write_folder(family: &Family, folder: &Path, prefix: &str) {
    let (_, parameters) = family.transformer(folder, DType::F32);
    write_weights(parameters, folder, |name| format!("{prefix}{name}"));
}

/// Weights under names of another form, and a vocabulary.
fn write_weights(parameters: Vec<Parameter>, folder: &Path, name: impl Fn(&str) -> String) {
    let mut tensors = weights::Tensors::new();
    for (plain, values) in weights::tensors(&parameters.into_iter().collect()).unwrap() {
        tensors.insert(name(&plain), values);
    }
    weights::write(&tensors, &folder.join("model.safetensors")).unwrap();
    let words = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##d", "e", "f",
    ];
    fs_err::write(folder.join("vocab.txt"), words.join("\n")).unwrap();
}

fn encode(encoder: &SentenceEncoder, texts: &[&str]) -> Vec<f32> {
    let options = Options::default();
    encoder
        .encode(texts, &options, &mut |_| {})
        .unwrap()
        .numbers
}

const TEXTS: [&str; 5] = [
    "a b c",
    "",
    "E f cd x",
    "a",
    "b b b b b b b b b b b b b b b b b b b b",
];

#[test]
fn a_bare_folder_is_a_transformer_with_mean_pooling_and_survives_saving() {
    let golden = Golden::read();
    for (family, prefix) in [(0, "bert."), (0, ""), (3, "distilbert.")] {
        let family = &golden.families[family];
        let [bare, saved] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        write_folder(family, bare.path(), prefix);
        let one = SentenceEncoder::load(bare.path()).unwrap();
        assert_eq!(one.tokenizer.limit(), 14);
        one.save(saved.path()).unwrap();
        let other = SentenceEncoder::load(saved.path()).unwrap();
        assert_eq!(encode(&one, &TEXTS), encode(&other, &TEXTS));
        let modules = fs_err::read_to_string(saved.path().join("modules.json")).unwrap();
        assert!(
            modules.contains("\"sentence_transformers.models.Pooling\""),
            "{modules}"
        );
    }
}

#[test]
fn texts_are_embedded_alone_as_in_a_batch() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    write_folder(&golden.families[0], folder.path(), "");
    let encoder = SentenceEncoder::load(folder.path()).unwrap();
    let together = encode(&encoder, &TEXTS);
    for (text, row) in TEXTS.iter().zip(together.chunks(8)) {
        assert_eq!(encode(&encoder, &[text]), row, "{text}");
    }
}

#[test]
fn many_texts_are_embedded_as_few_of_them() {
    let golden = Golden::read();
    for family in &golden.families {
        let folder = tempfile::tempdir().unwrap();
        write_folder(family, folder.path(), "");
        let encoder = SentenceEncoder::load(folder.path()).unwrap();
        let few = encode(&encoder, &TEXTS);
        // So many that their weights are packed.
        let many = encode(&encoder, &TEXTS.repeat(40));
        for many in many.chunks_exact(few.len()) {
            for (x, y) in many.iter().zip(&few) {
                assert!((x - y).abs() <= 1e-5 * (1.0 + y.abs()), "{x} {y}");
            }
        }
    }
}

#[test]
fn products_in_bytes_give_nearly_the_same_vectors_one_by_one_and_together() {
    let golden = Golden::read();
    for family in &golden.families {
        let folder = tempfile::tempdir().unwrap();
        write_folder(family, folder.path(), "");
        let encoder = SentenceEncoder::load(folder.path()).unwrap();
        let options = Options {
            compute: Compute::Int8,
            ..Options::default()
        };
        let embedder = Embedder::new(&encoder, options.clone()).unwrap();
        let floats = encode(&encoder, &TEXTS);
        let bytes = embedder.encode(&TEXTS, &mut |_| {}).unwrap().numbers;
        let dim = encoder.dim();
        for ((float, byte), text) in floats.chunks(dim).zip(bytes.chunks(dim)).zip(TEXTS) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(float, byte) / (dot(float, float) * dot(byte, byte)).sqrt();
            assert!(cosine > 0.999 && float != byte, "{}: {cosine}", family.name);
            let alone = encoder.encode(&[text], &options, &mut |_| {}).unwrap();
            assert_eq!(alone.numbers, byte, "{text}");
        }
    }
}

#[test]
fn an_encoder_without_layers_to_round_refuses_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("glove.txt");
    fs_err::write(&path, "the 1 2\ncat -1 0\n").unwrap();
    let words = SentenceEncoder::load(&path).unwrap();
    let options = Options {
        compute: Compute::Int8,
        ..Options::default()
    };
    let error = words.encode(&["cat"], &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("compute"), "{error}");
    assert!(error.to_string().contains("no Transformer"), "{error}");
}

/// What loading says once `change` was done to a good folder.
fn refusal(change: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&Golden::read().families[0], folder.path(), "");
    let encoder = SentenceEncoder::load(folder.path()).unwrap();
    encoder.save(folder.path()).unwrap();
    change(folder.path());
    SentenceEncoder::load(folder.path())
        .unwrap_err()
        .to_string()
}

#[test]
fn damaged_folders_are_refused_with_what_is_wrong() {
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        refusal(move |folder| {
            let text = fs_err::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from), "{file}: {text}");
            fs_err::write(folder.join(file), text.replace(from, to)).unwrap();
        })
    };
    let modules = "modules.json";
    for (error, expected) in [
        (
            replace(modules, "models.Pooling", "models.CNN"),
            "\"CNN\" is not known",
        ),
        (
            replace(
                modules,
                "sentence_transformers.models.Pooling",
                "custom.Pool",
            ),
            "\"custom.Pool\" is no",
        ),
        (
            replace(modules, "1_Pooling", "../1_Pooling"),
            "leads out of the folder",
        ),
        (replace(modules, "[", "{"), modules),
        (
            replace("1_Pooling/config.json", "8", "9"),
            "takes vectors of 9",
        ),
        (
            replace("config.json", "\"vocab_size\": 11", "\"vocab_size\": 10"),
            "expected [10, 8]",
        ),
        (
            replace("config.json", "\"bert\"", "\"llama\""),
            "model_type is \"llama\"",
        ),
        (
            refusal(|folder| {
                let path = folder.join("model.safetensors");
                let bytes = fs_err::read(&path).unwrap();
                fs_err::write(&path, &bytes[..bytes.len() - 3]).unwrap();
            }),
            "not a whole safetensors file",
        ),
        (
            refusal(|folder| {
                let path = folder.join("model.safetensors");
                let mut tensors = weights::read(&path).unwrap();
                tensors.remove("encoder.layer.1.attention.self.key.bias");
                weights::write(&tensors, &path).unwrap();
            }),
            "tensor \"encoder.layer.1.attention.self.key.bias\" is missing",
        ),
        (
            refusal(|folder| {
                let path = folder.join("model.safetensors");
                let mut tensors = weights::read(&path).unwrap();
                let nan = Tensor::new(&[f32::NAN; 8], &Device::Cpu).unwrap();
                tensors.insert("encoder.layer.0.output.dense.bias".into(), nan);
                weights::write(&tensors, &path).unwrap();
            }),
            "\"encoder.layer.0.output.dense.bias\" holds NaN",
        ),
        (
            refusal(|folder| {
                for file in ["vocab.txt", "tokenizer.json"] {
                    fs_err::remove_file(folder.join(file)).unwrap();
                }
                let words: Vec<String> = (0..12).map(|i| format!("w{i}")).collect();
                let words = format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{}", words.join("\n"));
                fs_err::write(folder.join("vocab.txt"), words).unwrap();
            }),
            "at most the 11 rows of the embeddings, found a tokenizer of 17 tokens",
        ),
        (
            refusal(|folder| {
                let path = folder.join(modules);
                let text = fs_err::read_to_string(&path).unwrap();
                let mut entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
                let class = "sentence_transformers.models.Normalize";
                entries.push(serde_json::json!({"idx": 2, "name": "2", "path": "2_Normalize", "type": class}));
                fs_err::write(&path, serde_json::to_string(&entries).unwrap()).unwrap();
                let settings = r#"{"module_input_name": "token_embeddings"}"#;
                fs_err::create_dir(folder.join("2_Normalize")).unwrap();
                fs_err::write(folder.join("2_Normalize/config.json"), settings).unwrap();
            }),
            "module_input_name is \"token_embeddings\", expected \"sentence_embedding\"",
        ),
        (
            refusal(|folder| {
                fs_err::remove_file(folder.join("vocab.txt")).unwrap();
                fs_err::remove_file(folder.join("tokenizer.json")).unwrap();
            }),
            "no tokenizer.json",
        ),
    ] {
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

/// The gradients of the learned parameters of a pass, by name.
fn gradients(encoder: &SentenceEncoder, pass: Pass) -> Vec<(String, Vec<f32>)> {
    let tokens = encoder.tokenize(&TEXTS).unwrap();
    let (y, tape) = tape::record(|| encoder.forward(&Packed::new(&tokens), pass)).unwrap();
    let upstream = wave(y.elem_count(), WEIGHTS_PHASE, [1.0, 0.0]);
    let upstream = upstream.iter().map(|&x| x as f32).collect();
    let gradients = tape.backward(&y, upstream).unwrap();
    let learned = encoder.parameters().learned();
    let of = |p: &Parameter| {
        let gradient = gradients.get(&p.var);
        let gradient = gradient.unwrap_or_else(|| panic!("no gradient of {}", p.name));
        (
            p.name.clone(),
            gradient.flatten_all().unwrap().to_vec1().unwrap(),
        )
    };
    learned.map(of).collect()
}

#[test]
fn checkpointed_layers_give_the_same_gradients_dropout_included() {
    let golden = Golden::read();
    // MPNet's layers share a bias, which must gather the gradients of all of them.
    for (family, seed) in [(0, 1), (2, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let family = &golden.families[family];
        write_folder(family, folder.path(), "");
        let encoder = SentenceEncoder::load(folder.path()).unwrap();
        let pass = Pass::train(seed);
        let again = Pass {
            checkpoint: true,
            ..pass
        };
        assert_eq!(
            gradients(&encoder, pass),
            gradients(&encoder, again),
            "{}",
            family.name
        );
    }
}

#[test]
fn frozen_parameters_get_no_gradient_and_fresh_ones_no_stored_numbers() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&Golden::read().families[0], folder.path(), "");
    let reading = Reading {
        freeze: vec!["embeddings".into(), "encoder.layer.0".into()],
        fresh: vec!["encoder.layer.1".into()],
        ..Reading::default()
    };
    let encoder = SentenceEncoder::load_with(folder.path(), &reading).unwrap();
    let names: Vec<String> = gradients(&encoder, Pass::train(1))
        .into_iter()
        .map(|g| g.0)
        .collect();
    assert_eq!(names.len(), 10);
    assert!(
        names.iter().all(|name| name.starts_with("encoder.layer.1")),
        "{names:?}"
    );
    let read = SentenceEncoder::load(folder.path()).unwrap();
    for (one, other) in encoder.parameters().iter().zip(read.parameters().iter()) {
        let numbers = |p: &Parameter| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let same = numbers(one) == numbers(other);
        assert_eq!(
            same,
            !one.name.starts_with("encoder.layer.1"),
            "{}",
            one.name
        );
    }
}

#[test]
fn adapters_learn_alone_and_are_merged_on_export() {
    let golden = Golden::read();
    for family in &golden.families {
        let folder = tempfile::tempdir().unwrap();
        write_folder(family, folder.path(), "");
        for (targets, layers) in [
            (vec![], 6),
            (vec!["query".to_owned(), "q_lin".into(), "q".into()], 1),
        ] {
            let lora = Lora {
                rank: 2.try_into().unwrap(),
                alpha: 6.0,
                targets,
            };
            let reading = Reading {
                lora: Some(lora.clone()),
                ..Reading::default()
            };
            let adapted = SentenceEncoder::load_with(folder.path(), &reading).unwrap();
            let plain = SentenceEncoder::load(folder.path()).unwrap();
            // Changes start at zero.
            assert_eq!(encode(&adapted, &TEXTS), encode(&plain, &TEXTS));
            let found = gradients(&adapted, Pass::train(1));
            assert_eq!(found.len(), 2 * 2 * layers, "{}", family.name);
            for p in adapted.parameters().learned() {
                let numbers = wave(p.var.elem_count(), 7, [0.3, 0.0]);
                let values = Tensor::from_vec(numbers, p.var.shape(), &Device::Cpu).unwrap();
                p.var.set(&values.to_dtype(DType::F32).unwrap()).unwrap();
            }
            let changed = encode(&adapted, &TEXTS);
            assert_ne!(changed, encode(&plain, &TEXTS));

            let [merged, alone] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            adapted.save(merged.path()).unwrap();
            let loaded = encode(&SentenceEncoder::load(merged.path()).unwrap(), &TEXTS);
            let apart = changed.iter().zip(&loaded).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-5);

            lora.save(adapted.parameters(), "base", alone.path())
                .unwrap();
            let reading = Reading {
                base: Some(folder.path().into()),
                ..Reading::default()
            };
            let base = base_of_adapters(alone.path()).unwrap();
            assert_eq!(base.as_deref(), Some("base"));
            assert_eq!(base_of_adapters(merged.path()).unwrap(), None);
            let worked_in = SentenceEncoder::load_with(alone.path(), &reading).unwrap();
            assert_eq!(encode(&worked_in, &TEXTS), loaded);
            // As sentence-transformers writes them: in place of the Transformer of modules of their own.
            for name in ["modules.json", "1_Pooling/config.json"] {
                let to = alone.path().join(name);
                fs_err::create_dir_all(to.parent().unwrap()).unwrap();
                let text = fs_err::read_to_string(merged.path().join(name)).unwrap();
                fs_err::write(
                    to,
                    text.replace(
                        "\"pooling_mode_mean_tokens\": true",
                        "\"pooling_mode_mean_tokens\": false, \"pooling_mode_cls_token\": true",
                    ),
                )
                .unwrap();
            }
            let of_cls = SentenceEncoder::load_with(alone.path(), &reading).unwrap();
            assert_ne!(encode(&of_cls, &TEXTS), loaded);
        }
    }
}

#[test]
fn a_text_file_of_word_vectors_is_an_encoder_and_survives_saving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("glove.txt");
    // A word2vec header, a line of another length and one that is no vector are left out.
    fs_err::write(&path, "3 2\nthe 1 2\ncat -1 0\nbroken 1\n? x y\nThe 9 9\n").unwrap();
    let one = SentenceEncoder::load(&path).unwrap();
    assert_eq!(
        encode(&one, &["the cat", "The (CAT)!", "dog", ""]),
        [0., 1., 4., 4.5, 0., 0., 0., 0.]
    );
    let saved = tempfile::tempdir().unwrap();
    one.save(saved.path()).unwrap();
    let other = SentenceEncoder::load(saved.path()).unwrap();
    assert_eq!(encode(&other, &["the cat"]), [0., 1.]);
    // Words beyond the folder's limit do not count.
    let config = saved.path().join("wordembedding_config.json");
    let text = fs_err::read_to_string(&config).unwrap();
    fs_err::write(&config, text.replace("1000000", "1")).unwrap();
    let cut = SentenceEncoder::load(saved.path()).unwrap();
    assert_eq!(encode(&cut, &["the cat"]), [1., 2.]);
    cut.save(saved.path()).unwrap();
    let again = SentenceEncoder::load(saved.path()).unwrap();
    assert_eq!(again.tokenizer.limit(), 1);
    assert_eq!(other.parameters().learned().count(), 0);
    for (text, expected) in [
        ("nothing here\n", "no line holds a word and its vector"),
        (
            "the 1 2\ncat nan 0\n",
            "line 2: NaN in the vector of \"cat\"",
        ),
    ] {
        fs_err::write(&path, text).unwrap();
        let error = SentenceEncoder::load(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_folder_of_model2vec_normalizes_where_its_settings_say_so() {
    for (normalize, expected) in [(true, [0.6, 0.8]), (false, [3.0, 4.0])] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let config = format!(r#"{{"model_type": "model2vec", "normalize": {normalize}}}"#);
        fs_err::write(path("config.json"), config).unwrap();
        fs_err::write(
            path("vocab.txt"),
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb",
        )
        .unwrap();
        let mut table = [0.0f32; 14];
        table[10..12].copy_from_slice(&[3.0, 4.0]);
        let table = Tensor::new(&table, &Device::Cpu)
            .unwrap()
            .reshape((7, 2))
            .unwrap();
        let tensors = [("embeddings".to_owned(), table)].into_iter().collect();
        weights::write(&tensors, &path("model.safetensors")).unwrap();
        let one = SentenceEncoder::load(folder.path()).unwrap();
        assert_eq!(encode(&one, &["a"]), expected);
        let saved = tempfile::tempdir().unwrap();
        one.save(saved.path()).unwrap();
        let other = SentenceEncoder::load(saved.path()).unwrap();
        assert_eq!(encode(&other, &["a"]), expected);
    }
}
