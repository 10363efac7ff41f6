//! Sentences and their embeddings: tables of text, evaluation, search and mining.
//!
//! Text comes in through a [`TextTable`]. Training is a [`recipe::TextRecipe`] that [`train::TextSetup`] opens and
//! [`crate::train::train`] runs; [`embed`] makes a file of vectors with the encoder. Everything else holds no network: it works
//! on embeddings, row-major matrices that any encoder may have made, and on the gold scores, labels or relevant items that
//! belong to their rows.

pub mod classification;
pub mod convert;
pub mod correlation;
pub mod embed;
mod error;
pub mod folds;
pub mod hard_negatives;
pub mod head;
pub mod information_retrieval;
mod lbfgs;
pub mod logistic_regression;
mod open;
pub mod pairs;
pub mod paraphrase;
pub mod recipe;
pub mod rerank;
mod resample;
pub mod senteval;
pub mod similarity;
mod source;
pub mod sts;
pub mod table;
pub mod task;
pub mod tfidf;
pub mod train;
pub mod triplets;

pub use error::TextError;
pub use nearkin_encoder::text as encoder;
pub use nearkin_losses::range::{Finite, Fraction, NonNegative};
pub use open::{open, open_with};
pub use resample::Bootstrap;
pub use table::TextTable;
