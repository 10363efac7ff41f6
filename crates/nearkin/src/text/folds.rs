//! Cross-validation: which items train, which test.

use nearkin_encoder::parameters::named_rng;
use rand::seq::SliceRandom;

use super::error::TextError;

/// One split: indices of items, each list in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Items to train on.
    pub train: Vec<usize>,
    /// Items to test on: every item is in exactly one fold's test.
    pub test: Vec<usize>,
}

/// `k` folds of items drawn at random, of sizes that differ by at most one.
///
/// # Errors
/// `k` is below 2 or above the number of items.
///
/// ```
/// use nearkin::text::folds::k_fold;
/// let folds = k_fold(10, 5, 0)?;
/// assert!(folds.iter().all(|fold| fold.train.len() == 8 && fold.test.len() == 2));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn k_fold(items: usize, k: usize, seed: u64) -> Result<Vec<Fold>, TextError> {
    stratified_k_fold(&vec![0; items], k, seed)
}

/// `k` folds in which every class has its share: a class's counts in two folds differ by at most one.
///
/// # Errors
/// `k` is below 2 or above the number of items.
pub fn stratified_k_fold(labels: &[u32], k: usize, seed: u64) -> Result<Vec<Fold>, TextError> {
    if k < 2 {
        return Err(TextError::TooFew {
            what: "folds",
            least: 2,
            found: k,
        });
    }
    if labels.len() < k {
        return Err(TextError::TooFew {
            what: "items to fold",
            least: k,
            found: labels.len(),
        });
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(&mut named_rng(seed, "folds"));
    // Dealt class by class, round after round: the deal goes on where the class before left off.
    order.sort_by_key(|&item| labels[item]);
    let mut fold_of = vec![0; labels.len()];
    for (at, &item) in order.iter().enumerate() {
        fold_of[item] = at % k;
    }
    Ok((0..k).map(|fold| Fold::new(&fold_of, fold)).collect())
}

/// One fold for each group, such as a topic: trained on all other groups, tested on this one.
///
/// # Errors
/// There are fewer than two groups.
///
/// # Reference
/// The cross-topic protocol of Reimers and Gurevych, Sentence-BERT, 2019, section 4.3.
///
/// ```
/// use nearkin::text::folds::{Fold, leave_one_group_out};
/// let folds = leave_one_group_out(&[7, 3, 7])?;
/// assert_eq!(folds[0], Fold { train: vec![0, 2], test: vec![1] });
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn leave_one_group_out(groups: &[u32]) -> Result<Vec<Fold>, TextError> {
    let mut distinct = groups.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 2 {
        return Err(TextError::TooFew {
            what: "groups",
            least: 2,
            found: distinct.len(),
        });
    }
    let fold_of: Vec<usize> = groups
        .iter()
        .map(|group| distinct.partition_point(|other| other < group))
        .collect();
    Ok((0..distinct.len())
        .map(|fold| Fold::new(&fold_of, fold))
        .collect())
}

/// `k` folds of whole groups, such as four folds of topics, of about as many items: large groups are dealt first, each
/// to the fold with the fewest items.
///
/// # Errors
/// `k` is below 2 or above the number of groups.
pub fn group_k_fold(groups: &[u32], k: usize) -> Result<Vec<Fold>, TextError> {
    let mut sizes = std::collections::BTreeMap::<u32, usize>::new();
    for &group in groups {
        *sizes.entry(group).or_default() += 1;
    }
    if k < 2 || sizes.len() < k {
        return Err(TextError::TooFew {
            what: "groups to fold",
            least: k.max(2),
            found: sizes.len().min(k),
        });
    }
    let mut largest_first: Vec<(u32, usize)> = sizes.into_iter().collect();
    largest_first.sort_by_key(|&(_, size)| std::cmp::Reverse(size));
    let mut loads = vec![0; k];
    let mut fold_of_group = std::collections::HashMap::new();
    for (group, size) in largest_first {
        let lightest = (0..k).min_by_key(|&fold| loads[fold]).unwrap_or(0);
        loads[lightest] += size;
        fold_of_group.insert(group, lightest);
    }
    let fold_of: Vec<usize> = groups.iter().map(|group| fold_of_group[group]).collect();
    Ok((0..k).map(|fold| Fold::new(&fold_of, fold)).collect())
}

impl Fold {
    fn new(fold_of: &[usize], fold: usize) -> Self {
        let (test, train) = (0..fold_of.len()).partition(|&item| fold_of[item] == fold);
        Self { train, test }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests_once(folds: &[Fold], items: usize) {
        let mut seen = vec![0; items];
        for fold in folds {
            fold.test.iter().for_each(|&item| seen[item] += 1);
            let mut all = [&fold.train[..], &fold.test[..]].concat();
            all.sort_unstable();
            assert_eq!(all, (0..items).collect::<Vec<_>>());
        }
        assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    }

    #[test]
    fn every_item_is_tested_once_and_every_class_has_its_share() {
        let labels: Vec<u32> = (0..103)
            .map(|i| u32::from(i % 3 == 0) + u32::from(i == 50))
            .collect();
        let folds = stratified_k_fold(&labels, 10, 4).unwrap();
        tests_once(&folds, 103);
        for class in 0..3 {
            let counts = folds
                .iter()
                .map(|f| f.test.iter().filter(|&&i| labels[i] == class).count());
            let counts: Vec<usize> = counts.collect();
            assert!(
                counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1,
                "{counts:?}"
            );
        }
        assert_eq!(folds, stratified_k_fold(&labels, 10, 4).unwrap());
        assert_ne!(folds, stratified_k_fold(&labels, 10, 5).unwrap());
    }

    #[test]
    fn groups_stay_whole() {
        let groups: Vec<u32> = (0..60).map(|i| i * i % 7).collect();
        for folds in [
            leave_one_group_out(&groups).unwrap(),
            group_k_fold(&groups, 3).unwrap(),
        ] {
            tests_once(&folds, 60);
            for fold in &folds {
                let apart = |test: &usize| {
                    fold.train
                        .iter()
                        .all(|train| groups[*train] != groups[*test])
                };
                assert!(fold.test.iter().all(apart));
            }
        }
        let sizes = group_k_fold(&[0, 0, 0, 0, 1, 1, 2, 2], 2).unwrap();
        assert!(sizes.iter().all(|fold| fold.test.len() == 4), "{sizes:?}");
    }

    #[test]
    fn folds_without_items_are_refused() {
        assert!(k_fold(3, 4, 0).is_err() && k_fold(3, 1, 0).is_err());
        assert!(leave_one_group_out(&[1, 1]).is_err() && group_k_fold(&[1, 1, 2], 3).is_err());
    }
}
