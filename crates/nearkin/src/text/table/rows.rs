//! What the columns of a table are, and the table read whole.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Damage, Names, TextTable};
use crate::data::{DataError, label_index};

/// Which columns are what, as the recipe writes it: `[rows.pairs]`, `[rows.scored]` and so on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Two texts, with a class or without.
    Pairs(Pairs),
    /// Two texts and how alike they are.
    Scored(Scored),
    /// A text, one like it and one unlike it.
    Triplets(Triplets),
    /// A text with a class.
    Labeled(Labeled),
    /// A text.
    Texts(Texts),
}

/// Two texts, with a class or without: entailment, duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// The column of the first text.
    pub first: String,
    /// The column of the second text.
    pub second: String,
    /// The column of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The values of each class, in order: `["0", "1"]`, or `[["NS", "DTORCD"], ["SS", "HS"]]` where several values are
    /// one class. Any other value is damage. Without it every value is a class, in numeric or alphabetical order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Names>,
    /// Values whose rows are left out: they are no damage.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub drop: Names,
}

/// Two texts and a score, which is scaled to `(score − low) / (high − low)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// The column of the first text.
    pub first: String,
    /// The column of the second text.
    pub second: String,
    /// The column of the score.
    pub score: String,
    /// The score of pairs that have nothing in common; it becomes 0.
    #[serde(default)]
    pub low: f64,
    /// The score of pairs of one meaning; it becomes 1.
    #[serde(default = "five")]
    pub high: f64,
}

fn five() -> f64 {
    5.0
}

/// A text, one like it and one unlike it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triplets {
    /// The column of the anchor.
    pub anchor: String,
    /// The column of the text like it.
    pub positive: String,
    /// The column of the text unlike it.
    pub negative: String,
}

/// A text with a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labeled {
    /// The column of the text.
    pub text: String,
    /// The column of the class.
    pub label: String,
    /// The values of each class, as for [`Pairs`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Names>,
    /// Values whose rows are left out.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub drop: Names,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// The column of the text.
    pub text: String,
}

/// A table read whole.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRows {
    /// The columns of text, in the order of [`Rows`]' fields; all of one length.
    pub texts: Vec<Vec<String>>,
    /// What belongs to each row.
    pub target: Target,
    /// The line on which each row begins, from 1; in Parquet the row's number.
    pub lines: Vec<u64>,
    /// Rows left out because of their value in `drop`.
    pub dropped: usize,
    /// Rows left out because they cannot be used.
    pub damage: Damage,
}

/// What belongs to each row beside its texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Nothing.
    Nothing,
    /// A score from 0 to 1.
    Scores(Vec<f64>),
    /// A class.
    Classes {
        /// The classes' names; several values of one class are joined by `|`.
        names: Vec<String>,
        /// The class of each row.
        of: Vec<u32>,
    },
}

/// The column beside the texts and how to read it.
enum Reading<'r> {
    Nothing,
    Score {
        column: &'r str,
        low: f64,
        high: f64,
    },
    Class {
        column: &'r str,
        classes: &'r [Names],
        drop: &'r Names,
    },
}

impl Rows {
    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Pairs(rows) => vec![&rows.first, &rows.second],
            Self::Scored(rows) => vec![&rows.first, &rows.second],
            Self::Triplets(rows) => vec![&rows.anchor, &rows.positive, &rows.negative],
            Self::Labeled(rows) => vec![&rows.text],
            Self::Texts(rows) => vec![&rows.text],
        }
    }

    /// How the column beside the texts is read; the reason where it cannot be.
    fn reading(&self) -> Result<Reading<'_>, String> {
        Ok(match self {
            Self::Scored(rows) => Reading::Score {
                column: &rows.score,
                low: rows.low,
                high: rows.high,
            },
            Self::Pairs(Pairs {
                label: Some(column),
                classes,
                drop,
                ..
            })
            | Self::Labeled(Labeled {
                label: column,
                classes,
                drop,
                ..
            }) => Reading::Class {
                column,
                classes,
                drop,
            },
            Self::Pairs(rows) if !(rows.classes.is_empty() && rows.drop.is_empty()) => {
                return Err("classes and drop need the column of the label".to_owned());
            }
            Self::Pairs(_) | Self::Triplets(_) | Self::Texts(_) => Reading::Nothing,
        })
    }

    pub(super) fn read(&self, table: &TextTable) -> Result<TextRows, DataError> {
        let wrong = |reason| DataError::Rows {
            path: table.path.clone(),
            reason,
        };
        let reading = self.reading().map_err(wrong)?;
        let mut targets = Targets::new(&reading).map_err(wrong)?;
        let texts = self.texts();
        let column = match reading {
            Reading::Nothing => None,
            Reading::Score { column, .. } | Reading::Class { column, .. } => Some(column),
        };
        let columns: Vec<&str> = texts.iter().copied().chain(column).collect();
        let mut rows = table.rows(&columns)?;
        let mut read = TextRows {
            texts: vec![Vec::new(); texts.len()],
            target: Target::Nothing,
            lines: Vec::new(),
            dropped: 0,
            damage: Damage::default(),
        };
        let mut fields = Vec::new();
        while rows.read_row(&mut fields)? {
            match targets.push(fields.get(texts.len()).map_or("", String::as_str)) {
                Taken::Yes => read.push(rows.line(), fields.drain(..texts.len())),
                Taken::Dropped => {
                    read.dropped += 1;
                    rows.leave_out();
                }
                Taken::Damaged(reason) => rows.reject(reason),
            }
        }
        read.damage = rows.finish()?;
        read.target = targets.finish();
        if read.lines.is_empty() {
            return Err(DataError::NoRows {
                path: table.path.clone(),
                reason: format!(
                    " to use: {} dropped, {} damaged",
                    read.dropped, read.damage.rows
                ),
            });
        }
        Ok(read)
    }
}

impl TextRows {
    fn push(&mut self, line: u64, texts: impl Iterator<Item = String>) {
        self.lines.push(line);
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text);
        }
    }
}

/// Whether a row goes in.
enum Taken {
    Yes,
    Dropped,
    Damaged(String),
}

/// The targets read so far.
enum Targets<'r> {
    Nothing,
    Scores {
        low: f64,
        high: f64,
        scores: Vec<f64>,
    },
    /// Classes that the recipe lists.
    Listed {
        names: Vec<String>,
        number: HashMap<&'r str, u32>,
        drop: &'r Names,
        of: Vec<u32>,
    },
    /// Classes that the table decides.
    Found {
        drop: &'r Names,
        labels: Vec<String>,
    },
}

impl<'r> Targets<'r> {
    /// None yet; the reason where they could not be read.
    fn new(reading: &Reading<'r>) -> Result<Self, String> {
        match *reading {
            Reading::Nothing => Ok(Self::Nothing),
            Reading::Score { low, high, .. } if low < high && (high - low).is_finite() => {
                let scores = Vec::new();
                Ok(Self::Scores { low, high, scores })
            }
            Reading::Score { low, high, .. } => Err(format!(
                "scores from low = {low} to high = {high}: low must be below high"
            )),
            Reading::Class {
                classes: [], drop, ..
            } => {
                let labels = Vec::new();
                Ok(Self::Found { drop, labels })
            }
            Reading::Class { classes, drop, .. } => Ok(Self::Listed {
                names: classes.iter().map(ToString::to_string).collect(),
                number: numbers(classes)?,
                drop,
                of: Vec::new(),
            }),
        }
    }

    fn push(&mut self, field: &str) -> Taken {
        match self {
            Self::Nothing => {}
            Self::Scores { low, high, scores } => match field.trim().parse::<f64>() {
                Ok(score) if (*low..=*high).contains(&score) => {
                    scores.push((score - *low) / (*high - *low));
                }
                Ok(score) => {
                    return Taken::Damaged(format!(
                        "the score {score} is not from {low} to {high}"
                    ));
                }
                Err(_) => {
                    return Taken::Damaged(format!("the score {field:?} is not a number"));
                }
            },
            Self::Listed { drop, .. } | Self::Found { drop, .. } if drop.contains(field) => {
                return Taken::Dropped;
            }
            Self::Listed {
                number, of, names, ..
            } => {
                let Some(&class) = number.get(field) else {
                    let known = names.join(", ");
                    return Taken::Damaged(format!("the label {field:?} is none of {known}"));
                };
                of.push(class);
            }
            Self::Found { .. } if field.is_empty() => {
                return Taken::Damaged("the label is empty".to_owned());
            }
            Self::Found { labels, .. } => labels.push(field.to_owned()),
        }
        Taken::Yes
    }

    fn finish(self) -> Target {
        match self {
            Self::Nothing => Target::Nothing,
            Self::Scores { scores, .. } => Target::Scores(scores),
            Self::Listed { names, of, .. } => Target::Classes { names, of },
            Self::Found { labels, .. } => {
                let (names, of) = label_index(&labels);
                Target::Classes { names, of }
            }
        }
    }
}

/// The class of each value.
fn numbers(classes: &[Names]) -> Result<HashMap<&str, u32>, String> {
    let mut number = HashMap::new();
    for (class, names) in (0..).zip(classes) {
        for name in &names.0 {
            if number.insert(name.as_str(), class).is_some() {
                return Err(format!("the value {name:?} is listed in classes twice"));
            }
        }
    }
    Ok(number)
}
