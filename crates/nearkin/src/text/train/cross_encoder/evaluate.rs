//! What is measured of a cross-encoder: scored pairs, pairs of two classes, or the classes that it tells apart.

use crate::error::Result;
use crate::text::Bootstrap;
use crate::text::classification::class_scores;
use crate::text::pairs::threshold_scores;
use crate::text::recipe::{CrossEncoderRecipe, setting};
use crate::text::sts::{self, Aggregation};
use crate::text::table::{Damage, Target};
use crate::text::train::evaluate::{Score, UNDEFINED, scores};
use crate::text::train::rooted;
use nearkin_encoder::text::{CrossEncoder, Outputs};

/// An evaluation with its texts at hand.
pub(super) struct Evaluation {
    pub name: String,
    /// Rows of the table that could not be used.
    pub damage: Damage,
    texts: Vec<Vec<String>>,
    protocol: Protocol,
}

enum Protocol {
    Scored(Vec<f64>),
    /// Whether each pair belongs together.
    Pairs(Vec<bool>),
    /// The class of each pair.
    Classified(Vec<u32>),
}

impl Evaluation {
    /// Reads evaluation number `number` of a recipe.
    ///
    /// # Errors
    /// The table cannot be read, or its rows are nothing that can be measured of these outputs.
    pub fn read(recipe: &CrossEncoderRecipe, number: usize, outputs: &Outputs) -> Result<Self> {
        let evaluate = &recipe.evaluate[number];
        let rows = rooted(&evaluate.table, recipe.root.as_deref()).read(&evaluate.rows)?;
        let wrong = |expected: String, found: &str| {
            let key = format!("evaluate.{number}.rows");
            Err(setting(&key, expected, found))
        };
        if rows.texts.len() != 2 {
            return wrong("pairs".into(), "rows that are no pairs");
        }
        let protocol = match (rows.target, outputs) {
            (Target::Scores(gold), Outputs::Score(_)) => Protocol::Scored(gold),
            (Target::Classes { names, of }, Outputs::Score(_)) if names.len() == 2 => {
                Protocol::Pairs(of.iter().map(|&class| class == 1).collect())
            }
            (Target::Classes { names, of }, Outputs::Classes(known)) if &names == known => {
                Protocol::Classified(of)
            }
            (target, outputs) => {
                let found = match target {
                    Target::Scores(_) => "scores".to_owned(),
                    Target::Classes { names, .. } => format!("the classes {}", names.join(", ")),
                    Target::Nothing => "neither scores nor classes".to_owned(),
                };
                let expected = match outputs {
                    Outputs::Score(_) => "scored pairs or pairs of two classes".to_owned(),
                    Outputs::Classes(names) => {
                        format!(
                            "pairs of the classes that are learned: {}",
                            names.join(", ")
                        )
                    }
                };
                return wrong(expected, &found);
            }
        };
        Ok(Self {
            name: evaluate.name.clone(),
            damage: rows.damage,
            texts: rows.texts,
            protocol,
        })
    }

    /// Pairs that are measured.
    pub fn pairs(&self) -> usize {
        self.texts[0].len()
    }

    /// The first so many pairs.
    pub fn first(&self, most: usize) -> Vec<[&str; 2]> {
        let both = self.texts[0].iter().zip(&self.texts[1]).take(most);
        both.map(|(a, b)| [a.as_str(), b.as_str()]).collect()
    }

    /// Reads the pairs and measures; the first score is the one that counts.
    ///
    /// # Errors
    /// A pair cannot be read, or the outputs cannot be measured.
    pub fn measure(&self, judge: &CrossEncoder, bootstrap: Bootstrap) -> Result<Vec<Score>> {
        let pairs = self.first(usize::MAX);
        let likeness = || -> Result<Vec<f64>> {
            let scores = judge.score(&pairs, &mut |_| {})?;
            Ok(scores.into_iter().map(f64::from).collect())
        };
        Ok(match &self.protocol {
            Protocol::Scored(gold) => {
                let subsets = vec![0; gold.len()];
                let gold = sts::Scores {
                    gold,
                    subsets: &subsets,
                };
                let found = sts::correlate(&likeness()?, gold, Aggregation::All, bootstrap)?;
                scores([
                    ("spearman", found.spearman.unwrap_or(UNDEFINED)),
                    ("pearson", found.pearson.unwrap_or(UNDEFINED)),
                ])
            }
            Protocol::Pairs(positive) => {
                let found = threshold_scores(&likeness()?, positive, bootstrap)?;
                scores([
                    ("average precision", found.average_precision),
                    ("best F1", found.f1),
                    ("best accuracy", found.accuracy),
                ])
            }
            Protocol::Classified(gold) => {
                let found = judge.classify(&pairs, &mut |_| {})?;
                let found = class_scores(&found, gold, bootstrap)?;
                scores([("accuracy", found.accuracy), ("macro F1", found.macro_f1)])
            }
        })
    }
}
