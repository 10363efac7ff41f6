//! Losses of a learned metric: of what a network of pairs says about the pairs of sampled triplets or quadruplets.
//!
//! They see no embeddings and no matrix of all pairs: a network of pairs is asked only about the pairs that were sampled.
//! Its outputs lie kind by kind,
//!
//! ```text
//! [ (i₁, j₁) … (i_M, j_M) | (i₁, k₁) … (i_M, k_M) | (l₁, k₁) … (l_M, k_M) ]     y_i = y_j,  and y_i, y_k, y_l all different
//! ```
//!
//! and `g` of a pair is `σ(z_different - z_same)` of two outputs `z`, or one output itself. Losses see its square, so that the
//! size of `g` is smaller for closer images.

use crate::criterion::{Outcome, finite};
use crate::described::{Described, described};
use crate::error::Error;
use crate::loss::quadruplet::{Gradient, Margins, Quadruplet};
use crate::range::NonNegative;
use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

described! {
    /// Keeps positives nearer than the negatives of their anchor, by a learned metric of pairs.
    ///
    /// ```text
    /// L = mean over triplets of [ g(i, j)² - g(i, k)² + margin ]₊  +  softmax_weight · mean over pairs of H
    /// H = -log(1 - g(i, j)) of a positive pair,  -log g(i, k) of a negative one
    /// ```
    ///
    /// # Shapes
    /// - outputs: `[2M, 2]`, same and different, or `[2M, 1]`, which may be any number and has no cross-entropy
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification,
    /// CVPR 2017, Eq. 2. With two outputs it is the improved triplet loss of its Fig. 2(c), with one the learned metric of
    /// Fig. 2(b), called BL2; `softmax_weight = 0` is the row "w/o sfx".
    ///
    /// # Differences
    /// Eq. 2 is a sum; means keep the learning rate apart from the batch. The paper gives the cross-entropy no weight.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, pair_metric::{PairLoss, PairTriplet}};
    /// // Equal outputs: g = ½ of either pair, so the margin, and log 2 of each pair.
    /// let outcome = PairLoss::PairTriplet(PairTriplet::default()).value_and_grad(Mat::new(&[0.0; 4], 2, 2))?;
    /// assert!((outcome.value - (1.0 + 2_f32.ln())).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct PairTriplet {
        /// Required gap of the squares.
        pub margin: NonNegative = NonNegative::literal(1.0),
        /// Weight of the cross-entropy of the pairs.
        pub softmax_weight: NonNegative = NonNegative::literal(1.0),
    }
}

described! {
    /// Keeps positives nearer than the negatives of their anchor, and nearer than pairs of two other classes, by a learned
    /// metric of pairs.
    ///
    /// ```text
    /// L = mean over quadruplets of [ g(i, j)² - g(i, k)² + a₁ ]₊ + [ g(i, j)² - g(l, k)² + a₂ ]₊
    ///   + softmax_weight · mean over pairs of H
    /// H = -log(1 - g(i, j)) of a positive pair,  -log g of a negative one
    ///
    /// margins = "adaptive":  a₁ = [μ]₊,  a₂ = ½ [μ]₊,  μ = mean of g² over negatives - mean of g² over positives of the batch
    /// ```
    ///
    /// Adaptive margins mine online (MargOHNM): what falls short of the margin is hard, and nothing else pulls. They mean
    /// nothing before training, so the paper starts from a model that was trained with `margins = "fixed"`.
    ///
    /// # Shapes
    /// - outputs: `[3M, 2]`, same and different, or `[3M, 1]`, which may be any number and has no cross-entropy
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification,
    /// CVPR 2017, Eq. 3; adaptive margins Eq. 4, their gradient Eq. 5.
    ///
    /// # Differences
    /// Eq. 3 is a sum; means keep the learning rate apart from the batch. That the network of the quadruplet loss keeps the
    /// cross-entropy of the improved triplet is our reading of its Fig. 3.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, pair_metric::{PairLoss, PairQuadruplet}};
    /// // Equal outputs: g = ½ of all pairs, so both margins, and log 2 of each pair.
    /// let outcome = PairLoss::PairQuadruplet(PairQuadruplet::default()).value_and_grad(Mat::new(&[0.0; 6], 3, 2))?;
    /// assert!((outcome.value - (1.5 + 2_f32.ln())).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct PairQuadruplet {
        /// Margin `a₁` towards the negatives of the anchor, if margins are fixed.
        pub margin: NonNegative = NonNegative::literal(1.0),
        /// Margin `a₂` towards pairs of other classes, if margins are fixed.
        pub weak_margin: NonNegative = NonNegative::literal(0.5),
        /// Where the margins come from: `fixed` or `adaptive`.
        pub margins: Margins = Margins::Fixed,
        /// The gradient of adaptive margins: `paper`, `stop_grad` or `full`.
        pub gradient: Gradient = Gradient::Paper,
        /// Weight of the cross-entropy of the pairs.
        pub softmax_weight: NonNegative = NonNegative::literal(1.0),
    }
}

described! {
    /// Tells pairs of the same class from pairs of two by their outputs.
    ///
    /// ```text
    /// L = mean over pairs of H,   H = -log(1 - g(i, j)) of a positive pair,  -log g(i, k) of a negative one
    /// ```
    ///
    /// A pair is active while the wrong answer is at least as likely.
    ///
    /// # Shapes
    /// - outputs: `[2M, 2]`, same and different
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification,
    /// CVPR 2017, the baseline BL3 of its Table 1.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, pair_metric::{PairClassification, PairLoss}};
    /// let outcome = PairLoss::PairClassification(PairClassification {}).value_and_grad(Mat::new(&[0.0; 4], 2, 2))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct PairClassification {}
}

/// A loss of a learned metric, as a recipe names it: `[loss.pair_quadruplet]` and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLoss {
    /// Positives nearer than the negatives of their anchor.
    PairTriplet(PairTriplet),
    /// Nearer than pairs of two other classes too.
    PairQuadruplet(PairQuadruplet),
    /// The same class or not.
    PairClassification(PairClassification),
}

impl PairLoss {
    /// Every one with its default parameters.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::PairClassification(PairClassification::default()),
            Self::PairQuadruplet(PairQuadruplet::default()),
            Self::PairTriplet(PairTriplet::default()),
        ]
    }

    /// What its documentation says.
    pub fn described(&self) -> &dyn Described {
        match self {
            Self::PairTriplet(loss) => loss,
            Self::PairQuadruplet(loss) => loss,
            Self::PairClassification(loss) => loss,
        }
    }

    /// Its key in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PairTriplet(_) => "pair_triplet",
            Self::PairQuadruplet(_) => "pair_quadruplet",
            Self::PairClassification(_) => "pair_classification",
        }
    }

    /// How many pairs of a sample it asks for: those of a triplet or those of a quadruplet.
    pub fn kinds(&self) -> usize {
        match self {
            Self::PairTriplet(_) | Self::PairClassification(_) => 2,
            Self::PairQuadruplet(_) => 3,
        }
    }

    /// Whether it needs two outputs, same and different: a cross-entropy does.
    pub fn needs_softmax(&self) -> bool {
        self.softmax_weight() > 0.0
    }

    fn softmax_weight(&self) -> f64 {
        match self {
            Self::PairTriplet(loss) => loss.softmax_weight.exact(),
            Self::PairQuadruplet(loss) => loss.softmax_weight.exact(),
            Self::PairClassification(_) => 1.0,
        }
    }

    /// Value and gradient; `gradient` of the outcome is that by the outputs, of their shape.
    ///
    /// # Errors
    /// The outputs are neither one nor two a pair, one where the loss needs two, not so many pairs of each kind, or not finite.
    pub fn value_and_grad(&self, outputs: Mat<'_>) -> Result<Outcome, Error> {
        let z = finite(outputs).map_err(of_scores)?;
        let (rows, cols, kinds) = (outputs.rows, outputs.cols, self.kinds());
        if cols != 2 && (cols != 1 || self.needs_softmax()) {
            return Err(Error::Width {
                found: cols,
                expected: 2,
            });
        }
        let samples = rows / kinds;
        if samples * kinds != rows {
            let labels = samples * kinds;
            return Err(Error::Labels { rows, labels });
        }
        let g: Vec<f32> = z.chunks_exact(cols).map(metric).collect();
        let hinges = self.hinges(&g);
        let count = samples.max(1) as f64;
        let mut sums = Sums {
            value: hinges.value / count,
            gradient: vec![0.0; z.len()],
        };
        for (row, slope) in hinges.slopes.iter().enumerate() {
            let slope = f64::from(*slope) / count;
            sums.push(row, cols, slope * through_metric(g[row], cols));
        }
        let wrong = self.add_entropies((&z, cols), samples, &mut sums);
        let (active, tuples) = match self {
            Self::PairClassification(_) => (wrong, rows),
            _ => (hinges.active, hinges.terms),
        };
        let value = sums.value as f32;
        if !value.is_finite() {
            return Err(of_scores(Error::overflow(&z)));
        }
        Ok(Outcome {
            value,
            gradient: sums.gradient,
            active: active as f32 / tuples.max(1) as f32,
            kept: 1.0,
            tuples,
            ..Outcome::default()
        })
    }

    /// The hinges of all samples as a sum, with its slopes by each `g`.
    fn hinges(&self, g: &[f32]) -> Hinges {
        let samples = g.len() / self.kinds();
        let at = |kind: usize, sample: usize| g[kind * samples + sample];
        match self {
            Self::PairClassification(_) => Hinges::default(),
            Self::PairTriplet(loss) => {
                let mut hinges = Hinges {
                    slopes: vec![0.0; g.len()],
                    terms: samples,
                    ..Hinges::default()
                };
                for sample in 0..samples {
                    let [p, n] = [0, 1].map(|kind| f64::from(at(kind, sample)));
                    let violation = p.powi(2) - n.powi(2) + loss.margin.exact();
                    if violation > 0.0 {
                        hinges.value += violation;
                        hinges.active += 1;
                        hinges.slopes[sample] = 2.0 * at(0, sample);
                        hinges.slopes[samples + sample] = -2.0 * at(1, sample);
                    }
                }
                hinges
            }
            Self::PairQuadruplet(loss) => {
                let sample = |sample| [0, 1, 2].map(|kind| at(kind, sample));
                let sampled = loss
                    .quadruplet()
                    .sampled(&(0..samples).map(sample).collect::<Vec<_>>());
                let kinds = (0..3).flat_map(|kind| sampled.gradient.iter().map(move |s| s[kind]));
                Hinges {
                    value: sampled.value,
                    slopes: kinds.collect(),
                    active: sampled.active,
                    terms: 2 * samples,
                }
            }
        }
    }

    /// Adds the cross-entropies of all pairs; returns how many pairs are taken for what they are not.
    fn add_entropies(&self, (z, cols): (&[f32], usize), samples: usize, sums: &mut Sums) -> usize {
        let pairs = z.len() / cols;
        if !self.needs_softmax() || pairs == 0 {
            return 0;
        }
        let weight = self.softmax_weight() / pairs as f64;
        let mut wrong = 0;
        for (row, outputs) in z.chunks_exact(cols).enumerate() {
            let different = f64::from(outputs[1]) - f64::from(outputs[0]);
            // The first kind of pairs is of the same.
            let sign = if row < samples { 1.0 } else { -1.0 };
            wrong += usize::from(sign * different >= 0.0);
            sums.value += weight * softplus(sign * different);
            let slope = sign / (1.0 + (-sign * different).exp());
            sums.push(row, cols, weight * slope);
        }
        wrong
    }

    /// The value in `f64`, sample by sample in the letters of the formula; `outputs` are `[kinds · M, cols]`, row-major.
    /// Adaptive margins are those of the outputs `held`.
    pub fn reference(&self, outputs: &[f64], held: &[f64], cols: usize) -> f64 {
        let g = |z: &[f64], row: usize| match cols {
            1 => z[row],
            _ => z[row * cols + 1].exp() / (z[row * cols].exp() + z[row * cols + 1].exp()),
        };
        let pairs = outputs.len() / cols;
        let m = pairs / self.kinds();
        let square = |z: &[f64], kind: usize, sample: usize| g(z, kind * m + sample).powi(2);
        let mean = |kind: usize| (0..m).map(|s| square(held, kind, s)).sum::<f64>() / m as f64;
        let margins = match self {
            Self::PairTriplet(loss) => vec![loss.margin.exact()],
            Self::PairClassification(_) => Vec::new(),
            Self::PairQuadruplet(loss) if loss.margins == Margins::Fixed => {
                vec![loss.margin.exact(), loss.weak_margin.exact()]
            }
            Self::PairQuadruplet(_) => {
                let mu = f64::midpoint(mean(1), mean(2)) - mean(0);
                vec![mu.max(0.0), 0.5 * mu.max(0.0)]
            }
        };
        let hinge = |sample: usize, term: usize| {
            let gap = square(outputs, 0, sample) - square(outputs, term + 1, sample);
            (gap + margins[term]).max(0.0)
        };
        let of_sample = |sample| (0..margins.len()).map(|t| hinge(sample, t)).sum::<f64>();
        let entropy = |pair: usize| match self.needs_softmax() {
            true if pair < m => -(1.0 - g(outputs, pair)).ln(),
            true => -g(outputs, pair).ln(),
            false => 0.0,
        };
        (0..m).map(of_sample).sum::<f64>() / m as f64
            + self.softmax_weight() * (0..pairs).map(entropy).sum::<f64>() / pairs as f64
    }
}

impl PairQuadruplet {
    /// The loss of given `g`.
    fn quadruplet(&self) -> Quadruplet {
        Quadruplet {
            margin: self.margin,
            weak_margin: self.weak_margin,
            margins: self.margins,
            gradient: self.gradient,
        }
    }
}

/// Hinges of samples, as a sum.
#[derive(Default)]
struct Hinges {
    value: f64,
    /// By `g` of each pair; empty where there are no hinges.
    slopes: Vec<f32>,
    active: usize,
    terms: usize,
}

/// A value and its gradient by the outputs.
struct Sums {
    value: f64,
    gradient: Vec<f32>,
}

impl Sums {
    /// Adds a slope by the last output of a pair, and against it by the one before.
    fn push(&mut self, row: usize, cols: usize, slope: f64) {
        self.gradient[row * cols + cols - 1] += slope as f32;
        if cols == 2 {
            self.gradient[row * cols] -= slope as f32;
        }
    }
}

/// `g` of the outputs of a pair.
fn metric(outputs: &[f32]) -> f32 {
    match outputs {
        [same, different] => 1.0 / (1.0 + (same - different).exp()),
        [g, ..] => *g,
        [] => 0.0,
    }
}

/// The slope of `g` by the last output.
fn through_metric(g: f32, cols: usize) -> f64 {
    let g = f64::from(g);
    if cols == 2 { g * (1.0 - g) } else { 1.0 }
}

/// What is wrong with outputs that are no embeddings, in words of theirs.
fn of_scores(error: Error) -> Error {
    match error {
        Error::NonFinite { row, value, .. } => Error::PairScore { pair: row, value },
        Error::Overflow { largest } => Error::PairOverflow { largest },
        error => error,
    }
}

/// log(1 + e^x), also where e^x overflows.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs of six pairs: two triplets are of the first four rows, two quadruplets of all.
    const Z: [f32; 12] = [
        0.4, -0.3, 1.5, 0.2, -0.1, 0.65, 0.9, 0.8, -1.0, 0.7, 0.3, 0.1,
    ];

    fn adaptive(gradient: Gradient) -> PairLoss {
        PairLoss::PairQuadruplet(PairQuadruplet {
            margins: Margins::Adaptive,
            gradient,
            ..PairQuadruplet::default()
        })
    }

    fn without_entropy() -> Vec<PairLoss> {
        let softmax_weight = NonNegative::literal(0.0);
        let quadruplet = |margins, gradient| {
            PairLoss::PairQuadruplet(PairQuadruplet {
                margins,
                gradient,
                softmax_weight,
                ..PairQuadruplet::default()
            })
        };
        vec![
            PairLoss::PairTriplet(PairTriplet {
                softmax_weight,
                margin: NonNegative::literal(0.3),
            }),
            quadruplet(Margins::Fixed, Gradient::Paper),
            quadruplet(Margins::Adaptive, Gradient::Full),
        ]
    }

    fn all() -> Vec<(PairLoss, usize)> {
        let mut all: Vec<_> = PairLoss::defaults()
            .into_iter()
            .map(|loss| (loss, 2))
            .collect();
        let modes = [Gradient::Full, Gradient::Stopped];
        all.extend(modes.map(|gradient| (adaptive(gradient), 2)));
        all.extend(
            without_entropy()
                .into_iter()
                .flat_map(|loss| [(loss.clone(), 1), (loss, 2)]),
        );
        all
    }

    fn outputs(loss: &PairLoss, cols: usize) -> Vec<f32> {
        Z[..2 * loss.kinds() * cols].to_vec()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_reference() {
        for (loss, cols) in all() {
            let z = outputs(&loss, cols);
            let outcome = loss
                .value_and_grad(Mat::new(&z, z.len() / cols, cols))
                .unwrap();
            let exact: Vec<f64> = z.iter().map(|&z| z.into()).collect();
            let value = loss.reference(&exact, &exact, cols);
            assert!((f64::from(outcome.value) - value).abs() < 1e-6, "{loss:?}");
            assert!(value > 0.0 && outcome.active > 0.0, "{loss:?}");
            let is_held =
                matches!(&loss, PairLoss::PairQuadruplet(l) if l.gradient == Gradient::Stopped);
            for (k, &found) in outcome.gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = exact.clone();
                    moved[k] += step;
                    loss.reference(&moved, if is_held { &exact } else { &moved }, cols)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (f64::from(found) - slope).abs() < 1e-6,
                    "{loss:?} at {k}: {found}, not {slope}"
                );
            }
        }
    }

    /// Eq. 5 through the softmax, of one quadruplet: one positive pair, two negative ones.
    #[test]
    fn the_papers_gradient_is_that_of_its_equation() {
        let loss = PairLoss::PairQuadruplet(PairQuadruplet {
            margins: Margins::Adaptive,
            softmax_weight: NonNegative::literal(0.0),
            ..PairQuadruplet::default()
        });
        for (z, active) in [
            ([0.5, 0.2, 0.1, 0.2, 0.1, 0.7], [1.0, 0.0]),
            ([0.5, 0.2, 0.1, 1.4, 0.5, 0.25], [0.0, 1.0]),
        ] {
            let outcome = loss.value_and_grad(Mat::new(&z, 3, 2)).unwrap();
            let g: Vec<f64> = z.chunks(2).map(|z| metric(z).into()).collect();
            let mu = f64::midpoint(g[1].powi(2), g[2].powi(2)) - g[0].powi(2);
            for (term, share) in [1.0, 0.5].into_iter().enumerate() {
                let hit = g[term + 1].powi(2) - g[0].powi(2) < share * mu.max(0.0);
                assert_eq!(f64::from(u8::from(hit)), active[term]);
            }
            let want = [
                (2.0 - 2.0) * g[0] * active[0] + (2.0 - 1.0) * g[0] * active[1],
                (-2.0 + 1.5) * g[1] * active[0],
                (-2.0 + 1.5) * g[2] * active[1],
            ];
            for (row, want) in want.iter().enumerate() {
                let want = want * g[row] * (1.0 - g[row]);
                let found = &outcome.gradient[2 * row..][..2];
                let off = (f64::from(found[1]) - want).abs();
                assert!(off < 1e-6, "{found:?}, not {want}");
                assert_eq!(found[0], -found[1]);
            }
            assert_eq!((outcome.active, outcome.tuples), (0.5, 2));
        }
    }

    #[test]
    fn huge_outputs_neither_overflow_nor_lose_their_gradient() {
        let loss = PairLoss::PairClassification(PairClassification {});
        let z = [-200.0, 200.0, -200.0, 200.0];
        let outcome = loss.value_and_grad(Mat::new(&z, 2, 2)).unwrap();
        assert_eq!(outcome.value, 200.0);
        assert_eq!(outcome.gradient[..2], [-0.5, 0.5]);
        assert_eq!((outcome.active, outcome.tuples), (0.5, 2));
    }

    #[test]
    fn outputs_that_do_not_fit_are_refused() {
        let error = |loss: &PairLoss, z: &[f32], cols: usize| {
            let outputs = Mat::new(z, z.len() / cols, cols);
            loss.value_and_grad(outputs).unwrap_err().to_string()
        };
        for loss in PairLoss::defaults() {
            assert!(loss.needs_softmax());
            let text = error(&loss, &Z[..6], 1);
            assert!(text.contains("expected 2"), "{text}");
            let text = error(&loss, &Z[..10], 2);
            assert!(text.contains("5 embeddings"), "{text}");
            let text = error(&loss, &[f32::NAN; 12], 2);
            assert!(text.contains("score of pair 0 is NaN"), "{text}");
        }
        let text = error(&without_entropy()[0], &Z[..6], 3);
        assert!(text.contains("3 components"), "{text}");
        let nothing = PairLoss::defaults()[1]
            .value_and_grad(Mat::new(&[], 0, 2))
            .unwrap();
        assert_eq!((nothing.value, nothing.tuples), (0.0, 0));
    }

    #[test]
    fn it_is_a_table_of_a_recipe() {
        #[derive(Debug, Deserialize)]
        struct Recipe {
            loss: PairLoss,
        }
        let read = |text: &str| toml::from_str::<Recipe>(text).map(|recipe| recipe.loss);
        let loss = read("[loss.pair_quadruplet]\nmargins = \"adaptive\"\ngradient = \"full\"");
        assert_eq!(loss.unwrap(), adaptive(Gradient::Full));
        assert!(read("[loss.pair_triplet]\nmargin = -1").is_err());
        assert!(read("[loss.pair_classification]\nmargin = 1").is_err());
    }
}
