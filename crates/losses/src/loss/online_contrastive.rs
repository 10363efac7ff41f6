//! The online contrastive loss.

use super::paired::Paired;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Cosine;
use crate::error::Error;
use crate::range::NonNegative;

described! {
    /// Pulls and pushes only the hard pairs: positives farther than the nearest negative, negatives nearer than the farthest positive.
    ///
    /// ```text
    /// L = Σ_{hard positives} d² + Σ_{hard negatives} [ margin - d ]₊²
    /// ```
    ///
    /// A pair is positive if its score is at least ½. With one kind alone, a pair is hard on the wrong side of their mean. A
    /// sum, not a mean: its size grows with the batch. A pair is active while it is hard and not beyond the margin.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; scores: `[n, 1]`, 0 or 1
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// N. Reimers, I. Gurevych, `OnlineContrastiveLoss` of sentence-transformers; after R. Hadsell, S. Chopra, Y. `LeCun`,
    /// Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, Eq. 4.
    ///
    /// # Differences
    /// sentence-transformers ignores pairs whose label is neither 0 nor 1.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::OnlineContrastive};
    /// // A positive at cosine distance 1 and a negative at 0: 1² + (0.5 - 0)².
    /// let targets = Targets::Aligned(Aligned { scores: Some(&[1.0, 0.0]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], 4, 2), targets };
    /// let outcome = Objective::from(OnlineContrastive::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 1.25).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct OnlineContrastive {
        /// Distance that negatives should keep.
        pub margin: NonNegative = NonNegative::literal(0.5),
    }
}

view_definition!(OnlineContrastive, [Target::Scores], Some(Cosine {}.into()));

impl ViewLoss for OnlineContrastive {
    fn needs(&self, _views: usize) -> Needs {
        Needs::scores(1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let paired = Paired::new(views, [0, 1])?;
        let d = paired.d();
        let positive = |i: usize| views.scores_of(i)[0] >= 0.5;
        let margin = self.margin.get();
        let mut bounds = [f32::NEG_INFINITY, f32::INFINITY];
        let mut count = 0;
        for (i, &d) in d.iter().enumerate() {
            if positive(i) {
                count += 1;
                bounds[0] = bounds[0].max(d);
            } else {
                bounds[1] = bounds[1].min(d);
            }
        }
        let [farthest, nearest] = if count == 0 || count == d.len() {
            let mean = d.iter().map(|&d| f64::from(d)).sum::<f64>() / d.len() as f64;
            [mean as f32; 2]
        } else {
            bounds
        };
        let mut total = Evaluation::default();
        let mut slopes = vec![0.0; d.len()];
        for (i, &d) in d.iter().enumerate() {
            let (hard, off, sign) = if positive(i) {
                (d > nearest, d, 2.0)
            } else {
                (d < farthest, (margin - d).max(0.0), -2.0)
            };
            let off = if hard { off } else { 0.0 };
            slopes[i] = sign * off;
            total = total.plus(Evaluation::of_tuple(f64::from(off).powi(2), off != 0.0));
        }
        paired.pull(&slopes, gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let d = |i: &usize| views.d((0, *i), (1, *i));
        let is_positive = |i: &usize| views.scores_of(*i)[0] >= 0.5;
        let (poss, negs): (Vec<_>, Vec<_>) = (0..views.items()).partition(is_positive);
        let (poss, negs): (Vec<f64>, Vec<f64>) =
            (poss.iter().map(d).collect(), negs.iter().map(d).collect());
        let mean = |d: &[f64]| d.iter().sum::<f64>() / d.len() as f64;
        let farthest = poss.iter().copied().reduce(f64::max);
        let nearest = negs.iter().copied().reduce(f64::min);
        let far = nearest.unwrap_or_else(|| mean(&poss));
        let near = farthest.unwrap_or_else(|| mean(&negs));
        let of_positives: f64 = poss.iter().filter(|&&d| d > far).map(|d| d * d).sum();
        let short = |d: &f64| (self.margin.exact() - d).max(0.0).powi(2);
        of_positives + negs.iter().filter(|&&d| d < near).map(short).sum::<f64>()
    }
}
