//! Classes that a model gives to items, beside those that they have.

use super::error::{TextError, check_count};
use super::resample::Bootstrap;
use crate::evaluate::Estimate;
use serde::Serialize;

/// How well classes were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Items.
    pub items: usize,
    /// The share of items whose class was found.
    pub accuracy: Estimate,
    /// The mean of the classes' F1, `2 tp / (2 tp + fp + fn)`, over the classes that are there or were found: scikit-learn's
    /// `f1_score(average="macro")`.
    pub macro_f1: Estimate,
}

/// Compares the classes found with those that items have, with 95% bootstrap intervals over items.
///
/// # Shapes
/// - `found`, `gold`: `N` classes
///
/// # Errors
/// Counts differ, or there is no item.
///
/// ```
/// use nearkin::text::{Bootstrap, classification::class_scores};
/// let scores = class_scores(&[0, 0, 1, 1], &[0, 1, 1, 1], Bootstrap::default())?;
/// assert_eq!(scores.accuracy.value, 0.75);
/// // F1 is 2/3 of class 0 and 4/5 of class 1.
/// assert!((scores.macro_f1.value - 11.0 / 15.0).abs() < 1e-12);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn class_scores(
    found: &[u32],
    gold: &[u32],
    bootstrap: Bootstrap,
) -> Result<ClassScores, TextError> {
    check_count("classes found", "item", gold.len(), found.len())?;
    let largest = found.iter().chain(gold).max();
    let classes = largest.map_or(0, |&class| class as usize + 1);
    let statistics = |counts: &[u32]| {
        let (mut right, mut total) = (0, 0);
        // Of each class: items found rightly, items found, items that are of it.
        let mut of_class = vec![[0u32; 3]; classes];
        for ((&found, &gold), &count) in found.iter().zip(gold).zip(counts) {
            let same = if found == gold { count } else { 0 };
            (right, total) = (right + same, total + count);
            of_class[found as usize][0] += same;
            of_class[found as usize][1] += count;
            of_class[gold as usize][2] += count;
        }
        let there = of_class.iter().filter(|[_, found, gold]| found + gold > 0);
        let f1 = |&[both, found, gold]: &[u32; 3]| 2.0 * f64::from(both) / f64::from(found + gold);
        let (sum, there) = there.fold((0.0, 0.0), |(sum, n), class| (sum + f1(class), n + 1.0));
        [
            (total > 0).then(|| f64::from(right) / f64::from(total)),
            (there > 0.0).then(|| sum / there),
        ]
    };
    match bootstrap.estimates(&[gold.len()], statistics) {
        [Some(accuracy), Some(macro_f1)] => Ok(ClassScores {
            items: gold.len(),
            accuracy,
            macro_f1,
        }),
        _ => Err(TextError::TooFew {
            what: "items to measure",
            least: 1,
            found: gold.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        /* Equivalent python code:
        from sklearn.metrics import accuracy_score, f1_score
        gold, found = [0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 0, 3]
        print(accuracy_score(gold, found), f1_score(gold, found, average="macro"))
        */
        let (gold, found) = ([0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 0, 3]);
        let scores = class_scores(&found, &gold, Bootstrap::default()).unwrap();
        // F1 0.5, 0.8, 0.5 and 0.
        assert!((scores.accuracy.value - 4.0 / 7.0).abs() < 1e-12);
        assert!((scores.macro_f1.value - 0.45).abs() < 1e-12);
        assert!(scores.accuracy.low < scores.accuracy.value);
        assert!(scores.macro_f1.high > scores.macro_f1.value);
    }

    #[test]
    fn classes_without_items_are_refused() {
        assert!(class_scores(&[], &[], Bootstrap::NONE).is_err());
        assert!(class_scores(&[1], &[1, 0], Bootstrap::NONE).is_err());
    }
}
