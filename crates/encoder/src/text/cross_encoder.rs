//! Cross-encoders: a pair of texts is read at once and scored.

use super::architecture::Architecture;
use super::encode::{Encoding, TOKENIZED, batches};
use super::folder;
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
        let mut tokenizer = Tokenizer::read(folder)?;
        folder::limit(folder, &mut tokenizer, &architecture)?;
        let scope = folder::scope(folder, &architecture, &folder::Reading::default())?;
        let network = SequenceClassifier::new(&scope, architecture)?;
        Ok(Self {
            tokenizer,
            outcome,
            network: network.map_transformer(|t| t.described(config)),
            parameters: scope.parameters(),
        })
    }

    /// Whether a folder holds one.
    pub fn is_in(folder: &Path) -> bool {
        let architecture = Architecture::read(&folder.join(folder::CONFIG));
        architecture.is_ok_and(|a| a.labels.is_some())
    }

    /// The network, to be trained.
    pub fn network(&self) -> &SequenceClassifier {
        &self.network
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Outputs for pairs, `[pairs, labels]`, after the [`Outcome`]; `progress` is told how many are done.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn predict(
        &self,
        pairs: &[[&str; 2]],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Encoding> {
        let labels = self.network.labels();
        let mut encoding = Encoding {
            numbers: vec![0.0; pairs.len() * labels],
            dim: labels,
            tokens: 0,
        };
        let mut done = 0;
        for (part, pairs) in pairs.chunks(TOKENIZED).enumerate() {
            let tokens = self.tokenizer.encode_pairs(pairs)?;
            encoding.tokens += tokens.iter().map(|t| t.ids.len()).sum::<usize>();
            let rows = &mut encoding.numbers[part * TOKENIZED * labels..];
            for batch in batches(&tokens, super::Options::default().tokens) {
                let packed = Packed::new(batch.iter().map(|&i| &tokens[i]));
                let logits = self.network.forward(&packed, Pass::eval())?;
                let logits = Host::new(&logits)?;
                for (row, &i) in logits.chunks_exact(labels.max(1)).zip(&batch) {
                    let outcomes = row.iter().map(|&logit| self.outcome.of(logit));
                    rows[i * labels..][..labels]
                        .iter_mut()
                        .zip(outcomes)
                        .for_each(|(y, x)| *y = x);
                }
                done += batch.len();
                progress(done);
            }
        }
        Ok(encoding)
    }

    /// The score of each pair.
    ///
    /// # Errors
    /// The cross-encoder has classes rather than a score, or the tokenizer refuses a text.
    pub fn score(&self, pairs: &[[&str; 2]], progress: &mut dyn FnMut(usize)) -> Result<Vec<f32>> {
        if self.network.labels() != 1 {
            return Err(Error::Setting {
                key: "num_labels".into(),
                expected: "1: a score".into(),
                found: format!("{} classes", self.network.labels()),
            });
        }
        Ok(self.predict(pairs, progress)?.numbers)
    }

    /// Writes the cross-encoder into an existing folder, in the form that every version of sentence-transformers reads.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let transformer = self.network.transformer();
        let mut config = folder::written_config(transformer);
        config.insert("num_labels".into(), self.network.labels().into());
        // The form of before version 4, and that since.
        let class = self.outcome.class();
        config.insert("sbert_ce_default_activation_function".into(), class.into());
        config.insert(
            "sentence_transformers".into(),
            json!({ "activation_fn": class }),
        );
        write_json(&folder.join(folder::CONFIG), &Value::Object(config))?;
        let prefix = transformer.architecture().own_prefix();
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
