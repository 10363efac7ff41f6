//! Cross-validation over classes, within what another split does not test.

use super::{Parts, Split, SplitError};
use crate::data::Dataset;
use nearkin_losses::range::Count;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One fold of a cross-validation over classes, `[data.split.fold]`: the classes that another split does not test are cut
/// into folds, one of which validates and the others train.
///
/// Both draws are decided by a seed of its own, so that runs of other seeds have the same parts: what chooses between
/// recipes is then never what tests them.
///
/// ```
/// use nearkin::data::{Bundled, BundledName, Dataset, Source};
/// use nearkin::split::{Fold, Split};
///
/// let digits = Dataset::open(&Source::Bundled(Bundled { name: BundledName::Digits }))?;
/// let split: Fold = toml::from_str("folds = 3\nnumber = 1\n[within.class_disjoint]\ntest = 0.4")?;
/// let parts = Split::Fold(split).apply(&digits, 0)?;
/// let classes = |items: &[usize]| items.iter().map(|&i| digits.labels[i]).collect::<std::collections::BTreeSet<_>>().len();
/// // Four of ten classes test; of the other six a third validates.
/// assert_eq!([&parts.train, &parts.validation, &parts.test].map(|part| classes(part)), [4, 2, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Folds, at least two, and at most one for each class.
    #[serde(default = "four")]
    pub folds: Count,
    /// The fold that validates, from 0.
    #[serde(default)]
    pub number: usize,
    /// Decides the folds, and what `within` draws.
    #[serde(default)]
    pub seed: u64,
    /// Whether what `within` tests is the test part; otherwise it is left out, as it must be while recipes are chosen.
    #[serde(default = "yes")]
    pub test: bool,
    /// The split whose test part is kept out of the folds.
    #[serde(default)]
    pub within: Box<Split>,
}

/// As in the metric learning reality check.
fn four() -> Count {
    Count::literal(4)
}

fn yes() -> bool {
    true
}

impl Fold {
    pub(super) fn apply(&self, data: &Dataset) -> Result<Parts, SplitError> {
        let within = self.within.apply(data, self.seed)?;
        let mut left = [within.train, within.validation].concat();
        left.sort_unstable();
        let classes: BTreeSet<u32> = left.iter().map(|&item| data.labels[item]).collect();
        if let Some(&item) = within
            .test
            .iter()
            .find(|&&item| classes.contains(&data.labels[item]))
        {
            let class = data.classes[data.labels[item] as usize].clone();
            return Err(SplitError::Shared { class });
        }
        let (folds, number) = (self.folds.get(), self.number);
        if folds < 2 || folds > classes.len() || number >= folds {
            return Err(SplitError::Folds {
                folds,
                number,
                classes: classes.len(),
            });
        }
        let mut order: Vec<u32> = classes.into_iter().collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let validates: BTreeSet<u32> = order.into_iter().skip(number).step_by(folds).collect();
        let of_fold = |item: &usize| validates.contains(&data.labels[*item]);
        let (validation, train) = left.into_iter().partition(of_fold);
        Ok(Parts {
            train,
            validation,
            test: if self.test { within.test } else { Vec::new() },
            distractors: within.distractors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Bundled, BundledName, Source};
    use crate::split::Shares;

    fn digits() -> Dataset {
        let name = BundledName::Digits;
        Dataset::open(&Source::Bundled(Bundled { name })).unwrap()
    }

    fn fold(number: usize, seed: u64, test: bool) -> Fold {
        Fold {
            folds: Count::literal(3),
            number,
            seed,
            test,
            within: Box::default(),
        }
    }

    fn classes(items: &[usize], data: &Dataset) -> BTreeSet<u32> {
        items.iter().map(|&item| data.labels[item]).collect()
    }

    #[test]
    fn folds_cover_what_is_not_tested_once_and_never_touch_what_is() {
        let data = digits();
        let tested = Split::default().apply(&data, 5).unwrap();
        let mut validated = Vec::new();
        for number in 0..3 {
            let parts = fold(number, 5, true).apply(&data).unwrap();
            assert_eq!(parts.test, tested.test);
            let [train, validation, test] =
                [&parts.train, &parts.validation, &parts.test].map(|part| classes(part, &data));
            assert!(train.is_disjoint(&validation));
            assert!(test.is_disjoint(&train) && test.is_disjoint(&validation));
            assert_eq!(
                parts.train.len() + parts.validation.len(),
                tested.train.len()
            );
            validated.extend(parts.validation);
            let unseen = fold(number, 5, false).apply(&data).unwrap();
            assert!(unseen.test.is_empty() && unseen.train == parts.train);
        }
        validated.sort_unstable();
        assert_eq!(validated, tested.train);
    }

    #[test]
    fn its_own_seed_decides_and_that_of_the_run_does_not() {
        let data = digits();
        let parts = |own, run| Split::Fold(fold(0, own, true)).apply(&data, run).unwrap();
        assert_eq!(parts(1, 2), parts(1, 3));
        assert_ne!(parts(1, 2).validation, parts(2, 2).validation);
    }

    #[test]
    fn folds_that_cannot_be_are_refused() {
        let data = digits();
        for (folds, number) in [(1, 0), (8, 0), (3, 3)] {
            let fold = Fold {
                folds: Count::literal(folds),
                ..fold(number, 0, true)
            };
            let error = fold.apply(&data).unwrap_err().to_string();
            assert!(error.contains("of 7 classes"), "{error}");
        }
        let none = Fold {
            within: Split::AllTrain.into(),
            ..fold(0, 0, true)
        };
        let error = Split::Fold(none).apply(&data, 0).unwrap_err().to_string();
        assert!(error.contains("nothing to test"), "{error}");
        let shared = Fold {
            within: Split::ItemLevel(Shares::default()).into(),
            ..fold(0, 0, true)
        };
        let error = shared.apply(&data).unwrap_err().to_string();
        assert!(
            error.contains("is tested and left to the folds too"),
            "{error}"
        );
        let shares = Split::ClassDisjoint(Shares::default());
        assert_eq!(
            Fold {
                within: shares.into(),
                ..fold(0, 0, true)
            },
            fold(0, 0, true)
        );
    }
}
