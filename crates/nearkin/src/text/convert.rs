//! Rewriting the folder of an encoder in the form that every program reads.

use std::path::Path;

use nearkin_encoder::text::CrossEncoder;

use crate::error::{Error, Result};

/// Files beside the model that belong to it.
const BESIDE: [&str; 4] = ["README.md", "LICENSE", "LICENSE.txt", "data_config.json"];

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`SentenceEncoder`](nearkin_encoder::text::SentenceEncoder).
    SentenceEncoder,
    /// A [`CrossEncoder`].
    CrossEncoder,
}

/// Reads any form of a folder, adapters included, and writes the form of before sentence-transformers 5.4, which all its versions and
/// text-embeddings-inference load.
///
/// The output is written beside its place and renamed when whole.
///
/// ```no_run
/// use nearkin::text::convert::convert;
/// convert("saved-by-5.4".as_ref(), "for-tei".as_ref())?;
/// # Ok::<(), nearkin::Error>(())
/// ```
///
/// # Errors
/// The input is no folder of an encoder, or the output exists and is not empty, or cannot be written.
pub fn convert(input: &Path, output: &Path) -> Result<Kind> {
    let wrong = |reason: &str| Error::Run {
        path: output.to_owned(),
        reason: reason.to_owned(),
    };
    if output.exists() && !(output.is_dir() && fs_err::read_dir(output)?.next().is_none()) {
        return Err(wrong(
            "exists already; a conversion writes into a folder of its own",
        ));
    }
    let Some(name) = output.file_name() else {
        return Err(wrong("is no name of a folder"));
    };
    let beside = output.with_file_name(format!(
        ".{}.{}.part",
        name.to_string_lossy(),
        std::process::id()
    ));
    fs_err::create_dir_all(&beside)?;
    let written = write(input, &beside);
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs_err::remove_dir_all(&beside);
        return written;
    }
    if output.exists() {
        fs_err::remove_dir(output)?;
    }
    fs_err::rename(&beside, output)?;
    nearkin_encoder::weights::sync_folder_of(output)?;
    written
}

fn write(input: &Path, folder: &Path) -> Result<Kind> {
    let kind = if CrossEncoder::is_in(input) {
        CrossEncoder::load(input)?.save(folder)?;
        Kind::CrossEncoder
    } else {
        super::open(input)?.save(folder)?;
        Kind::SentenceEncoder
    };
    for name in BESIDE {
        if input.join(name).is_file() {
            fs_err::copy(input.join(name), folder.join(name))?;
        }
    }
    Ok(kind)
}
