//! One process at a time in a run folder.

use crate::error::{Error, Result};
use std::path::Path;

const FILE: &str = ".lock";

/// Held as long as a run is under way; the system lets go of it when the process ends, however it does.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs_err::File,
}

impl Lock {
    /// Takes the lock of a run folder, which is made where there is none.
    ///
    /// # Errors
    /// Another process trains there, or the file cannot be written.
    pub fn of(run: &Path) -> Result<Self> {
        fs_err::create_dir_all(run)?;
        let file = fs_err::File::create(run.join(FILE))?;
        if file.file().try_lock().is_err() {
            return Err(Error::Run {
                path: run.to_owned(),
                reason: "another process trains here; wait for it or stop it first".to_owned(),
            });
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let run = tempfile::tempdir().unwrap();
        let first = Lock::of(run.path()).unwrap();
        let error = Lock::of(run.path()).unwrap_err().to_string();
        assert!(error.contains("another process trains here"), "{error}");
        drop(first);
        assert!(Lock::of(run.path()).is_ok());
    }
}
