use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use nearkin_encoder::image::Region;
use serde::{Deserialize, Serialize};

use super::{is_number, last_parts};
use crate::data::mat::{self, Value};
use crate::data::tree::{Described, NamedFile, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "014/00001.jpg or AM General Hummer SUV 2000/00163.jpg";
/// The list of the set as it is published: image, box and number of the class.
pub(super) const ANNOTATIONS: &str = "cars_annos.mat";
const ANNOTATED: &str = "car_ims/000001.jpg";
const IMAGES: &str = "car_ims";
const CLASSES: usize = 196;
/// Classes that train; the rest tests.
const TRAIN: usize = 98;

/// Cars-196 (Stanford Cars) as folders of classes, called by the class's number from 1 or by its name. Classes 1 to 98
/// train and 99 to 196 test, as in all work on metric learning since the reference of the split; folders above, such as
/// `train` and `test` of the data set's own split, which parts the images of each class, do not matter.
///
/// Where there is a `cars_annos.mat`, as beside the one folder `car_ims` of all images that the set is published in, the
/// classes and boxes are those that it lists, and a class is called by its number.
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
    /// Whether images are cut to their boxes, which `cars_annos.mat` lists; the usual protocol does not.
    #[serde(default)]
    pub boxes: bool,
}

impl Cars196 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        if is_published(&tree)
            && let Some(list) = tree.file(ANNOTATIONS)?
        {
            return self.annotated(tree, &list);
        }
        if self.boxes {
            return Err(DataError::NoList {
                path: self.path.clone(),
                list: ANNOTATIONS.to_owned(),
            });
        }
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

    /// The images that `cars_annos.mat` lists.
    fn annotated(&self, tree: Tree, list: &NamedFile) -> Result<Dataset, DataError> {
        let wrong = |reason: String| DataError::Annotations {
            path: list.path.clone(),
            reason,
        };
        let mut listed = annotations(list).map_err(wrong)?;
        let present: BTreeSet<&str> = tree.images().collect();
        let mut absent = listed
            .keys()
            .filter(|file| !present.contains(file.as_str()));
        if let Some(file) = absent.next() {
            return Err(wrong(format!("lists an image that is not there, {file}")));
        }
        tree.dataset(ANNOTATED, |file| {
            let described = listed.remove(file);
            Ok(described.map(|described| Described {
                region: described.region.filter(|_| self.boxes),
                ..described
            }))
        })
    }
}

/// Whether images are in one folder, as the set is published, and not in folders of classes.
pub(super) fn is_published(tree: &Tree) -> bool {
    let in_one = |file: &str| file.split('/').any(|folder| folder == IMAGES);
    tree.images().any(in_one)
}

/// The images that annotations list, each with its class, its part and its box.
fn annotations(list: &NamedFile) -> Result<HashMap<String, Described>, String> {
    let variables = mat::read(&list.bytes)?;
    let named = variables.iter().find(|(name, _)| name == "annotations");
    let Some((_, Value::Structs(annotations))) = named else {
        return Err("expected an array of structs called annotations, found none".to_owned());
    };
    let rows = annotations.rows([
        "relative_im_path",
        "class",
        "bbox_x1",
        "bbox_y1",
        "bbox_x2",
        "bbox_y2",
    ])?;
    let described = rows.map(|[path, numbers @ ..]| {
        let Value::Text(path) = path else {
            return Err("expected a text for relative_im_path".to_owned());
        };
        let mut found = [0.0; 5];
        for (found, number) in found.iter_mut().zip(numbers) {
            match number {
                Value::Numbers(numbers) if numbers.len() == 1 => *found = numbers[0],
                _ => return Err(format!("{path}: expected a number for class and box")),
            }
        }
        let [class, x1, y1, x2, y2] = found;
        let number = class as usize;
        if !(1..=CLASSES).contains(&number) || number as f64 != class {
            return Err(format!(
                "{path}: expected a class from 1 to {CLASSES}, found {class}"
            ));
        }
        // Pixels are counted from 1 there, and the last is in the box.
        let described = Described {
            class: number.to_string(),
            part: Some(part_of(number)),
            region: Some(Region {
                x: (x1 - 1.0) as f32,
                y: (y1 - 1.0) as f32,
                width: (x2 - x1 + 1.0) as f32,
                height: (y2 - y1 + 1.0) as f32,
            }),
            ..Described::default()
        };
        Ok((format!("{}{path}", list.folder), described))
    });
    described.collect()
}

fn part_of(class: usize) -> Part {
    if class <= TRAIN {
        Part::Train
    } else {
        Part::Test
    }
}

fn class(file: &str) -> Option<&str> {
    last_parts(file).map(|[class, _]| class)
}
