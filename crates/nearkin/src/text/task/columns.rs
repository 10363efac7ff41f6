//! Which columns of a table are what, guessed by the names that public data sets have.

use super::Protocol;
use crate::data::DataError;
use crate::text::TextTable;
use crate::text::table::{Labeled, Names, Pairs, Rows, Scored, Triplets};

const PAIRS: [[&str; 2]; 7] = [
    ["sentence1", "sentence2"],
    ["sentence_A", "sentence_B"],
    ["premise", "hypothesis"],
    ["question1", "question2"],
    ["text1", "text2"],
    ["query", "answer"],
    ["anchor", "positive"],
];
const SCORES: [&str; 5] = [
    "score",
    "similarity",
    "relatedness",
    "relatedness_score",
    "label",
];
const LABELS: [&str; 4] = ["label", "is_duplicate", "gold_label", "entailment"];
const TEXTS: [&str; 3] = ["sentence", "text", "question"];
const TRIPLETS: [[&str; 3]; 2] = [
    ["anchor", "positive", "negative"],
    ["sentence1", "sentence2", "sentence3"],
];

/// The columns that a protocol needs, if the table has some of well-known names.
///
/// Scores keep the range that they have in the table; for pairs of several classes, entailment or the last class counts as
/// the positive one.
///
/// # Errors
/// The table cannot be read.
pub fn guess(table: &TextTable, protocol: Protocol) -> Result<Option<Rows>, DataError> {
    let known = table.columns()?;
    let has = |name: &&str| known.iter().any(|column| column == name);
    let one = |names: &[&str]| names.iter().copied().find(has).map(str::to_owned);
    let pair = PAIRS.iter().find(|pair| pair.iter().all(&has));
    let pair = pair.map(|pair| pair.map(str::to_owned));
    Ok(match protocol {
        Protocol::Sts => match (pair, one(&SCORES)) {
            (Some([first, second]), Some(score)) => {
                let (low, high) = range(table, &score)?;
                Some(Rows::Scored(Scored {
                    first,
                    second,
                    score,
                    low,
                    high,
                }))
            }
            _ => None,
        },
        Protocol::Pairs | Protocol::Classification => pair
            .zip(one(&LABELS))
            .map(|([first, second], label)| pairs(first, second, Some(label))),
        Protocol::Ir => pair.map(|[first, second]| pairs(first, second, one(&LABELS))),
        Protocol::Triplets => {
            let found = TRIPLETS.iter().find(|names| names.iter().all(&has));
            found.map(|names| {
                let [anchor, positive, negative] = names.map(str::to_owned);
                Rows::Triplets(Triplets {
                    anchor,
                    positive,
                    negative,
                })
            })
        }
        Protocol::Senteval => one(&TEXTS).zip(one(&LABELS)).map(|(text, label)| {
            let (classes, drop) = (Vec::new(), Names::default());
            Rows::Labeled(Labeled {
                text,
                label,
                classes,
                drop,
            })
        }),
    })
}

fn pairs(first: String, second: String, label: Option<String>) -> Rows {
    let (classes, drop) = (Vec::new(), Names::default());
    Rows::Pairs(Pairs {
        first,
        second,
        label,
        classes,
        drop,
    })
}

/// The lowest and the highest score of a table.
fn range(table: &TextTable, score: &str) -> Result<(f64, f64), DataError> {
    let mut rows = table.rows(&[score])?;
    let (mut fields, mut low, mut high) = (Vec::new(), f64::INFINITY, f64::NEG_INFINITY);
    while rows.read_row(&mut fields)? {
        // What is no number is found when the rows are read.
        if let Ok(score) = fields[0].trim().parse::<f64>() {
            low = low.min(score);
            high = high.max(score);
        }
    }
    Ok(if low < high { (low, high) } else { (0.0, 5.0) })
}
