//! The description in a model folder, `nearkin.json`: which kind of model is there, and its settings.

use crate::error::{Error, Result};
use crate::weights;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The newest format of the folder that this version writes and reads.
pub const FORMAT: u32 = 1;
/// The file that describes the model.
pub const CONFIG: &str = "nearkin.json";

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A network that embeds items.
    Embedder,
    /// A network that scores pairs of items.
    Pairs,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Embedder => "a model that embeds single items",
            Self::Pairs => {
                "a network of pairs, which scores two images together and has no vector of one"
            }
        }
    }
}

/// What is read first: a newer format may have keys that are unknown here, and another kind of model has.
#[derive(Deserialize)]
struct Beginning {
    format: u32,
    #[serde(default)]
    pair_network: Option<IgnoredAny>,
}

impl Beginning {
    fn kind(&self) -> Kind {
        match self.pair_network {
            Some(_) => Kind::Pairs,
            None => Kind::Embedder,
        }
    }
}

/// Writes a description into an existing folder.
pub(crate) fn write(folder: &Path, description: &impl Serialize) -> Result<()> {
    let path = folder.join(CONFIG);
    let mut text = serde_json::to_string_pretty(description).map_err(|e| damaged(&path, &e))?;
    text.push('\n');
    weights::write_beside(&path, text.as_bytes())
}

/// Reads the description of a model of this kind.
pub(crate) fn read<T: DeserializeOwned>(folder: &Path, expected: Kind) -> Result<T> {
    let path = folder.join(CONFIG);
    if !path.exists() {
        // The folder of a run has its model one level below.
        let below = folder.join("model");
        let hint = if below.join(CONFIG).exists() {
            format!("; did you mean {}?", below.display())
        } else {
            String::new()
        };
        return Err(Error::File {
            path: folder.into(),
            reason: format!("no model folder, there is no {CONFIG} in it{hint}"),
        });
    }
    let text = fs_err::read_to_string(&path)?;
    let beginning: Beginning = serde_json::from_str(&text).map_err(|e| damaged(&path, &e))?;
    if beginning.format > FORMAT {
        return Err(Error::Version {
            path,
            found: beginning.format,
            supported: FORMAT,
        });
    }
    if beginning.kind() != expected {
        return Err(Error::Kind {
            path: folder.into(),
            expected: expected.words(),
            found: beginning.kind().words(),
        });
    }
    serde_json::from_str(&text).map_err(|e| damaged(&path, &e))
}

/// Whether a folder says that it holds a model of this kind.
pub(crate) fn is_of(folder: &Path, kind: Kind) -> bool {
    let text = fs_err::read_to_string(folder.join(CONFIG)).unwrap_or_default();
    serde_json::from_str(&text).is_ok_and(|beginning: Beginning| beginning.kind() == kind)
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::File {
        path: path.into(),
        reason: error.to_string(),
    }
}
