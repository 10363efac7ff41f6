//! A data set of pairs at hand: its texts, and what is known of each pair.

use crate::error::Result;
use crate::text::recipe::{CrossEncoderRecipe, NamedRows, setting};
use crate::text::table::{Damage, Rows, Target, TextRows};
use crate::text::train::rooted;
use nearkin_losses::logits::LogitTargets;

/// A data set of pairs to learn from.
pub(super) struct PairSet {
    pub name: String,
    /// The first texts, and the second ones.
    pub texts: Vec<Vec<String>>,
    pub known: Known,
    /// The names of the classes; none where scores are learned.
    pub classes: Vec<String>,
    /// Rows of the table that could not be used.
    pub damage: Damage,
}

/// What is known of each pair.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Its score.
    Scores(Vec<f32>),
    /// Its class.
    Classes(Vec<u32>),
}

impl Known {
    /// What is known of some pairs.
    pub fn of(&self, items: &[usize]) -> Self {
        match self {
            Self::Scores(of) => Self::Scores(items.iter().map(|&item| of[item]).collect()),
            Self::Classes(of) => Self::Classes(items.iter().map(|&item| of[item]).collect()),
        }
    }

    pub fn targets(&self) -> LogitTargets<'_> {
        match self {
            Self::Scores(of) => LogitTargets::Scores(of),
            Self::Classes(of) => LogitTargets::Classes(of),
        }
    }
}

impl PairSet {
    /// Reads all data sets of a recipe.
    ///
    /// # Errors
    /// A table cannot be read, its rows are nothing to the loss, or two data sets have other classes.
    pub fn read_all(recipe: &CrossEncoderRecipe) -> Result<Vec<Self>> {
        let sets = recipe.data.iter().enumerate();
        let sets: Vec<Self> = sets
            .map(|(number, data)| Self::read(recipe, number, data))
            .collect::<Result<_>>()?;
        let first = sets.first().map(|set| set.classes.clone());
        let other = sets
            .iter()
            .position(|set| Some(&set.classes) != first.as_ref());
        if let (Some(number), Some(first)) = (other, first) {
            return Err(setting(
                &format!("data.{number}.rows"),
                format!(
                    "the classes of data set {}: {}",
                    sets[0].name,
                    first.join(", ")
                ),
                sets[number].classes.join(", "),
            ));
        }
        Ok(sets)
    }

    fn read(recipe: &CrossEncoderRecipe, number: usize, data: &NamedRows) -> Result<Self> {
        let read = rooted(&data.table, recipe.root.as_deref()).read(&data.rows)?;
        let (known, classes) = known(recipe, (number, data), read.target)?;
        let TextRows { texts, damage, .. } = read;
        Ok(Self {
            name: data.name.clone(),
            texts,
            known,
            classes,
            damage,
        })
    }

    pub fn len(&self) -> usize {
        self.texts[0].len()
    }

    /// Both texts of a pair.
    pub fn pair(&self, item: usize) -> [&str; 2] {
        [0, 1].map(|view| self.texts[view][item].as_str())
    }
}

/// What the loss learns of each pair, and the names of the classes.
fn known(
    recipe: &CrossEncoderRecipe,
    (number, data): (usize, &NamedRows),
    target: Target,
) -> Result<(Known, Vec<String>)> {
    let loss = &recipe.loss;
    let unusable = |expected: &str, found: String| {
        let expected = format!("{expected} for the loss {}", loss.name());
        Err(setting(&format!("data.{number}.rows"), expected, found))
    };
    let is_pairs = matches!(data.rows, Rows::Pairs(_) | Rows::Scored(_));
    match target {
        _ if !is_pairs => unusable("rows.pairs or rows.scored", "rows that are no pairs".into()),
        Target::Classes { names, of } if loss.is_of_classes() => {
            if names.len() < 2 {
                return unusable("at least two classes", format!("only {}", names.join(", ")));
            }
            Ok((Known::Classes(of), names))
        }
        _ if loss.is_of_classes() => unusable("pairs with a class", "none".into()),
        Target::Scores(scores) => {
            let scores = scores.iter().map(|&score| score as f32).collect();
            Ok((Known::Scores(scores), Vec::new()))
        }
        Target::Classes { names, of } if names.len() == 2 => {
            let scores = of.iter().map(|&class| class as f32).collect();
            Ok((Known::Scores(scores), Vec::new()))
        }
        Target::Classes { names, .. } => {
            let found = format!("the classes {}", names.join(", "));
            let expected = "scores or two classes, the second of which is a score of 1,";
            let hint = format!("{found}; [loss.{CLASSIFIER}] tells more classes apart");
            unusable(expected, hint)
        }
        Target::Nothing => unusable("a score or a class of each pair", "neither".into()),
    }
}

/// The key of the loss of classes.
const CLASSIFIER: &str = "cross_entropy";

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_losses::logits::LogitLoss;

    #[test]
    fn the_loss_of_classes_has_the_name_that_errors_suggest() {
        let loss = LogitLoss::CrossEntropy(nearkin_losses::logits::CrossEntropy {});
        assert_eq!(loss.name(), CLASSIFIER);
    }
}
