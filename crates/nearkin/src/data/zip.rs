//! Class folders in a zip archive, read entry by entry where they lie.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zip::read::{ZipArchiveMetadata, ZipReadOptions};
use zip::{ZipArchive, result::ZipResult};

use super::class_folders::class_folders;
use super::tree::Tree;
use super::{DataError, Dataset};

/// A zip archive (entries stored or deflated) whose folders are classes, by the rule of [`Folder`](super::Folder).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zip {
    /// The archive.
    pub path: PathBuf,
    /// How many leading folders make the class, counted from below those of parts; without it, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
}

impl Zip {
    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        class_folders(Tree::zip(&self.path)?, self.depth)
    }
}

/// An open archive: its directory in memory, its content wherever it is.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    bytes: Bytes,
    directory: Arc<ZipArchiveMetadata>,
}

#[derive(Debug)]
pub(super) enum Bytes {
    File { file: fs_err::File, len: u64 },
    Bundled(&'static [u8]),
}

impl Archive {
    pub(super) fn new(path: PathBuf, bytes: Bytes) -> Result<Self, DataError> {
        let opened = ZipArchive::new(BufReader::new(Cursor::new(&bytes)));
        match opened {
            Ok(archive) => Ok(Self {
                directory: archive.metadata(),
                path,
                bytes,
            }),
            Err(source) => Err(DataError::Archive { path, source }),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files in it, each with the number of its entry.
    pub(super) fn files(&self) -> Result<Vec<(String, usize)>, DataError> {
        let mut files = Vec::new();
        for index in 0..self.directory.len() {
            let (name, is_file) = self.entry_name(index)?;
            if is_file {
                files.push((name, index));
            }
        }
        Ok(files)
    }

    fn entry_name(&self, index: usize) -> Result<(String, bool), DataError> {
        let named = || -> ZipResult<_> {
            let entry = self.directory.entry(index)?;
            // Some archives made on Windows separate folders by a backslash.
            Ok((entry.name()?.replace('\\', "/"), entry.is_file()))
        };
        named().map_err(|source| DataError::Archive {
            path: self.path.clone(),
            source,
        })
    }

    /// The content of an entry, its checksum verified. Reads have a cursor each, so they may run in parallel.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        self.read_entry(index).map_err(|reason| DataError::Entry {
            path: self.path.clone(),
            entry: self
                .entry_name(index)
                .map_or_else(|_| format!("#{index}"), |(name, _)| name),
            reason: reason.to_string(),
        })
    }

    fn read_entry(&self, index: usize) -> io::Result<Vec<u8>> {
        /// No encoded image is larger; a directory that says so is damaged, or made to exhaust memory.
        const MAX_LEN: u64 = 1 << 28;
        let entry = self.directory.entry(index)?;
        let len = entry.size();
        if len > MAX_LEN {
            return Err(io::Error::other(format!(
                "{len} bytes, more than the {MAX_LEN} allowed"
            )));
        }
        let mut cursor = Cursor::new(&self.bytes);
        let mut content = entry.with_reader(&mut cursor, ZipReadOptions::new())?;
        // The stated length is a hint only: a lie costs a reallocation, not memory.
        let mut read = Vec::with_capacity(len.min(1 << 20) as usize);
        content.by_ref().take(MAX_LEN).read_to_end(&mut read)?;
        Ok(read)
    }
}

/// A position in the archive's bytes: shares the file with other cursors, never moves the file's own position.
struct Cursor<'a> {
    bytes: &'a Bytes,
    position: u64,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, position: 0 }
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.bytes {
            Bytes::File { file, .. } => read_at(file, buffer, self.position)?,
            Bytes::Bundled(bytes) => {
                let start = self.position.min(bytes.len() as u64) as usize;
                (&bytes[start..]).read(buffer)?
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = match self.bytes {
            Bytes::File { len, .. } => *len,
            Bytes::Bundled(bytes) => bytes.len() as u64,
        };
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(unix)]
fn read_at(file: &fs_err::File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    file.file().read_at(buffer, position)
}

#[cfg(windows)]
fn read_at(file: &fs_err::File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    file.file().seek_read(buffer, position)
}

#[cfg(test)]
pub(super) mod tests {
    use rayon::prelude::*;

    use super::*;

    pub fn write_zip(path: &Path, entries: &[(String, Vec<u8>)]) {
        use std::io::Write;
        use zip::{CompressionMethod, write::SimpleFileOptions};
        let mut writer = zip::ZipWriter::new(fs_err::File::create(path).unwrap());
        for (index, (name, bytes)) in entries.iter().enumerate() {
            let method = [CompressionMethod::STORE, CompressionMethod::DEFLATE][index % 2];
            writer
                .start_file(
                    name,
                    SimpleFileOptions::default().compression_method(method),
                )
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
    }

    fn content(index: usize) -> Vec<u8> {
        (0..500 + index).map(|i| (i * 7 + index) as u8).collect()
    }

    fn archive(folder: &Path, count: usize) -> PathBuf {
        let path = folder.join("set.zip");
        let entries: Vec<_> = (0..count)
            .map(|i| (format!("c{}/{i:03}.png", i % 5), content(i)))
            .collect();
        write_zip(&path, &entries);
        path
    }

    #[test]
    fn entries_stored_and_deflated_are_read_by_many_threads_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = Zip {
            path: archive(folder.path(), 200),
            depth: None,
        }
        .open()
        .unwrap();
        assert_eq!((data.len(), data.classes.len()), (200, 5));
        (0..1000_usize).into_par_iter().for_each(|step| {
            let index = step % data.len();
            let number: usize = data.names[index][3..6].parse().unwrap();
            assert_eq!(
                data.read(index).unwrap(),
                content(number),
                "{}",
                data.names[index]
            );
        });
    }

    #[test]
    fn a_truncated_archive_and_a_file_that_is_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = archive(folder.path(), 5);
        let bytes = fs_err::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b"not a zip".as_slice(), b""] {
            fs_err::write(&path, damaged).unwrap();
            let message = Zip {
                path: path.clone(),
                depth: None,
            }
            .open()
            .unwrap_err()
            .to_string();
            assert!(
                message.contains("set.zip cannot be read as a zip"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_damaged_entry_is_named_and_the_others_stay_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = archive(folder.path(), 3);
        let mut bytes = fs_err::read(&path).unwrap();
        bytes[100] ^= 0xff; // inside the content of the first entry, which is stored
        fs_err::write(&path, bytes).unwrap();
        let data = Zip { path, depth: None }.open().unwrap();
        let message = data.read(0).unwrap_err().to_string();
        assert!(
            message.contains("set.zip") && message.contains("c0/000.png"),
            "{message}"
        );
        assert_eq!(data.read(1).unwrap(), content(1));
    }
}
