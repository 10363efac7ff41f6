//! The multiple negatives ranking loss.

use super::paired::{Ranking, add};
use super::{Definition, Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::{Cosine, Distance, Distances};
use crate::error::Error;
use crate::miner::Miner;
use crate::range::Positive;
use crate::reducer::Reducer;

described! {
    /// Picks the positive of each anchor out of the positives and hard negatives of the whole batch.
    ///
    /// ```text
    /// L = 1/n Σ_i log Σ_c exp( scale (d(a_i, p_i) - d(a_i, c)) ),  c over all p_j and all negatives of all items
    /// ```
    ///
    /// Symmetric: the mean of this and of `1/n Σ_i log Σ_j exp(scale (d(a_i, p_i) - d(a_j, p_i)))`. An item is active
    /// while some other candidate is at least as near as its positive.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`: anchors, positives, hard negatives; labels, if masked by them: `[n]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// M. Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, arXiv 2017, §4.4; with hard
    /// negatives as in V. Karpukhin et al., Dense Passage Retrieval, EMNLP 2020, Eq. 2.
    ///
    /// # Differences
    /// The papers use dot products (`[distance.dot]`, scale 1). Cosine, scale 20 and the symmetric form are those of
    /// sentence-transformers, which masks no false negatives by class.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets};
    /// use nearkin_losses::loss::MultipleNegativesRanking;
    /// // All four embeddings equal: each anchor chooses between two equal candidates, so log 2.
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets: Targets::Aligned(Aligned::pairs()) };
    /// let outcome = Objective::from(MultipleNegativesRanking::default())
    ///     .evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MultipleNegativesRanking {
        /// Inverse temperature of the softmax.
        pub scale: Positive = Positive::literal(20.0),
        /// Average with the same loss with anchors and positives exchanged.
        pub symmetric: bool = false,
        /// Leave positives of other items of the anchor's class out of its candidates.
        pub mask_classes: bool = false,
    }
}

impl Definition for MultipleNegativesRanking {
    fn targets(&self) -> &'static [Target] {
        &[Target::Pairs, Target::Triplets]
    }

    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }
}

impl ViewLoss for MultipleNegativesRanking {
    fn views(&self) -> (usize, usize) {
        (2, usize::MAX)
    }

    fn needs(&self, _views: usize) -> Needs {
        Needs {
            classes: self.mask_classes,
            ..Needs::default()
        }
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let n = views.items();
        let candidates = views.embeddings[1..].concat();
        let columns = candidates.len() / views.cols;
        let distances = Distances::between(
            views.distance(),
            views.embeddings[0],
            &candidates,
            views.cols,
        )?;
        let labels = views.labels.filter(|_| self.mask_classes);
        let kept = |i: usize, j: usize| j >= n || labels.is_none_or(|l| l[i] != l[j]);
        let ways = if self.symmetric { 2.0 } else { 1.0 };
        let ranking = Ranking {
            scale: self.scale.get(),
            weight: (1.0 / (ways * n as f64)) as f32,
        };
        let s = distances.s();
        let mut g = vec![0.0; s.len()];
        let mut total = Evaluation::default();
        for (i, g) in g.chunks_exact_mut(columns).enumerate() {
            let row = &s[i * columns..][..columns];
            total = total.plus(ranking.term(row, i, |j| kept(i, j), g));
        }
        if self.symmetric {
            let mut slopes = vec![0.0; n];
            for i in 0..n {
                let column: Vec<_> = (0..n).map(|j| s[j * columns + i]).collect();
                total = total.plus(ranking.term(&column, i, |j| kept(i, j), &mut slopes));
                (0..n).for_each(|j| g[j * columns + i] += slopes[j]);
            }
        }
        let (anchors, others) = distances.gradients(&g, true);
        add(gradients.embeddings[0], &anchors);
        let views = gradients.embeddings[1..].iter_mut();
        views
            .zip(others.chunks_exact(anchors.len()))
            .for_each(|(sum, gradient)| add(sum, gradient));
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, scale) = (views.items(), self.scale.exact());
        let same = |i: usize, j: usize| {
            i != j && self.mask_classes && views.labels.is_some_and(|l| l[i] == l[j])
        };
        let [mut forward, mut backward] = [0.0; 2];
        for i in 0..n {
            let positive = views.d((0, i), (1, i));
            let (mut sum, mut swapped) = (0.0, 0.0);
            for j in 0..n {
                for view in 1..views.embeddings.len() {
                    if view > 1 || !same(i, j) {
                        sum += (scale * (positive - views.d((0, i), (view, j)))).exp();
                    }
                }
                if !same(i, j) {
                    swapped += (scale * (positive - views.d((0, j), (1, i)))).exp();
                }
            }
            forward += sum.ln() / n as f64;
            backward += swapped.ln() / n as f64;
        }
        if self.symmetric {
            f64::midpoint(forward, backward)
        } else {
            forward
        }
    }
}
