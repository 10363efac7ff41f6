//! Deep metric learning: give it labeled items, get a model in which near means kin.
//!
//! The central type is the [`recipe::Recipe`]: everything that decides a run, one TOML document.
//! [`train::Setup`] opens its data, [`train::train`] runs it, and the model folder that it writes is
//! all that embedding and searching need.
//!
//! ```
//! use nearkin::{Control, Mat, Model, Outcome, embed::embed, recipe::Document, search, train};
//! use std::sync::atomic::AtomicBool;
//!
//! let text = include_str!("../../../recipes/quickstart.toml").replace("steps = 300", "steps = 40");
//! let setup = train::Setup::new(Document::parse("quickstart.toml", &text)?.recipe()?)?;
//! let folder = tempfile::tempdir()?;
//! let control = Control { observer: &mut |event| println!("{event:?}"), stop: &AtomicBool::new(false) };
//! let Outcome::Finished(report) = train::train(&setup, folder.path(), control)? else { unreachable!("nobody stops it") };
//! let model = Model::load(&report.model)?;
//! let unseen = embed(&model, &setup.feed, &setup.parts.test, &mut |_| {})?;
//! let vectors = Mat::new(&unseen.numbers, unseen.items.len(), unseen.dim);
//! let nearest = search::neighbors(vectors, vectors, search::Similarity::Cosine, 5)?;
//! println!("{:?}, on scripts never seen: {:?}", nearest.row(0).collect::<Vec<_>>(), report.rows);
//! # let [raw, untrained, trained] = [0, 1, 2].map(|row| report.rows[row].evaluation.retrieval.map_at_r.value);
//! # assert!(trained > untrained, "MAP@R {raw:.3} raw, {untrained:.3}, {trained:.3}");
//! # assert_eq!(nearest.row(7).next().map(|(item, _)| item), Some(7), "an item is nearest to itself");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
pub mod card;
pub mod cluster;
pub mod compare;
pub mod data;
mod documented;
pub mod embed;
mod error;
pub mod evaluate;
pub mod feed;
pub mod hub;
pub mod init;
pub mod limit;
mod nearest;
pub use nearest::nearest;
pub mod optimize;
pub mod pair_network;
mod prefetch;
pub mod quantize;
pub mod recipe;
pub mod report;
pub mod reproduce;
pub mod sampler;
pub mod search;
pub mod split;
pub mod text;
pub mod train;
mod unit_rows;
pub mod vectors;
pub mod verify;

pub use error::{Error, Result};
pub use nearkin_encoder::image;
pub use nearkin_encoder::model::Input;
pub use nearkin_encoder::network::{PairNetwork, PairOutput};
pub use nearkin_encoder::text::SentenceEncoder;
pub use nearkin_encoder::{Error as EncoderError, InputShape, Model, Network, PairModel, profile};
pub use nearkin_kernels::{Mat, set_threads, threads};
pub use train::{Control, Event, Outcome};

use std::path::Path;

/// Writes a file beside its target and renames it: the old file stays whole if anything fails.
///
/// # Errors
/// The disk is full or the folder cannot be written.
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(nearkin_encoder::weights::write_beside(path, bytes)?)
}

/// Makes a folder and those above it.
///
/// # Errors
/// The folder cannot be made; the message names it.
pub fn create_folder(path: &Path) -> Result<()> {
    Ok(fs_err::create_dir_all(path)?)
}
