use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts, stem, wrong_form};
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "train/0005_07.jpg or images_detected/1_005_2_07.png";

/// CUHK03, two views of each person by the two cameras of one of five pairs. It is published as a MATLAB file; what is
/// read are the images taken out of it, in either of two forms:
///
/// - `images_detected/1_005_2_07.png` (also `images_labeled`): camera pair 1, person 005 of that pair, view 2, image 07.
///   A class is a pair and its person, `1_005`; the cameras are 0 to 9. No split is given: the classic one tests on 100
///   random people, `[data.split.class_disjoint] test = 0.068`.
/// - `train/0005_07.jpg`, and `val` or `test`: person 0005 of that part, image 07, where 00 to 04 are by camera 0 and 05
///   to 09 by camera 1. Numbers start again in each part, so a class is `train/0005`. Where there is no `test`, `val`
///   has the people that are held out, and tests.
///
/// The layout of the newer protocol (CUHK03-NP) is that of [`Market1501`](super::Market1501).
///
/// # Reference
/// W. Li, R. Zhao, T. Xiao, X. Wang, *DeepReID: Deep Filter Pairing Neural Network for Person Re-identification*, CVPR
/// 2014.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuhk03 {
    /// The folder or zip archive.
    pub path: PathBuf,
    /// Which of the two forms of each image counts where folders are called `images_detected` and `images_labeled`.
    #[serde(default)]
    pub boxes: Boxes,
}

/// Where an image was cut out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boxes {
    /// Where a detector found the person.
    #[default]
    Detected,
    /// Where people drew the box.
    Labeled,
}

impl Cuhk03 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        let has_test = tree.images().any(|file| {
            let folder = last_parts(file).map(|[folder, _]| folder);
            folder == Some("test")
        });
        let other = match self.boxes {
            Boxes::Detected => "images_labeled",
            Boxes::Labeled => "images_detected",
        };
        tree.dataset(FORM, |file| {
            let Some([folder, name]) = last_parts(file) else {
                return Ok(None);
            };
            let described = match folder {
                _ if folder == other => return Ok(None),
                "images_detected" | "images_labeled" => by_pair(stem(name)),
                "train" => by_part(folder, stem(name), Part::Train),
                "val" if has_test => by_part(folder, stem(name), Part::Validation),
                "val" | "test" => by_part(folder, stem(name), Part::Test),
                _ => return Ok(None),
            };
            let described = described.ok_or_else(|| wrong_form(&self.path, file, FORM))?;
            Ok(Some(described))
        })
    }
}

/// Whether an image is in a folder of the set and called as those there are.
pub(super) fn is_called_so(file: &str) -> bool {
    let described = last_parts(file).and_then(|[folder, name]| match folder {
        "images_detected" | "images_labeled" => by_pair(stem(name)),
        "train" | "val" | "test" => by_part(folder, stem(name), Part::Train),
        _ => None,
    });
    described.is_some()
}

/// `1_005_2_07`: pair, person, view, image.
fn by_pair(stem: &str) -> Option<Described> {
    let fields: Vec<&str> = stem.split('_').collect();
    let [pair, person, view, image] = fields[..] else {
        return None;
    };
    let (pair_number, view) = (pair.parse::<u32>().ok()?, view.parse::<u32>().ok()?);
    let known = (1..=5).contains(&pair_number) && (1..=2).contains(&view);
    (known && is_number(person) && is_number(image)).then(|| Described {
        class: format!("{pair}_{person}"),
        camera: Some(2 * (pair_number - 1) + view - 1),
        ..Described::default()
    })
}

/// `0005_07`: person, image.
fn by_part(folder: &str, stem: &str, part: Part) -> Option<Described> {
    let (person, image) = stem.split_once('_')?;
    let image = image.parse::<u32>().ok().filter(|&image| image < 10)?;
    is_number(person).then(|| Described {
        class: format!("{folder}/{person}"),
        part: Some(part),
        camera: Some(image / 5),
        ..Described::default()
    })
}
