//! What a first recipe holds out of training.

use crate::data::{Dataset, Summary, is_below_part};
use crate::error::Result;
use crate::split::{Parts, Split};
use crate::train::check_parts;
use std::collections::BTreeSet;

/// The fewest classes of which a tenth says something: of fewer it would be a single class, on which every answer is right.
const VALIDATED: usize = 20;
/// The fewest classes of which whole ones are held out.
const UNSEEN: usize = 10;
/// The share that tests.
const TEST: f64 = 0.3;

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
    /// Splits to try in their order: that which the data give, or those that are drawn.
    pub fn choices(dataset: &Dataset, facts: &Summary) -> Vec<Self> {
        if dataset.given_split.is_none() {
            let mut drawn = Self::drawn(facts);
            if let Some(class) = dataset.classes.iter().find(|class| is_below_part(class)) {
                for choice in &mut drawn {
                    let text = &choice.text;
                    choice.text = format!(
                        "# Folders are called as parts are, but more than one image in twenty lies outside of CLASS folders in them (train/CLASS,\n\
                         # test/CLASS): they give no split, and are in the names of classes, such as {class:?}.\n{text}"
                    );
                }
            }
            return drawn;
        }
        match given_parts(dataset) {
            Ok(parts) => vec![Self::given(dataset, &parts)],
            Err(error) => {
                let error = error.to_string().replace(['\n', '\r'], " ");
                let mut drawn = Self::drawn(facts);
                for choice in &mut drawn {
                    let text = &choice.text;
                    choice.text = format!("# Not the split that the data give: {error}.\n{text}");
                }
                drawn
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

    /// Whole classes, and what validates with them, where there are enough for it; items of classes otherwise, and where a
    /// draw of classes has none with two items.
    fn drawn(facts: &Summary) -> Vec<Self> {
        let mut choices = Vec::new();
        if facts.classes >= VALIDATED {
            choices.push(Self::classes(facts, (TEST, 0.1)));
        }
        if facts.classes >= UNSEEN {
            choices.push(Self::classes(facts, (TEST, 0.0)));
        }
        choices.push(Self::items(facts));
        if facts.classes < UNSEEN {
            // Of classes too small to lend items.
            choices.push(Self::classes(facts, (0.5, 0.0)));
        }
        choices
    }

    fn classes(facts: &Summary, (test, validation): (f64, f64)) -> Self {
        let trained = facts.classes as f64 * (1.0 - test - validation);
        Self {
            text: format!(
                "# Whole classes are held out: the model is measured on classes that it never saw.\n\
                 [data.split.class_disjoint]\ntest = {test}\nvalidation = {validation:?}\n"
            ),
            classes: trained as usize,
            per_class: facts.median,
            validates: validation > 0.0,
        }
    }

    fn items(facts: &Summary) -> Self {
        // Of few items half, so that two are there to find each other.
        let test = if facts.median < 7 { 0.5 } else { TEST };
        let why = match facts.classes {
            ..UNSEEN => "Fewer than ten classes",
            _ => "Few classes of two items and more",
        };
        Self {
            text: format!(
                "# {why}: items are held out, not classes. The result says nothing of new classes.\n\
                 [data.split.item_level]\ntest = {test}\n"
            ),
            classes: facts.classes,
            per_class: (facts.median as f64 * (1.0 - test)) as usize,
            validates: false,
        }
    }
}

/// The parts that the data give.
fn given_parts(dataset: &Dataset) -> Result<Parts> {
    let parts = Split::Given.apply(dataset, 0)?;
    check_parts(&parts, dataset)?;
    Ok(parts)
}
