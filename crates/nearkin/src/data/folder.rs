//! Class folders on disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::class_folders::class_folders;
use super::tree::Tree;
use super::{DataError, Dataset};

/// A folder in which every folder that directly contains images is a class, named by its relative path.
///
/// So both `cat/1.png` (class `cat`) and `Greek/character01/1.png` (class `Greek/character01`) work. Where all images lie in
/// folders called by parts (`train/cat/1.png`, `test/cat/1.png`; also `val`, `valid`, `validation`, `dev`), these give
/// the split `given`, and the class is the path below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// How many leading folders make the class, counted from below those of parts; without it, all of them.
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
        class_folders(Tree::folder(&self.path)?, self.depth)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::tree::tests::folder_of;

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
