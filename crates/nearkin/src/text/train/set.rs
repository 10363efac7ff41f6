//! A data set at hand: its texts, and what is known of each item.

use crate::error::{Error, Result};
use crate::text::recipe::{Data, TextRecipe};
use crate::text::table::{Damage, Rows, Target, TextRows};
use nearkin_losses::Objective;
use nearkin_losses::loss::{self, Columns, Loss, Shape};

/// A data set to learn from.
pub(super) struct Set {
    pub name: String,
    /// Texts of each view; a text alone has one column for both of its views.
    pub columns: Vec<Vec<String>>,
    /// Texts of an item, 1 for a labeled text.
    pub views: usize,
    pub known: Known,
    pub objective: Objective,
    /// Rows of the table that could not be used.
    pub damage: Damage,
}

/// What is known of each item.
pub(super) enum Known {
    /// That its views belong together.
    Nothing,
    /// How alike its two views are.
    Scores(Vec<f32>),
    /// The class of the pair, what a classifier learns.
    Classes { names: Vec<String>, of: Vec<u32> },
    /// The class of a text: texts of one class belong together.
    Labels { of: Vec<u32>, classes: usize },
}

impl Set {
    /// Reads data set number `number` of a recipe.
    ///
    /// # Errors
    /// The table cannot be read, there is no loss for it, or what its rows say is nothing to the loss.
    pub fn read(recipe: &TextRecipe, number: usize) -> Result<Self> {
        let data = &recipe.data[number];
        let Some(objective) = recipe.objective(number) else {
            let expected = "a loss, here or as [loss.NAME] for all data sets";
            return Err(super::setting(&format!("data.{number}"), expected, "none"));
        };
        let TextRows {
            texts: columns,
            target,
            damage,
            ..
        } = super::rooted(&data.table, recipe.root.as_deref()).read(&data.rows)?;
        let views = match &data.rows {
            Rows::Labeled(_) => 1,
            rows => columns
                .len()
                .max(if matches!(rows, Rows::Texts(_)) { 2 } else { 0 }),
        };
        Ok(Self {
            known: known(data, number, target, &objective)?,
            name: data.name.clone(),
            columns,
            views,
            objective,
            damage,
        })
    }

    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The text of a view of an item.
    pub fn text(&self, view: usize, item: usize) -> &str {
        &self.columns[view.min(self.columns.len() - 1)][item]
    }

    /// Classes that the loss tells apart; none where it is not about classes.
    pub fn classes(&self) -> usize {
        match &self.known {
            Known::Classes { names, .. } => names.len(),
            Known::Labels { classes, .. } => *classes,
            Known::Nothing | Known::Scores(_) => 0,
        }
    }

    /// The names of the classes of its pairs.
    pub fn class_names(&self) -> Option<&[String]> {
        match &self.known {
            Known::Classes { names, .. } => Some(names),
            Known::Nothing | Known::Scores(_) | Known::Labels { .. } => None,
        }
    }

    /// Whether its loss learns to tell just these classes of pairs apart.
    pub fn learns_classes(&self, names: &[String]) -> bool {
        let is_classifier = matches!(self.objective.loss, Loss::SoftmaxClassification(_));
        is_classifier && self.class_names() == Some(names)
    }
}

fn known(data: &Data, number: usize, target: Target, objective: &Objective) -> Result<Known> {
    let takes_scores = objective
        .loss
        .definition()
        .targets()
        .contains(&loss::Target::Scores);
    let unusable = |found: String| {
        let expected = format!(
            "nothing but pairs for the loss {}: leave the column out, and choose the pairs that belong together by table.filter",
            objective.loss.name()
        );
        Err(super::setting(
            &format!("data.{number}.rows"),
            expected,
            found,
        ))
    };
    Ok(match (target, &data.rows) {
        (Target::Classes { names, of }, Rows::Labeled(_)) => {
            if let Some(loss) = objective.unlabeled_loss() {
                let source = nearkin_losses::Error::NotAligned { loss };
                return Err(refused(data, number, source));
            }
            Known::Labels {
                of,
                classes: names.len(),
            }
        }
        (Target::Classes { names, of }, _) if objective.needs(2).classes => {
            Known::Classes { names, of }
        }
        (Target::Classes { names, of }, _) if names.len() == 2 && takes_scores => {
            Known::Scores(of.iter().map(|&class| class as f32).collect())
        }
        (Target::Classes { names, .. }, _) => {
            return unusable(format!("the classes {}", names.join(", ")));
        }
        (Target::Scores(scores), _) if takes_scores => {
            Known::Scores(scores.iter().map(|&score| score as f32).collect())
        }
        (Target::Scores(_), _) => return unusable("scores".to_owned()),
        (Target::Nothing, _) if learns_proxies(&objective.loss) => {
            let expected = format!(
                "labeled texts for the loss {}, which learns a proxy of each class",
                objective.loss.name()
            );
            let key = format!("data.{number}.rows");
            return Err(super::setting(&key, expected, "no classes"));
        }
        (Target::Nothing, _) => Known::Nothing,
    })
}

/// Whether a loss learns something of each class.
pub(super) fn learns_proxies(loss: &Loss) -> bool {
    let definition = loss.definition();
    let of = |classes| definition.learned(Shape { dim: 1, classes });
    matches!(definition.columns(), Columns::Proxies { .. }) || of(1) != of(2)
}

/// The error of a loss that does not fit a data set.
pub(super) fn refused(data: &Data, number: usize, source: nearkin_losses::Error) -> Error {
    let key = match data.loss {
        Some(_) => format!("data.{number}.loss"),
        None => "loss".to_owned(),
    };
    Error::DataLoss {
        key,
        data: data.name.clone(),
        source,
    }
}
