//! Class folders on disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::class_folders::{ClassFolders, is_hidden};
use super::{DataError, Dataset, dataset::Items};

/// A folder in which every folder that directly contains images is a class, named by its relative path.
///
/// So both `cat/1.png` (class `cat`) and `Greek/character01/1.png` (class `Greek/character01`) work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// How many leading folders make the class; without it, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
}

impl Folder {
    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        if self.path.is_file() {
            return Err(DataError::NotAFolder {
                path: self.path.clone(),
            });
        }
        // Of all calls this one has the clearest message for a folder that is missing.
        fs_err::read_dir(&self.path)?;
        let mut found = ClassFolders::new(self.depth);
        walk(&self.path, &mut found)?;
        // The name of "." is that of the folder it stands for.
        let named = fs_err::canonicalize(&self.path)?;
        let mut data = found.finish(&named, Items::Files)?;
        data.name = data.name.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(data)
    }
}

/// Offers every file below `root`; links are followed, and a folder reached twice is read once, which also ends
/// links that lead back to themselves. Pipes and devices are no files: reading one could wait for ever.
fn walk(root: &Path, found: &mut ClassFolders<PathBuf>) -> Result<(), DataError> {
    let mut seen = HashSet::from([fs_err::canonicalize(root)?]);
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((folder, relative)) = pending.pop() {
        let mut entries = fs_err::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_hidden(&name) {
                continue;
            }
            // A link that leads nowhere is an item that cannot be read: named and counted as damaged.
            let kind = fs_err::metadata(entry.path()).map(|to| to.file_type());
            if kind.as_ref().map_or(true, std::fs::FileType::is_file) {
                found.offer(&format!("{relative}{name}"), entry.path());
            } else if kind.is_ok_and(|kind| kind.is_dir())
                && seen.insert(fs_err::canonicalize(entry.path())?)
            {
                pending.push((entry.path(), format!("{relative}{name}/")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            let path = folder.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, bytes).unwrap();
        }
        folder
    }

    fn open(path: &Path) -> Result<Dataset, DataError> {
        Folder {
            path: path.to_owned(),
            depth: None,
        }
        .open()
    }

    #[test]
    fn every_item_gives_the_bytes_of_its_own_file() {
        let folder = folder_of(&[
            ("b/2.png", b"b2"),
            ("a/x/1.png", b"ax1"),
            ("b/1.jpg", b"b1"),
            ("a/readme.md", b""),
        ]);
        let data = open(folder.path()).unwrap();
        assert_eq!(data.classes, ["a/x", "b"]);
        let read: Vec<_> = (0..data.len()).map(|i| data.read(i).unwrap()).collect();
        assert_eq!(read, [b"ax1".to_vec(), b"b1".to_vec(), b"b2".to_vec()]);
        assert_eq!(data.skipped.other_files["md"], 1);
        assert_eq!((data.is_features(), data.features().len()), (None, 0));
    }

    #[test]
    fn a_missing_folder_a_file_and_an_empty_folder_are_named() {
        let folder = folder_of(&[("file", b"")]);
        for (path, words) in [
            ("absent", "absent"),
            ("file", "is a file"),
            ("", "no extension"),
        ] {
            let message = open(&folder.path().join(path)).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_file_that_vanished_is_named() {
        let folder = folder_of(&[("a/1.png", b"x")]);
        let data = open(folder.path()).unwrap();
        fs_err::remove_file(folder.path().join("a/1.png")).unwrap();
        assert!(data.read(0).unwrap_err().to_string().contains("1.png"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_a_link_to_the_parent_ends() {
        let folder = folder_of(&[("set/a/1.png", b"x"), ("elsewhere/2.png", b"y")]);
        let set = folder.path().join("set");
        std::os::unix::fs::symlink(&set, set.join("a/loop")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), set.join("b")).unwrap();
        assert_eq!(open(&set).unwrap().names, ["a/1.png", "b/2.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_an_item_and_a_pipe_is_none() {
        let folder = folder_of(&[("a/1.png", b"x")]);
        std::os::unix::fs::symlink("nowhere", folder.path().join("a/2.png")).unwrap();
        std::os::unix::fs::symlink("itself.png", folder.path().join("a/itself.png")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(folder.path().join("a/3.png"))
            .status();
        assert!(pipe.unwrap().success());
        let data = open(folder.path()).unwrap();
        assert_eq!(data.names, ["a/1.png", "a/2.png", "a/itself.png"]);
        assert!(data.read(1).unwrap_err().to_string().contains("2.png"));
    }
}
