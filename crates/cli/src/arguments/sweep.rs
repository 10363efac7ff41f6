//! The arguments of `nearkin sweep`.

use clap::Args;
use std::num::NonZeroU16;
use std::path::PathBuf;

/// `nearkin sweep`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin sweep recipe.toml --vary 'loss.triplet_margin.margin=[0.1, 0.2]' --seeds 3\n  nearkin sweep recipe.toml --vary 'data.limit.items=[500, 2000, 8000]'       what more data is worth\n  nearkin sweep recipes/sbert-nli.toml --vary 'encoder.pooling=[[\"mean\"], [\"cls\"]]'\n\nEvery run lies in a folder of its own, OUT/NUMBER/seed-SEED, with its recipe. Stopped, or with the first list made longer at\nits end, the same command goes on: what is trained is not trained again.\nOf a recipe with after = \"first.toml\" each run trains both; after.KEY is a key of the first: --vary 'after.train.steps=[100, 200]'."
)]
pub struct Sweep {
    /// A recipe (.toml).
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Values of a key, each trained with; given several times, every combination.
    #[arg(long, value_name = "KEY=[A, B, …]", required = true)]
    pub vary: Vec<String>,
    /// Changes one key of the recipe for all runs; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seeds of each combination, from the recipe's own on.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seeds: NonZeroU16,
    /// Folder of the runs; runs/NAME-sweep where absent.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
