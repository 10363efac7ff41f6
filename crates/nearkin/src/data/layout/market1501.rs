use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts, stem, wrong_form};
use crate::data::dataset::Role;
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "bounding_box_train/0002_c1s1_000451_03.jpg";

/// Market-1501: `bounding_box_train`, `query` and `bounding_box_test` with images called `0002_c1s1_000451_03.jpg`,
/// person 0002 by camera 1; also what is laid out like it (DukeMTMC-reID, CUHK03-NP).
///
/// Images of other folders and junk detections (person −1) are left out: the protocol ignores both.
///
/// # Reference
/// L. Zheng, L. Shen, L. Tian, S. Wang, J. Wang, Q. Tian, *Scalable Person Re-identification: A Benchmark*, ICCV 2015.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market1501 {
    /// The folder or zip archive.
    pub path: PathBuf,
    /// Whether the gallery has its distractors, called `0000`, which are of no person: re-identification has them in its
    /// gallery, and verification where a pair names them. They train nothing, and every other protocol leaves them out.
    #[serde(default = "yes")]
    pub distractors: bool,
}

fn yes() -> bool {
    true
}

impl Market1501 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        Tree::open(&self.path)?.dataset(FORM, |file| {
            let Some([folder, name]) = last_parts(file) else {
                return Ok(None);
            };
            let (part, role) = match folder {
                "bounding_box_train" => (Part::Train, Role::Both),
                "query" => (Part::Test, Role::Query),
                "bounding_box_test" => (Part::Test, Role::Gallery),
                _ => return Ok(None),
            };
            let (person, camera) =
                parse(stem(name)).ok_or_else(|| wrong_form(&self.path, file, FORM))?;
            let is_distractor = person == "0000";
            let left_out = person == "-1" || (is_distractor && !self.distractors);
            Ok((!left_out).then(|| Described {
                class: person.to_owned(),
                part: Some(part),
                camera: Some(camera),
                role: Some(if is_distractor {
                    Role::Distractor
                } else {
                    role
                }),
                region: None,
            }))
        })
    }
}

/// Person and camera in `0002_c1s1_000451_03` or `0005_c2_f0046985`.
fn parse(stem: &str) -> Option<(&str, u32)> {
    let (person, rest) = stem.split_once("_c")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (camera, rest) = rest.split_at(digits);
    let known = person == "-1" || is_number(person);
    (known && rest.starts_with(['s', '_'])).then_some((person, camera.parse().ok()?))
}
