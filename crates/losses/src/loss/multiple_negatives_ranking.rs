//! The multiple negatives ranking loss.

pub use super::candidates::MarginStrategy;
use super::candidates::{Blocks, Candidates, Kind};
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::{described, words};
use crate::distance::Cosine;
use crate::error::Error;
use crate::range::{Finite, NonNegative, Positive};

words! {
    /// Which negatives weigh more the nearer they are.
    pub enum Hardness {
        /// None.
        None = "none",
        /// Positives and negatives of other items.
        InBatchNegatives = "in_batch_negatives",
        /// The negatives of the item itself.
        HardNegatives = "hard_negatives",
        /// Both.
        AllNegatives = "all_negatives",
    }
}

described! {
    /// Picks the positive of each anchor out of the positives and hard negatives of the whole batch.
    ///
    /// ```text
    /// L = 1/n Σ_i log Σ_c exp( scale (d(a_i, p_i) - d(a_i, c)) + h(a_i, c) ),  c over all p_j and all negatives of all items
    /// ```
    ///
    /// `symmetric`: the mean of this and of `1/n Σ_i log Σ_j exp(scale (d(a_i, p_i) - d(a_j, p_i)))`, or with `joint` one
    /// logarithm of both sums. `contrast_anchors` adds the pairs `(a_i, a_j)` of different items to the first sum,
    /// `contrast_positives` the pairs of `p_i` and what comes after the anchor in other items. `h` is `hardness_strength` times
    /// the similarity for the negatives that `hardness` names, as a constant without slope, and zero for the rest. The
    /// similarity is `-d` over the dot product and `1 - d` otherwise. An item is active while some other candidate is at least
    /// as near as its positive.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`: anchors, positives, hard negatives; labels, if masked by them: `[n]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// M. Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, arXiv 2017, §4.4; with hard
    /// negatives as in V. Karpukhin et al., Dense Passage Retrieval, EMNLP 2020, Eq. 2. All pairs in one sum: Z. Li et al.,
    /// Towards General Text Embeddings with Multi-stage Contrastive Learning, arXiv 2023, Eq. 2. `hardness`: Z. Lan et al.,
    /// `LLaVE`, arXiv 2025, Eq. 5.
    ///
    /// # Differences
    /// The papers use dot products (`[distance.dot]`, scale 1). Cosine, scale 20, the symmetric form and `hardness` are those of
    /// sentence-transformers, which masks no false negatives. Its `directions` are `contrast_anchors` (query to query),
    /// `contrast_positives` (document to document) and `symmetric` (document to query), and `joint` is its `partition_mode`; as
    /// there, a joint sum holds the positive pair twice.
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
        /// With `symmetric`, one softmax over the candidates of both directions in place of two.
        pub joint: bool = false,
        /// Count the other anchors among the candidates.
        pub contrast_anchors: bool = false,
        /// Count what is near the positive, out of other items, among the candidates.
        pub contrast_positives: bool = false,
        /// Negatives that weigh more the nearer they are: `none`, `in_batch_negatives`, `hard_negatives`, `all_negatives`.
        pub hardness: Hardness = Hardness::None,
        /// How much more; 9 in the paper for `in_batch_negatives`.
        pub hardness_strength: NonNegative = NonNegative::literal(0.0),
        /// Leave positives of other items of the anchor's class out of its candidates.
        pub mask_classes: bool = false,
        /// Leave out candidates too similar to be negatives: `none`, `absolute`, `relative`.
        pub margin_strategy: MarginStrategy = MarginStrategy::None,
        /// How far below the similarity of the positive that begins; below zero, above it.
        pub margin: Finite = Finite::literal(0.0),
    }
}

view_definition!(
    MultipleNegativesRanking,
    [Target::Pairs, Target::Triplets],
    Some(Cosine {}.into())
);

impl MultipleNegativesRanking {
    /// Anchors with all that comes after them, and what is contrasted beside.
    fn kinds(&self, views: usize) -> Vec<Kind> {
        let mut kinds = vec![(0, 1..views)];
        kinds.extend(self.contrast_anchors.then_some((0, 0..1)));
        kinds.extend(self.contrast_positives.then_some((1, 1..views)));
        kinds
    }

    /// Whether candidate `j` of item `i`, a row of the views after the anchor, has a hardness.
    fn weighs(&self, i: usize, j: usize, n: usize) -> bool {
        let own = j % n == i;
        match self.hardness {
            Hardness::None => false,
            Hardness::InBatchNegatives => !own,
            Hardness::HardNegatives => own && j >= n,
            Hardness::AllNegatives => !own || j >= n,
        }
    }

    /// The candidates of anchor `i`, and with them or apart those of its positive among the anchors.
    fn candidates(&self, i: usize, views: &Views<'_, f32>, blocks: &Blocks<'_>) -> [Candidates; 2] {
        let (n, out) = (views.items(), f32::NEG_INFINITY);
        let labels = views.labels.filter(|_| self.mask_classes);
        let similarity = |d: f32| views.distance().similarity(f64::from(d)) as f32;
        let (anchors, others) = blocks.split();
        let of_positive = similarity(anchors.row(i)[i]);
        let threshold = self
            .margin_strategy
            .threshold(of_positive, self.margin.get());
        let masks = self.margin_strategy != MarginStrategy::None;
        // What is left out for its class or its similarity; hard negatives have no class.
        let masked = |j: usize, d: f32| {
            masks && similarity(d) > threshold || j < n && labels.is_some_and(|l| l[i] == l[j])
        };
        let strength = self.hardness_strength.get();
        let [mut forward, mut backward] = [Candidates::default(), Candidates::default()];
        forward.push(anchors.row(i).iter().copied(), |j, d| {
            match (masked(j, d), self.weighs(i, j, n)) {
                (true, _) => out,
                (false, true) => strength * similarity(d),
                (false, false) => 0.0,
            }
        });
        let other = |j: usize, d: f32| if j % n == i || masked(j, d) { out } else { 0.0 };
        for block in others {
            forward.push(block.row(i).iter().copied(), other);
        }
        if self.symmetric {
            // The positive pair again keeps its place, whatever masks the others.
            let kept = |j: usize, d: f32| if j != i && masked(j, d) { out } else { 0.0 };
            let list = if self.joint {
                &mut forward
            } else {
                &mut backward
            };
            list.push(anchors.column(n, i), kept);
        }
        [forward, backward]
    }

    /// The terms of item `i`, slopes in the blocks.
    fn item(&self, i: usize, views: &Views<'_, f32>, blocks: &mut Blocks<'_>) -> Evaluation {
        let n = views.items();
        let [mut forward, mut backward] = self.candidates(i, views, blocks);
        let both = self.symmetric && !self.joint;
        let weight = (1.0 / (n * if both { 2 } else { 1 }) as f64) as f32;
        let joined = if self.symmetric && self.joint { n } else { 0 };
        let again = forward.len() - joined;
        let own = [i, if joined > 0 { again + i } else { i }];
        let total = forward.pick(own, self.scale.get(), weight);
        blocks.add_row(i, &forward.slopes[..again]);
        blocks.add_column(i, &forward.slopes[again..]);
        if !both {
            return total;
        }
        let swapped = backward.pick([i, i], self.scale.get(), weight);
        blocks.add_column(i, &backward.slopes);
        total.plus(swapped)
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
        let mut blocks = Blocks::new(views, self.kinds(views.embeddings.len()))?;
        let mut total = Evaluation::default();
        for i in 0..views.items() {
            total = total.plus(self.item(i, views, &mut blocks));
        }
        blocks.pull(gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        self.frozen_reference(views, views)
    }

    fn frozen_reference(&self, views: &Views<'_, f64>, held: &Views<'_, f64>) -> f64 {
        let n = views.items();
        let [mut forward, mut backward, mut both] = [0.0; 3];
        for i in 0..n {
            let term = |q, c| self.exact_odds(i, [q, c], [views, held]);
            let (mut sum, mut swapped) = (1.0, 1.0);
            for j in 0..n {
                for view in 1..views.embeddings.len() {
                    if i != j || view > 1 {
                        sum += term((0, i), (view, j)) * self.exact_weight(i, (view, j), held);
                    }
                    if i != j && self.contrast_positives {
                        sum += term((1, i), (view, j));
                    }
                }
                if i != j && self.contrast_anchors {
                    sum += term((0, i), (0, j));
                }
                if i != j {
                    swapped += term((0, j), (1, i));
                }
            }
            forward += sum.ln() / n as f64;
            backward += swapped.ln() / n as f64;
            both += (sum + swapped).ln() / n as f64;
        }
        match (self.symmetric, self.joint) {
            (false, _) => forward,
            (true, false) => f64::midpoint(forward, backward),
            (true, true) => both,
        }
    }
}

/// The definition.
impl MultipleNegativesRanking {
    /// `exp(scale (d(a_i, p_i) - d(q, c)))` of a pair of rows `(view, item)`; zero if it is left out.
    fn exact_odds(
        &self,
        i: usize,
        [q, c]: [(usize, usize); 2],
        [views, held]: [&Views<'_, f64>; 2],
    ) -> f64 {
        let similarity = |q, c| held.distance().similarity(held.d(q, c));
        let of_positive = similarity((0, i), (1, i));
        let j = if q.1 == i { c.1 } else { q.1 };
        let marked =
            self.mask_classes && q.0 < 2 && c.0 < 2 && views.labels.is_some_and(|l| l[i] == l[j]);
        let margin = self.margin.exact();
        if marked
            || self
                .margin_strategy
                .leaves_out(similarity(q, c), of_positive, margin)
        {
            return 0.0;
        }
        (self.scale.exact() * (views.d((0, i), (1, i)) - views.d(q, c))).exp()
    }

    /// `exp h(a_i, c)` of a row `c` of view and item.
    fn exact_weight(&self, i: usize, c: (usize, usize), held: &Views<'_, f64>) -> f64 {
        let hard = match self.hardness {
            Hardness::None => false,
            Hardness::InBatchNegatives => i != c.1,
            Hardness::HardNegatives => i == c.1 && c.0 > 1,
            Hardness::AllNegatives => i != c.1 || c.0 > 1,
        };
        let similarity = held.distance().similarity(held.d((0, i), c));
        if hard {
            (self.hardness_strength.exact() * similarity).exp()
        } else {
            1.0
        }
    }
}
