//! What is measured: each `[[evaluate]]` by the protocol of its rows.

use super::set::Set;
use super::{rooted, setting};
use crate::error::Result;
use crate::evaluate::{self, Estimate, estimates};
use crate::text::Bootstrap;
use crate::text::head::Head;
use crate::text::pairs::binary_pairs;
use crate::text::recipe::TextRecipe;
use crate::text::sts::sts;
use crate::text::table::{Damage, Rows, Target};
use crate::text::triplets::triplet_accuracy;
use crate::train::LearnedLoss;
use nearkin_encoder::text::{Options, SentenceEncoder};
use nearkin_kernels::Mat;

/// An evaluation with its texts at hand.
pub(super) struct Evaluation {
    pub name: String,
    /// Rows of the table that could not be used.
    pub damage: Damage,
    columns: Vec<Vec<String>>,
    protocol: Protocol,
}

enum Protocol {
    Scored(Vec<f64>),
    /// Whether each pair belongs together.
    Pairs(Vec<bool>),
    /// The classes of pairs, told apart by the head of data set number `set`.
    Classified {
        set: usize,
        of: Vec<u32>,
    },
    Triplets,
    Labeled(Vec<u32>),
}

/// One score of an evaluation.
#[derive(Clone, Debug)]
pub(super) struct Score {
    pub metric: &'static str,
    pub estimate: Estimate,
}

impl Evaluation {
    /// Reads evaluation number `number` of a recipe.
    ///
    /// # Errors
    /// The table cannot be read, or its rows are nothing that can be measured.
    pub fn read(recipe: &TextRecipe, number: usize, sets: &[Set]) -> Result<Self> {
        let evaluate = &recipe.evaluate[number];
        let rows = rooted(&evaluate.table, recipe.root.as_deref()).read(&evaluate.rows)?;
        let unmeasured = |found: &str| {
            let expected = "scored pairs, pairs of two classes, pairs of the classes that a \
                            softmax_classification of [[data]] learns, triplets or labeled texts";
            setting(&format!("evaluate.{number}.rows"), expected, found)
        };
        let protocol = match (rows.target, &evaluate.rows) {
            (Target::Scores(gold), _) => Protocol::Scored(gold),
            (Target::Classes { of, .. }, Rows::Labeled(_)) => Protocol::Labeled(of),
            (Target::Classes { names, of }, _) => {
                let head = sets.iter().position(|set| set.learns_classes(&names));
                match head {
                    Some(set) => Protocol::Classified { set, of },
                    None if names.len() == 2 => {
                        Protocol::Pairs(of.iter().map(|&class| class == 1).collect())
                    }
                    None => {
                        let found = format!("pairs of the classes {}", names.join(", "));
                        return Err(unmeasured(&found));
                    }
                }
            }
            (Target::Nothing, Rows::Triplets(_)) => Protocol::Triplets,
            (Target::Nothing, _) => return Err(unmeasured("texts of which nothing is known")),
        };
        Ok(Self {
            name: evaluate.name.clone(),
            damage: rows.damage,
            columns: rows.texts,
            protocol,
        })
    }

    /// Texts that are embedded.
    pub fn texts(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    /// Items that are measured.
    pub fn items(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The first so many texts, to see how long embedding takes.
    pub fn some_texts(&self, most: usize) -> Vec<&str> {
        let texts = self.columns.iter().flatten();
        texts.take(most).map(String::as_str).collect()
    }

    /// Embeds and measures; the first score is the one that counts.
    ///
    /// # Errors
    /// A text cannot be embedded, or the embeddings cannot be measured.
    pub fn measure(
        &self,
        encoder: &SentenceEncoder,
        heads: &[Option<Head>],
        bootstrap: Bootstrap,
    ) -> Result<Vec<Score>> {
        let texts: Vec<&str> = self.columns.iter().flatten().map(String::as_str).collect();
        let encoding = encoder.encode(&texts, &Options::default(), &mut |_| {})?;
        let (n, dim) = (self.items(), encoding.dim);
        let column = |k: usize| Mat::new(&encoding.numbers[k * n * dim..][..n * dim], n, dim);
        Ok(match &self.protocol {
            Protocol::Scored(gold) => {
                let cosine = sts(column(0), column(1), gold, bootstrap)?
                    .correlations
                    .cosine;
                let defined = |estimate: Option<Estimate>| estimate.unwrap_or(UNDEFINED);
                scores([
                    ("spearman", defined(cosine.spearman)),
                    ("pearson", defined(cosine.pearson)),
                ])
            }
            Protocol::Pairs(positive) => {
                let cosine = binary_pairs(column(0), column(1), positive, bootstrap)?;
                let cosine = cosine.scores.cosine;
                scores([
                    ("average precision", cosine.average_precision),
                    ("best F1", cosine.f1),
                    ("best accuracy", cosine.accuracy),
                ])
            }
            Protocol::Classified { set, of } => {
                let Some(head) = &heads[*set] else {
                    return Ok(Vec::new());
                };
                let found = head.classify(column(0), column(1))?;
                let right = found
                    .iter()
                    .zip(of)
                    .map(|(a, b)| [f32::from(u8::from(a == b))]);
                let right: Vec<[f32; 1]> = right.collect();
                let [accuracy] = estimates(&right, bootstrap.resamples, bootstrap.seed);
                scores([("accuracy of the head", accuracy)])
            }
            Protocol::Triplets => {
                let accuracy = triplet_accuracy([0, 1, 2].map(column), bootstrap)?.accuracy;
                scores([
                    ("accuracy", accuracy.cosine),
                    ("accuracy by distance", accuracy.euclidean),
                ])
            }
            Protocol::Labeled(labels) => {
                let options = evaluate::Options {
                    resamples: bootstrap.resamples,
                    ..evaluate::Options::quick()
                };
                let retrieval = evaluate::evaluate(column(0), labels, &options)?.retrieval;
                let recall = retrieval.recall().next().map(|(_, recall)| recall);
                let recall = recall.map(|recall| ("Recall@1", recall));
                scores(std::iter::once(("MAP@R", retrieval.map_at_r)).chain(recall))
            }
        })
    }
}

/// Of embeddings or gold scores that do not vary.
pub(super) const UNDEFINED: Estimate = Estimate {
    value: f64::NAN,
    low: f64::NAN,
    high: f64::NAN,
};

/// Scores by their names, the one that counts first.
pub(super) fn scores(named: impl IntoIterator<Item = (&'static str, Estimate)>) -> Vec<Score> {
    let score = |(metric, estimate)| Score { metric, estimate };
    named.into_iter().map(score).collect()
}

/// The head of each data set's loss, where it learns one.
///
/// # Errors
/// Its parameters are not in host memory.
pub(super) fn heads(sets: &[Set], losses: &[LearnedLoss]) -> Result<Vec<Option<Head>>> {
    let both = sets.iter().zip(losses);
    both.map(|(set, loss)| match set.class_names() {
        Some(names) => Head::of(loss, names),
        None => Ok(None),
    })
    .collect()
}
