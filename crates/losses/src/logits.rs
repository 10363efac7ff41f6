//! Losses of logits: of a head that gives each item a score or a class, such as a cross-encoder's.
//!
//! They see no embeddings and compare no two items, so that neither distance nor miner goes with them.

use crate::criterion::{Outcome, finite};
use crate::described::{Described, described};
use crate::error::Error;
use crate::range::Positive;
use nearkin_kernels::{Mat, softmax_cross_entropy};
use serde::{Deserialize, Serialize};

described! {
    /// Fits the sigmoid of one logit to a score from 0 to 1, or to a class 0 or 1.
    ///
    /// ```text
    /// L = -1/n Σ_i ( w y_i log σ(z_i) + (1 - y_i) log(1 - σ(z_i)) )
    /// ```
    ///
    /// An item is active while its sigmoid is off by more than 0.1.
    ///
    /// # Shapes
    /// - logits: `[n, 1]`; scores: `[n]`
    ///
    /// # Reference
    /// `BinaryCrossEntropyLoss` of sentence-transformers 6.2, what its cross-encoders of one output learn with by default; the
    /// BERT cross-encoder of N. Reimers, I. Gurevych, Sentence-BERT, EMNLP 2019, §4.2 in the authors' code.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, logits::{BinaryCrossEntropy, LogitLoss, LogitTargets}};
    /// // An even guess costs log 2, whatever the score.
    /// let loss = LogitLoss::from(BinaryCrossEntropy::default());
    /// let outcome = loss.value_and_grad(Mat::new(&[0.0], 1, 1), LogitTargets::Scores(&[0.8]))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6 && (outcome.gradient[0] + 0.3).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct BinaryCrossEntropy {
        /// Weight `w` of what speaks for the positive class, for classes of unlike sizes.
        pub positive_weight: Positive = Positive::literal(1.0),
    }
}

described! {
    /// Fits one logit to a score.
    ///
    /// ```text
    /// L = 1/n Σ_i ( z_i - y_i )²
    /// ```
    ///
    /// An item is active while its logit is off by more than 0.1.
    ///
    /// # Shapes
    /// - logits: `[n, 1]`; scores: `[n]`
    ///
    /// # Reference
    /// `MSELoss` of sentence-transformers 6.2 with its default activation, the identity.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, logits::{LogitLoss, LogitTargets, MeanSquaredError}};
    /// // Off by 0.5 and by 1.
    /// let loss = LogitLoss::MeanSquaredError(MeanSquaredError {});
    /// let outcome = loss.value_and_grad(Mat::new(&[0.5, 0.0], 2, 1), LogitTargets::Scores(&[1.0, 1.0]))?;
    /// assert_eq!(outcome.value, (0.25 + 1.0) / 2.0);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MeanSquaredError {}
}

described! {
    /// Tells classes apart by a logit for each.
    ///
    /// ```text
    /// L = -1/n Σ_i log softmax(z_i)[y_i]
    /// ```
    ///
    /// An item is active while another class is at least as likely as its own.
    ///
    /// # Shapes
    /// - logits: `[n, C]`; classes: `[n]`
    ///
    /// # Reference
    /// `CrossEntropyLoss` of sentence-transformers 6.2, what its cross-encoders of several outputs learn with by default.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, logits::{CrossEntropy, LogitLoss, LogitTargets}};
    /// // Three classes that are equally likely cost log 3.
    /// let loss = LogitLoss::CrossEntropy(CrossEntropy {});
    /// let outcome = loss.value_and_grad(Mat::new(&[0.7; 3], 1, 3), LogitTargets::Classes(&[2]))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct CrossEntropy {}
}

/// A loss of logits, as a recipe names it: `[loss.binary_cross_entropy]` and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogitLoss {
    /// One output, its sigmoid fitted to a score or a class of two.
    BinaryCrossEntropy(BinaryCrossEntropy),
    /// One output, fitted to a score.
    MeanSquaredError(MeanSquaredError),
    /// An output for each class.
    CrossEntropy(CrossEntropy),
}

/// What is known of the items of a batch.
#[derive(Clone, Copy, Debug)]
pub enum LogitTargets<'a> {
    /// A score of each, from 0 to 1.
    Scores(&'a [f32]),
    /// The class of each, from 0.
    Classes(&'a [u32]),
}

impl From<BinaryCrossEntropy> for LogitLoss {
    fn from(loss: BinaryCrossEntropy) -> Self {
        Self::BinaryCrossEntropy(loss)
    }
}

impl LogitLoss {
    /// Every one with its default parameters.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::BinaryCrossEntropy(BinaryCrossEntropy::default()),
            Self::CrossEntropy(CrossEntropy::default()),
            Self::MeanSquaredError(MeanSquaredError::default()),
        ]
    }

    /// What its documentation says.
    pub fn described(&self) -> &dyn Described {
        match self {
            Self::BinaryCrossEntropy(loss) => loss,
            Self::CrossEntropy(loss) => loss,
            Self::MeanSquaredError(loss) => loss,
        }
    }

    /// Its key in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BinaryCrossEntropy(_) => "binary_cross_entropy",
            Self::MeanSquaredError(_) => "mean_squared_error",
            Self::CrossEntropy(_) => "cross_entropy",
        }
    }

    /// Whether it is of classes, with an output for each, rather than of a score.
    pub fn is_of_classes(&self) -> bool {
        matches!(self, Self::CrossEntropy(_))
    }

    /// Value and gradient; `gradient` of the outcome is `∂L/∂z`, `[n, C]`.
    ///
    /// # Errors
    /// The targets are of another kind or count than the logits, a number is not finite, or a class has no output.
    pub fn value_and_grad(
        &self,
        logits: Mat<'_>,
        targets: LogitTargets<'_>,
    ) -> Result<Outcome, Error> {
        let z = finite(logits)?;
        let off = |y: f32, p: f32| (y - p).abs() > 0.1;
        match (self, targets) {
            (Self::BinaryCrossEntropy(loss), LogitTargets::Scores(y)) => {
                let weight = loss.positive_weight.get();
                of_scores((&z, logits.cols), y, |z, y| {
                    let p = 1.0 / (1.0 + (-z).exp());
                    let value = weight * y * softplus(-z) + (1.0 - y) * softplus(z);
                    (value, weight * y * (p - 1.0) + (1.0 - y) * p, off(y, p))
                })
            }
            (Self::MeanSquaredError(_), LogitTargets::Scores(y)) => {
                of_scores((&z, logits.cols), y, |z, y| {
                    ((z - y).powi(2), 2.0 * (z - y), off(y, z))
                })
            }
            (Self::CrossEntropy(_), LogitTargets::Classes(y)) => {
                check_classes(logits, y)?;
                let mut gradient = vec![0.0; z.len()];
                let value = softmax_cross_entropy(&z, logits.rows, logits.cols, y, &mut gradient);
                let rows = z.chunks_exact(logits.cols.max(1)).zip(y);
                let missed = |(row, class): &(&[f32], &u32)| {
                    let own = row[**class as usize];
                    (0u32..).zip(*row).any(|(k, &z)| k != **class && z >= own)
                };
                let active = rows.filter(missed).count();
                outcome(value, gradient, active, logits.rows)
            }
            (Self::CrossEntropy(_), LogitTargets::Scores(_)) => {
                let loss = self.name();
                Err(Error::NoClasses { loss })
            }
            (_, LogitTargets::Classes(_)) => Err(Error::Scores {
                loss: self.name(),
                expected: 1,
                found: 0,
            }),
        }
    }

    /// The value in `f64`, item by item in the letters of the formula; `logits` are `[n, cols]`, row-major.
    pub fn reference(&self, logits: &[f64], cols: usize, targets: LogitTargets<'_>) -> f64 {
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let item = |(i, z): (usize, &[f64])| match (self, targets) {
            (Self::BinaryCrossEntropy(loss), LogitTargets::Scores(y)) => {
                let (w, y) = (loss.positive_weight.exact(), f64::from(y[i]));
                -(w * y * sigmoid(z[0]).ln() + (1.0 - y) * (1.0 - sigmoid(z[0])).ln())
            }
            (Self::MeanSquaredError(_), LogitTargets::Scores(y)) => {
                (z[0] - f64::from(y[i])).powi(2)
            }
            (Self::CrossEntropy(_), LogitTargets::Classes(y)) => {
                let all: f64 = z.iter().map(|z| z.exp()).sum();
                -(z[y[i] as usize].exp() / all).ln()
            }
            _ => f64::NAN,
        };
        let rows = logits.chunks_exact(cols);
        let count = rows.len() as f64;
        rows.enumerate().map(item).sum::<f64>() / count
    }
}

/// The mean over items of `(value, slope, active)` of a logit and its score.
fn of_scores(
    (logits, cols): (&[f32], usize),
    scores: &[f32],
    of: impl Fn(f32, f32) -> (f32, f32, bool),
) -> Result<Outcome, Error> {
    let rows = logits.len();
    if cols != 1 {
        let found = cols;
        return Err(Error::Width { found, expected: 1 });
    }
    check_count(rows, scores.len())?;
    if let Some(item) = scores.iter().position(|score| !score.is_finite()) {
        let value = scores[item];
        return Err(Error::Score { item, value });
    }
    let (mut total, mut active) = (0.0, 0);
    let mut gradient = Vec::with_capacity(rows);
    for (&z, &y) in logits.iter().zip(scores) {
        let (value, slope, off) = of(z, y);
        total += f64::from(value);
        active += usize::from(off);
        gradient.push(slope / rows as f32);
    }
    outcome((total / rows.max(1) as f64) as f32, gradient, active, rows)
}

/// log(1 + e^z), also where e^z overflows.
fn softplus(z: f32) -> f32 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn outcome(value: f32, gradient: Vec<f32>, active: usize, rows: usize) -> Result<Outcome, Error> {
    if !value.is_finite() {
        return Err(Error::overflow(&gradient));
    }
    Ok(Outcome {
        value,
        gradient,
        active: active as f32 / rows.max(1) as f32,
        kept: 1.0,
        tuples: rows,
        ..Outcome::default()
    })
}

fn check_count(rows: usize, labels: usize) -> Result<(), Error> {
    if rows == labels {
        Ok(())
    } else {
        Err(Error::Labels { rows, labels })
    }
}

fn check_classes(logits: Mat<'_>, classes: &[u32]) -> Result<(), Error> {
    check_count(logits.rows, classes.len())?;
    let unknown = classes.iter().find(|&&class| class as usize >= logits.cols);
    unknown.map_or(Ok(()), |&label| {
        let classes = logits.cols;
        Err(Error::Class { label, classes })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f32; 6] = [-2.0, 0.3, 4.0, -0.5, 1.5, 0.0];
    const SCORES: [f32; 6] = [0.1, 0.2, 1.0, 0.0, 0.55, 0.9];
    const CLASSES: [u32; 2] = [2, 1];

    fn weighted() -> LogitLoss {
        LogitLoss::BinaryCrossEntropy(BinaryCrossEntropy {
            positive_weight: Positive::literal(3.0),
        })
    }

    fn all() -> Vec<(LogitLoss, usize, LogitTargets<'static>)> {
        let (scores, classes) = (
            LogitTargets::Scores(&SCORES),
            LogitTargets::Classes(&CLASSES),
        );
        vec![
            (BinaryCrossEntropy::default().into(), 1, scores),
            (weighted(), 1, scores),
            (LogitLoss::MeanSquaredError(MeanSquaredError {}), 1, scores),
            (LogitLoss::CrossEntropy(CrossEntropy {}), 3, classes),
        ]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_reference() {
        for (loss, cols, targets) in all() {
            let outcome = loss
                .value_and_grad(Mat::new(&Z, 6 / cols, cols), targets)
                .unwrap();
            let exact = Z.map(f64::from);
            let value = loss.reference(&exact, cols, targets);
            assert!(
                (f64::from(outcome.value) - value).abs() < 1e-6,
                "{}",
                loss.name()
            );
            for (k, &found) in outcome.gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = exact;
                    moved[k] += step;
                    loss.reference(&moved, cols, targets)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (f64::from(found) - slope).abs() < 1e-6,
                    "{} at {k}",
                    loss.name()
                );
            }
        }
    }

    /* Equivalent python code:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as bce, cross_entropy, mse_loss
    z = torch.tensor([-2, .3, 4, -.5, 1.5, 0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([.1, .2, 1, 0, .55, .9], dtype=torch.float64)
    for value in [bce(z, y), bce(z, y, pos_weight=torch.tensor(3.)), mse_loss(z, y), cross_entropy(z.view(2, 3), torch.tensor([2, 1]))]:
        print(value.item(), torch.autograd.grad(value, z)[0][:2].tolist())
    */
    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let golden = [
            [0.530_511_771, 0.003_200_487, 0.062_407_086],
            [0.889_286_285, -0.026_159_416, 0.034_036_588],
            [2.563_75, -0.7, 0.033_333_333],
            [0.166_597_292, 0.001_206_555, 0.012_034_400],
        ];
        for ((loss, cols, targets), [value, first, second]) in all().into_iter().zip(golden) {
            let outcome = loss
                .value_and_grad(Mat::new(&Z, 6 / cols, cols), targets)
                .unwrap();
            let found = [outcome.value, outcome.gradient[0], outcome.gradient[1]];
            for (found, want) in found.into_iter().zip([value, first, second]) {
                assert!(
                    (f64::from(found) - want).abs() < 1e-6,
                    "{}: {found}, not {want}",
                    loss.name()
                );
            }
        }
    }

    #[test]
    fn huge_logits_neither_overflow_nor_lose_their_gradient() {
        let loss = LogitLoss::from(BinaryCrossEntropy::default());
        let outcome = loss
            .value_and_grad(
                Mat::new(&[-200.0, 200.0], 2, 1),
                LogitTargets::Scores(&[1.0, 1.0]),
            )
            .unwrap();
        assert_eq!(
            (outcome.value, &outcome.gradient[..]),
            (100.0, &[-0.5, 0.0][..])
        );
        assert_eq!(outcome.active, 0.5);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |loss: &LogitLoss, z: &[f32], cols, targets| {
            let logits = Mat::new(z, z.len() / cols, cols);
            loss.value_and_grad(logits, targets)
                .unwrap_err()
                .to_string()
        };
        let (one, classes) = (weighted(), LogitLoss::CrossEntropy(CrossEntropy {}));
        for (error, part) in [
            (
                refused(&one, &Z, 1, LogitTargets::Scores(&SCORES[1..])),
                "6 embeddings and 5 labels",
            ),
            (
                refused(&one, &Z, 3, LogitTargets::Scores(&SCORES[..2])),
                "3 components, expected 1",
            ),
            (
                refused(&one, &Z, 1, LogitTargets::Classes(&CLASSES)),
                "needs 1 scores",
            ),
            (
                refused(&one, &[f32::NAN], 1, LogitTargets::Scores(&[0.0])),
                "NaN",
            ),
            (
                refused(&one, &[0.0], 1, LogitTargets::Scores(&[f32::NAN])),
                "score NaN",
            ),
            (
                refused(&classes, &Z, 3, LogitTargets::Classes(&[3, 0])),
                "label 3 is out of range",
            ),
            (
                refused(&classes, &Z, 3, LogitTargets::Scores(&[0.0, 1.0])),
                "needs a class",
            ),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn it_is_a_table_of_a_recipe() {
        #[derive(Deserialize)]
        struct Recipe {
            loss: LogitLoss,
        }
        let read = |text: &str| toml::from_str::<Recipe>(text).map(|recipe| recipe.loss);
        assert_eq!(
            read("[loss.binary_cross_entropy]\npositive_weight = 3").unwrap(),
            weighted()
        );
        assert!(read("[loss.cross_entropy]").unwrap().is_of_classes());
        assert!(read("[loss.mean_squared_error]\nmargin = 1").is_err());
    }
}
