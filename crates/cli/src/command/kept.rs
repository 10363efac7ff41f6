//! What runs gave, kept beside them, so that a command that is given again shows it at once.

use super::seeds::check_same;
use crate::failure::Failure;
use nearkin::recipe::Document;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// What was kept of these runs, where all of them are done; a file that cannot be read is none, and is written again. A run of
/// another recipe in one of the folders is refused.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    runs: &[(Document, PathBuf)],
) -> Result<Option<T>, Failure> {
    let mut whole = true;
    for (document, folder) in runs {
        check_same(document, folder)?;
        whole &= folder.join("model").is_dir();
    }
    let text = std::fs::read_to_string(path).ok().filter(|_| whole);
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Keeps what runs gave.
pub fn write<T: Serialize>(path: &Path, found: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(found)?;
    Ok(nearkin::write_beside(path, text.as_bytes())?)
}
