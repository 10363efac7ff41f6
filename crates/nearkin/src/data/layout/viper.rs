use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts, stem, wrong_form};
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset};

const FORM: &str = "cam_a/005_45.bmp";

/// `VIPeR`: `cam_a/005_45.bmp`, person 005 seen from 45 degrees by camera 0, and `cam_b` by camera 1; one image of each
/// person by each camera. No split is given: papers test on a random half, `[data.split.class_disjoint] test = 0.5`.
///
/// # Reference
/// D. Gray, S. Brennan, H. Tao, *Evaluating Appearance Models for Recognition, Reacquisition, and Tracking*, PETS 2007.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Viper {
    /// The folder or zip archive.
    pub path: PathBuf,
}

impl Viper {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        Tree::open(&self.path)?.dataset(FORM, |file| {
            let Some([folder, name]) = last_parts(file) else {
                return Ok(None);
            };
            let camera = match folder {
                "cam_a" => 0,
                "cam_b" => 1,
                _ => return Ok(None),
            };
            let person = stem(name).split_once('_').map(|(person, _)| person);
            let person = person.filter(|person| is_number(person));
            let person = person.ok_or_else(|| wrong_form(&self.path, file, FORM))?;
            Ok(Some(Described {
                class: person.to_owned(),
                camera: Some(camera),
                ..Described::default()
            }))
        })
    }
}
