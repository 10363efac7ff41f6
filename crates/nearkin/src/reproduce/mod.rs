//! The comparisons of the image papers, run again: every loss of a table at one budget, over several seeds, beside the
//! paper's own figures.
//!
//! A [`Study`] is a document: a recipe, its scales, the arms that change the recipe, what is measured, and what the paper
//! claims. Each arm and seed is an ordinary training run; [`measured`] takes its numbers, and [`Findings`] say which claims
//! hold.
//!
//! ```
//! use nearkin::reproduce::{Paper, Study};
//! let study = Study::of(Paper::Constellation)?;
//! let arm = &study.arms[0];
//! let recipe = study.document(&study.small, arm, ("data".as_ref(), &[]))?.recipe()?;
//! assert_eq!((arm.name.as_str(), recipe.loss.name()), ("triplet", "triplet_margin"));
//! # Ok::<(), nearkin::recipe::RecipeError>(())
//! ```

mod drawn_pairs;
mod findings;
mod measure;
mod study;

pub use findings::{Findings, Numbers, Ruling, Verdict};
pub use measure::{Measure, measured, measured_of_pairs};
pub use study::{Arm, Claim, Paper, Scale, Study};
