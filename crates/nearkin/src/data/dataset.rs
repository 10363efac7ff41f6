//! The data set in memory: its index, and the way to each item's bytes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nearkin_encoder::image::{Landmarks, Region};
use serde::{Deserialize, Serialize};

use super::{DataError, zip::Archive};
use crate::vectors::Vectors;

/// Labeled items: encoded images, or rows of features.
///
/// The items are numbered from 0; every list but `classes` has one entry an item.
#[derive(Debug)]
pub struct Dataset {
    /// What to call the set in tables: the last parts of its path, or its bundled name.
    pub name: String,
    /// The class names in their order; a label is an index into them.
    pub classes: Vec<String>,
    /// The class of each item.
    pub labels: Vec<u32>,
    /// The item's id as shown to users: a relative path, an id column or a row number.
    pub names: Vec<String>,
    /// The part of each item where the source says so.
    pub given_split: Option<Vec<Part>>,
    /// The number of the camera that took each item, where the source says so.
    pub cameras: Option<Vec<u32>>,
    /// What each item is in retrieval, where the source says so; otherwise every item is a query and in the gallery.
    pub roles: Option<Vec<Role>>,
    /// The part of each image that counts, where the source says so.
    pub regions: Option<Vec<Region>>,
    /// Five points of the face in each image, where the source says so.
    pub landmarks: Option<Vec<Landmarks>>,
    /// What is known not to be there, such as a file that a table names, each with the reason.
    pub(crate) absent: BTreeMap<usize, String>,
    /// What was seen and left out.
    pub skipped: Skipped,
    pub(super) items: Items,
}

/// Where the items' content is.
#[derive(Debug)]
pub(super) enum Items {
    Files(Vec<PathBuf>),
    /// The images themselves.
    Bytes(Vec<Vec<u8>>),
    Zip {
        archive: Archive,
        entries: Vec<usize>,
    },
    Features {
        dim: usize,
        data: Vec<f32>,
    },
}

impl Items {
    /// The encoded bytes of image `index` of the set called `name`.
    pub(super) fn read(&self, index: usize, name: &str) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Files(paths) => Ok(fs_err::read(&paths[index])?),
            Self::Bytes(contents) => Ok(contents[index].clone()),
            Self::Zip { archive, entries } => archive.read(entries[index]),
            Self::Features { .. } => Err(DataError::NotImages {
                name: name.to_owned(),
            }),
        }
    }

    /// Some of the items, in the order asked for.
    pub(super) fn keep(self, kept: &[usize]) -> Self {
        match self {
            Self::Files(paths) => Self::Files(kept.iter().map(|&at| paths[at].clone()).collect()),
            Self::Zip { archive, entries } => Self::Zip {
                archive,
                entries: kept.iter().map(|&at| entries[at]).collect(),
            },
            Self::Bytes(contents) => {
                Self::Bytes(kept.iter().map(|&at| contents[at].clone()).collect())
            }
            Self::Features { dim, data } => {
                let rows = kept.iter().map(|&at| &data[at * dim..(at + 1) * dim]);
                let data = rows.flatten().copied().collect();
                Self::Features { dim, data }
            }
        }
    }
}

/// A part of a split data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the network learns from.
    Train,
    /// What decides between checkpoints.
    Validation,
    /// What only the final report looks at.
    Test,
}

/// What an item is in retrieval, where a data set tells queries from what is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Only searched for.
    Query,
    /// Only searched through.
    Gallery,
    /// Only searched through, and of no class, whatever its label: re-identification has it in its gallery, verification where a pair
    /// names it.
    Distractor,
    /// A query, and in the gallery of all others.
    Both,
}

impl FromStr for Part {
    type Err = ();

    /// Reads the usual spellings in any case, such as `val`, `valid`, `dev` and `validation`.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Ok(Self::Train),
            "validation" | "val" | "valid" | "dev" => Ok(Self::Validation),
            "test" | "testing" => Ok(Self::Test),
            _ => Err(()),
        }
    }
}

/// What a reader saw and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Files that are no images, counted by extension.
    pub other_files: BTreeMap<String, usize>,
    /// Images that are no part of the set by its layout, such as junk detections.
    pub images: usize,
    /// Feature rows with a missing value, left out because the source says `missing = "skip"`.
    pub rows: usize,
}

impl Dataset {
    /// A number of the items by their names and classes, in order: other data have another.
    pub(crate) fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.names, &self.labels).hash(&mut hasher);
        hasher.finish()
    }

    /// A set of one image file, its class unnamed: something to embed or to search for.
    ///
    /// # Errors
    /// There is no such file, or a folder.
    pub fn of_image(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return Err(DataError::Folder { path: path.into() });
        }
        if !path.is_file() {
            return Err(DataError::NoFile { path: path.into() });
        }
        let name = path.display().to_string();
        let classes = (vec![0], vec![String::new()]);
        let items = Items::Files(vec![path.to_owned()]);
        Ok(Self::plain(&name, classes, vec![name.clone()], items))
    }

    /// A set of vectors with their classes, such as a file that `nearkin embed` has written; items without ids are called by
    /// their numbers.
    pub fn of_vectors(name: &str, vectors: Vectors) -> Self {
        let rows = vectors.rows;
        let labels = vectors.labels.unwrap_or_else(|| vec![String::new(); rows]);
        let numbers = || (0..rows).map(|row| row.to_string()).collect();
        let names = vectors.ids.unwrap_or_else(numbers);
        let items = Items::Features {
            dim: vectors.dim,
            data: vectors.data,
        };
        Self::plain(name, crate::vectors::classes(&labels), names, items)
    }

    /// Items of which nothing is known but their classes.
    fn plain(
        name: &str,
        (labels, classes): (Vec<u32>, Vec<String>),
        names: Vec<String>,
        items: Items,
    ) -> Self {
        Self {
            name: name.to_owned(),
            classes,
            labels,
            names,
            given_split: None,
            cameras: None,
            roles: None,
            regions: None,
            landmarks: None,
            absent: BTreeMap::new(),
            skipped: Skipped::default(),
            items,
        }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no item; no reader returns such a set.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The length of a feature row, or `None` where the items are images.
    pub fn is_features(&self) -> Option<usize> {
        match self.items {
            Items::Features { dim, .. } => Some(dim),
            Items::Files(_) | Items::Bytes(_) | Items::Zip { .. } => None,
        }
    }

    /// The encoded bytes of image `index`, as they lie in the file; may be called from many threads at once.
    ///
    /// # Errors
    /// The file or archive entry cannot be read (it is named), or the set holds features.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        match self.absent.get(&index) {
            Some(reason) => Err(DataError::Absent {
                reason: reason.clone(),
            }),
            None => self.items.read(index, &self.name),
        }
    }

    /// Whether an item is of no class.
    pub fn is_distractor(&self, index: usize) -> bool {
        let role = self.roles.as_ref().map(|roles| roles[index]);
        role == Some(Role::Distractor)
    }

    /// The features, row by row (`len × dim`); empty where the items are images.
    pub fn features(&self) -> &[f32] {
        match &self.items {
            Items::Features { data, .. } => data,
            Items::Files(_) | Items::Bytes(_) | Items::Zip { .. } => &[],
        }
    }
}
