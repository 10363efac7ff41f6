//! A sentence encoder by its folder or its name on the hub.

use crate::error::{Error, Result};
use crate::hub;
use nearkin_encoder::text::{Reading, SentenceEncoder, base_of_adapters};
use std::path::Path;

/// Reads an encoder: a folder, a text file of word vectors, or a name on the model hub; of a folder of adapters also the model
/// that they change.
///
/// ```no_run
/// let encoder = nearkin::text::open("sentence-transformers/all-MiniLM-L6-v2".as_ref())?;
/// # Ok::<(), nearkin::Error>(())
/// ```
///
/// # Errors
/// There is no such model, here or on the hub, or it cannot be read.
pub fn open(model: &Path) -> Result<SentenceEncoder> {
    open_with(model, Reading::default())
}

/// The same with some parameters started anew, frozen or adapted, or with another pooling.
///
/// # Errors
/// As [`open`].
pub fn open_with(model: &Path, mut reading: Reading) -> Result<SentenceEncoder> {
    let folder = hub::folder(model)?;
    if let (None, Some(base)) = (&reading.base, base_of_adapters(&folder)?) {
        let found = hub::folder(base.as_ref());
        reading.base = Some(found.map_err(|error| Error::Run {
            reason: format!("adapters of \"{base}\", and {error}"),
            path: folder.clone(),
        })?);
    }
    Ok(SentenceEncoder::load_with(&folder, &reading)?)
}
