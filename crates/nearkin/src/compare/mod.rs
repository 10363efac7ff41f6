//! Losses compared fairly: the same data, batches, steps and tuning effort for each, on classes that neither training nor
//! tuning saw.
//!
//! The protocol is that of the metric learning reality check. The classes that the recipe's split tests are kept apart. The
//! others are cut into folds, class by class. Every loss gets the same number of tries: its own numbers and the learning
//! rate as they are, and then drawn anew. A try is trained once for each fold, and the mean MAP@R on the classes of the fold
//! left out says which try is taken. That one is trained again with several new seeds, once for each fold, and only these models
//! meet the test classes: each by itself, and those of all folds of a seed together, their embeddings one after another.
//!
//! ```
//! use nearkin::compare::{Comparison, Effort};
//! use nearkin::recipe::Document;
//! let document = Document::parse("digits.toml", r#"
//!     [data.source.bundled]
//!     name = "digits"
//!     [network.mlp]
//!     [loss.triplet_margin]
//! "#)?;
//! let effort = Effort { folds: 3, tries: 2, seeds: 1 };
//! let comparison = Comparison::new(document, &["triplet_margin".into(), "contrastive".into()], effort)?;
//! let second = comparison.changes("contrastive", 1)?;
//! assert!(second.iter().any(|change| change.starts_with("loss.contrastive.")), "{second:?}");
//! let recipe = comparison.tuning("contrastive", &second, 0)?.recipe()?;
//! assert_eq!(recipe.loss.name(), "contrastive");
//! # Ok::<(), nearkin::recipe::RecipeError>(())
//! ```
//!
//! # Reference
//! K. Musgrave, S. Belongie, S.-N. Lim, A Metric Learning Reality Check, ECCV 2020, §3. There the tries are 50, chosen by
//! Bayesian optimization; here they are drawn at random, which needs no state and favors no loss.

mod comparison;
mod findings;
mod interval;
mod scores;
mod student;
mod tries;

pub use comparison::{Comparison, Effort};
pub use findings::{Arm, Contrast, Findings, Tried};
pub use interval::Interval;
pub use scores::{Scores, Tested, tested};
