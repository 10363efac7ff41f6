use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use nearkin_encoder::image::Region;
use serde::{Deserialize, Serialize};

use crate::data::tree::{Described, List, Tree};
use crate::data::{DataError, Dataset, Part};

/// Classes that train; the rest tests.
const TRAIN: u32 = 100;

/// Caltech-UCSD Birds-200-2011: `images.txt` and `image_class_labels.txt`, with the images in `images`. Classes 1 to 100
/// train and 101 to 200 test, as in all work on metric learning since the reference; the data set's own
/// `train_test_split.txt` parts the images of each class and is not read.
///
/// # Reference
/// C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie, *The Caltech-UCSD Birds-200-2011 Dataset*, 2011; the split:
/// H. O. Song, Y. Xiang, S. Jegelka, S. Savarese, *Deep Metric Learning via Lifted Structured Feature Embedding*, CVPR
/// 2016, §5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cub200 {
    /// The folder `CUB_200_2011`, or a zip archive of it.
    pub path: PathBuf,
    /// Whether images are cut to their boxes (`bounding_boxes.txt`); the usual protocol does not.
    #[serde(default)]
    pub boxes: bool,
}

impl Cub200 {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        let (images, labels) = (
            tree.list("images.txt")?,
            tree.list("image_class_labels.txt")?,
        );
        let classes = classes(&labels)?;
        let regions = self.boxes.then(|| tree.list("bounding_boxes.txt"));
        let regions = regions.transpose()?.map(|list| boxes(&list)).transpose()?;
        let present: HashSet<String> = tree.images().map(str::to_owned).collect();
        let mut described = HashMap::new();
        for row in images.rows() {
            let (line, [id, path]) = row?;
            let unknown =
                |what: &str| images.wrong(line, format!("there is no {what} of image {id}"));
            let class = classes.get(id).ok_or_else(|| unknown("class"))?;
            let folder = path.split('/').next().unwrap_or_default();
            let part = if *class <= TRAIN {
                Part::Train
            } else {
                Part::Test
            };
            let region = regions.as_ref().map(|regions| regions.get(id).copied());
            let about = Described {
                class: folder.to_owned(),
                part: Some(part),
                region: region
                    .map(|found| found.ok_or_else(|| unknown("box")))
                    .transpose()?,
                ..Described::default()
            };
            let file = format!("{}images/{path}", images.folder);
            if !present.contains(&file) {
                return Err(images.absent(line, &file));
            }
            described.insert(file, about);
        }
        tree.dataset("those in images.txt", |file| Ok(described.remove(file)))
    }
}

/// The class of each image, by the image's number.
fn classes(labels: &List) -> Result<HashMap<&str, u32>, DataError> {
    let class = |row: Result<_, DataError>| {
        let (line, [id, class]): (u64, [&str; 2]) = row?;
        let number = class.parse::<u32>().ok().filter(|&number| number > 0);
        let wrong = || {
            labels.wrong(
                line,
                format!("expected the number of a class, found {class:?}"),
            )
        };
        Ok((id, number.ok_or_else(wrong)?))
    };
    labels.rows().map(class).collect()
}

/// The box of each image, by the image's number.
fn boxes(list: &List) -> Result<HashMap<String, Region>, DataError> {
    let mut boxes = HashMap::new();
    for row in list.rows() {
        let (line, [id, edges @ ..]): (u64, [&str; 5]) = row?;
        let edges = edges.map(|edge| edge.parse::<f32>().ok().filter(|edge| edge.is_finite()));
        let [Some(x), Some(y), Some(width), Some(height)] = edges else {
            return Err(list.wrong(line, "expected four numbers of pixels".to_owned()));
        };
        let region = Region {
            x,
            y,
            width,
            height,
        };
        boxes.insert(id.to_owned(), region);
    }
    Ok(boxes)
}
