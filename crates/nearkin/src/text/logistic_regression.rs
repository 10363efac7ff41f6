//! Logistic regression on frozen embeddings.

use nearkin_kernels::{Beta, Mat, MatMut, gemm_sequential};
use nearkin_losses::range::NonNegative;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::{TextError, check_count};
use super::lbfgs::{Stop, minimize};
use crate::evaluate::check_finite;

/// Rows of one block of a product.
const BLOCK: usize = 512;

/// Multinomial logistic regression with an L2 penalty on the weights, not on the biases.
///
/// ```text
/// f(W, b) = −1/N Σᵢ log softmax(W xᵢ + b)[yᵢ] + λ/2 ‖W‖²
/// ```
///
/// scikit-learn's `LogisticRegression(C)` is the same with `λ = 1 / (C N)` for three classes or more; for two classes it
/// has one vector of weights, and its penalty is that of `λ = 2 / (C N)` here.
///
/// # Parameters
/// - `penalty`: λ
/// - `standardize`: fit on columns of mean 0 and deviation 1; the classifier takes the embeddings as they are
/// - `tolerance`: the largest part of the gradient at which fitting ends
/// - `iterations`: of L-BFGS, at most
///
/// ```
/// use nearkin::{Mat, text::logistic_regression::LogisticRegression};
/// let points = [0.0, 0.1, 0.2, 1.0, 1.1, 1.3];
/// let classifier = LogisticRegression::default().fit(Mat::new(&points, 6, 1), &[0, 0, 0, 1, 1, 1])?;
/// assert_eq!(classifier.predict(Mat::new(&[-0.5, 2.0], 2, 1))?, [0, 1]);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticRegression {
    /// The weight of `‖W‖² / 2` beside the mean loss.
    pub penalty: NonNegative,
    /// Whether columns are brought to mean 0 and deviation 1 first.
    pub standardize: bool,
    /// The largest part of the gradient at which fitting ends.
    pub tolerance: NonNegative,
    /// Iterations at most.
    pub iterations: usize,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self {
            penalty: NonNegative::literal(1e-4),
            standardize: false,
            tolerance: NonNegative::literal(1e-4),
            iterations: 1000,
        }
    }
}

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// `[C, D]`, row-major.
    pub weights: Vec<f32>,
    /// `[C]`.
    pub bias: Vec<f32>,
}

impl LogisticRegression {
    /// Fits to labeled embeddings; classes are numbered from 0 to the largest label.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`, `labels`: `N`
    ///
    /// # Errors
    /// The counts differ, there is no row, or a number is not finite.
    pub fn fit(&self, embeddings: Mat, labels: &[u32]) -> Result<Classifier, TextError> {
        let problem = Problem::new(embeddings, labels, self.standardize)?;
        let mut parameters = problem.zeros();
        problem.solve(&mut parameters, self);
        Ok(problem.classifier(&parameters))
    }
}

impl Classifier {
    /// The most probable class of each row; the smaller one where two are equally probable.
    ///
    /// # Errors
    /// The embeddings are of another width than those that were fitted, or not finite.
    pub fn predict(&self, embeddings: Mat) -> Result<Vec<u32>, TextError> {
        let (classes, dim) = (self.bias.len(), embeddings.cols);
        check_count(
            "weights",
            "class and dimension",
            classes * dim,
            self.weights.len(),
        )?;
        check_finite(embeddings)?;
        let blocks = embeddings.data.par_chunks(BLOCK * dim.max(1));
        let predicted = blocks.flat_map_iter(|block| {
            let logits = logits(block, dim, &self.weights, &self.bias);
            let rows = logits.chunks_exact(classes).map(|row| {
                let best = row
                    .iter()
                    .enumerate()
                    .reduce(|a, b| if b.1 > a.1 { b } else { a });
                best.map_or(0, |(class, _)| class as u32)
            });
            rows.collect::<Vec<_>>()
        });
        Ok(predicted.collect())
    }
}

/// `x Wᵀ + b` of a block of rows: `[B, C]`.
fn logits(rows: &[f32], dim: usize, weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let (count, classes) = (rows.len() / dim.max(1), bias.len());
    let mut logits = bias.repeat(count);
    gemm_sequential(
        MatMut::new(&mut logits, count, classes),
        Beta::Add,
        1.0,
        Mat::new(rows, count, dim),
        Mat::new(weights, classes, dim).t(),
    );
    logits
}

/// Embeddings made ready to be fitted, perhaps several times with different penalties.
pub(super) struct Problem<'l> {
    rows: Vec<f32>,
    dim: usize,
    labels: &'l [u32],
    classes: usize,
    /// The mean and the inverse deviation of each column, where rows are standardized.
    scaling: Option<(Vec<f64>, Vec<f64>)>,
}

impl<'l> Problem<'l> {
    pub fn new(embeddings: Mat, labels: &'l [u32], standardize: bool) -> Result<Self, TextError> {
        check_count("labels", "embedding", embeddings.rows, labels.len())?;
        check_finite(embeddings)?;
        let Some(largest) = labels.iter().max() else {
            return Err(TextError::TooFew {
                what: "items to fit",
                least: 1,
                found: 0,
            });
        };
        let mut problem = Self {
            rows: embeddings.data.to_vec(),
            dim: embeddings.cols,
            labels,
            classes: *largest as usize + 1,
            scaling: None,
        };
        if standardize {
            problem.standardize();
        }
        Ok(problem)
    }

    fn standardize(&mut self) {
        let (count, dim) = (self.labels.len() as f64, self.dim);
        let (mut mean, mut inverse) = (vec![0.0f64; dim], vec![0.0f64; dim]);
        for row in self.rows.chunks_exact(dim.max(1)) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(m, &x)| *m += f64::from(x));
        }
        for m in &mut mean {
            *m /= count;
        }
        for row in self.rows.chunks_exact(dim.max(1)) {
            for ((v, m), &x) in inverse.iter_mut().zip(&mean).zip(row) {
                *v += (f64::from(x) - m).powi(2) / count;
            }
        }
        for (v, m) in inverse.iter_mut().zip(&mean) {
            let deviation = v.sqrt();
            // A column that varies by rounding alone becomes zeros.
            let varies = deviation > f64::from(f32::EPSILON) * m.abs();
            *v = if varies { 1.0 / deviation } else { 0.0 };
        }
        for row in self.rows.chunks_exact_mut(dim.max(1)) {
            for ((x, m), i) in row.iter_mut().zip(&mean).zip(&inverse) {
                *x = ((f64::from(*x) - m) * i) as f32;
            }
        }
        self.scaling = Some((mean, inverse));
    }

    /// The parameters of a classifier that knows nothing: weights `[C, D]`, then biases `[C]`.
    pub fn zeros(&self) -> Vec<f64> {
        vec![0.0; self.classes * (self.dim + 1)]
    }

    /// Moves `parameters` to the minimum, from where they are.
    pub fn solve(&self, parameters: &mut Vec<f64>, settings: &LogisticRegression) {
        let stop = Stop {
            gradient: settings.tolerance.exact(),
            iterations: settings.iterations,
        };
        let penalty = settings.penalty.exact();
        minimize(parameters, stop, |x, gradient| {
            self.value_and_grad(x, penalty, gradient)
        });
    }

    /// The mean loss with its penalty, and the gradient; blocks are summed in their order.
    fn value_and_grad(&self, parameters: &[f64], penalty: f64, gradient: &mut [f64]) -> f64 {
        let at = self.classes * self.dim;
        let narrow: Vec<f32> = parameters.iter().map(|&p| p as f32).collect();
        let (weights, bias) = narrow.split_at(at);
        let blocks: Vec<_> = self
            .rows
            .par_chunks(BLOCK * self.dim.max(1))
            .zip(self.labels.par_chunks(BLOCK))
            .map(|(rows, labels)| self.block(rows, labels, weights, bias))
            .collect();
        let count = self.labels.len() as f64;
        let mut value = 0.0;
        gradient.fill(0.0);
        for (loss, part) in blocks {
            value += loss / count;
            let sums = gradient.iter_mut().zip(&part);
            sums.for_each(|(sum, &g)| *sum += f64::from(g) / count);
        }
        for (g, w) in gradient.iter_mut().zip(&parameters[..at]) {
            value += 0.5 * penalty * w * w;
            *g += penalty * w;
        }
        value
    }

    /// The summed loss of a block and its gradient.
    fn block(
        &self,
        rows: &[f32],
        labels: &[u32],
        weights: &[f32],
        bias: &[f32],
    ) -> (f64, Vec<f32>) {
        let mut residuals = logits(rows, self.dim, weights, bias);
        let mut gradient = vec![0.0f32; self.classes * (self.dim + 1)];
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(self.classes * self.dim);
        let mut loss = 0.0;
        for (row, &label) in residuals.chunks_exact_mut(self.classes).zip(labels) {
            loss += softmax_residual(row, label as usize);
            bias_gradient
                .iter_mut()
                .zip(&*row)
                .for_each(|(g, r)| *g += r);
        }
        gemm_sequential(
            MatMut::new(weight_gradient, self.classes, self.dim),
            Beta::Overwrite,
            1.0,
            Mat::new(&residuals, labels.len(), self.classes).t(),
            Mat::new(rows, labels.len(), self.dim),
        );
        (loss, gradient)
    }

    /// The classifier of parameters, for embeddings that are not standardized.
    pub fn classifier(&self, parameters: &[f64]) -> Classifier {
        let (weights, bias) = parameters.split_at(self.classes * self.dim);
        let (mut weights, mut bias) = (weights.to_vec(), bias.to_vec());
        if let Some((mean, inverse)) = &self.scaling {
            for (row, bias) in weights.chunks_exact_mut(self.dim.max(1)).zip(&mut bias) {
                for ((w, m), i) in row.iter_mut().zip(mean).zip(inverse) {
                    *w *= i;
                    *bias -= *w * m;
                }
            }
        }
        let narrow = |numbers: Vec<f64>| numbers.into_iter().map(|x| x as f32).collect();
        Classifier {
            weights: narrow(weights),
            bias: narrow(bias),
        }
    }
}

/// Turns logits into `softmax − one-hot(label)` and returns `−log softmax[label]`.
fn softmax_residual(row: &mut [f32], label: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    let log_sum = largest + sum.ln();
    let loss = log_sum - f64::from(row[label]);
    for x in row.iter_mut() {
        *x = (f64::from(*x) - log_sum).exp() as f32;
    }
    row[label] -= 1.0;
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows `(i · 37 mod 101) / 50 − 1`; the label is the largest column, moved on by one for every fifth row.
    fn sample() -> (Vec<f32>, Vec<u32>) {
        let data: Vec<f32> = (0..120)
            .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
            .collect();
        let labels = data.chunks(3).enumerate().map(|(i, row)| {
            let largest = (0..3).rfold(2, |best, c| if row[c] >= row[best] { c } else { best });
            ((largest + usize::from(i % 5 == 0)) % 3) as u32
        });
        let labels = labels.collect();
        (data, labels)
    }

    fn tight(penalty: f64, standardize: bool) -> LogisticRegression {
        LogisticRegression {
            penalty: NonNegative::literal(penalty),
            standardize,
            tolerance: NonNegative::literal(1e-7),
            iterations: 1000,
        }
    }

    /// tests/golden/text.py, function `logistic_regression`.
    #[test]
    fn the_weights_are_scikit_learns() {
        let (data, labels) = sample();
        let found = tight(0.05, false)
            .fit(Mat::new(&data, 40, 3), &labels)
            .unwrap();
        let weights = [
            0.413_231_790,
            -1.424_964_189,
            -0.009_020_001,
            0.410_083_919,
            0.729_250_073,
            -0.697_302_699,
            -0.823_315_739,
            0.695_714_116,
            0.706_322_669,
        ];
        let bias = [-0.138_194_829, 0.154_769_331, -0.016_574_494];
        for (found, expected) in found
            .weights
            .iter()
            .zip(weights)
            .chain(found.bias.iter().zip(bias))
        {
            assert!(
                (f64::from(*found) - expected).abs() < 2e-4,
                "{found} {expected}"
            );
        }
    }

    /// Slow and plain: the objective by its formula, in f64.
    fn objective(data: &[f32], labels: &[u32], parameters: &[f64], penalty: f64) -> f64 {
        let (weights, bias) = parameters.split_at(9);
        let loss = |(x, &y): (&[f32], &u32)| {
            let logit = |c: usize| {
                (0..3)
                    .map(|d| weights[3 * c + d] * f64::from(x[d]))
                    .sum::<f64>()
                    + bias[c]
            };
            (0..3).map(|c| logit(c).exp()).sum::<f64>().ln() - logit(y as usize)
        };
        let mean = data.chunks(3).zip(labels).map(loss).sum::<f64>() / labels.len() as f64;
        mean + 0.5 * penalty * weights.iter().map(|w| w * w).sum::<f64>()
    }

    #[test]
    fn the_gradient_is_that_of_differences() {
        let (data, labels) = sample();
        let problem = Problem::new(Mat::new(&data, 40, 3), &labels, false).unwrap();
        let at: Vec<f64> = (0..12).map(|i| f64::from(i * 5 % 7) / 4.0 - 0.7).collect();
        let mut gradient = problem.zeros();
        let value = problem.value_and_grad(&at, 0.3, &mut gradient);
        assert!((value - objective(&data, &labels, &at, 0.3)).abs() < 1e-6);
        for i in 0..12 {
            let mut moved = [at.clone(), at.clone()];
            moved[0][i] += 1e-5;
            moved[1][i] -= 1e-5;
            let [up, down] = moved.map(|at| objective(&data, &labels, &at, 0.3));
            assert!(((up - down) / 2e-5 - gradient[i]).abs() < 1e-5, "{i}");
        }
    }

    #[test]
    fn standardized_columns_give_the_same_classifier_at_any_scale() {
        let (data, labels) = sample();
        let scaled: Vec<f32> = data
            .chunks(3)
            .flat_map(|r| [r[0] * 8.0 + 2.0, r[1] / 4.0, r[2] - 16.0])
            .collect();
        let (plain, moved) = (Mat::new(&data, 40, 3), Mat::new(&scaled, 40, 3));
        let settings = tight(0.05, true);
        let expected = settings
            .fit(plain, &labels)
            .unwrap()
            .predict(plain)
            .unwrap();
        assert_eq!(
            settings
                .fit(moved, &labels)
                .unwrap()
                .predict(moved)
                .unwrap(),
            expected
        );
        let constant = vec![1.0; 40];
        let classifier = settings.fit(Mat::new(&constant, 40, 1), &labels).unwrap();
        assert!(classifier.weights.iter().all(|w| *w == 0.0));
    }

    #[test]
    fn more_rows_than_a_block_separate_as_few_do() {
        let count = 3 * BLOCK + 17;
        let data: Vec<f32> = (0..count * 2)
            .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
            .collect();
        let labels: Vec<u32> = data
            .chunks(2)
            .map(|r| u32::from(r[0] + r[1] > 0.0))
            .collect();
        let mat = Mat::new(&data, count, 2);
        let settings = LogisticRegression::default();
        let classifier = settings.fit(mat, &labels).unwrap();
        let predicted = classifier.predict(mat).unwrap();
        let right = predicted
            .iter()
            .zip(&labels)
            .filter(|(a, b)| a == b)
            .count();
        assert!(right as f64 / count as f64 > 0.98, "{right} of {count}");
        assert_eq!(classifier, settings.fit(mat, &labels).unwrap());
    }

    #[test]
    fn counts_and_widths_are_checked() {
        let settings = LogisticRegression::default();
        let data = [1.0, 2.0];
        assert!(settings.fit(Mat::new(&data, 2, 1), &[0]).is_err());
        assert!(settings.fit(Mat::new(&[], 0, 1), &[]).is_err());
        let classifier = settings.fit(Mat::new(&data, 2, 1), &[0, 1]).unwrap();
        assert!(classifier.predict(Mat::new(&data, 1, 2)).is_err());
    }
}
