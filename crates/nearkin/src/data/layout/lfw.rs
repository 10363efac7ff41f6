use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{is_number, last_parts, stem};
use crate::data::tree::{Described, Tree};
use crate::data::{DataError, Dataset, Part};

const FORM: &str = "Person_Name/Person_Name_0001.jpg";

/// Labeled Faces in the Wild: `Person_Name/Person_Name_0001.jpg`, a class a person.
///
/// With one list of people, those who are not in it belong to the other part; with two, they are left out.
///
/// # Reference
/// G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, *Labeled Faces in the Wild*, 2007, §3 (View 1 and View 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lfw {
    /// The folder or zip archive.
    pub path: PathBuf,
    /// A list of the people who train: `peopleDevTrain.txt`, `pairsDevTrain.txt`, or names, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// A list of the people who test, such as `peopleDevTest.txt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
}

impl Lfw {
    pub(in crate::data) fn open(&self) -> Result<Dataset, DataError> {
        let tree = Tree::open(&self.path)?;
        let people = tree.images().filter_map(person).collect();
        let train = read_people(self.train.as_deref(), &people)?;
        let test = read_people(self.test.as_deref(), &people)?;
        if let Some(both) = train.intersection(&test).min() {
            return Err(DataError::Classes {
                path: self.path.clone(),
                expected: "people who either train or test",
                found: format!("{both} in both lists"),
            });
        }
        let mut part_of: HashMap<String, Part> = HashMap::new();
        part_of.extend(train.into_iter().map(|person| (person, Part::Train)));
        part_of.extend(test.into_iter().map(|person| (person, Part::Test)));
        let (others, left_out) = match (&self.train, &self.test) {
            (None, None) => (None, false),
            (Some(_), None) => (Some(Part::Test), false),
            (None, Some(_)) => (Some(Part::Train), false),
            (Some(_), Some(_)) => (None, true),
        };
        tree.dataset(FORM, |file| {
            Ok(person(file).and_then(|person| {
                let part = part_of.get(person).copied();
                (part.is_some() || !left_out).then(|| Described {
                    class: person.to_owned(),
                    part: part.or(others),
                    ..Described::default()
                })
            }))
        })
    }
}

/// The person that an image shows, if the image is called so.
pub(super) fn person(file: &str) -> Option<&str> {
    let [person, name] = last_parts(file)?;
    let number = stem(name).strip_prefix(person)?.strip_prefix('_')?;
    is_number(number).then_some(person)
}

/// The people in a list; lines of `Name`, `Name images`, `Name i j` and `Name i Other j`, and counts alone.
fn read_people(list: Option<&Path>, known: &HashSet<&str>) -> Result<HashSet<String>, DataError> {
    let Some(path) = list else {
        return Ok(HashSet::new());
    };
    let text = fs_err::read_to_string(path)?;
    let mut people = HashSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let wrong = |reason: String| DataError::Line {
            path: path.to_owned(),
            line,
            reason,
        };
        let named: &[&str] = match fields[..] {
            // How many folds there are, and how many people or pairs follow.
            [] => &[],
            [count] | [count, _] if is_number(count) => &[],
            [name] | [name, _] | [name, _, _] => &[name],
            [name, _, other, _] => &[name, other],
            _ => {
                let reason = format!("expected a person or a pair, found {} fields", fields.len());
                return Err(wrong(reason));
            }
        };
        for name in named {
            if !known.contains(name) {
                return Err(wrong(format!("the data set has no image of {name}")));
            }
            people.insert((*name).to_owned());
        }
    }
    Ok(people)
}
