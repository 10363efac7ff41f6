//! The files of a data set, in a folder or in a zip archive, and the way from them to a [`Dataset`].

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use nearkin_encoder::image::Region;

use super::dataset::{Items, Role};
use super::zip::{Archive, Bytes};
use super::{DataError, Dataset, IMAGE_EXTENSIONS, Part, Skipped, label_index::label_index};

/// Files by their paths relative to the root, with `/` between folders; hidden ones are passed over.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    /// What to call the set in tables.
    name: String,
    files: Vec<String>,
    /// How many files or folders were passed over.
    hidden: usize,
    /// The content of `files`, in the same order.
    items: Items,
}

/// What is known of an image besides its content.
#[derive(Debug, Clone, Default)]
pub(super) struct Described {
    pub class: String,
    pub part: Option<Part>,
    pub camera: Option<u32>,
    pub role: Option<Role>,
    pub region: Option<Region>,
}

impl Tree {
    /// The files below a folder, or those in a zip archive where `path` is a file.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if path.is_file() {
            Self::zip(path)
        } else {
            Self::folder(path)
        }
    }

    /// The files below a folder.
    pub fn folder(path: &Path) -> Result<Self, DataError> {
        if !path.exists() {
            return Err(DataError::Nothing { path: path.into() });
        }
        let (found, hidden) = walk(path)?;
        let (files, paths) = found.into_iter().unzip();
        // The name of "." is that of the folder it stands for.
        let named = display_name(&fs_err::canonicalize(path)?);
        Ok(Self {
            path: path.to_owned(),
            name: named.rsplit('/').next().unwrap_or_default().to_owned(),
            files,
            hidden,
            items: Items::Files(paths),
        })
    }

    /// The files in a zip archive.
    pub fn zip(path: &Path) -> Result<Self, DataError> {
        let file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        Self::archive(Archive::new(path.to_owned(), Bytes::File { file, len })?)
    }

    /// The files in an open archive.
    pub fn archive(archive: Archive) -> Result<Self, DataError> {
        let (mut files, mut entries, mut hidden) = (Vec::new(), Vec::new(), 0);
        for (name, entry) in archive.files()? {
            if name.split('/').any(is_hidden) {
                hidden += 1;
            } else {
                files.push(name);
                entries.push(entry);
            }
        }
        Ok(Self {
            name: display_name(archive.path()),
            path: archive.path().to_owned(),
            files,
            hidden,
            items: Items::Zip { archive, entries },
        })
    }

    /// The paths of all files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// The paths of all images.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(String::as_str);
        files.filter(|file| has_image_extension(file))
    }

    /// The text file of this name that is nearest to the root.
    pub fn list(&self, name: &str) -> Result<List, DataError> {
        let found = self.file(name)?.ok_or_else(|| DataError::NoList {
            path: self.path.clone(),
            list: name.to_owned(),
        })?;
        let NamedFile {
            path,
            folder,
            bytes,
        } = found;
        let text = String::from_utf8(bytes).map_err(|error| DataError::Line {
            path: path.clone(),
            line: 1,
            reason: format!("not UTF-8 text: {error}"),
        })?;
        Ok(List { path, folder, text })
    }

    /// The file of this name that is nearest to the root, if there is one.
    pub fn file(&self, name: &str) -> Result<Option<NamedFile>, DataError> {
        let called = |(_, file): &(usize, &String)| file.rsplit('/').next() == Some(name);
        let files = self.files.iter().enumerate().filter(called);
        let Some((at, file)) = files.min_by_key(|(_, file)| file.len()) else {
            return Ok(None);
        };
        Ok(Some(NamedFile {
            path: self.path.join(file),
            folder: file.strip_suffix(name).unwrap_or_default().into(),
            bytes: self.items.read(at, &self.name)?,
        }))
    }

    /// The images that `describe` describes, in the alphabetical order of their classes' names and their own; those that
    /// it returns `None` for are counted. `form` says what an image's path looks like, for the error if there is none.
    pub fn dataset(
        self,
        form: &'static str,
        mut describe: impl FnMut(&str) -> Result<Option<Described>, DataError>,
    ) -> Result<Dataset, DataError> {
        let (mut found, mut skipped) = (Vec::new(), Skipped::default());
        for (at, file) in self.files.iter().enumerate() {
            let extension = extension(file);
            if !IMAGE_EXTENSIONS.contains(&extension.as_str()) {
                *skipped.other_files.entry(extension).or_default() += 1;
            } else if let Some(described) = describe(file)? {
                found.push((described, at));
            } else {
                skipped.images += 1;
            }
        }
        if found.is_empty() {
            return Err(DataError::NoImages {
                path: self.path,
                found: nothing_found(&skipped, self.hidden, form),
            });
        }
        let order = |(described, at): &(Described, usize)| {
            // Not by the whole path: a blank in a folder's name would come before the slash after another's.
            (described.class.clone(), self.files[*at].clone())
        };
        found.sort_by_cached_key(order);
        let (described, kept): (Vec<Described>, Vec<usize>) = found.into_iter().unzip();
        let named: Vec<String> = described.iter().map(|d| d.class.clone()).collect();
        let (classes, labels) = label_index(&named);
        Ok(Dataset {
            name: self.name,
            classes,
            labels,
            names: kept.iter().map(|&at| self.files[at].clone()).collect(),
            given_split: described.iter().map(|d| d.part).collect(),
            cameras: described.iter().map(|d| d.camera).collect(),
            roles: described.iter().map(|d| d.role).collect(),
            regions: described.iter().map(|d| d.region).collect(),
            landmarks: None,
            absent: BTreeMap::new(),
            skipped,
            items: self.items.keep(&kept),
        })
    }
}

/// A file that says something of the images.
pub(super) struct NamedFile {
    pub path: PathBuf,
    /// The folder that it lies in, with a slash at the end, or nothing for the root.
    pub folder: String,
    pub bytes: Vec<u8>,
}

/// A text file that lists images, one a line.
pub(super) struct List {
    path: PathBuf,
    /// The folder that it lies in, with a slash at the end, or nothing for the root.
    pub folder: String,
    text: String,
}

impl List {
    /// The number of each line that is not empty, from 1, and its fields between blanks.
    pub fn rows<const N: usize>(
        &self,
    ) -> impl Iterator<Item = Result<(u64, [&str; N]), DataError>> {
        let lines = (1..).zip(self.text.lines().map(str::trim));
        let lines = lines.filter(|(_, line)| !line.is_empty());
        lines.map(|(number, line)| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let fields = <[&str; N]>::try_from(fields).map_err(|fields| {
                let reason = format!("expected {N} fields, found {}", fields.len());
                self.wrong(number, reason)
            })?;
            Ok((number, fields))
        })
    }

    /// The error for a line that names an image which is not there.
    pub fn absent(&self, line: u64, file: &str) -> DataError {
        self.wrong(line, format!("there is no image {file}"))
    }

    /// The error for a line.
    pub fn wrong(&self, line: u64, reason: String) -> DataError {
        DataError::Line {
            path: self.path.clone(),
            line,
            reason,
        }
    }
}

/// Every file below `root`; links are followed, and a folder reached twice is read once, which also ends links that
/// lead back to themselves. Pipes and devices are no files: reading one could wait for ever. What is hidden is counted.
fn walk(root: &Path) -> Result<(Vec<(String, PathBuf)>, usize), DataError> {
    let mut seen = HashSet::from([fs_err::canonicalize(root)?]);
    let mut pending = vec![(root.to_owned(), String::new())];
    let (mut found, mut hidden) = (Vec::new(), 0);
    while let Some((folder, relative)) = pending.pop() {
        let mut entries = fs_err::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_hidden(&name) {
                hidden += 1;
                continue;
            }
            // A link that leads nowhere is an item that cannot be read: named and counted as damaged.
            let kind = fs_err::metadata(entry.path()).map(|to| to.file_type());
            if kind.as_ref().map_or(true, std::fs::FileType::is_file) {
                found.push((format!("{relative}{name}"), entry.path()));
            } else if kind.is_ok_and(|kind| kind.is_dir())
                && seen.insert(fs_err::canonicalize(entry.path())?)
            {
                pending.push((entry.path(), format!("{relative}{name}/")));
            }
        }
    }
    Ok((found, hidden))
}

/// The extension of a file in lower case.
fn extension(file: &str) -> String {
    Path::new(file).extension().map_or_else(
        || "no extension".to_owned(),
        |e| e.to_string_lossy().to_lowercase(),
    )
}

/// Whether a file of this name counts as an image.
pub(super) fn has_image_extension(name: &str) -> bool {
    IMAGE_EXTENSIONS.contains(&extension(name).as_str())
}

/// Files that systems and tools leave behind, never part of a data set.
fn is_hidden(component: &str) -> bool {
    component.starts_with('.') || component == "__MACOSX"
}

/// The last two parts of the path, since `omniglot/images.zip` says more than `images.zip`.
pub(super) fn display_name(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

/// What there was instead of images of the form.
fn nothing_found(skipped: &Skipped, hidden: usize, form: &str) -> String {
    match skipped.images {
        0 if skipped.other_files.is_empty() && hidden > 0 => format!(
            "all in it is passed over: {hidden} whose name or folder begins with a dot (`..` too) or is __MACOSX"
        ),
        0 => describe(&skipped.other_files),
        images => format!("none of its {images} images is called as {form} is"),
    }
}

fn describe(other_files: &BTreeMap<String, usize>) -> String {
    if other_files.is_empty() {
        return "it is empty".to_owned();
    }
    let mut counts: Vec<_> = other_files.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let listed: Vec<String> = counts
        .iter()
        .take(5)
        .map(|(extension, count)| format!("{count} × {extension}"))
        .collect();
    format!("found only {}", listed.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder with these files.
    pub fn folder_of<T: AsRef<str>>(files: &[(T, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            let path = folder.path().join(file.as_ref());
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_and_an_archive_of_it_have_the_same_files_without_hidden_ones() {
        let folder = folder_of(&[("a/1.png", b"1"), ("a/.2", b"2"), ("b.txt", b"x y\n\nz w")]);
        let archive = folder.path().join("a/set.zip");
        crate::data::zip::tests::write_zip(
            &archive,
            &[
                ("__MACOSX/3.png".to_owned(), vec![0]),
                ("b.txt".to_owned(), b"x y\n\nz w".to_vec()),
                ("a/1.png".to_owned(), vec![1]),
            ],
        );
        let of_archive = Tree::open(&archive).unwrap();
        fs_err::remove_file(archive).unwrap();
        let of_folder = Tree::open(folder.path()).unwrap();
        assert_eq!(of_folder.files, ["b.txt", "a/1.png"]);
        assert_eq!(of_archive.files, ["b.txt", "a/1.png"]);
        for tree in [of_folder, of_archive] {
            let list = tree.list("b.txt").unwrap();
            let rows: Vec<_> = list.rows().map(Result::unwrap).collect();
            assert_eq!(rows, [(1, ["x", "y"]), (3, ["z", "w"])]);
            let wrong = list.rows::<3>().next().unwrap().unwrap_err().to_string();
            assert!(
                wrong.contains("b.txt:1: expected 3 fields, found 2"),
                "{wrong}"
            );
            assert!(tree.list("c.txt").is_err());
        }
    }

    #[test]
    fn what_is_passed_over_is_not_called_nothing() {
        let folder = folder_of(&[(".a/1.png", b"1"), (".2.png", b"2")]);
        let archive = folder.path().join("set.zip");
        let entry = |name: &str| (name.to_owned(), vec![1]);
        let entries = ["../a/1.png", "../a/2.png"].map(entry);
        crate::data::zip::tests::write_zip(&archive, &entries);
        let of_archive = Tree::open(&archive).unwrap();
        fs_err::remove_file(archive).unwrap();
        for tree in [of_archive, Tree::open(folder.path()).unwrap()] {
            let error = tree.dataset("a/1.png", |_| Ok(None)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("passed over: 2") && !error.contains("empty"),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_a_link_to_the_parent_ends() {
        let folder = folder_of(&[("set/a/1.png", b"x"), ("elsewhere/2.png", b"y")]);
        let set = folder.path().join("set");
        std::os::unix::fs::symlink(&set, set.join("a/loop")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), set.join("b")).unwrap();
        let mut files = Tree::open(&set).unwrap().files;
        files.sort_unstable();
        assert_eq!(files, ["a/1.png", "b/2.png"]);
    }
}
