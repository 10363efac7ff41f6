//! Cross-encoders: a pair of texts is read at once and scored.

use super::architecture::Architecture;
use super::encode::{Encoding, MANY, Options, TOKENIZED, run_batches};
use super::folder::{self, Reading};
use super::frozen::{Compute, Frozen};
use super::packed::Packed;
use super::pass::Pass;
use super::sequence_classifier::SequenceClassifier;
use super::settings;
use super::tokenizer::Tokenizer;
use super::write_json;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::parameters::Parameters;
use crate::weights;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is done to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Logit,
    /// `1 / (1 + e^−x)`
    Sigmoid,
}

impl Outcome {
    /// From the dotted name of a class of `torch`.
    fn named(name: &str) -> std::result::Result<Self, String> {
        match name.rsplit('.').next() {
            Some("Identity") => Ok(Self::Logit),
            Some("Sigmoid") => Ok(Self::Sigmoid),
            _ => Err(format!(
                "activation_fn is \"{name}\", expected Sigmoid or Identity"
            )),
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Logit => "torch.nn.modules.linear.Identity",
            Self::Sigmoid => "torch.nn.modules.activation.Sigmoid",
        }
    }

    fn of(self, logit: f32) -> f32 {
        match self {
            Self::Logit => logit,
            Self::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
        }
    }
}

/// What a cross-encoder says of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// A score.
    Score(Outcome),
    /// A logit for each class; their names.
    Classes(Vec<String>),
}

impl Outputs {
    /// Numbers of a pair.
    pub fn count(&self) -> usize {
        match self {
            Self::Score(_) => 1,
            Self::Classes(names) => names.len(),
        }
    }

    /// What is done to each logit.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Score(outcome) => *outcome,
            Self::Classes(_) => Outcome::Logit,
        }
    }
}

/// Scores pairs of texts: both go through one Transformer together. Slow beside vectors, which are made once for each text,
/// but better: for the best of what a search has found.
///
/// ```no_run
/// use nearkin_encoder::text::CrossEncoder;
/// let judge = CrossEncoder::load("cross-encoder".as_ref())?;
/// let pairs = [["How do I cook rice?", "Boil it."], ["How do I cook rice?", "Paris."]];
/// let scores = judge.score(&pairs, &mut |_| {})?;
/// assert!(scores[0] > scores[1]);
/// # Ok::<(), nearkin_encoder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CrossEncoder {
    /// Pairs to tokens.
    pub tokenizer: Tokenizer,
    /// What is done to the logits.
    pub outcome: Outcome,
    /// The names of the classes; none where the output is a score.
    classes: Vec<String>,
    network: SequenceClassifier,
    parameters: Parameters,
}

impl CrossEncoder {
    /// Reads a folder of sentence-transformers, or of transformers' `…ForSequenceClassification`.
    ///
    /// # Errors
    /// A file is missing or damaged, the folder is of a sentence encoder, or its tensors do not fit its settings.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = folder::object(&folder.join(folder::CONFIG))?;
        let architecture = Architecture::read(&folder.join(folder::CONFIG))?;
        let Some(labels) = architecture.labels else {
            let reason =
                "its architectures name no ForSequenceClassification: it is no cross-encoder";
            return Err(folder::wrong(&folder.join(folder::CONFIG), reason));
        };
        let outcome = outcome(folder, &config, labels)?;
        let classes = classes(&config, labels);
        Self::open(
            folder,
            (architecture, config),
            &Reading::default(),
            (outcome, classes),
        )
    }

    /// A cross-encoder to be trained, from the folder of one, of a sentence encoder, or of a bare Transformer.
    ///
    /// Layers of the head that the folder has not start anew, from `reading.seed`; so does the output layer of a folder that
    /// says something else of pairs: another number of outputs, or other classes.
    ///
    /// # Errors
    /// As [`load`](Self::load); also where a folder's modules do not begin with a Transformer.
    pub fn begin(folder: &Path, reading: &Reading, outputs: &Outputs) -> Result<Self> {
        let folder = folder::of_transformer(folder)?;
        let config = folder::object(&folder.join(folder::CONFIG))?;
        let found = Architecture::read(&folder.join(folder::CONFIG))?;
        let layers = SequenceClassifier::layers(found.family);
        let architecture = Architecture {
            labels: Some(outputs.count()),
            ..found
        };
        let stored = folder::scope(&folder, &architecture, reading)?;
        let absent = layers.map(|layer| !stored.has(&format!("{layer}.weight")));
        let same = found.labels.is_some_and(|labels| match outputs {
            Outputs::Score(_) => labels == 1,
            Outputs::Classes(names) => {
                let known = classes(&config, labels);
                labels == names.len() && (&known == names || are_unnamed(&known))
            }
        });
        let fresh = [absent[0], absent[1] || !same];
        let fresh = layers.iter().zip(fresh).filter(|(_, fresh)| *fresh);
        let fresh = fresh.map(|(layer, _)| format!("{layer}."));
        let reading = Reading {
            fresh: reading.fresh.iter().cloned().chain(fresh).collect(),
            ..reading.clone()
        };
        let names = match outputs {
            Outputs::Score(_) => Vec::new(),
            Outputs::Classes(names) => names.clone(),
        };
        let outputs = (outputs.outcome(), names);
        Self::open(&folder, (architecture, config), &reading, outputs)
    }

    fn open(
        folder: &Path,
        (architecture, config): (Architecture, Map<String, Value>),
        reading: &Reading,
        (outcome, classes): (Outcome, Vec<String>),
    ) -> Result<Self> {
        folder::refuse_adapters(folder)?;
        let mut tokenizer = Tokenizer::read(folder)?;
        folder::limit(&[folder], &mut tokenizer, &architecture)?;
        let scope = folder::scope(folder, &architecture, reading)?;
        let network = SequenceClassifier::new(&scope, architecture)?;
        Ok(Self {
            tokenizer,
            outcome,
            classes,
            network: network.map_transformer(|t| t.described(config)),
            parameters: scope.parameters(),
        })
    }

    /// Whether a folder holds one: settings of a head, and no module that would make a sentence encoder of it.
    pub fn is_in(folder: &Path) -> bool {
        let architecture = Architecture::read(&folder.join(folder::CONFIG));
        architecture.is_ok_and(|a| a.labels.is_some())
            && !folder::has_more_than_a_transformer(folder)
    }

    /// The network, to be trained.
    pub fn network(&self) -> &SequenceClassifier {
        &self.network
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The names of the classes that it tells apart; none where its output is a score.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether its classes have names of their own rather than numbers.
    pub fn names_classes(&self) -> bool {
        !are_unnamed(&self.classes)
    }

    /// Outputs for pairs, `[pairs, labels]`, after the [`Outcome`]; `progress` is told how many are done.
    ///
    /// Pairs of like length share a batch; the outputs come in the pairs' order.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn predict(
        &self,
        pairs: &[[&str; 2]],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Encoding> {
        let labels = self.network.labels();
        let mut encoding = Encoding {
            numbers: vec![0.0; pairs.len() * labels],
            dim: labels,
            tokens: 0,
        };
        let frozen = if pairs.len() < MANY {
            None
        } else {
            Frozen::new(self.network.transformer(), Compute::F32)?
        };
        let judge = |batch: &Packed| -> Result<Vec<f32>> {
            let logits = match &frozen {
                Some(frozen) => self.network.forward_frozen(frozen, batch)?,
                None => self.network.forward(batch, Pass::eval())?,
            };
            let logits = Host::new(&logits)?;
            Ok(logits.iter().map(|&logit| self.outcome.of(logit)).collect())
        };
        for (part, pairs) in pairs.chunks(TOKENIZED).enumerate() {
            let tokens = self.tokenizer.encode_pairs(pairs)?;
            encoding.tokens += tokens.iter().map(|t| t.ids.len()).sum::<usize>();
            let before = part * TOKENIZED;
            let rows = &mut encoding.numbers[before * labels..][..pairs.len() * labels];
            let mut told = |done| progress(before + done);
            let most = Options::default().tokens;
            run_batches(&tokens, most, (rows, labels), &judge, &mut told)?;
        }
        Ok(encoding)
    }

    /// The score of each pair.
    ///
    /// # Errors
    /// The cross-encoder has classes rather than a score, or the tokenizer refuses a text.
    pub fn score(
        &self,
        pairs: &[[&str; 2]],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<f32>> {
        if self.network.labels() != 1 {
            return Err(Error::Setting {
                key: "num_labels".into(),
                expected: "1: a score".into(),
                found: format!(
                    "{} classes ({})",
                    self.classes.len(),
                    self.classes.join(", ")
                ),
            });
        }
        Ok(self.predict(pairs, progress)?.numbers)
    }

    /// The likeliest class of each pair, by its number in [`classes`](Self::classes); the first of several.
    ///
    /// # Errors
    /// The cross-encoder has a score rather than classes, or the tokenizer refuses a text.
    pub fn classify(
        &self,
        pairs: &[[&str; 2]],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<u32>> {
        if self.classes.is_empty() {
            return Err(Error::Setting {
                key: "num_labels".into(),
                expected: "classes".into(),
                found: "1: a score".into(),
            });
        }
        let logits = self.predict(pairs, progress)?;
        let best = |row: &[f32]| {
            let numbered = (0u32..).zip(row.iter().copied());
            let better =
                |best: (u32, f32), next: (u32, f32)| if next.1 > best.1 { next } else { best };
            numbered.reduce(better).map_or(0, |(class, _)| class)
        };
        Ok(logits.numbers.chunks_exact(logits.dim).map(best).collect())
    }

    /// Writes the cross-encoder into an existing folder, in the form that every version of sentence-transformers reads.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let config = Value::Object(self.config());
        write_json(&folder.join(folder::CONFIG), &config)?;
        let prefix = self.network.transformer().architecture().own_prefix();
        let named = |(name, tensor)| {
            let name: String = name;
            let beside = name.starts_with("classifier.") || name.starts_with("pre_classifier.");
            (
                if beside {
                    name
                } else {
                    format!("{prefix}{name}")
                },
                tensor,
            )
        };
        let tensors = weights::tensors(&self.parameters)?
            .into_iter()
            .map(named)
            .collect();
        weights::write(&tensors, &folder.join(folder::WEIGHTS))?;
        self.tokenizer.save(folder)
    }

    /// `config.json`
    fn config(&self) -> Map<String, Value> {
        let mut config = folder::written_config(self.network.transformer());
        let model = config.get("model_type").and_then(Value::as_str);
        let class = match model {
            Some("roberta") => "Roberta",
            Some("xlm-roberta") => "XLMRoberta",
            Some("camembert") => "Camembert",
            Some("distilbert") => "DistilBert",
            Some("mpnet") => "MPNet",
            _ => "Bert",
        };
        let architecture = format!("{class}ForSequenceClassification");
        let labels = self.network.labels();
        let names: Vec<String> = match &self.classes[..] {
            [] => (0..labels).map(unnamed).collect(),
            names => names.to_vec(),
        };
        let numbered = names.iter().enumerate();
        let id2label = numbered
            .clone()
            .map(|(k, name)| (k.to_string(), json!(name)));
        let label2id = numbered.map(|(k, name)| (name.clone(), json!(k)));
        config.insert("architectures".into(), json!([architecture]));
        config.insert("num_labels".into(), labels.into());
        config.insert("id2label".into(), Value::Object(id2label.collect()));
        config.insert("label2id".into(), Value::Object(label2id.collect()));
        // The form of before version 4, and that since.
        let class = self.outcome.class();
        config.insert("sbert_ce_default_activation_function".into(), class.into());
        config.insert(
            "sentence_transformers".into(),
            json!({ "activation_fn": class }),
        );
        config
    }
}

/// What transformers calls an output that nobody has named.
fn unnamed(number: usize) -> String {
    format!("LABEL_{number}")
}

fn are_unnamed(classes: &[String]) -> bool {
    (0..).zip(classes).all(|(k, name)| *name == unnamed(k))
}

/// The names of the classes of a folder; none where it has a score.
fn classes(config: &Map<String, Value>, labels: usize) -> Vec<String> {
    if labels == 1 {
        return Vec::new();
    }
    let names = config.get("id2label");
    let name = |k: usize| names?.get(k.to_string())?.as_str();
    let name = |k| name(k).map_or_else(|| unnamed(k), str::to_owned);
    (0..labels).map(name).collect()
}

/// What the folder says is done to logits: by default the sigmoid of a single one.
fn outcome(folder: &Path, config: &Map<String, Value>, labels: usize) -> Result<Outcome> {
    let path = folder.join(settings::FILE);
    let model = if path.exists() {
        folder::object(&path)?
    } else {
        Map::new()
    };
    let nested = config
        .get("sentence_transformers")
        .and_then(|own| own.get("activation_fn"));
    let named = [
        model.get("activation_fn"),
        nested,
        config.get("sbert_ce_default_activation_function"),
    ];
    match named.into_iter().flatten().find_map(Value::as_str) {
        Some(name) => Outcome::named(name).map_err(|reason| folder::wrong(folder, &reason)),
        None if labels == 1 => Ok(Outcome::Sigmoid),
        None => Ok(Outcome::Logit),
    }
}
