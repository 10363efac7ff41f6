//! SentEval: how much of a class a linear classifier reads from frozen embeddings.

use nearkin_kernels::Mat;
use nearkin_losses::range::NonNegative;
use rayon::prelude::*;
use serde::Serialize;

use super::error::{TextError, check_count};
use super::folds::{Fold, stratified_k_fold};
use super::logistic_regression::{LogisticRegression, Problem};
use super::resample::Bootstrap;
use crate::evaluate::{Estimate, check_finite, estimates};

/// How classifiers are chosen and tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// The penalties to choose from.
    pub penalties: Vec<NonNegative>,
    /// Folds of the cross-validation that is reported.
    pub folds: usize,
    /// Folds of the cross-validation within each training part that chooses the penalty.
    pub inner_folds: usize,
    /// The classifier; its penalty is chosen.
    pub classifier: LogisticRegression,
    /// Decides the folds.
    pub seed: u64,
    /// How the interval over items is made.
    pub bootstrap: Bootstrap,
}

impl Default for Protocol {
    /// SentEval's: ten folds, and penalties from 10⁻⁵ to 10⁻², chosen by as many inner folds.
    fn default() -> Self {
        Self {
            penalties: [1e-5, 1e-4, 1e-3, 1e-2].map(NonNegative::literal).to_vec(),
            folds: 10,
            inner_folds: 10,
            classifier: LogisticRegression::default(),
            seed: 0,
            bootstrap: Bootstrap::default(),
        }
    }
}

/// Embeddings and the class of each.
#[derive(Clone, Copy, Debug)]
pub struct Labeled<'a> {
    /// `[N, D]`.
    pub embeddings: Mat<'a>,
    /// Classes from 0, `N` of them.
    pub labels: &'a [u32],
}

/// The result of a classification task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// The share of test items whose class was found, with a 95% bootstrap interval over them.
    pub accuracy: Estimate,
    /// Test items.
    pub items: usize,
    /// The penalty chosen in each fold; one where splits are given.
    pub penalties: Vec<f64>,
}

/// Stratified cross-validation: each fold is tested by a classifier fitted to the others, whose penalty was chosen by
/// cross-validation within those others. This is the protocol of MR, CR, MPQA and SUBJ.
///
/// # Errors
/// Counts differ, a number is not finite, there are fewer items than folds, or no penalty to choose from.
///
/// # Reference
/// Conneau and Kiela, SentEval, 2018; Reimers and Gurevych, Sentence-BERT, 2019, section 5.
///
/// ```
/// use nearkin::{Mat, text::senteval::{Labeled, Protocol, cross_validate}};
/// let points: Vec<f32> = (0..60).map(|i| i as f32 / 30.0).collect();
/// let labels: Vec<u32> = (0..60).map(|i| u32::from(i >= 30)).collect();
/// let data = Labeled { embeddings: Mat::new(&points, 60, 1), labels: &labels };
/// assert!(cross_validate(data, &Protocol::default())?.accuracy.value > 0.9);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn cross_validate(data: Labeled, protocol: &Protocol) -> Result<Classification, TextError> {
    data.check()?;
    let folds = stratified_k_fold(data.labels, protocol.folds, protocol.seed)?;
    evaluate_folds(data, &folds, protocol)
}

/// As [`cross_validate`], on folds of your own, for instance [`super::folds::leave_one_group_out`] of topics.
///
/// # Errors
/// As [`cross_validate`]; also where a fold names an item that is not there.
pub fn evaluate_folds(
    data: Labeled,
    folds: &[Fold],
    protocol: &Protocol,
) -> Result<Classification, TextError> {
    data.check()?;
    let tested: Vec<(NonNegative, Vec<bool>)> = folds
        .par_iter()
        .map(|fold| {
            let train = data.pick(&fold.train)?;
            let test = data.pick(&fold.test)?;
            let penalty = protocol.choose_by_folds(train.view())?;
            Ok((penalty, protocol.test(train.view(), test.view(), penalty)?))
        })
        .collect::<Result<_, TextError>>()?;
    let penalties = tested.iter().map(|(penalty, _)| penalty.exact()).collect();
    let right = tested.into_iter().flat_map(|(_, right)| right);
    protocol.result(&right.collect::<Vec<_>>(), penalties)
}

/// Given splits: the penalty that is best on `dev`, or without it by cross-validation in `train`, is fitted to `train`
/// and tested on `test`. This is the protocol of SST2 and TREC.
///
/// # Errors
/// Counts or widths differ, a number is not finite, or there is no penalty to choose from.
pub fn given_splits(
    train: Labeled,
    dev: Option<Labeled>,
    test: Labeled,
    protocol: &Protocol,
) -> Result<Classification, TextError> {
    for part in [Some(train), dev, Some(test)].into_iter().flatten() {
        part.check()?;
    }
    let penalty = match dev {
        Some(dev) => protocol.choose(&protocol.right_by_penalty(train, dev)?)?,
        None => protocol.choose_by_folds(train)?,
    };
    let right = protocol.test(train, test, penalty)?;
    protocol.result(&right, vec![penalty.exact()])
}

impl Protocol {
    fn choose_by_folds(&self, train: Labeled) -> Result<NonNegative, TextError> {
        if let [only] = self.penalties[..] {
            return Ok(only);
        }
        let folds = stratified_k_fold(train.labels, self.inner_folds, self.seed)?;
        let right = folds.par_iter().map(|fold| {
            let (inner, held) = (train.pick(&fold.train)?, train.pick(&fold.test)?);
            self.right_by_penalty(inner.view(), held.view())
        });
        let right = right.collect::<Result<Vec<_>, TextError>>()?;
        let sums = (0..self.penalties.len()).map(|at| right.iter().map(|row| row[at]).sum());
        self.choose(&sums.collect::<Vec<_>>())
    }

    /// The penalty with the most right; the first of several.
    fn choose(&self, right: &[usize]) -> Result<NonNegative, TextError> {
        let best = right.iter().max();
        let at = right.iter().position(|count| Some(count) == best);
        let chosen = at.and_then(|at| self.penalties.get(at)).copied();
        chosen.ok_or(TextError::TooFew {
            what: "penalties to choose from",
            least: 1,
            found: 0,
        })
    }

    /// How many of `test` are right with each penalty, each fit starting where the one before ended.
    fn right_by_penalty(&self, train: Labeled, test: Labeled) -> Result<Vec<usize>, TextError> {
        let problem = Problem::new(train.embeddings, train.labels, self.classifier.standardize)?;
        let mut parameters = problem.zeros();
        let mut order: Vec<usize> = (0..self.penalties.len()).collect();
        // A strong penalty is soon fitted and leads near to the weaker ones.
        order.sort_by(|&a, &b| {
            self.penalties[b]
                .exact()
                .total_cmp(&self.penalties[a].exact())
        });
        let mut right = vec![0; order.len()];
        for at in order {
            problem.solve(&mut parameters, &self.with(self.penalties[at]));
            let predicted = problem.classifier(&parameters).predict(test.embeddings)?;
            right[at] = predicted
                .iter()
                .zip(test.labels)
                .filter(|(a, b)| a == b)
                .count();
        }
        Ok(right)
    }

    fn test(
        &self,
        train: Labeled,
        test: Labeled,
        penalty: NonNegative,
    ) -> Result<Vec<bool>, TextError> {
        let classifier = self.with(penalty).fit(train.embeddings, train.labels)?;
        let predicted = classifier.predict(test.embeddings)?;
        Ok(predicted
            .iter()
            .zip(test.labels)
            .map(|(a, b)| a == b)
            .collect())
    }

    fn with(&self, penalty: NonNegative) -> LogisticRegression {
        LogisticRegression {
            penalty,
            ..self.classifier
        }
    }

    fn result(&self, right: &[bool], penalties: Vec<f64>) -> Result<Classification, TextError> {
        if right.is_empty() {
            return Err(TextError::TooFew {
                what: "items to test",
                least: 1,
                found: 0,
            });
        }
        let rows: Vec<[f32; 1]> = right
            .iter()
            .map(|&right| [f32::from(u8::from(right))])
            .collect();
        let Bootstrap { resamples, seed } = self.bootstrap;
        let [accuracy] = estimates(&rows, resamples, seed);
        Ok(Classification {
            accuracy,
            items: right.len(),
            penalties,
        })
    }
}

/// Rows copied out of [`Labeled`].
struct Picked {
    data: Vec<f32>,
    dim: usize,
    labels: Vec<u32>,
}

impl Picked {
    fn view(&self) -> Labeled<'_> {
        Labeled {
            embeddings: Mat::new(&self.data, self.labels.len(), self.dim),
            labels: &self.labels,
        }
    }
}

impl Labeled<'_> {
    fn check(&self) -> Result<(), TextError> {
        check_count(
            "labels",
            "embedding",
            self.embeddings.rows,
            self.labels.len(),
        )?;
        Ok(check_finite(self.embeddings)?)
    }

    fn pick(&self, rows: &[usize]) -> Result<Picked, TextError> {
        let (count, dim) = (self.labels.len(), self.embeddings.cols);
        if let Some((at, &index)) = rows.iter().enumerate().find(|(_, row)| **row >= count) {
            return Err(TextError::Index {
                what: "item",
                index,
                of: "place in a fold",
                row: at,
                count,
            });
        }
        let row = |&row: &usize| &self.embeddings.data[row * dim..(row + 1) * dim];
        Ok(Picked {
            data: rows.iter().flat_map(row).copied().collect(),
            dim,
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::folds::leave_one_group_out;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// Two classes that overlap, in the first of eight columns.
    fn sample(count: usize) -> (Vec<f32>, Vec<u32>) {
        let mut rng = named_rng(2, "senteval");
        let labels: Vec<u32> = (0..count).map(|i| u32::from(i % 3 == 0)).collect();
        let row = |&label: &u32| -> Vec<f32> {
            let mut row: Vec<f32> = (0..8).map(|_| rng.random_range(-0.6..0.6)).collect();
            row[0] += label as f32;
            row
        };
        let data = labels.iter().flat_map(row).collect();
        (data, labels)
    }

    fn quick() -> Protocol {
        Protocol {
            folds: 4,
            inner_folds: 3,
            bootstrap: Bootstrap {
                resamples: 200,
                seed: 0,
            },
            ..Protocol::default()
        }
    }

    #[test]
    fn cross_validation_finds_what_can_be_found_and_no_more() {
        let (data, mut labels) = sample(300);
        let embeddings = Mat::new(&data, 300, 8);
        let labeled = Labeled {
            embeddings,
            labels: &labels,
        };
        let result = cross_validate(labeled, &quick()).unwrap();
        // One in six of the smaller class lies among the larger one: at best 17 of 18 are right.
        let Estimate { value, low, high } = result.accuracy;
        assert!(
            (value - 17.0 / 18.0).abs() < 0.05 && low < value && value < high,
            "{result:?}"
        );
        assert_eq!((result.items, result.penalties.len()), (300, 4));
        let mut rng = named_rng(5, "noise");
        for label in &mut labels {
            *label = rng.random_range(0..2);
        }
        let labeled = Labeled {
            embeddings,
            labels: &labels,
        };
        let chance = cross_validate(labeled, &quick()).unwrap().accuracy.value;
        assert!((chance - 0.5).abs() < 0.1, "{chance}");
    }

    #[test]
    fn the_penalty_that_dev_prefers_is_taken() {
        let (data, labels) = sample(300);
        let part = |rows: std::ops::Range<usize>| Labeled {
            embeddings: Mat::new(&data[rows.start * 8..rows.end * 8], rows.len(), 8),
            labels: &labels[rows],
        };
        let mut protocol = quick();
        // With weights of nothing every item is taken for the larger class.
        protocol.penalties = [1e4, 1e-4].map(NonNegative::literal).to_vec();
        for dev in [Some(part(150..220)), None] {
            let result = given_splits(part(0..150), dev, part(220..300), &protocol).unwrap();
            assert_eq!(result.penalties, [1e-4]);
            assert!(result.accuracy.value > 0.72, "{result:?}");
        }
        protocol.penalties.clear();
        assert!(given_splits(part(0..150), None, part(220..300), &protocol).is_err());
    }

    #[test]
    fn folds_of_topics_test_every_item() {
        let (data, labels) = sample(90);
        let topics: Vec<u32> = (0..90).map(|i| i / 30).collect();
        let labeled = Labeled {
            embeddings: Mat::new(&data, 90, 8),
            labels: &labels,
        };
        let mut folds = leave_one_group_out(&topics).unwrap();
        let result = evaluate_folds(labeled, &folds, &quick()).unwrap();
        assert_eq!((result.items, result.penalties.len()), (90, 3));
        folds[0].test.push(90);
        let error = evaluate_folds(labeled, &folds, &quick())
            .unwrap_err()
            .to_string();
        assert!(error.contains("item 90"), "{error}");
    }
}
