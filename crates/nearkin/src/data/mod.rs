//! Readers of labeled data: encoded images or rows of features, each with a class.
//!
//! A [`Source`] says where the data lies and is written in the recipe as `[data.source.folder]`, `[data.source.zip]`
//! and so on; [`Dataset::open`] reads its index. Image bytes stay where they are until [`Dataset::read`] asks for one,
//! so a large archive costs memory for its names only.
//!
//! ```
//! use nearkin::data::{Dataset, Folder, Source};
//!
//! let folder = tempfile::tempdir()?;
//! for file in ["cat/1.png", "cat/2.png", "dog/1.png"] {
//!     let path = folder.path().join(file);
//!     std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
//!     std::fs::write(path, b"encoded bytes")?;
//! }
//! let source = Source::Folder(Folder { path: folder.path().into(), depth: None });
//! let data = Dataset::open(&source)?;
//! assert_eq!(data.classes, ["cat", "dog"]);
//! assert_eq!(data.labels, [0, 0, 1]);
//! assert_eq!(data.read(2)?, b"encoded bytes");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundled;
mod class_folders;
mod columns;
mod dataset;
mod error;
mod features;
mod folder;
mod item_list;
mod item_pairs;
mod label_index;
pub mod layout;
mod manifest;
mod mat;
mod pair_folds;
mod parquet;
mod quotations;
mod summary;
mod table;
mod tree;
mod youtube_faces;
mod zip;

pub use bundled::{Bundled, BundledName};
pub use class_folders::IMAGE_EXTENSIONS;
pub(crate) use class_folders::is_below_part;
pub use dataset::{Dataset, Part, Role, Skipped};
pub use error::DataError;
pub use features::{Features, Missing};
pub use folder::Folder;
pub use item_list::read_items;
pub use item_pairs::{ItemPair, ItemPairs, read_pairs};
pub use manifest::Manifest;
pub use pair_folds::PairFolds;
pub use summary::{Summary, summary};
pub use table::Column;
pub use zip::Zip;

pub(crate) use label_index::label_index;
pub(crate) use parquet::Parquet;
pub(crate) use quotations::{Quotations, Unclosed};
pub(crate) use table::unknown_column;

use serde::{Deserialize, Serialize};

/// Where labeled data lies, as the recipe writes it.
///
/// ```
/// use nearkin::data::Source;
///
/// #[derive(serde::Deserialize)]
/// struct Data {
///     source: Source,
/// }
/// let data: Data = toml::from_str("[source.zip]\npath = 'images.zip'")?;
/// assert!(matches!(data.source, Source::Zip(_)));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A folder of class folders.
    Folder(Folder),
    /// A zip archive of class folders.
    Zip(Zip),
    /// A CSV, TSV or Parquet table of images and labels.
    Manifest(Manifest),
    /// Precomputed features: a CSV or TSV table, or a `.npy` matrix.
    Features(Features),
    /// A set that is part of the program.
    Bundled(Bundled),
    /// Labeled Faces in the Wild.
    Lfw(layout::Lfw),
    /// Market-1501, and what is laid out like it.
    #[serde(rename = "market1501")]
    Market1501(layout::Market1501),
    /// CUHK01.
    #[serde(rename = "cuhk01")]
    Cuhk01(layout::Cuhk01),
    /// CUHK03.
    #[serde(rename = "cuhk03")]
    Cuhk03(layout::Cuhk03),
    /// `VIPeR`.
    Viper(layout::Viper),
    /// Caltech-UCSD Birds-200-2011.
    #[serde(rename = "cub200")]
    Cub200(layout::Cub200),
    /// Cars-196.
    #[serde(rename = "cars196")]
    Cars196(layout::Cars196),
    /// Stanford Online Products.
    Sop(layout::Sop),
    /// Omniglot.
    Omniglot(layout::Omniglot),
}

impl Source {
    /// What gives such data a split, for who asked for one that is not there.
    pub(crate) fn split_from(&self) -> &'static str {
        match self {
            Self::Folder(_) | Self::Zip(_) => {
                "class folders give one where all of them lie in folders called train, val or test"
            }
            Self::Manifest(_) => "name its column with data.source.manifest.split_column",
            Self::Features(_) | Self::Bundled(_) => "neither features nor bundled sets give one",
            Self::Lfw(_) => {
                "name its lists of people with data.source.lfw.train and data.source.lfw.test"
            }
            Self::Cuhk03(_) => {
                "CUHK03 gives one in folders train, val and test, not in images_detected and images_labeled, whose people are drawn"
            }
            Self::Cuhk01(_) | Self::Viper(_) => "its people are drawn",
            Self::Omniglot(_) => "images_background and images_evaluation give one",
            Self::Market1501(_) | Self::Cub200(_) | Self::Cars196(_) | Self::Sop(_) => {
                "its layout gives one"
            }
        }
    }
}

impl Dataset {
    /// Reads the index of `source`: names, classes and labels, and the rows themselves where it holds features.
    ///
    /// # Errors
    /// A missing or unreadable file, a source without images, or a table that cannot be read as the source says; the
    /// message names the file, the line and the column.
    pub fn open(source: &Source) -> Result<Self, DataError> {
        match source {
            Source::Folder(folder) => folder.open(),
            Source::Zip(zip) => zip.open(),
            Source::Manifest(manifest) => manifest.open(),
            Source::Features(features) => features.open(),
            Source::Bundled(bundled) => bundled.open(),
            Source::Lfw(lfw) => lfw.open(),
            Source::Market1501(market) => market.open(),
            Source::Cuhk01(cuhk) => cuhk.open(),
            Source::Cuhk03(cuhk) => cuhk.open(),
            Source::Viper(viper) => viper.open(),
            Source::Cub200(cub) => cub.open(),
            Source::Cars196(cars) => cars.open(),
            Source::Sop(sop) => sop.open(),
            Source::Omniglot(omniglot) => omniglot.open(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub use super::tree::tests::folder_of;
    use super::{Dataset, Source};

    /// A data set of image files of one class, and the folder that they are in.
    pub fn images_of(contents: &[Vec<u8>]) -> (tempfile::TempDir, Dataset) {
        let names: Vec<String> = (0..contents.len())
            .map(|i| format!("a/{i:03}.pgm"))
            .collect();
        let files: Vec<(&str, &[u8])> = (names.iter().map(String::as_str))
            .zip(contents.iter().map(Vec::as_slice))
            .collect();
        let folder = super::tree::tests::folder_of(&files);
        let source = format!("[folder]\npath = {:?}", folder.path());
        let data = Dataset::open(&toml::from_str::<Source>(&source).unwrap()).unwrap();
        (folder, data)
    }

    #[derive(Debug, serde::Deserialize)]
    struct Data {
        #[allow(dead_code)]
        source: Source,
    }

    fn error_of(recipe: &str) -> String {
        toml::from_str::<Data>(recipe).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_line() {
        let message = error_of("[source.folder]\npath = 'a'\ndeepth = 2\n");
        assert!(
            message.contains("line 3") && message.contains("deepth"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_bundled_set_is_refused_with_the_known_names() {
        let message = error_of("[source.bundled]\nname = 'faces'\n");
        assert!(
            message.contains("glyphs") && message.contains("digits"),
            "{message}"
        );
    }

    #[test]
    fn every_kind_of_source_survives_a_round_trip_through_toml() {
        for recipe in [
            "[source.folder]\npath = 'a'\ndepth = 1\n",
            "[source.zip]\npath = 'a.zip'\n",
            "[source.manifest]\npath = 'a.csv'\nsplit_column = 'part'\nbox_columns = ['x', 'y', 'w', 'h']\n",
            "[source.features]\npath = 'a.tsv'\nlabel_column = -1\nignore_columns = ['tissue', 3]\nmissing = 'skip'\n",
            "[source.bundled]\nname = 'digits'\n",
            "[source.lfw]\npath = 'lfw'\ntrain = 'peopleDevTrain.txt'\n",
            "[source.market1501]\npath = 'Market-1501-v15.09.15'\ndistractors = false\n",
            "[source.cuhk01]\npath = 'campus'\n",
            "[source.cuhk03]\npath = 'cuhk03'\nboxes = 'labeled'\n",
            "[source.viper]\npath = 'VIPeR'\n",
            "[source.cub200]\npath = 'CUB_200_2011'\n",
            "[source.cars196]\npath = 'cars.zip'\nboxes = false\n",
            "[source.sop]\npath = 'Stanford_Online_Products'\n",
            "[source.omniglot]\npath = 'omniglot'\n",
        ] {
            let Data { source } = toml::from_str(recipe).unwrap();
            let written = toml::to_string(&source).unwrap();
            assert_eq!(
                toml::from_str::<Source>(&written).unwrap(),
                source,
                "{written}"
            );
        }
    }
}
