//! The quadruplet loss.

use super::quadruples::{Anchor, Hinged, Kind, Rules};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, ladder};
use crate::described::{described, words};
use crate::distance::{Distance, SquaredL2};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::range::NonNegative;
use crate::reducer::Term;
use crate::tuples::Tuples;

words! {
    /// Where the margins come from.
    pub enum Margins {
        /// They are given.
        Fixed = "fixed",
        /// From how far apart positives and negatives are.
        Adaptive = "adaptive",
    }
}

words! {
    /// What the gradient of an adaptive margin is.
    pub enum Gradient {
        /// That of the paper: each term moves its own margin by its own pairs alone.
        Paper = "paper",
        /// None: margins are constants.
        Stopped = "stop_grad",
        /// The derivative of the value.
        Full = "full",
    }
}

described! {
    /// Keeps positives nearer than the negatives of their anchor, and nearer than pairs of any other two classes.
    ///
    /// ```text
    /// L = mean over (i, j, k)    of [ d(i, j) - d(i, k) + a₁ ]₊
    ///   + mean over (i, j, k, l) of [ d(i, j) - d(l, k) + a₂ ]₊    y_i = y_j, and y_i, y_k, y_l all different
    ///
    /// margins = "adaptive":  a₁ = [μ]₊,  a₂ = ½ [μ]₊,  μ = mean of d over negatives - mean of d over positives
    /// ```
    ///
    /// All triplets and all quadruplets of the batch are summed exactly without visiting each: `O(B² log B)` time and
    /// `O(B²)` memory, by searching among sorted distances.
    ///
    /// Adaptive margins mine online: what falls short of the margin is hard, and nothing else pulls. Distances mean nothing
    /// before training, so the paper starts from a model that has been trained with `margins = "fixed"`; this is a switch of
    /// the recipe, not of the loss, which counts no steps.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification,
    /// CVPR 2017, Eq. 3; adaptive margins Eq. 4, their gradient Eq. 5.
    ///
    /// # Differences
    /// The paper's `d` is `g²`, the square of a learned metric of pairs in `[0, 1]`: put `S = g²` into
    /// [`Objective::of_scores`](crate::Objective::of_scores), or each sampled quadruplet into
    /// [`of_samples`](Quadruplet::of_samples). Over embeddings, as most re-implementations have it, the margins 1 and ½ are
    /// large for cosine distances. Eq. 3 is a sum (`[reducer.sum]`); means balance the two kinds. Eq. 4 has means over the
    /// pairs of the sampled quadruplets, here over all pairs of the batch. Eq. 5 lets the margin of a term move with the pairs
    /// of that term alone, and a negative with both margins whichever term it is in: factors `1 - w/N_p` of a positive, with
    /// `w` 1 and ½, and `1.5/N_n - 1` of a negative, where `gradient = "stop_grad"` has 1 and -1.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Quadruplet};
    /// // All embeddings equal, so every triplet is a₁ = 1 and every quadruplet a₂ = ½.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(Quadruplet::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 2], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.value, 1.5);
    /// assert_eq!(outcome.tuples, 8); // two positive pairs, each with two negatives and (1, 2), (2, 1)
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Quadruplet {
        /// Margin `a₁` towards the negatives of the anchor, if margins are fixed.
        pub margin: NonNegative = NonNegative::literal(1.0),
        /// Margin `a₂` towards pairs of other classes, if margins are fixed.
        pub weak_margin: NonNegative = NonNegative::literal(0.5),
        /// Where the margins come from: `fixed` or `adaptive`.
        pub margins: Margins = Margins::Fixed,
        /// The gradient of adaptive margins: `paper`, `stop_grad` or `full`.
        pub gradient: Gradient = Gradient::Paper,
    }
}

/// The loss of sampled quadruplets.
pub(crate) struct Sampled {
    pub value: f64,
    /// By each `g` of each sample.
    pub gradient: Vec<[f32; 3]>,
    /// Terms above zero, of two for each sample.
    pub active: usize,
}

/// `w` of either term.
const SHARES: [f64; 2] = [1.0, 0.5];

impl Quadruplet {
    fn rules(&self, kinds: &dyn Fn() -> [Kind; 2]) -> Rules {
        let mut rules = Rules {
            margins: [self.margin.exact(), self.weak_margin.exact()],
            slopes: [[1.0, -1.0]; 2],
            everywhere: [[0.0; 2]; 2],
        };
        if self.margins == Margins::Fixed {
            return rules;
        }
        let [positives, negatives] = kinds();
        let [n_p, n_n] = [positives.count(), negatives.count()];
        let mu = negatives.sum / n_n - positives.sum / n_p;
        for (t, share) in SHARES.into_iter().enumerate() {
            rules.margins[t] = share * mu.max(0.0);
            match self.gradient {
                Gradient::Paper => rules.slopes[t] = [1.0 - share / n_p, 1.5 / n_n - 1.0],
                Gradient::Full if mu > 0.0 => rules.everywhere[t] = [-share / n_p, share / n_n],
                Gradient::Full | Gradient::Stopped => {}
            }
        }
        rules
    }

    /// The loss of sampled quadruplets, given the metric of their pairs `[g(i, j), g(i, k), g(l, k)]`: the sum of Eq. 3 over
    /// them, with margins from their own pairs if those are adaptive, and the gradient in each `g`.
    #[must_use]
    pub fn of_samples(&self, samples: &[[f32; 3]]) -> (f64, Vec<[f32; 3]>) {
        let sampled = self.sampled(samples);
        (sampled.value, sampled.gradient)
    }

    /// [`of_samples`](Self::of_samples), with the count of terms that push.
    pub(crate) fn sampled(&self, samples: &[[f32; 3]]) -> Sampled {
        let squares = |k: usize| samples.iter().map(move |g| f64::from(g[k]).powi(2));
        let kinds = || [Kind::of(squares(0)), Kind::of(squares(1).chain(squares(2)))];
        let rules = self.rules(&kinds);
        let [mut value, mut everywhere] = [0.0, 0.0].map(|zero| [zero; 2]);
        let mut active = 0;
        let mut gradient = Vec::with_capacity(samples.len());
        for g in samples {
            let g = g.map(f64::from);
            let mut slopes = [0.0; 3];
            for t in [0, 1] {
                let violation = g[0].powi(2) - g[t + 1].powi(2) + rules.margins[t];
                if violation > 0.0 {
                    value[t] += violation;
                    active += 1;
                    slopes[0] += rules.slopes[t][0];
                    slopes[t + 1] += rules.slopes[t][1];
                    (0..2).for_each(|kind| everywhere[kind] += rules.everywhere[t][kind]);
                }
            }
            gradient.push(slopes);
        }
        let through_square = |(slopes, g): (&[f64; 3], &[f32; 3])| {
            let slope = |k: usize| slopes[k] + everywhere[usize::from(k > 0)];
            [0, 1, 2].map(|k| (2.0 * f64::from(g[k]) * slope(k)) as f32)
        };
        let gradient = gradient.iter().zip(samples).map(through_square).collect();
        Sampled {
            value: value[0] + value[1],
            gradient,
            active,
        }
    }
}

impl Definition for Quadruplet {
    fn default_distance(&self) -> Option<Distance> {
        Some(SquaredL2::default().into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }
}

impl MatrixLoss for Quadruplet {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let hinged = Hinged::new(matrix, |kinds| self.rules(kinds));
        let anchors = hinged.anchors();
        let of_kind =
            |anchor: &Anchor, kind: usize| ladder::terms(anchor.iter().map(|(_, met)| met[kind]));
        let terms: Vec<_> = anchors
            .iter()
            .map(|anchor| [0, 1].map(|kind| of_kind(anchor, kind)))
            .collect();
        let (evaluation, weights) = ladder::reduced(matrix, &terms);
        hinged.slopes(&anchors, &weights, gradients.g);
        evaluation
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let b = batch.rows();
        let pairs: Vec<_> = (0..b).flat_map(|i| (0..b).map(move |j| (i, j))).collect();
        let same = |&(i, j): &(usize, usize)| batch.label(i) == batch.label(j);
        let of_kind = |positive| {
            let mut kind = pairs.clone();
            kind.retain(|pair| pair.0 != pair.1 && same(pair) == positive);
            kind
        };
        let [positives, negatives] = [true, false].map(of_kind);
        let margin = ExactMargin {
            loss: self,
            batch,
            pairs: [&positives, &negatives],
        };
        let mu = margin.mu();
        let mut terms = Vec::new();
        for &(i, j) in &positives {
            for &(l, k) in &negatives {
                let group = usize::from(l != i);
                if group == 1 && [l, k].iter().any(|&n| batch.label(n) == batch.label(i)) {
                    continue;
                }
                let a = margin.a(group, mu, [(i, j), (l, k)]);
                let value = (batch.d(i, j) - batch.d(l, k) + a).max(0.0);
                terms.push(Term {
                    anchor: i,
                    group,
                    value,
                });
            }
        }
        terms
    }
}

/// A margin by its definition, with the gradient asked for.
struct ExactMargin<'a> {
    loss: &'a Quadruplet,
    batch: &'a Exact<'a>,
    pairs: [&'a [(usize, usize)]; 2],
}

impl ExactMargin<'_> {
    fn mu(&self) -> f64 {
        let batch = match self.loss.gradient {
            Gradient::Full => self.batch,
            Gradient::Paper | Gradient::Stopped => self.batch.held(),
        };
        let mean = |pairs: &[(usize, usize)]| {
            pairs.iter().map(|&(i, j)| batch.d(i, j)).sum::<f64>() / pairs.len() as f64
        };
        mean(self.pairs[1]) - mean(self.pairs[0])
    }

    /// `a₁` or `a₂` of a term with these pairs.
    fn a(&self, group: usize, mu: f64, [positive, negative]: [(usize, usize); 2]) -> f64 {
        let Quadruplet {
            margin,
            weak_margin,
            ..
        } = self.loss;
        if self.loss.margins == Margins::Fixed {
            return [margin, weak_margin][group].exact();
        }
        let w = [1.0, 0.5][group];
        let moved = |(i, j): (usize, usize)| self.batch.d(i, j) - self.batch.held().d(i, j);
        let own = match self.loss.gradient {
            Gradient::Paper => {
                1.5 * moved(negative) / self.pairs[1].len() as f64
                    - w * moved(positive) / self.pairs[0].len() as f64
            }
            Gradient::Stopped | Gradient::Full => 0.0,
        };
        w * mu.max(0.0) + own
    }
}
