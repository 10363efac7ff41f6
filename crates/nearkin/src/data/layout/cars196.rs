use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts};
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "014/00001.jpg or AM General Hummer SUV 2000/00163.jpg";
const CLASSES: usize = 196;
/// Classes that train; the rest tests.
const TRAIN: usize = 98;

/// Cars-196 (Stanford Cars) as folders of classes, called by the class's number from 1 or by its name. Classes 1 to 98
/// train and 99 to 196 test, as in all work on metric learning since the reference of the split; folders above, such as
/// `train` and `test` of the data set's own split, which parts the images of each class, do not matter.
///
/// Names in alphabetical order fall into the same two halves as the numbers, so that all 196 have to be there.
///
/// # Reference
/// J. Krause, M. Stark, J. Deng, L. Fei-Fei, *3D Object Representations for Fine-Grained Categorization*, 2013; the
/// split: H. O. Song, Y. Xiang, S. Jegelka, S. Savarese, *Deep Metric Learning via Lifted Structured Feature Embedding*,
/// CVPR 2016, §5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cars196 {
    /// The folder or zip archive.
    pub path: PathBuf,
}

impl Cars196 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        let images = tree.images();
        let classes: BTreeSet<&str> = images.filter_map(class).collect();
        let train: BTreeSet<String> = if classes.iter().all(|class| is_number(class)) {
            let number = |class: &str| class.parse::<usize>().unwrap_or(0);
            if let Some(beyond) = classes
                .iter()
                .find(|class| !(1..=CLASSES).contains(&number(class)))
            {
                return Err(DataError::Classes {
                    path: self.path.clone(),
                    expected: "folders called by the numbers of the classes, from 1 to 196",
                    found: format!("a folder called {beyond}"),
                });
            }
            classes
                .iter()
                .filter(|class| number(class) <= TRAIN)
                .map(ToString::to_string)
                .collect()
        } else if classes.len() == CLASSES {
            classes
                .iter()
                .take(TRAIN)
                .map(ToString::to_string)
                .collect()
        } else {
            return Err(DataError::Classes {
                path: self.path.clone(),
                expected: "folders called by the numbers of the classes, or all 196 called by their names",
                found: format!("{} folders", classes.len()),
            });
        };
        tree.dataset(FORM, |file| {
            Ok(class(file).map(|class| Described {
                class: class.to_owned(),
                part: Some(if train.contains(class) {
                    Part::Train
                } else {
                    Part::Test
                }),
                ..Described::default()
            }))
        })
    }
}

fn class(file: &str) -> Option<&str> {
    last_parts(file).map(|[class, _]| class)
}
