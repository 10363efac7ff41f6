//! What a first recipe holds out of training.

use crate::data::{Dataset, Summary};
use crate::error::Result;
use crate::split::{Parts, Split};
use crate::train::check_parts;
use std::collections::BTreeSet;

/// The fewest classes of which a tenth says something.
const VALIDATED: usize = 20;

/// The table of a split, and what follows from it.
pub(super) struct HeldOut {
    /// `[data.split]`, with a comment.
    pub text: String,
    /// Classes that train.
    pub classes: usize,
    /// Items of such a class that train.
    pub per_class: usize,
    /// Whether something chooses between checkpoints.
    pub validates: bool,
}

impl HeldOut {
    /// The split that the data give, where it leaves something to train and to measure; otherwise one that is drawn.
    pub fn of(dataset: &Dataset, facts: &Summary) -> Self {
        if dataset.given_split.is_none() {
            return Self::drawn(facts);
        }
        match given_parts(dataset) {
            Ok(parts) => Self::given(dataset, &parts),
            Err(error) => {
                let drawn = Self::drawn(facts);
                let error = error.to_string().replace(['\n', '\r'], " ");
                let text = format!(
                    "# Not the split that the data give: {error}.\n{}",
                    drawn.text
                );
                Self { text, ..drawn }
            }
        }
    }

    fn given(dataset: &Dataset, parts: &Parts) -> Self {
        let classes = |items: &[usize]| -> BTreeSet<u32> {
            items.iter().map(|&item| dataset.labels[item]).collect()
        };
        let (train, measured) = (classes(&parts.train), classes(parts.measured().1));
        let also = match train.intersection(&measured).count() {
            0 => String::new(),
            both => format!(
                "# {both} of the {} classes that are measured also train: the result says little of classes that are new.\n",
                measured.len()
            ),
        };
        Self {
            text: format!(
                "# The data say which items train, validate and test.\n{also}[data]\nsplit = \"given\"\n"
            ),
            classes: train.len(),
            per_class: parts.train.len() / train.len().max(1),
            validates: !parts.validation.is_empty(),
        }
    }

    fn drawn(facts: &Summary) -> Self {
        const UNSEEN: &str = "# Whole classes are held out: the model is measured on classes that it never saw.\n\
                              [data.split.class_disjoint]\ntest = 0.3\n";
        let (text, classes) = match facts.classes {
            VALIDATED.. => (
                format!("{UNSEEN}validation = 0.1\n"),
                facts.classes * 6 / 10,
            ),
            // A tenth would be a single class, on which every answer is right.
            10.. => (
                format!("{UNSEEN}validation = 0.0\n"),
                facts.classes * 7 / 10,
            ),
            _ => (
                format!(
                    "# Fewer than ten classes: items are held out, not classes. The result says nothing of new classes.\n\
                     [data.split.item_level]\ntest = {}\n",
                    held_out(facts)
                ),
                facts.classes,
            ),
        };
        let kept = match facts.classes {
            0..10 => 1.0 - held_out(facts),
            _ => 1.0,
        };
        Self {
            text,
            classes,
            per_class: (facts.median as f64 * kept) as usize,
            validates: facts.classes >= VALIDATED,
        }
    }
}

/// The parts that the data give.
fn given_parts(dataset: &Dataset) -> Result<Parts> {
    let parts = Split::Given.apply(dataset, 0)?;
    check_parts(&parts, dataset)?;
    Ok(parts)
}

/// The share of each class's items that test: of few items half, so that two are there to find each other.
fn held_out(facts: &Summary) -> f64 {
    if facts.median < 7 { 0.5 } else { 0.3 }
}
