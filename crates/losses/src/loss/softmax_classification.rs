//! The softmax classification loss of pairs.

use super::paired::add;
use super::view::view_definition;
use super::{Evaluation, Needs, Shape, Target, ViewGradients, ViewLoss, Views};
use crate::criterion::finite;
use crate::described::described;
use crate::error::Error;
use crate::parameter::{ParameterSpec, Start};
use nearkin_kernels::{Beta, Mat, MatMut, column_sums, gemm, linear, softmax_cross_entropy};

described! {
    /// Classifies each pair by a learned linear layer on its two embeddings side by side.
    ///
    /// ```text
    /// L = -1/n Σ_i log softmax( W (u_i, v_i, |u_i - v_i|, u_i ∗ v_i) + b )[y_i]
    /// ```
    ///
    /// Any of the three parts can be left out; with none left, `W` sees the embeddings all the same. A pair is active while another
    /// class is at least as likely as its own.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; labels, the classes of the pairs: `[n]`
    /// - value: a number, gradients: that of each view, `W` of shape `[classes, parts · D]`, `b`
    ///
    /// # Reference
    /// N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, EMNLP 2019, §3, classification
    /// objective, by default over `(u, v, |u - v|)` as in its formula; other concatenations are compared in its Table 6.
    ///
    /// # Differences
    /// The paper writes no bias; its code and sentence-transformers have one.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{Shape, SoftmaxClassification};
    /// let shape = Shape { dim: 1, classes: 3 };
    /// let mut criterion = Criterion::new(SoftmaxClassification::default().into(), shape, 0)?;
    /// criterion.parameters_mut().iter_mut().for_each(|p| p.values.fill(0.0));
    /// // Without weights every class is as likely: log 3.
    /// let targets = Targets::Aligned(Aligned { labels: Some(&[2]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 2.0], 2, 1), targets };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SoftmaxClassification {
        /// Show `W` the embeddings `u` and `v`.
        pub embeddings: bool = true,
        /// Show `W` the distances `|u - v|` of the components.
        pub difference: bool = true,
        /// Show `W` the products `u ∗ v` of the components.
        pub product: bool = false,
        /// Learn a bias `b`.
        pub bias: bool = true,
    }
}

view_definition!(SoftmaxClassification, [Target::Labels], None, {
    fn learned(&self, shape: Shape) -> Vec<ParameterSpec> {
        let parts = 2 * usize::from(self.shows_embeddings())
            + usize::from(self.difference)
            + usize::from(self.product);
        let width = parts * shape.dim;
        let start = Start::Uniform((width.max(1) as f32).sqrt().recip());
        let spec = |name, columns| ParameterSpec {
            name,
            shape: [shape.classes, columns],
            start,
        };
        let bias = self.bias.then(|| spec("bias", 1));
        std::iter::once(spec("weight", width)).chain(bias).collect()
    }
});

impl SoftmaxClassification {
    /// A classifier needs something to look at.
    fn shows_embeddings(&self) -> bool {
        self.embeddings || !self.difference && !self.product
    }

    /// The likeliest class of each pair, the first of several; `parameters` are `W` and, where it is learned, `b`.
    ///
    /// # Errors
    /// The two views differ in shape, are not finite, or `W` is of another width.
    ///
    /// ```
    /// use nearkin_losses::{Mat, loss::SoftmaxClassification};
    /// let loss = SoftmaxClassification { embeddings: false, bias: false, ..SoftmaxClassification::default() };
    /// // Two classes: pairs that are alike, and pairs that are not.
    /// let views = [Mat::new(&[1.0, 5.0], 2, 1), Mat::new(&[1.5, 1.0], 2, 1)];
    /// assert_eq!(loss.classify(views, &[&[-1.0, 1.0]])?, [1, 1]);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub fn classify(
        &self,
        [first, second]: [Mat<'_>; 2],
        parameters: &[&[f32]],
    ) -> Result<Vec<u32>, Error> {
        let (n, dim) = (first.rows, first.cols);
        let (u, v) = (finite(first)?, finite(second)?);
        if u.len() != v.len() || second.cols != dim {
            return Err(Error::Width {
                found: second.cols,
                expected: dim,
            });
        }
        let (weight, bias) = (
            parameters.first().copied().unwrap_or(&[]),
            parameters.get(1).copied(),
        );
        let mut classes = Vec::with_capacity(n);
        for (u, v) in u.chunks_exact(dim.max(1)).zip(v.chunks_exact(dim.max(1))) {
            let features = self.features(u, v);
            if weight.is_empty() || !weight.len().is_multiple_of(features.len()) {
                return Err(Error::Width {
                    found: weight.len(),
                    expected: features.len(),
                });
            }
            let rows = weight.chunks_exact(features.len()).enumerate();
            let logit = |(class, row): (usize, &[f32])| {
                let products = row.iter().zip(&features).map(|(w, x)| w * x);
                products.sum::<f32>() + bias.map_or(0.0, |bias| bias[class])
            };
            let logits: Vec<f32> = rows.map(logit).collect();
            let best = (0..logits.len())
                .rev()
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            classes.push(best.unwrap_or(0) as u32);
        }
        Ok(classes)
    }

    /// What `W` sees of a pair.
    fn features(&self, u: &[f32], v: &[f32]) -> Vec<f32> {
        let mut features = Vec::new();
        if self.shows_embeddings() {
            features.extend_from_slice(u);
            features.extend_from_slice(v);
        }
        if self.difference {
            features.extend(u.iter().zip(v).map(|(u, v)| (u - v).abs()));
        }
        if self.product {
            features.extend(u.iter().zip(v).map(|(u, v)| u * v));
        }
        features
    }

    /// `∂L/∂u` and `∂L/∂v` from that of the features.
    fn pull(&self, [u, v]: [&[f32]; 2], mut slopes: &[f32]) -> [Vec<f32>; 2] {
        let dim = u.len();
        let mut gradients = [vec![0.0; dim], vec![0.0; dim]];
        let mut next = || {
            let (first, rest) = slopes.split_at(dim);
            slopes = rest;
            first
        };
        if self.shows_embeddings() {
            add(&mut gradients[0], next());
            add(&mut gradients[1], next());
        }
        if self.difference {
            for (k, &slope) in next().iter().enumerate() {
                let gap = u[k] - v[k];
                let slope = if gap == 0.0 {
                    0.0
                } else {
                    slope * gap.signum()
                };
                gradients[0][k] += slope;
                gradients[1][k] -= slope;
            }
        }
        if self.product {
            for (k, &slope) in next().iter().enumerate() {
                gradients[0][k] += slope * v[k];
                gradients[1][k] += slope * u[k];
            }
        }
        gradients
    }

    /// Adds the gradients of the embeddings of the pairs from `first` on, given the slopes by their logits.
    fn pull_pairs(
        &self,
        views: &Views<'_, f32>,
        classifier: &Classifier<'_>,
        first: usize,
        slopes: Mat<'_>,
        gradients: &mut ViewGradients<'_>,
    ) {
        let (n, width, dim) = (slopes.rows, classifier.weight.cols, views.cols);
        let mut of_features = vec![0.0; n * width];
        let out = MatMut::new(&mut of_features, n, width);
        gemm(out, Beta::Overwrite, 1.0, slopes, classifier.weight);
        for (i, of_features) in of_features.chunks_exact(width).enumerate() {
            let i = first + i;
            let pair = [views.row(0, i), views.row(1, i)];
            for (view, gradient) in self.pull(pair, of_features).iter().enumerate() {
                add(&mut gradients.embeddings[view][i * dim..], gradient);
            }
        }
    }
}

/// Logits of the pairs that are held at a time.
const HELD: usize = 1 << 22;

/// The learned layer, `W` of shape `[classes, width]`.
struct Classifier<'a> {
    weight: Mat<'a>,
    bias: Option<&'a [f32]>,
}

impl Classifier<'_> {
    /// The mean cross-entropy of pairs, given what `W` sees of each, `[n, width]`, and their classes; with its slopes by the
    /// logits `[n, classes]`.
    fn cross_entropy(&self, features: Mat<'_>, labels: &[u32]) -> (Evaluation, Vec<f32>) {
        let (n, classes) = (features.rows, self.weight.rows);
        let mut logits = vec![0.0; n * classes];
        linear(features, self.weight, self.bias, &mut logits);
        let mut slopes = vec![0.0; logits.len()];
        let value = softmax_cross_entropy(&logits, n, classes, labels, &mut slopes);
        let beaten = |(logits, &label): (&[f32], &u32)| {
            let own = logits[label as usize];
            // Its own logit is one of those at least as large.
            logits.iter().filter(|&&x| x >= own).count() > 1
        };
        let rows = logits.chunks_exact(classes).zip(labels);
        let evaluation = Evaluation {
            value: f64::from(value),
            tuples: n,
            active: rows.filter(|&row| beaten(row)).count(),
        };
        (evaluation, slopes)
    }
}

impl ViewLoss for SoftmaxClassification {
    fn needs(&self, _views: usize) -> Needs {
        Needs {
            classes: true,
            ..Needs::default()
        }
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let (n, labels) = (views.items(), views.labels.unwrap_or(&[]));
        let (weight, bias) = (views.parameters[0], views.parameters.get(1).copied());
        let width = self.features(views.row(0, 0), views.row(1, 0)).len();
        let classes = bias.map_or(weight.len() / width.max(1), <[f32]>::len);
        if let Some(&label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::Class { label, classes });
        }
        let classifier = Classifier {
            weight: Mat::new(weight, classes, width),
            bias,
        };
        let held = (HELD / classes.max(1)).max(1);
        let mut total = Evaluation::default();
        for first in (0..n).step_by(held) {
            let pairs = first..n.min(first + held);
            let features: Vec<f32> = pairs
                .clone()
                .flat_map(|i| self.features(views.row(0, i), views.row(1, i)))
                .collect();
            let features = Mat::new(&features, pairs.len(), width);
            let (evaluation, mut slopes) =
                classifier.cross_entropy(features, &labels[pairs.clone()]);
            let share = pairs.len() as f64 / n as f64;
            total = total.plus(Evaluation {
                value: evaluation.value * share,
                ..evaluation
            });
            for slope in &mut slopes {
                *slope *= share as f32;
            }
            let slopes = Mat::new(&slopes, pairs.len(), classes);
            self.pull_pairs(views, &classifier, pairs.start, slopes, gradients);
            let of_weight = MatMut::new(&mut gradients.parameters[0], classes, width);
            gemm(of_weight, Beta::Add, 1.0, slopes.t(), features);
            if let Some(of_bias) = gradients.parameters.get_mut(1) {
                let mut sums = vec![0.0; classes];
                column_sums(slopes, &mut sums);
                add(of_bias, &sums);
            }
        }
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let n = views.items();
        let nothing = !(self.embeddings || self.difference || self.product);
        let mut sum = 0.0;
        for i in 0..n {
            let (u, v) = (views.row(0, i), views.row(1, i));
            let mut x = Vec::new();
            for (shown, part) in [
                (self.embeddings || nothing, u.to_vec()),
                (self.embeddings || nothing, v.to_vec()),
                (
                    self.difference,
                    (0..u.len()).map(|k| (u[k] - v[k]).abs()).collect(),
                ),
                (self.product, (0..u.len()).map(|k| u[k] * v[k]).collect()),
            ] {
                x.extend(part.into_iter().filter(|_| shown));
            }
            let weight = views.parameters[0];
            let classes = match views.parameters.get(1) {
                Some(bias) => bias.len(),
                None => weight.len() / x.len().max(1),
            };
            let mut logits = vec![0.0; classes];
            for (c, logit) in logits.iter_mut().enumerate() {
                for (k, x) in x.iter().enumerate() {
                    *logit += weight[c * (weight.len() / classes) + k] * x;
                }
                *logit += views.parameters.get(1).map_or(0.0, |bias| bias[c]);
            }
            let all: f64 = logits.iter().map(|logit| logit.exp()).sum();
            let class = views.labels.map_or(0, |labels| labels[i] as usize);
            sum -= (logits[class].exp() / all).ln();
        }
        sum / n as f64
    }
}
