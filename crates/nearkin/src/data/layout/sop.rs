use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::is_number;
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

/// Stanford Online Products: `Ebay_train.txt` and `Ebay_test.txt`, lines of `image_id class_id super_class_id path` under
/// a header, with the images beside them (`bicycle_final/111085122871_0.JPG`). A class is a product.
///
/// # Reference
/// H. O. Song, Y. Xiang, S. Jegelka, S. Savarese, *Deep Metric Learning via Lifted Structured Feature Embedding*, CVPR
/// 2016, §4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sop {
    /// The folder `Stanford_Online_Products`, or a zip archive of it.
    pub path: PathBuf,
}

impl Sop {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        let present: HashSet<String> = tree.images().map(str::to_owned).collect();
        let mut described = HashMap::new();
        for (name, part) in [
            ("Ebay_train.txt", Part::Train),
            ("Ebay_test.txt", Part::Test),
        ] {
            let list = tree.list(name)?;
            for row in list.rows().skip(1) {
                let (line, [_, class, _, path]) = row?;
                if !is_number(class) {
                    let reason = format!("expected the number of a class, found {class:?}");
                    return Err(list.wrong(line, reason));
                }
                let file = format!("{}{path}", list.folder);
                if !present.contains(&file) {
                    return Err(list.absent(line, &file));
                }
                let about = Described {
                    class: class.to_owned(),
                    part: Some(part),
                    ..Described::default()
                };
                described.insert(file, about);
            }
        }
        tree.dataset("those in Ebay_train.txt", |file| Ok(described.remove(file)))
    }
}
