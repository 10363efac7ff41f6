use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts, stem, wrong_form};
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset};

const FORM: &str = "campus/0005003.png";

/// CUHK01: `campus/0005003.png`, person 0005, image 003; images 001 and 002 are by camera 0, 003 and 004 by camera 1.
/// No split is given: papers test on 100 or on 486 of its 971 people, drawn at random.
///
/// # Reference
/// W. Li, R. Zhao, X. Wang, *Human Reidentification with Transferred Metric Learning*, ACCV 2012.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuhk01 {
    /// The folder or zip archive.
    pub path: PathBuf,
}

impl Cuhk01 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        Tree::open(&self.path)?.dataset(FORM, |file| {
            let described = last_parts(file).and_then(|[name]| parse(stem(name)));
            let described = described.ok_or_else(|| wrong_form(&self.path, file, FORM))?;
            Ok(Some(described))
        })
    }
}

/// Whether an image is called as all of the set are.
pub(super) fn is_called_so(file: &str) -> bool {
    last_parts(file).is_some_and(|[name]| parse(stem(name)).is_some())
}

/// `0005003`: person, image.
fn parse(stem: &str) -> Option<Described> {
    if stem.len() != 7 || !is_number(stem) {
        return None;
    }
    let (person, image) = stem.split_at(4);
    let image = image
        .parse::<u32>()
        .ok()
        .filter(|image| (1..=4).contains(image))?;
    Some(Described {
        class: person.to_owned(),
        camera: Some((image - 1) / 2),
        ..Described::default()
    })
}
