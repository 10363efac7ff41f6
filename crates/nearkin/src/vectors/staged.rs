//! Files written beside their place and moved there once they are whole.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use nearkin_encoder::weights::sync_folder_of;

use super::VectorsError;

/// A finished file that waits beside its target; dropped without [`commit`](Self::commit), it is removed.
pub(super) struct Staged {
    target: PathBuf,
    beside: PathBuf,
}

impl Staged {
    /// Writes a file with `body`, next to `target` so that moving it is a rename.
    pub(super) fn write(
        target: &Path,
        body: impl FnOnce(&mut BufWriter<fs_err::File>) -> Result<(), VectorsError>,
    ) -> Result<Self, VectorsError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // The process id keeps two programs that write the same file apart: the last rename wins, whole.
        let beside = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let mut file = BufWriter::with_capacity(1 << 16, fs_err::File::create(&beside)?);
        let staged = Self {
            target: target.to_owned(),
            beside,
        };
        body(&mut file)?;
        file.flush()?;
        // Some file systems report a full disk only here.
        file.get_ref().sync_all()?;
        Ok(staged)
    }

    /// Moves the file to its target, replacing what is there, and flushes the move to the disk.
    pub(super) fn commit(self) -> Result<(), VectorsError> {
        fs_err::rename(&self.beside, &self.target)?;
        Ok(sync_folder_of(&self.target)?)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing left to remove, and otherwise the first error is the one to report.
        let _ = fs_err::remove_file(&self.beside);
    }
}

/// Writes numbers as little-endian bytes, a block at a time.
pub(super) fn write_f32s(file: &mut impl Write, data: &[f32]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(1 << 14);
    for block in data.chunks(1 << 12) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_half_way_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        fs_err::write(&path, "old").unwrap();
        let failed = Staged::write(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
        });
        assert!(failed.is_err());
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_target_that_cannot_be_replaced_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken.npy");
        fs_err::create_dir(&path).unwrap();
        let staged = Staged::write(&path, |file| Ok(file.write_all(b"x")?)).unwrap();
        assert!(
            staged
                .commit()
                .err()
                .unwrap()
                .to_string()
                .contains("taken.npy")
        );
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
        let absent = folder.path().join("absent/v.npy");
        assert!(
            Staged::write(&absent, |_| Ok(()))
                .err()
                .unwrap()
                .to_string()
                .contains("absent")
        );
    }
}
