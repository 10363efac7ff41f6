//! What is trained in a comparison.

use super::tries::drawn;
use crate::recipe::{AnyRecipe, Document, RecipeError};
use crate::split::{Fold, Split};
use nearkin_losses::range::Count;
use serde::{Deserialize, Serialize};
use toml_edit::ser::ValueSerializer;

/// How much effort every loss gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Folds of the cross-validation, at least two.
    pub folds: usize,
    /// Tries of its numbers, the recipe's own the first.
    pub tries: usize,
    /// Seeds of the runs that are tested.
    pub seeds: usize,
}

impl Effort {
    /// Training runs for each loss.
    pub fn runs(self) -> usize {
        self.folds * (self.tries + self.seeds)
    }
}

/// A recipe with losses in turn.
#[derive(Clone, Debug)]
pub struct Comparison {
    document: Document,
    losses: Vec<String>,
    effort: Effort,
    /// Of the recipe: decides folds, draws and, counted on from it, the runs that are tested.
    seed: u64,
    split: Split,
}

impl Comparison {
    /// Of a recipe of labeled items, whose own loss need not be among those compared. The numbers of a loss are the recipe's
    /// where it is the recipe's own, and its defaults otherwise.
    ///
    /// # Errors
    /// The recipe is no recipe of labeled items, a loss is unknown or does not go with the rest of the recipe, or one is named
    /// twice, or there is none.
    pub fn new(document: Document, losses: &[String], effort: Effort) -> Result<Self, RecipeError> {
        if !matches!(document.any_recipe()?, AnyRecipe::Items(_)) {
            let message = "losses are compared on labeled items, not on texts or by networks of pairs; nearkin sweep varies those";
            return Err(document.error_at("encoder", message));
        }
        let recipe = document.recipe()?;
        let comparison = Self {
            seed: recipe.seed,
            split: recipe.data.split,
            document,
            losses: losses.to_vec(),
            effort,
        };
        if losses.is_empty() {
            return Err(comparison.document.error_at("loss", "no loss to compare"));
        }
        for (at, loss) in losses.iter().enumerate() {
            if losses[..at].contains(loss) {
                let message = format!("{loss} is named twice: each loss is compared once");
                return Err(comparison.document.error_at("loss", &message));
            }
            comparison.of_loss(loss)?.recipe()?;
        }
        Ok(comparison)
    }

    /// The losses, in their order.
    pub fn losses(&self) -> &[String] {
        &self.losses
    }

    /// The effort of each.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// The recipe with a loss.
    fn of_loss(&self, loss: &str) -> Result<Document, RecipeError> {
        let mut document = self.document.clone();
        let own = self.document.recipe()?.loss.name() == loss;
        if !own {
            document.set(&format!("loss.{loss}={{}}"))?;
        }
        Ok(document)
    }

    /// The numbers of a try as changes that `--set` takes; none of the first, which is the recipe as it is.
    ///
    /// # Errors
    /// The loss is unknown.
    pub fn changes(&self, loss: &str, number: usize) -> Result<Vec<String>, RecipeError> {
        if number == 0 {
            return Ok(Vec::new());
        }
        drawn(&self.of_loss(loss)?, self.seed, (loss, number))
    }

    /// A run that tells how good a try is, on a fold: it does not see the test classes.
    ///
    /// # Errors
    /// The loss is unknown, or a change cannot be.
    pub fn tuning(
        &self,
        loss: &str,
        changes: &[String],
        fold: usize,
    ) -> Result<Document, RecipeError> {
        self.run(loss, changes, (fold, self.seed, false))
    }

    /// A run that is tested, of the seed with this number. Its seeds follow the recipe's, which decided the choice: what was
    /// luck of that one is not tested.
    ///
    /// # Errors
    /// As [`tuning`](Self::tuning).
    pub fn testing(
        &self,
        loss: &str,
        changes: &[String],
        (seed, fold): (usize, usize),
    ) -> Result<Document, RecipeError> {
        let seed = self.seed.wrapping_add(1 + seed as u64);
        self.run(loss, changes, (fold, seed, true))
    }

    fn run(
        &self,
        loss: &str,
        changes: &[String],
        (fold, seed, test): (usize, u64, bool),
    ) -> Result<Document, RecipeError> {
        let mut document = self.of_loss(loss)?;
        let split = Split::Fold(Fold {
            folds: Count::new(self.effort.folds)
                .map_err(|error| document.error_at("data.split", &error.to_string()))?,
            number: fold,
            seed: self.seed,
            test,
            within: Box::new(self.split.clone()),
        });
        let split = split
            .serialize(ValueSerializer::new())
            .map_err(|error| RecipeError::Write(error.to_string()))?;
        document.set(&format!("data.split={split}"))?;
        document.set(&format!("seed={seed}"))?;
        for change in changes {
            document.set(change)?;
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        folds: 3,
        tries: 4,
        seeds: 2,
    };

    fn comparison(losses: &[&str]) -> Result<Comparison, RecipeError> {
        let text = "seed = 5\n[data.source.bundled]\nname = \"digits\"\n[data.split.class_disjoint]\ntest = 0.4\n\
                    [network.mlp]\n[loss.contrastive]\nnegative_margin = 0.7\n";
        let losses: Vec<String> = losses.iter().map(|&loss| loss.to_owned()).collect();
        Comparison::new(Document::parse("r.toml", text).unwrap(), &losses, EFFORT)
    }

    #[test]
    fn a_loss_of_the_recipe_keeps_its_numbers_and_others_have_their_defaults() {
        let comparison = comparison(&["contrastive", "triplet_margin"]).unwrap();
        let text = |loss: &str| {
            let recipe = comparison.tuning(loss, &[], 0).unwrap().recipe().unwrap();
            recipe.to_toml().unwrap()
        };
        assert!(text("contrastive").contains("negative_margin = 0.7"));
        let other = text("triplet_margin");
        assert!(other.contains("[loss.triplet_margin]") && !other.contains("contrastive"));
    }

    #[test]
    fn tuning_runs_have_one_seed_and_no_test_part_and_tested_runs_have_both() {
        let comparison = comparison(&["contrastive"]).unwrap();
        let tuning = comparison
            .tuning("contrastive", &[], 2)
            .unwrap()
            .recipe()
            .unwrap();
        let testing = comparison
            .testing("contrastive", &[], (1, 2))
            .unwrap()
            .recipe()
            .unwrap();
        assert_eq!((tuning.seed, testing.seed), (5, 7));
        let parts = [&tuning.data.split, &testing.data.split].map(|split| match split {
            Split::Fold(fold) => (fold.seed, fold.number, fold.test),
            other => panic!("{other:?}"),
        });
        assert_eq!(parts, [(5, 2, false), (5, 2, true)]);
        assert_eq!(EFFORT.runs(), 18);
    }

    #[test]
    fn unknown_and_repeated_losses_are_refused_by_name() {
        let error = |losses: &[&str]| comparison(losses).unwrap_err().to_string();
        assert!(
            error(&["contrastve"]).contains("contrastive"),
            "{}",
            error(&["contrastve"])
        );
        assert!(error(&["n_pair", "n_pair"]).contains("n_pair is named twice"));
        assert!(error(&[]).contains("no loss"));
    }
}
