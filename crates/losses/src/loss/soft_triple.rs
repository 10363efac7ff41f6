//! The soft triple loss.

use super::class_softmax::{class_definition, cross_entropy, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::range::{Count, Fraction, NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;
use nearkin_kernels::{soft_nearest_of_groups, soft_nearest_of_groups_backward};

described! {
    /// Classifies by the mean distance to several centers of each class, the nearer of which weigh more.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale (D_y + margin - D_c) ) )
    ///
    /// D_c = Σ_k q_k d(x_i, p_ck)         q = softmax_k( -d(x_i, p_ck) / gamma )
    /// ```
    ///
    /// The paper also draws the centers of a class together, so that a class may have more than it needs: that penalty
    /// is the regularizer `sparse_centers`. An anchor is active while some `D_c` is below `D_y` plus the margin.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes · centers, D]`, learned, those of a class one after another
    /// - value: a number, gradients: `[B, D]` and that of the proxies
    ///
    /// # Reference
    /// Q. Qian, L. Shang, B. Sun, J. Hu, H. Li, R. Jin, `SoftTriple` Loss: Deep Metric Learning Without Triplet Sampling,
    /// ICCV 2019, §3.2.
    ///
    /// # Differences
    /// The defaults are those of the paper and of pytorch-metric-learning, neither of which counts the regularizer in this
    /// value. `sample` is that of X. An et al., Partial FC, ICCVW 2021.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Shape, SoftTriple}};
    /// let loss = SoftTriple { centers: nearkin_losses::range::Count::literal(1), ..SoftTriple::default() };
    /// let mut criterion = Criterion::new(loss.into(), Shape { dim: 1, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, -1.0];
    /// // At the other center, at distance 2 from its own: 20 (2 + 0.01 - 0).
    /// let batch = Batch { embeddings: Mat::new(&[1.0], 1, 1), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 40.2).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SoftTriple {
        /// Centers of each class, `K` in the paper.
        pub centers: Count = Count::literal(10),
        /// What distances are multiplied by, `λ` in the paper.
        pub scale: Positive = Positive::literal(20.0),
        /// Temperature of the softmax over the centers of a class, `γ` in the paper.
        pub gamma: Positive = Positive::literal(0.1),
        /// What is added to the distance of the right class, `δ` in the paper.
        pub margin: NonNegative = NonNegative::literal(0.01),
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(SoftTriple, Cosine {}, |loss| loss.centers.get(), |loss| {
    loss.sample.get()
});

impl RowLoss for SoftTriple {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let Some(first) = row.pairs.positives(row.a).next() else {
            return Row::nothing();
        };
        let (d, k, scale) = (row.d(), self.centers.get(), self.scale.get());
        let sharpness = self.gamma.exact().recip() as f32;
        let mut mean = vec![0.0; d.len() / k];
        soft_nearest_of_groups(d, k, sharpness, &mut mean);
        let class = first / k;
        let own = mean[class] + self.margin.get();
        let mut z: Vec<f32> = mean.iter().map(|d| scale * (own - d)).collect();
        let odds = cross_entropy(&mut z, class, (true, -scale));
        z[class] = scale * odds.miss;
        soft_nearest_of_groups_backward(d, (k, sharpness), &mean, &z, g);
        row.whole(odds.value, [1, usize::from(odds.beaten)], g)
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let (lambda, gamma, delta) = (self.scale.exact(), self.gamma.exact(), self.margin.exact());
        terms(batch, |i, y, c| {
            let similarity = |centers: &[usize]| {
                let s = |&k: &usize| 1.0 - batch.d(i, k);
                let largest = centers.iter().map(s).fold(f64::MIN, f64::max);
                let weight = |k: &usize| ((s(k) - largest) / gamma).exp();
                let sum: f64 = centers.iter().map(weight).sum();
                centers.iter().map(|k| weight(k) / sum * s(k)).sum::<f64>()
            };
            lambda * (similarity(c) - (similarity(y) - delta))
        })
    }
}
