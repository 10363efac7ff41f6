//! Data sets that are part of the program, so that the first try needs no download.

use std::io::Cursor;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::class_folders::class_folders;
use super::table::Table;
use super::tree::Tree;
use super::zip::{Archive, Bytes};
use super::{DataError, Dataset, Features};

/// A data set that is part of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundled {
    /// Which one.
    pub name: BundledName,
}

/// The bundled data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundledName {
    /// Characters of several scripts in many typefaces: images, a class `Script/character`.
    Glyphs,
    /// Handwritten digits (UCI, CC BY 4.0): 8 × 8 gray values as 64 features, a class a digit.
    Digits,
}

impl Bundled {
    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        let mut data = match self.name {
            BundledName::Glyphs => {
                let bytes = include_bytes!("../../assets/glyphs.zip");
                let archive = Archive::new("glyphs.zip".into(), Bytes::Bundled(bytes))?;
                class_folders(Tree::archive(archive)?, None)?
            }
            BundledName::Digits => {
                let bytes: &[u8] = include_bytes!("../../assets/digits.csv.gz");
                let path = Path::new("digits.csv.gz");
                let table = Table::from_reader(path, Box::new(Cursor::new(bytes)), Some(false))?;
                Features::new(path).open_table(table)?
            }
        };
        data.name = match self.name {
            BundledName::Glyphs => "glyphs".to_owned(),
            BundledName::Digits => "digits".to_owned(),
        };
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::summary;

    #[test]
    fn the_bundled_digits_are_1797_rows_of_64_gray_values() {
        let data = Bundled {
            name: BundledName::Digits,
        }
        .open()
        .unwrap();
        assert_eq!(
            (data.len(), data.is_features(), data.classes.len()),
            (1797, Some(64), 10)
        );
        assert!(
            data.features()
                .iter()
                .all(|value| (0.0..=16.0).contains(value))
        );
        assert_eq!(data.labels[..3], [0, 1, 2]);
    }

    #[test]
    fn the_bundled_glyphs_are_enough_classes_with_enough_images_and_each_can_be_read() {
        let data = Bundled {
            name: BundledName::Glyphs,
        }
        .open()
        .unwrap();
        let summary = summary(&data);
        assert!(summary.classes >= 150 && summary.min >= 20, "{summary}");
        for index in 0..data.len() {
            assert_eq!(
                data.read(index).unwrap()[..4],
                *b"\x89PNG",
                "{}",
                data.names[index]
            );
        }
    }
}
