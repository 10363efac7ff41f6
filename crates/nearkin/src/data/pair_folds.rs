//! The folds of pairs, from what their list says.

use super::item_pairs::line_error;
use super::{DataError, ItemPair};
use std::path::Path;

/// Folds where a list of pairs does not say how many it has.
const FOLDS: usize = 10;

/// The fold of each of some pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairFolds {
    /// Of each pair, from 0, without gaps.
    pub of: Vec<usize>,
    /// Whether the folds that the list says were given up, because some have pairs of one kind alone.
    pub anew: bool,
}

impl PairFolds {
    /// The folds that the list says, counted anew from 0, where each has pairs of both kinds. Where one has not, as when pairs
    /// were left out, or where the list says none, each kind is cut into ten in its order; into fewer where there are fewer pairs
    /// of a kind.
    pub fn new(pairs: &[ItemPair]) -> Self {
        let said: Option<Vec<usize>> = pairs.iter().map(|pair| pair.fold).collect();
        let Some(said) = said else {
            return Self {
                of: dealt(pairs),
                anew: false,
            };
        };
        let of = numbered(said);
        match lacking(pairs, &of) {
            None => Self { of, anew: false },
            Some(_) => Self {
                of: dealt(pairs),
                anew: true,
            },
        }
    }
}

/// A list whose own folds cannot be used.
pub(super) fn check(path: &Path, pairs: &[ItemPair]) -> Result<(), DataError> {
    let said: Option<Vec<usize>> = pairs.iter().map(|pair| pair.fold).collect();
    let of_both = |same| pairs.iter().any(|pair| pair.same == same);
    let Some(said) = said.filter(|_| of_both(true) && of_both(false)) else {
        return Ok(());
    };
    let Some(at) = lacking(pairs, &numbered(said)) else {
        return Ok(());
    };
    let reason = "at least two folds are needed, each with pairs of the same and of different classes: that of this pair has \
                  one kind alone, or is the only one";
    Err(line_error(path, pairs[at].line, reason.to_owned()))
}

/// Folds from 0 without gaps, in the order of their numbers, which may be any.
fn numbered(said: Vec<usize>) -> Vec<usize> {
    let mut distinct = said.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let number = |fold| distinct.partition_point(|&known| known < fold);
    said.into_iter().map(number).collect()
}

/// The first pair whose fold has no pair of the other kind, or is the only one.
fn lacking(pairs: &[ItemPair], fold_of: &[usize]) -> Option<usize> {
    let folds = fold_of.iter().max().map_or(0, |last| last + 1);
    let mut kinds = vec![[false; 2]; folds];
    for (pair, &fold) in pairs.iter().zip(fold_of) {
        kinds[fold][usize::from(pair.same)] = true;
    }
    let lacks = |&fold: &usize| folds < 2 || kinds[fold] != [true; 2];
    fold_of.iter().position(lacks)
}

/// Each kind in ten parts, in its order; in fewer where there are fewer pairs of a kind, so that none is without.
fn dealt(pairs: &[ItemPair]) -> Vec<usize> {
    let count = |kind| pairs.iter().filter(|pair| pair.same == kind).count();
    let counts = [count(false), count(true)];
    let folds = FOLDS.min(counts[0]).min(counts[1]).max(1);
    let mut places = [0; 2];
    let fold = |pair: &ItemPair| {
        let kind = usize::from(pair.same);
        let place = places[kind];
        places[kind] += 1;
        place * folds / counts[kind]
    };
    pairs.iter().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(kinds: &[(bool, Option<usize>)]) -> Vec<ItemPair> {
        let pair = |(line, &(same, fold))| ItemPair {
            first: 0,
            second: 1,
            same,
            fold,
            line,
        };
        (1..).zip(kinds).map(pair).collect()
    }

    fn folds(kinds: &[(bool, Option<usize>)]) -> (Vec<usize>, bool) {
        let PairFolds { of, anew } = PairFolds::new(&pairs(kinds));
        (of, anew)
    }

    #[test]
    fn folds_that_are_said_are_counted_from_zero() {
        let said = [(true, Some(7)), (false, Some(3)), (true, Some(3))];
        let more = [&said[..], &[(false, Some(7))]].concat();
        assert_eq!(folds(&more), (vec![1, 0, 0, 1], false));
        // Without the last pair fold 7 is of one kind: each kind is dealt by itself, one fold as there is one different pair.
        assert_eq!(folds(&said), (vec![0, 0, 0], true));
    }

    #[test]
    fn each_kind_is_dealt_by_itself_where_nothing_is_said() {
        let kinds = [true, false, true, false, true].map(|same| (same, None));
        assert_eq!(folds(&kinds), (vec![0, 0, 0, 1, 1], false));
        let many: Vec<_> = kinds.iter().cycle().take(100).copied().collect();
        assert_eq!(folds(&many).0[96..], [9, 9, 9, 9]);
        assert_eq!(folds(&[(true, None), (true, None)]).0, [0, 0]);
        assert_eq!(folds(&[]), (Vec::new(), false));
    }

    #[test]
    fn a_list_whose_folds_lack_a_kind_is_refused_with_its_line() {
        let error = |kinds: &[(bool, Option<usize>)]| {
            check(Path::new("p.csv"), &pairs(kinds))
                .unwrap_err()
                .to_string()
        };
        let lacking = error(&[(true, Some(0)), (false, Some(0)), (true, Some(1))]);
        assert!(lacking.contains("p.csv:3: at least two folds"), "{lacking}");
        let single = error(&[(true, Some(4)), (false, Some(4))]);
        assert!(single.contains("p.csv:1: at least two folds"), "{single}");
        assert!(check(Path::new("p.csv"), &pairs(&[(true, None), (false, None)])).is_ok());
    }
}
