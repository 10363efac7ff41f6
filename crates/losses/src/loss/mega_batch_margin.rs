//! The mega-batch margin loss.

use super::paired::add;
use super::view::view_definition;
use super::{Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::{Cosine, Distances};
use crate::error::Error;
use crate::range::NonNegative;

described! {
    /// Pulls each pair within a margin, and pushes the hardest of the other positives beyond another.
    ///
    /// ```text
    /// L = 1/n Σ_i [ d(a_i, p_i) - positive_margin ]₊ + [ negative_margin - min_{j≠i} d(a_i, p_j) ]₊
    /// ```
    ///
    /// Of equally hard negatives the first counts. An item is active while either bracket is positive.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// J. Wieting, K. Gimpel, ParaNMT-50M, ACL 2018, §5 (mega-batching); in this form in sentence-transformers.
    ///
    /// # Differences
    /// The paper has one bracket with a margin between positive and negative. sentence-transformers states the margins as
    /// cosines, 0.8 and 0.3: here they are the distances 0.2 and 0.7.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::MegaBatchMargin};
    /// // All embeddings equal: the pairs are close enough, each negative too close by 0.7.
    /// let targets = Targets::Aligned(Aligned::pairs());
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 4], 4, 1), targets };
    /// let outcome = Objective::from(MegaBatchMargin::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.7).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MegaBatchMargin {
        /// Distance within which a pair is close enough.
        pub positive_margin: NonNegative = NonNegative::literal(0.2),
        /// Distance beyond which a negative is far enough.
        pub negative_margin: NonNegative = NonNegative::literal(0.7),
    }
}

view_definition!(MegaBatchMargin, [Target::Pairs], Some(Cosine {}.into()));

impl ViewLoss for MegaBatchMargin {
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let n = views.items();
        let (anchors, positives) = (views.embeddings[0], views.embeddings[1]);
        let distances = Distances::between(views.distance(), anchors, positives, views.cols)?;
        let mut g = vec![0.0; n * n];
        let mut total = Evaluation::default();
        let weight = 1.0 / n as f32;
        for (i, (d, g)) in distances
            .s()
            .chunks_exact(n)
            .zip(g.chunks_exact_mut(n))
            .enumerate()
        {
            let others = (0..n).filter(|&j| j != i);
            let hardest = others.min_by(|&j, &k| d[j].total_cmp(&d[k]));
            let far = (d[i] - self.positive_margin.get()).max(0.0);
            let near = hardest.map_or(0.0, |j| (self.negative_margin.get() - d[j]).max(0.0));
            if far > 0.0 {
                g[i] = weight;
            }
            if let Some(j) = hardest.filter(|_| near > 0.0) {
                g[j] = -weight;
            }
            total = total.plus(Evaluation::of_tuple(
                (f64::from(far) + f64::from(near)) / n as f64,
                far > 0.0 || near > 0.0,
            ));
        }
        let (anchors, positives) = distances.gradients(&g, true);
        add(gradients.embeddings[0], &anchors);
        add(gradients.embeddings[1], &positives);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let n = views.items();
        let mut sum = 0.0;
        for i in 0..n {
            let mut negative = f64::INFINITY;
            for j in 0..n {
                if j != i {
                    negative = negative.min(views.d((0, i), (1, j)));
                }
            }
            sum += (views.d((0, i), (1, i)) - self.positive_margin.exact()).max(0.0);
            sum += (self.negative_margin.exact() - negative).max(0.0);
        }
        sum / n as f64
    }
}
