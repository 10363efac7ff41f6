//! Which items train the network, which decide between checkpoints, and which only the report sees.
//!
//! Metric learning is measured on classes that training never saw, so the usual splits part the classes, not the
//! items.
//!
//! ```
//! use nearkin::data::{Bundled, BundledName, Dataset, Source};
//! use nearkin::split::Split;
//!
//! let digits = Dataset::open(&Source::Bundled(Bundled { name: BundledName::Digits }))?;
//! let parts = Split::default().apply(&digits, 7)?; // 30 % of the classes, drawn with seed 7
//! let classes = parts.test.iter().map(|&item| digits.labels[item]).collect::<std::collections::BTreeSet<_>>();
//! assert_eq!(classes.len(), 3);
//! assert!(parts.train.iter().all(|&item| !classes.contains(&digits.labels[item])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fold;

pub use fold::Fold;

use nearkin_losses::range::Fraction;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Part};
use crate::nearest::nearest;

/// How a data set is split, as the recipe writes it.
///
/// ```
/// use nearkin::split::Split;
///
/// #[derive(serde::Deserialize)]
/// struct Data {
///     split: Split,
/// }
/// let data: Data = toml::from_str("[split.prefix]\ntest = ['Greek/', 'Tagalog/']")?;
/// assert!(matches!(data.split, Split::Prefix(_)));
/// let data: Data = toml::from_str("split = 'given'")?;
/// assert_eq!(data.split, Split::Given);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Whole classes, drawn at random.
    ClassDisjoint(Shares),
    /// Whole classes, by the beginning of their names.
    Prefix(Prefixes),
    /// As the data say: a table's split column, folders called train and test, or a published layout.
    Given,
    /// Every class in both parts, a share of its items each.
    ItemLevel(Shares),
    /// Everything trains; nothing is measured.
    AllTrain,
    /// A fold of a cross-validation over the classes that another split does not test.
    Fold(Fold),
}

impl Default for Split {
    fn default() -> Self {
        Self::ClassDisjoint(Shares::default())
    }
}

/// The shares of classes or items that are set apart; the rest trains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shares {
    /// The share that tests.
    pub test: Fraction,
    /// The share that validates.
    pub validation: Fraction,
}

impl Default for Shares {
    /// 30 % tests, nothing validates.
    fn default() -> Self {
        Self {
            test: Fraction::literal(0.3),
            validation: Fraction::literal(0.0),
        }
    }
}

/// Beginnings of class names; the classes that begin with none of them train.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prefixes {
    /// Classes that test.
    pub test: Vec<String>,
    /// Classes that validate.
    pub validation: Vec<String>,
}

/// The items of each part, in the data set's order; no item is in two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// What the network learns from.
    pub train: Vec<usize>,
    /// What decides between checkpoints.
    pub validation: Vec<usize>,
    /// What only the report sees.
    pub test: Vec<usize>,
    /// What is of no class and in no part: re-identification has it in its gallery.
    pub distractors: Vec<usize>,
}

impl Parts {
    /// The items watched during training: validation, or test where no validation is set apart, or `none` where all
    /// train.
    pub fn watched(&self) -> (&'static str, &[usize]) {
        first_of([("validation", &self.validation), ("test", &self.test)])
    }

    /// The items of all parts, and those of none.
    pub fn all(&self) -> Vec<usize> {
        [
            &self.train[..],
            &self.validation,
            &self.test,
            &self.distractors,
        ]
        .concat()
    }

    /// The items of the final report: test, or validation where no test is set apart, or `none` where all train.
    pub fn measured(&self) -> (&'static str, &[usize]) {
        first_of([("test", &self.test), ("validation", &self.validation)])
    }
}

/// The first part that has items.
fn first_of<'a>(parts: [(&'static str, &'a [usize]); 2]) -> (&'static str, &'a [usize]) {
    let mut parts = parts.into_iter();
    let found = parts.find(|(_, items)| !items.is_empty());
    found.unwrap_or(("none", &[]))
}

/// Why a split does not fit the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A part that was asked for got nothing.
    #[error("the split leaves nothing to {part}: {reason}")]
    Empty {
        /// `train`, `validate` or `test`.
        part: &'static str,
        /// The numbers behind it.
        reason: String,
    },
    /// A prefix that no class name begins with.
    #[error("no class of {data} begins with {prefix:?}{hint}")]
    UnknownPrefix {
        /// The data set.
        data: String,
        /// The prefix.
        prefix: String,
        /// The nearest known beginning, if one is near.
        hint: String,
    },
    /// A class that two parts ask for.
    #[error("class {class:?} is in two parts: test has {test:?}, validation has {validation:?}")]
    Overlap {
        /// The class.
        class: String,
        /// The test prefix.
        test: String,
        /// The validation prefix.
        validation: String,
    },
    /// A class that both trains and tests, where it must not.
    #[error(
        "class {class:?} is tested and left to the folds too: expected a split that parts classes, such as class_disjoint or prefix"
    )]
    Shared {
        /// The class.
        class: String,
    },
    /// Classes cannot be cut so.
    #[error(
        "fold {number} of {folds} folds of {classes} classes: expected at least 2 folds, a class for each of them, and folds counted from 0"
    )]
    Folds {
        /// Folds.
        folds: usize,
        /// The fold that validates.
        number: usize,
        /// Classes to cut.
        classes: usize,
    },
    /// The source gives no split.
    #[error(
        "{data} gives no split of its own{hint}; another data.split, such as class_disjoint, needs none"
    )]
    NotGiven {
        /// The data set.
        data: String,
        /// What gives such data one, if that is known.
        hint: String,
    },
}

impl Split {
    /// Splits `data`; the same seed gives the same parts.
    ///
    /// # Errors
    /// Nothing is left to train or for a part that was asked for, a prefix matches no class or two parts claim one
    /// class, or the source gives no split where one is needed.
    pub fn apply(&self, data: &Dataset, seed: u64) -> Result<Parts, SplitError> {
        let part_of: Vec<Part> = match self {
            Self::ClassDisjoint(shares) => by_class(data, &shares.of_classes(data, seed)?),
            Self::Prefix(prefixes) => by_class(data, &prefixes.of_classes(data)?),
            Self::Given => data
                .given_split
                .clone()
                .ok_or_else(|| SplitError::NotGiven {
                    data: data.name.clone(),
                    hint: String::new(),
                })?,
            Self::ItemLevel(shares) => shares.of_items(data, seed),
            Self::AllTrain => vec![Part::Train; data.len()],
            Self::Fold(fold) => {
                let parts = fold.apply(data)?;
                self.check(&parts, data)?;
                return Ok(parts);
            }
        };
        let of = |part| {
            (0..part_of.len())
                .filter(|&item| part_of[item] == part && !data.is_distractor(item))
                .collect()
        };
        let parts = Parts {
            train: of(Part::Train),
            validation: of(Part::Validation),
            test: of(Part::Test),
            distractors: (0..data.len())
                .filter(|&item| data.is_distractor(item))
                .collect(),
        };
        self.check(&parts, data)?;
        Ok(parts)
    }

    fn check(&self, parts: &Parts, data: &Dataset) -> Result<(), SplitError> {
        let (test, validation) = match self {
            Self::ClassDisjoint(shares) | Self::ItemLevel(shares) => {
                (shares.test.exact() > 0.0, shares.validation.exact() > 0.0)
            }
            Self::Prefix(prefixes) => (!prefixes.test.is_empty(), !prefixes.validation.is_empty()),
            Self::Given => (parts.validation.is_empty(), parts.test.is_empty()),
            Self::AllTrain => (false, false),
            Self::Fold(fold) => (fold.test, true),
        };
        for (part, asked, items) in [
            ("train", true, &parts.train),
            ("test", test, &parts.test),
            ("validate", validation, &parts.validation),
        ] {
            if asked && items.is_empty() {
                let reason = format!(
                    "{} has {} items in {} classes",
                    data.name,
                    data.len(),
                    data.classes.len()
                );
                return Err(SplitError::Empty { part, reason });
            }
        }
        Ok(())
    }
}

/// Gives each item the part of its class.
fn by_class(data: &Dataset, part_of: &[Part]) -> Vec<Part> {
    data.labels
        .iter()
        .map(|&label| part_of[label as usize])
        .collect()
}

impl Shares {
    /// A part of each class, drawn at random.
    fn of_classes(self, data: &Dataset, seed: u64) -> Result<Vec<Part>, SplitError> {
        let classes = data.classes.len();
        let (test, validation) = (count(self.test, classes), count(self.validation, classes));
        if test + validation >= classes {
            let reason = format!(
                "{test} classes test and {validation} validate, of {classes} in {}",
                data.name
            );
            return Err(SplitError::Empty {
                part: "train",
                reason,
            });
        }
        let mut order: Vec<usize> = (0..classes).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut part_of = vec![Part::Train; classes];
        for (place, class) in order.into_iter().enumerate().take(test + validation) {
            part_of[class] = if place < test {
                Part::Test
            } else {
                Part::Validation
            };
        }
        Ok(part_of)
    }

    /// A part of each item, drawn at random within its class, so that every class keeps at least one to train.
    fn of_items(self, data: &Dataset, seed: u64) -> Vec<Part> {
        let mut items_of = vec![Vec::new(); data.classes.len()];
        for (item, &label) in data.labels.iter().enumerate() {
            items_of[label as usize].push(item);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut part_of = vec![Part::Train; data.len()];
        for mut items in items_of {
            items.shuffle(&mut rng);
            let spare = items.len().saturating_sub(1);
            let test = count(self.test, items.len()).min(spare);
            let validation = count(self.validation, items.len()).min(spare - test);
            for (place, item) in items.into_iter().enumerate().take(test + validation) {
                part_of[item] = if place < test {
                    Part::Test
                } else {
                    Part::Validation
                };
            }
        }
        part_of
    }
}

/// The share of a count, rounded, but at least one where any is asked for.
fn count(share: Fraction, of: usize) -> usize {
    let share = share.exact();
    if share > 0.0 {
        ((share * of as f64).round() as usize).max(1)
    } else {
        0
    }
}

impl Prefixes {
    /// The part of each class, by its name.
    fn of_classes(&self, data: &Dataset) -> Result<Vec<Part>, SplitError> {
        for prefix in self.test.iter().chain(&self.validation) {
            if !data.classes.iter().any(|class| class.starts_with(prefix)) {
                return Err(unknown_prefix(prefix, data));
            }
        }
        let part_of = |class: &String| {
            let test = self.test.iter().find(|prefix| class.starts_with(*prefix));
            let validation = self
                .validation
                .iter()
                .find(|prefix| class.starts_with(*prefix));
            match (test, validation) {
                (None, None) => Ok(Part::Train),
                (Some(_), None) => Ok(Part::Test),
                (None, Some(_)) => Ok(Part::Validation),
                (Some(test), Some(validation)) => Err(SplitError::Overlap {
                    class: class.clone(),
                    test: test.clone(),
                    validation: validation.clone(),
                }),
            }
        };
        data.classes.iter().map(part_of).collect()
    }
}

/// Suggests the nearest class, or the nearest folder of classes where the prefix names a folder.
fn unknown_prefix(prefix: &str, data: &Dataset) -> SplitError {
    let folders = data
        .classes
        .iter()
        .filter_map(|class| class.split_inclusive('/').next());
    let known: Vec<&str> = if prefix.ends_with('/') {
        folders.filter(|folder| folder.ends_with('/')).collect()
    } else {
        folders
            .chain(data.classes.iter().map(String::as_str))
            .collect()
    };
    let hint = match nearest(prefix, known) {
        Some(near) => format!(" (did you mean {near:?}?)"),
        None => format!(
            "; the first class is {:?}",
            data.classes.first().map_or("", String::as_str)
        ),
    };
    SplitError::UnknownPrefix {
        data: data.name.clone(),
        prefix: prefix.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::{Folder, Source};

    /// A data set of empty files: `(class, items)`.
    fn data(classes: &[(&str, usize)]) -> Dataset {
        let folder = tempfile::tempdir().unwrap();
        for (class, items) in classes {
            fs_err::create_dir_all(folder.path().join(class)).unwrap();
            for item in 0..*items {
                fs_err::write(folder.path().join(class).join(format!("{item}.png")), "").unwrap();
            }
        }
        Dataset::open(&Source::Folder(Folder {
            path: folder.path().into(),
            depth: None,
        }))
        .unwrap()
    }

    fn shares(test: f64, validation: f64) -> Shares {
        Shares {
            test: Fraction::literal(test),
            validation: Fraction::literal(validation),
        }
    }

    fn classes_of(items: &[usize], data: &Dataset) -> BTreeSet<u32> {
        items.iter().map(|&item| data.labels[item]).collect()
    }

    const ALPHABETS: [(&str, usize); 6] = [
        ("Greek/a", 3),
        ("Greek/b", 1),
        ("Latin/a", 2),
        ("Latin/b", 2),
        ("Tagalog/a", 4),
        ("Korean/a", 2),
    ];

    #[test]
    fn class_disjoint_parts_share_no_class_and_cover_every_item() {
        let data = data(&ALPHABETS);
        let parts = Split::ClassDisjoint(shares(0.34, 0.17))
            .apply(&data, 1)
            .unwrap();
        let [train, validation, test] =
            [&parts.train, &parts.validation, &parts.test].map(|p| classes_of(p, &data));
        assert_eq!((train.len(), validation.len(), test.len()), (3, 1, 2));
        assert!(
            train.is_disjoint(&test)
                && train.is_disjoint(&validation)
                && test.is_disjoint(&validation)
        );
        let mut all: Vec<usize> = [parts.train, parts.validation, parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..data.len()).collect::<Vec<_>>());
    }

    #[test]
    fn the_seed_alone_decides_the_draw() {
        let names: Vec<String> = (0..40).map(|i| format!("class{i:02}")).collect();
        let data = data(
            &names
                .iter()
                .map(|name| (name.as_str(), 1))
                .collect::<Vec<_>>(),
        );
        for split in [Split::ClassDisjoint(shares(0.5, 0.0)), Split::default()] {
            assert_eq!(split.apply(&data, 5), split.apply(&data, 5));
            assert_ne!(split.apply(&data, 5), split.apply(&data, 6));
        }
    }

    #[test]
    fn prefixes_choose_classes_by_the_beginning_of_their_names() {
        let data = data(&ALPHABETS);
        let prefixes = Prefixes {
            test: vec!["Greek/".into(), "Tag".into()],
            validation: vec!["Latin/b".into()],
        };
        let parts = Split::Prefix(prefixes).apply(&data, 0).unwrap();
        let names = |items: &[usize]| {
            classes_of(items, &data)
                .iter()
                .map(|&c| data.classes[c as usize].as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&parts.test), ["Greek/a", "Greek/b", "Tagalog/a"]);
        assert_eq!(names(&parts.validation), ["Latin/b"]);
        assert_eq!(names(&parts.train), ["Korean/a", "Latin/a"]);
    }

    #[test]
    fn a_prefix_without_a_class_gets_a_suggestion_and_one_class_in_two_parts_is_refused() {
        let data = data(&ALPHABETS);
        let error = |test: &str, validation: &[&str]| {
            let validation = validation.iter().map(ToString::to_string).collect();
            Split::Prefix(Prefixes {
                test: vec![test.into()],
                validation,
            })
            .apply(&data, 0)
            .unwrap_err()
            .to_string()
        };
        assert!(error("Greeek/", &[]).contains("\"Greeek/\" (did you mean \"Greek/\"?)"));
        assert!(error("Xyz", &[]).contains("the first class is"));
        let overlap = error("Greek/", &["Greek/a"]);
        assert!(
            overlap.contains("class \"Greek/a\" is in two parts")
                && overlap.contains("test has \"Greek/\""),
            "{overlap}"
        );
    }

    #[test]
    fn an_item_level_split_keeps_every_class_in_train_and_single_items_there() {
        let data = data(&[("a", 10), ("b", 3), ("c", 1)]);
        let parts = Split::ItemLevel(shares(0.3, 0.2)).apply(&data, 2).unwrap();
        let count = |items: &[usize], class| {
            items
                .iter()
                .filter(|&&item| data.labels[item] == class)
                .count()
        };
        let counts = [0, 1, 2].map(|class| {
            [&parts.train, &parts.validation, &parts.test].map(|part| count(part, class))
        });
        assert_eq!(counts, [[5, 2, 3], [1, 1, 1], [1, 0, 0]]);
    }

    #[test]
    fn a_split_that_leaves_a_part_empty_says_which_and_why() {
        let two = data(&[("a", 2), ("b", 2)]);
        let error = |split: Split, data: &Dataset| split.apply(data, 0).unwrap_err().to_string();
        let all = error(Split::ClassDisjoint(shares(0.5, 0.5)), &two);
        assert!(
            all.contains("nothing to train") && all.contains("1 classes test and 1 validate, of 2"),
            "{all}"
        );
        let single = data(&[("a", 1)]);
        assert!(error(Split::ItemLevel(shares(0.5, 0.0)), &single).contains("nothing to test"));
        assert!(error(Split::Given, &two).contains("gives no split of its own"));
        let prefixes = Prefixes {
            test: vec![String::new()],
            validation: Vec::new(),
        };
        assert!(error(Split::Prefix(prefixes), &two).contains("nothing to train"));
    }

    #[test]
    fn where_no_split_is_given_the_reader_says_what_gives_one() {
        let data = data(&[("a", 2), ("b", 2)]);
        let error = |source: &str| {
            let text = format!("split = 'given'\n[source.{source}]\npath = 'x'\n");
            let of_recipe: crate::recipe::Data = toml::from_str(&text).unwrap();
            of_recipe.parts(&data, 0).unwrap_err().to_string()
        };
        for (source, words) in [
            ("cuhk03", "images_detected"),
            ("manifest", "data.source.manifest.split_column"),
            ("folder", "folders called train"),
            ("lfw", "data.source.lfw.train"),
        ] {
            let error = error(source);
            assert!(error.contains(words), "{error}");
            let of_table = error.contains("split_column");
            assert_eq!(of_table, source == "manifest", "{error}");
        }
    }

    #[test]
    fn what_is_of_no_class_is_in_no_part() {
        use crate::data::Role;
        let mut data = data(&[("0000", 3), ("a", 2), ("b", 2)]);
        let roles = |label: &u32| match label {
            0 => Role::Distractor,
            _ => Role::Both,
        };
        data.roles = Some(data.labels.iter().map(roles).collect());
        let fold: Fold = toml::from_str("folds = 2\ntest = false\nwithin = 'all_train'").unwrap();
        for split in [Split::AllTrain, Split::Fold(fold)] {
            let parts = split.apply(&data, 0).unwrap();
            assert_eq!(parts.distractors, [0, 1, 2]);
            let mut others = [parts.train, parts.validation, parts.test].concat();
            others.sort_unstable();
            assert_eq!(others, [3, 4, 5, 6]);
        }
    }

    #[test]
    fn a_given_split_needs_something_to_measure() {
        let mut data = data(&[("a", 2), ("b", 1)]);
        data.given_split = Some(vec![Part::Train, Part::Test, Part::Train]);
        let parts = Split::Given.apply(&data, 0).unwrap();
        assert_eq!((parts.train, parts.test), (vec![0, 2], vec![1]));
        data.given_split = Some(vec![Part::Train; 3]);
        assert!(Split::Given.apply(&data, 0).is_err());
        assert_eq!(Split::AllTrain.apply(&data, 0).unwrap().train.len(), 3);
    }

    #[test]
    fn shares_out_of_range_and_unknown_keys_are_refused_while_parsing() {
        for (recipe, words) in [
            ("[class_disjoint]\ntest = 1.5", "1.5 is out of range"),
            ("[class_disjoint]\ntset = 0.5", "tset"),
            ("[class]\ntest = 0.5", "class_disjoint"),
        ] {
            let message = toml::from_str::<Split>(recipe).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
