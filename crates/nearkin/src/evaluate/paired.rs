//! Whether one set of embeddings is better than another on the same queries.

use super::bootstrap::{Estimate, Groups, Unit};
use super::{EvaluateError, Options, QueryScores};
use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

/// One score of two sides, query by query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The score.
    pub name: String,
    /// Its mean on the first side.
    pub first: f64,
    /// Its mean on the second side.
    pub second: f64,
    /// The mean of first − second, with its bootstrap interval.
    pub difference: Estimate,
    /// How often a difference at least as large, of either sign, comes about by chance.
    pub p: f64,
    /// Queries on which the first side has more.
    pub better: usize,
    /// Queries on which the second side has more.
    pub worse: usize,
}

/// Compares two sides score by score: a paired bootstrap interval of the difference, and a paired permutation test.
///
/// ```text
/// p = (1 + #{ draws of s : |Σ s_u d_u| ≥ |Σ d_u| }) / (1 + draws)        s_u = ±1 at random
/// ```
///
/// with `d_u` the difference of first − second, summed over the unit u: a query, or a class with all its queries. As many signs
/// are drawn as there are resamples.
///
/// # Errors
/// The two sides have other queries, labels or scores.
///
/// # Reference
/// B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, §15 and §16.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{Options, paired, retrieval};
/// let labels = [0, 0, 1, 1];
/// let options = Options::default();
/// let good = retrieval(Mat::new(&[1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9], 4, 2), &labels, &options)?;
/// let bad = retrieval(Mat::new(&[1.0, 0.0, 0.0, 1.0, 0.9, 0.1, 0.1, 0.9], 4, 2), &labels, &options)?;
/// let found = paired(&good.scores, &bad.scores, &options)?;
/// assert_eq!((found[0].name.as_str(), found[0].difference.value, found[0].better), ("Recall@1", 1.0, 4));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn paired(
    first: &QueryScores,
    second: &QueryScores,
    options: &Options,
) -> Result<Vec<Paired>, EvaluateError> {
    check(first, second)?;
    let columns = first.names.len();
    let numbers = first.numbers.iter().zip(&second.numbers);
    let differences: Vec<f32> = numbers.map(|(a, b)| a - b).collect();
    let groups = match options.unit {
        Unit::Class if !first.labels.is_empty() => {
            Groups::of_labels(&differences, columns, &first.labels)
        }
        _ => Groups::of_rows(&differences, columns),
    };
    let estimates = groups.estimates(options.resamples, options.seed);
    let chances = chances(&groups, options);
    let mean = |side: &QueryScores, at: usize| {
        side.column(at).map(f64::from).sum::<f64>() / side.queries.len().max(1) as f64
    };
    let of = |at: usize| {
        let column = differences.iter().skip(at).step_by(columns);
        Paired {
            name: first.names[at].clone(),
            first: mean(first, at),
            second: mean(second, at),
            difference: estimates[at],
            p: chances[at],
            better: column.clone().filter(|d| **d > 0.0).count(),
            worse: column.filter(|d| **d < 0.0).count(),
        }
    };
    Ok((0..columns).map(of).collect())
}

fn check(first: &QueryScores, second: &QueryScores) -> Result<(), EvaluateError> {
    let what = if first.names != second.names {
        "scores"
    } else if first.queries != second.queries {
        "queries"
    } else if first.labels != second.labels {
        "labels"
    } else {
        return Ok(());
    };
    Err(EvaluateError::Unpaired { what })
}

/// For each column how often random signs of the groups give a sum as large.
fn chances(groups: &Groups, options: &Options) -> Vec<f64> {
    let observed = groups.signed_sums(|_| 1.0);
    // Sums of the same numbers in another order differ by rounding.
    let slack: Vec<f64> = groups.absolute_sums().iter().map(|s| 1e-9 * s).collect();
    let as_large = |draw: usize| -> Vec<bool> {
        let mut rng = named_rng(options.seed, &format!("permutation/{draw}"));
        let (mut bits, mut left) = (0u64, 0);
        let sums = groups.signed_sums(|_| {
            if left == 0 {
                (bits, left) = (rng.random(), 64);
            }
            let sign = if bits & 1 == 1 { 1.0 } else { -1.0 };
            (bits, left) = (bits >> 1, left - 1);
            sign
        });
        let pairs = sums.iter().zip(&observed).zip(&slack);
        pairs
            .map(|((s, o), slack)| s.abs() >= o.abs() - slack)
            .collect()
    };
    let draws = options.resamples;
    let found: Vec<Vec<bool>> = (0..draws).into_par_iter().map(as_large).collect();
    let share = |at: usize| {
        let count = found.iter().filter(|draw| draw[at]).count();
        (1 + count) as f64 / (1 + draws) as f64
    };
    (0..observed.len()).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(numbers: &[f32], labels: &[u32]) -> QueryScores {
        QueryScores {
            names: vec!["x".to_owned()],
            queries: (0..numbers.len()).collect(),
            labels: labels.to_vec(),
            numbers: numbers.to_vec(),
        }
    }

    fn compare(a: &[f32], b: &[f32], labels: &[u32], unit: Unit) -> Paired {
        let options = Options {
            unit,
            resamples: 4000,
            ..Options::default()
        };
        paired(&scores(a, labels), &scores(b, labels), &options)
            .unwrap()
            .remove(0)
    }

    #[test]
    fn p_is_near_the_share_of_all_choices_of_signs() {
        // Differences 1, 2, 3, -4, 5, 6: of the 64 choices, those with a sum of at least 13 or at most -13.
        let d = [1.0f32, 2.0, 3.0, -4.0, 5.0, 6.0];
        let all = (0..64u32).filter(|signs| {
            let sum: f32 = (0..6)
                .map(|i| {
                    if signs >> i & 1 == 1 {
                        d[i].abs()
                    } else {
                        -d[i].abs()
                    }
                })
                .sum();
            sum.abs() >= 13.0
        });
        let exact = all.count() as f64 / 64.0;
        let found = compare(&d, &[0.0; 6], &[0; 6], Unit::Query);
        assert!((found.p - exact).abs() < 0.03, "{} {exact}", found.p);
        assert_eq!((found.better, found.worse), (5, 1));
        assert!((found.difference.value - 13.0 / 6.0).abs() < 1e-9);
        assert!(found.difference.low < 0.5 && found.difference.high > 3.5);
    }

    #[test]
    fn queries_of_a_class_are_one_trial_when_classes_are_drawn() {
        // Three classes of forty queries each, all the same way: 2 of 8 choices of signs by class, next to none by query.
        let labels: Vec<u32> = (0..120).map(|i| i / 40).collect();
        let found = |unit| compare(&[1.0; 120], &[0.0; 120], &labels, unit).p;
        assert!((found(Unit::Class) - 0.25).abs() < 0.03);
        assert!(found(Unit::Query) < 0.001);
    }

    #[test]
    fn sides_without_a_difference_differ_by_chance_alone() {
        let found = compare(&[0.5; 9], &[0.5; 9], &[0; 9], Unit::Query);
        assert_eq!((found.p, found.difference.value), (1.0, 0.0));
    }

    #[test]
    fn other_queries_are_refused() {
        let (a, mut b) = (scores(&[1.0, 0.0], &[0, 0]), scores(&[1.0, 0.0], &[0, 0]));
        b.queries = vec![0, 2];
        let message = paired(&a, &b, &Options::default()).unwrap_err().to_string();
        assert!(message.contains("queries"), "{message}");
    }
}
