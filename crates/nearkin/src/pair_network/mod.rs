//! A network of pairs: a learned metric, which says how different two images are and has no vector of one.
//!
//! ```no_run
//! use nearkin::{Control, Outcome, pair_network::PairSetup, recipe::Document, train::train};
//! use std::{path::Path, sync::atomic::AtomicBool};
//!
//! let recipe = Document::read(Path::new("recipes/quadruplet-cuhk03-pairs.toml"))?.pair_recipe()?;
//! let control = Control { observer: &mut |_| {}, stop: &AtomicBool::new(false) };
//! let setup = PairSetup::new(recipe)?;
//! let Outcome::Finished(report) = train(&setup, Path::new("runs/pairs"), control)? else { return Ok(()) };
//! println!("{:?}", report.rows);
//! # Ok::<(), nearkin::Error>(())
//! ```

mod card;
mod measure;
mod probes;
mod recipe;
mod report;
mod samples;
mod search;
mod setup;
mod task;
#[cfg(test)]
mod tests;
mod verification;

pub use measure::{PairReid, measure};
pub use probes::{Probes, cameras_of};
pub use recipe::PairRecipe;
pub use report::{PairReport, PairRow};
pub use samples::PairBatch;
pub use search::PairSearch;
pub use setup::PairSetup;
