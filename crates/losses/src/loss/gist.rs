//! The guided in-sample selection of training negatives.

pub use super::candidates::MarginStrategy;
use super::candidates::{Blocks, Kind};
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::{Cosine, Distances, PairDistance};
use crate::error::Error;
use crate::range::{Finite, Positive};

described! {
    /// Picks the positive of each anchor out of the batch, less the candidates that a guide takes for positives.
    ///
    /// ```text
    /// L = 1/n Σ_i log Σ_c exp( (d(a_i, p_i) - d(c)) / temperature )
    ///
    /// c: the pair (a_i, p_i), and of (a_i, p_j), (a_i, a_j), (p_i, p_j) with j ≠ i and (a_i, n_j) those with s(c) ≤ threshold
    /// threshold: s(a_i, p_i) - margin  or  s(a_i, p_i) - margin |s(a_i, p_i)|
    /// ```
    ///
    /// The similarity `s` is the cosine of the guide's embeddings, which come as the teacher's. An item is active while some
    /// other candidate is at least as near as its positive.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`: anchors, positives, hard negatives; teacher: `[B, D']`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// A. V. Solatorio, `GISTEmbed`: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning, arXiv
    /// 2024, §3.3. `relative`: G. de Souza P. Moreira et al., `NV-Retriever`, arXiv 2024, §4.
    ///
    /// # Differences
    /// The same as sentence-transformers, which knows one hard negative for each anchor, with one exception: an item is never
    /// its own negative, also where the guide takes anchor and positive for the same.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::Gist};
    /// // All embeddings equal. For the guide both anchors are alike, and so are both positives, but not these to those:
    /// // of four candidates it takes (a_i, a_j) and (p_i, p_j) for positives, which leaves log 2.
    /// let guide = Mat::new(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0], 4, 2);
    /// let targets = Targets::Aligned(Aligned { teacher: Some(guide), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets };
    /// let outcome = Objective::from(Gist::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Gist {
        /// What distances are divided by.
        pub temperature: Positive = Positive::literal(0.01),
        /// Candidates that the guide takes for positives: `none`, `absolute`, `relative`.
        pub margin_strategy: MarginStrategy = MarginStrategy::Absolute,
        /// How far below the similarity of the positive that begins; below zero, above it.
        pub margin: Finite = Finite::literal(0.0),
        /// Count the other anchors among the candidates.
        pub contrast_anchors: bool = true,
        /// Count the pairs of the positive and other positives among the candidates.
        pub contrast_positives: bool = true,
    }
}

view_definition!(Gist, [Target::Teacher], Some(Cosine {}.into()));

impl Gist {
    /// The pairs of a query with the rows of which views.
    fn kinds(&self, views: usize) -> Vec<Kind> {
        let mut kinds = vec![(0, 1..views)];
        kinds.extend(self.contrast_anchors.then_some((0, 0..1)));
        kinds.extend(self.contrast_positives.then_some((1, 1..2)));
        kinds
    }
}

impl ViewLoss for Gist {
    fn views(&self) -> (usize, usize) {
        (2, usize::MAX)
    }

    fn needs(&self, _views: usize) -> Needs {
        Needs {
            teacher: true,
            ..Needs::default()
        }
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let kinds = self.kinds(views.embeddings.len());
        let guided = |(query, others): &Kind| {
            let rows = views.teacher[others.clone()].concat();
            Distances::between(&Cosine {}, views.teacher[*query], &rows, views.teacher_cols)
        };
        let guides = kinds.iter().map(guided).collect::<Result<Vec<_>, _>>()?;
        let mut blocks = Blocks::new(views, kinds)?;
        let scale = self.temperature.exact().recip() as f32;
        let weight = (views.items() as f32).recip();
        let columns = blocks.split().0.columns;
        let total = blocks.each_row(|blocks, i, list| {
            let of_positive = 1.0 - guides[0].s()[i * columns + i];
            let threshold = self
                .margin_strategy
                .threshold(of_positive, self.margin.get());
            for (block, guide) in blocks.iter().zip(&guides) {
                let guide = &guide.s()[i * block.columns..][..block.columns];
                // No row is its own negative; the positive is put back where it is picked.
                list.push_guided(block.row(i), guide, (threshold, i));
            }
            list.pick([i, i], scale, weight)
        });
        guides.into_iter().for_each(Distances::release);
        blocks.pull(gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let n = views.items();
        let guide = |(view, i): (usize, usize)| {
            &views.teacher[view][i * views.teacher_cols..][..views.teacher_cols]
        };
        let s = |x, y| 1.0 - Cosine {}.reference(guide(x), guide(y));
        let mut value = 0.0;
        for i in 0..n {
            let positive = ((0, i), (1, i));
            let mut candidates = Vec::new();
            for j in 0..n {
                let other = j != i;
                candidates.extend(other.then_some(((0, i), (1, j))));
                candidates.extend((other && self.contrast_anchors).then_some(((0, i), (0, j))));
                candidates.extend((other && self.contrast_positives).then_some(((1, i), (1, j))));
                let negatives = (2..views.embeddings.len()).map(|view| ((0, i), (view, j)));
                candidates.extend(negatives);
            }
            let (of_positive, margin) = (s(positive.0, positive.1), self.margin.exact());
            candidates.retain(|&(x, y)| {
                !self
                    .margin_strategy
                    .leaves_out(s(x, y), of_positive, margin)
            });
            let gain = |(x, y)| {
                (views.d(positive.0, positive.1) - views.d(x, y)) / self.temperature.exact()
            };
            let sum: f64 = candidates
                .into_iter()
                .map(|pair| f64::exp(gain(pair)))
                .sum();
            value += sum.ln_1p() / n as f64;
        }
        value
    }
}
