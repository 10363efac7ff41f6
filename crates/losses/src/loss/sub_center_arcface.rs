//! The additive angular margin loss with several proxies for each class.

use super::angular_margin::{AngularMargin, Slope, cos_of_target};
use super::class_softmax::{class_definition, cross_entropy, terms};
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::{Cosine, PairDistance};
use crate::exact::Exact;
use crate::range::{Count, Degrees, Fraction, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;
use nearkin_kernels::{nearest_of_groups, nearest_of_groups_backward};

described! {
    /// `arcface` with several proxies for each class, the nearest of which counts, so that noise finds one of its own.
    ///
    /// ```text
    /// L = 1/B Σ_i log( 1 + Σ_{c≠y} exp( scale (m(D_y) - D_c) ) )         D_c = min_k d(x_i, p_ck)
    /// ```
    ///
    /// with the margin `m` of `arcface`. Of equally near proxies the first counts. What is far from the proxy that most
    /// of its class is nearest to is probably mislabeled: [`outliers`] lists it.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes · sub_centers, D]`, learned, those of a class one after another
    /// - value: a number, gradients: `[B, D]` and that of the proxies
    ///
    /// # Reference
    /// J. Deng, J. Guo, T. Liu, M. Gong, S. Zafeiriou, Sub-center `ArcFace`: Boosting Face Recognition by Large-scale Noisy
    /// Web Faces, ECCV 2020, §3.
    ///
    /// # Differences
    /// As for `arcface`; the number of proxies is that of the paper and of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{Shape, SubCenterArcface}};
    /// let loss = SubCenterArcface { sub_centers: nearkin_losses::range::Count::literal(1), ..Default::default() };
    /// let mut criterion = Criterion::new(loss.into(), Shape { dim: 1, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, -1.0];
    /// // At the other proxy, opposite its own: cosines 1 and -1 - 28.6° sin 28.6° (in radians, 0.238949), times 64.
    /// let batch = Batch { embeddings: Mat::new(&[1.0], 1, 1), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 64.0 * 2.238_949).abs() < 1e-3);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SubCenterArcface {
        /// Proxies of each class.
        pub sub_centers: Count = Count::literal(3),
        /// What distances are multiplied by.
        pub scale: Positive = Positive::literal(64.0),
        /// What is added to the angle of the right class, in degrees.
        pub margin: Degrees = Degrees::literal(28.6),
        /// The gradient: `exact`, or `detached` as in `InsightFace`.
        pub slope: Slope = Slope::Exact,
        /// Share of the classes that a batch is compared with: its own always, the others drawn at random.
        pub sample: Fraction = Fraction::literal(1.0),
    }
}

class_definition!(
    SubCenterArcface,
    Cosine {},
    |loss| loss.sub_centers.get(),
    |loss| loss.sample.get()
);

impl RowLoss for SubCenterArcface {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let Some(first) = row.pairs.positives(row.a).next() else {
            return Row::nothing();
        };
        let (d, k, scale) = (row.d(), self.sub_centers.get(), self.scale.get());
        let class = first / k;
        let mut least = vec![0.0; d.len() / k];
        nearest_of_groups(d, k, &mut least);
        let (shifted, slope) = AngularMargin::new(self.margin, self.slope).shifted(least[class]);
        let mut z: Vec<f32> = least.iter().map(|d| scale * (shifted - d)).collect();
        let odds = cross_entropy(&mut z, class, (true, -scale));
        z[class] = scale * odds.miss * slope;
        nearest_of_groups_backward(d, k, &least, &z, g);
        row.whole(odds.value, [1, usize::from(odds.beaten)], g)
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let s = self.scale.exact();
        terms(batch, |i, y, c| {
            let largest = |batch: &Exact<'_>, js: &[usize]| {
                let cos = js.iter().map(|&j| 1.0 - batch.d(i, j));
                cos.fold(f64::MIN, f64::max)
            };
            let own = [batch, batch.held()].map(|batch| largest(batch, y));
            let target = cos_of_target(own, self.margin, self.slope);
            s * (largest(batch, c) - target)
        })
    }
}

/// What [`outliers`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// Number of the dominant proxy of each class among all proxies, the nearest to most of the class's items; `None` for
    /// a class without items.
    pub dominant: Vec<Option<usize>>,
    /// Items whose angle to the dominant proxy of their class is above the threshold, ascending.
    pub items: Vec<usize>,
}

/// Items that are probably mislabeled: those farther than an angle, 75° in the paper, from the dominant proxy of their
/// class. `embeddings` are `[n, D]` with one label each, `proxies` are `[classes · sub_centers, D]`.
///
/// # Panics
/// When a label names no class.
///
/// # Example
/// ```
/// use nearkin_losses::{loss::sub_center_arcface::outliers, range::Degrees};
/// // One class with two proxies, along x and y. Two items are at the first, the third is not.
/// let (items, proxies) = ([2.0, 0.0, 1.0, 0.2, 0.0, 3.0], [1.0, 0.0, 0.0, 1.0]);
/// let two = nearkin_losses::range::Count::literal(2);
/// let found = outliers((&items, &[0, 0, 0]), &proxies, two, Degrees::literal(75.0));
/// assert_eq!((found.dominant, found.items), (vec![Some(0)], vec![2]));
/// ```
#[must_use]
pub fn outliers(
    (embeddings, labels): (&[f32], &[u32]),
    proxies: &[f32],
    sub_centers: Count,
    threshold: Degrees,
) -> Outliers {
    let dim = embeddings.len() / labels.len().max(1);
    let exact = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let proxies: Vec<_> = proxies.chunks_exact(dim.max(1)).map(exact).collect();
    let k = sub_centers.get();
    let mut votes = vec![0_usize; proxies.len()];
    let distances: Vec<Vec<f64>> = embeddings
        .chunks_exact(dim.max(1))
        .zip(labels)
        .map(|(x, &label)| {
            let (x, first) = (exact(x), label as usize * k);
            let d: Vec<f64> = proxies[first..first + k]
                .iter()
                .map(|p| Cosine {}.reference(&x, p))
                .collect();
            let nearest = (1..k).fold(0, |best, j| if d[j] < d[best] { j } else { best });
            votes[first + nearest] += 1;
            d
        })
        .collect();
    let most = |(class, votes): (usize, &[usize])| {
        let best = (1..k).fold(0, |best, j| if votes[j] > votes[best] { j } else { best });
        (votes[best] > 0).then_some(class * k + best)
    };
    let dominant: Vec<_> = votes.chunks_exact(k).enumerate().map(most).collect();
    let bound = 1.0 - threshold.exact().to_radians().cos();
    let far =
        |&i: &usize| dominant[labels[i] as usize].is_some_and(|p| distances[i][p % k] > bound);
    Outliers {
        items: (0..distances.len()).filter(far).collect(),
        dominant,
    }
}
