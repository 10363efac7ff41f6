//! The arguments of `nearkin compare`.

use clap::Args;
use nearkin::compare::Effort;
use std::path::PathBuf;

/// `nearkin compare`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin compare recipe.toml --loss triplet_margin,multi_similarity,proxy_anchor\n  nearkin compare recipe.toml --loss contrastive,n_pair --budget 1 --seeds 5        no tuning: the recipe's numbers and the defaults\n  nearkin compare recipe.toml --loss contrastive,n_pair --set train.steps=50 --out runs/trial\n\nThe classes that the recipe tests are kept apart; the others are cut into folds. Each loss has\n--budget tries of its numbers and of the learning rate, each trained once for each fold. The one with\nthe best MAP@R on the folds left out is trained again with --seeds new seeds and tested. That makes\nFOLDS × (BUDGET + SEEDS) runs for each loss, one after another.\nA loss of the recipe begins with the recipe's numbers, others with their defaults. Distance, miner\nand reducer are the loss's own unless the recipe names them for all.\nOUT/results.md and OUT/results.csv hold the table. Stopped, or with more losses, tries or seeds, the\nsame command goes on: what is trained is not trained again."
)]
pub struct Compare {
    /// A recipe of labeled items (.toml).
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// The losses, by their keys in recipes; nearkin list losses shows them.
    #[arg(long, value_name = "LOSS,…", value_delimiter = ',', required = true)]
    pub loss: Vec<String>,
    /// Tries of each loss.
    #[arg(long, value_name = "TRIES", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub budget: u16,
    /// Folds of the classes that are not tested.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(2..=100))]
    pub folds: u16,
    /// Seeds of the runs that are tested: those after the recipe's own.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub seeds: u16,
    /// Changes one key of the recipe for all losses; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the runs; runs/NAME-compare where absent.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Compare {
    /// What every loss gets.
    pub fn effort(&self) -> Effort {
        Effort {
            folds: self.folds.into(),
            tries: self.budget.into(),
            seeds: self.seeds.into(),
        }
    }
}
