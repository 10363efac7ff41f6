use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::last_parts;
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "images_background/Greek/character01/0394_01.png";

/// Omniglot: `images_background/Greek/character01/0394_01.png`, a class a character of an alphabet, `Greek/character01`.
///
/// The alphabets of `images_background` (also its small parts) train and those of `images_evaluation` test. Alphabets
/// outside of these folders have no given split: name them with `[data.split.prefix]`.
///
/// # Reference
/// B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum, *Human-level concept learning through probabilistic program induction*,
/// Science 350, 2015.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Omniglot {
    /// The folder or zip archive.
    pub path: PathBuf,
}

impl Omniglot {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        Tree::open(&self.path)?.dataset(FORM, |file| {
            let Some([alphabet, character, _]) = last_parts(file) else {
                return Ok(None);
            };
            let part = file.split('/').find_map(|folder| match folder {
                "images_evaluation" => Some(Part::Test),
                _ => folder
                    .starts_with("images_background")
                    .then_some(Part::Train),
            });
            Ok(character.starts_with("character").then(|| Described {
                class: format!("{alphabet}/{character}"),
                part,
                ..Described::default()
            }))
        })
    }
}
