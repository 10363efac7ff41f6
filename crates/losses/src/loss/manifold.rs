//! The manifold similarity loss.

use super::cholesky::dot;
use super::walks::{Pull, Walks};
use super::{Columns, Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::range::{Count, NonNegative, ProperFraction};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;
use rayon::prelude::*;

described! {
    /// Compares items with learned proxies by how often random walks over all of them meet.
    ///
    /// ```text
    /// L = 1/B Σ_i  intrinsic_weight ℓ_i( F_ip )  +  context_weight ℓ_i( cos(F_i, F_p) )
    /// ℓ_i(f) = log( 1 + Σ_p exp( f_p - f_y + margin ) ),  over p ≠ y with f_p - f_y + margin ≥ 0,  y = class mod proxies
    /// F = (1 - alpha) ( I - alpha D^(-1/2) S D^(-1/2) )^(-1),  D = diag( Σ_j S_ij )
    /// S_ij = exp( 2 [ 1 - d(x_i, x_j) ]₊ ) for i ≠ j, and 0 for i = j,  over the batch with the proxies after it
    /// ```
    ///
    /// `ℓ` jumps where a proxy comes into its sum; the gradient is that between the jumps. An anchor is active while some
    /// proxy is in a sum that has weight.
    ///
    /// A distance that depends on the direction, such as `snr`, counts by its mean of both.
    ///
    /// Memory is that of three matrices `[B + proxies, B + proxies]` of `f32`: distances, slopes, and the triangle of a factor
    /// in `f64`. Time is cubic in their size.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - proxies: `[proxies, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[proxies, D]`
    ///
    /// # Reference
    /// N. Aziere, S. Todorovic, Ensemble Deep Manifold Similarity Learning Using Hard Proxies, CVPR 2019.
    ///
    /// # Differences
    /// Defaults, the factor 2 in `S` and the bound of the sum are those of pytorch-metric-learning. Unless it is told, that draws
    /// a proxy for each item anew in every batch, whatever its class, and needs as many items as proxies; here classes share
    /// proxies by their number, always the same, and a class has a proxy of its own where there are enough. One member of an
    /// ensemble is another order of the classes. Its `lambdaC` is `context_weight`; context alone is `intrinsic_weight = 0`,
    /// for which `lambdaC = ∞` gives infinity there.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{Manifold, Shape};
    /// let loss = Manifold { proxies: 2.try_into()?, ..Manifold::default() };
    /// let mut criterion = Criterion::new(loss.into(), Shape { dim: 2, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // As near to the other proxy as to its own in either way: 2 log(1 + exp 0.0005).
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 1.0], 1, 2), targets: Targets::Labels(&[0]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2.0 * 0.0005_f32.exp().ln_1p()).abs() < 1e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct Manifold {
        /// Proxies, `K` in the paper.
        pub proxies: Count = Count::literal(50),
        /// Weight of the similarity of an item and a proxy.
        pub intrinsic_weight: NonNegative = NonNegative::literal(1.0),
        /// Weight of how alike their similarities to everything are, `λ_C` in the paper.
        pub context_weight: NonNegative = NonNegative::literal(1.0),
        /// Share of a walk that goes on at each step.
        pub alpha: ProperFraction = ProperFraction::literal(0.8),
        /// By how much another proxy is to be less similar.
        pub margin: NonNegative = NonNegative::literal(0.0005),
    }
}

impl Definition for Manifold {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn columns(&self) -> Columns {
        Columns::ItemsAndProxies {
            proxies: self.proxies.get(),
        }
    }
}

/// How similar the items are to the proxies, in both ways, each `[B, K]`.
struct Similar {
    /// `K`.
    proxies: usize,
    /// `F_ip`.
    intrinsic: Vec<f64>,
    /// `cos(F_i, F_p)`.
    context: Vec<f64>,
    /// Norms of the rows of `F`, of the items and then of the proxies.
    norms: Vec<f64>,
}

impl Similar {
    fn new(walks: &Walks<'_>, [b, k]: [usize; 2]) -> Self {
        let proxies = walks.map_rows(b..b + k, |_, f| f.to_vec());
        let norm = |f: &[f64]| dot(f, f).sqrt();
        let mut similar = Self {
            proxies: k,
            intrinsic: Vec::with_capacity(b * k),
            context: Vec::with_capacity(b * k),
            norms: Vec::with_capacity(b + k),
        };
        let of_proxies: Vec<f64> = proxies.iter().map(|f| norm(f)).collect();
        let items = walks.map_rows(0..b, |_, f| {
            let of_item = norm(f);
            let others = proxies.iter().zip(&of_proxies);
            let cosines = others.map(|(p, of_proxy)| dot(f, p) / (of_item * of_proxy));
            (f[b..].to_vec(), cosines.collect::<Vec<_>>(), of_item)
        });
        for (intrinsic, context, norm) in items {
            similar.intrinsic.extend(intrinsic);
            similar.context.extend(context);
            similar.norms.push(norm);
        }
        similar.norms.extend(of_proxies);
        similar
    }

    /// The similarities of an item in either way.
    fn of_item(&self, i: usize) -> [&[f64]; 2] {
        let row = i * self.proxies..(i + 1) * self.proxies;
        [&self.intrinsic[row.clone()], &self.context[row]]
    }

    /// `∂L/∂F` from the slopes in the similarities, both in one row for each item.
    fn pull(&self, slopes: &[f64]) -> Pull {
        let k = self.proxies;
        let b = self.norms.len() - k;
        let mut pull = Pull {
            proxies: k,
            crosswise: Vec::with_capacity(b * k),
            along: vec![0.0; b + k],
            direct: Vec::with_capacity(b * k),
        };
        for (i, slopes) in slopes.chunks_exact(2 * k).enumerate() {
            let (direct, of_cosines) = slopes.split_at(k);
            pull.direct.extend(direct);
            for (p, slope) in of_cosines.iter().enumerate() {
                let (of_item, of_proxy) = (self.norms[i], self.norms[b + p]);
                pull.crosswise.push(slope / (of_item * of_proxy));
                let slope = slope * self.context[i * k + p];
                pull.along[i] -= slope / of_item.powi(2);
                pull.along[b + p] -= slope / of_proxy.powi(2);
            }
        }
        pull
    }
}

/// `ℓ` of the similarities `f` to the proxies, with its slopes in their place, and whether any proxy is in the sum.
fn rivals(f: &mut [f64], y: usize, margin: f64) -> (f64, bool) {
    let bound = f[y] - margin;
    f[y] = f64::NEG_INFINITY;
    let top = f.iter().fold(bound, |top, &f| top.max(f));
    let mut sum = 0.0;
    for f in f.iter_mut() {
        *f = if *f < bound { 0.0 } else { (*f - top).exp() };
        sum += *f;
    }
    let total = (bound - top).exp() + sum;
    for f in f.iter_mut() {
        *f /= total;
    }
    f[y] = -sum / total;
    (top - bound + total.ln(), sum > 0.0)
}

impl Manifold {
    fn weights(&self) -> [f64; 2] {
        [self.intrinsic_weight, self.context_weight].map(NonNegative::exact)
    }
}

impl MatrixLoss for Manifold {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let k = self.proxies.get();
        let b = matrix.labels.len() - k;
        let labels = &matrix.labels[..b];
        let walks = Walks::new(matrix.pairs, self.alpha.exact());
        let similar = Similar::new(&walks, [b, k]);
        let mut slopes = vec![0.0; 2 * b * k];
        let of_items = slopes.par_chunks_exact_mut(2 * k).enumerate();
        let term = |(i, slopes): (usize, &mut [f64])| {
            let (mut value, mut active) = (0.0, false);
            let kinds = similar.of_item(i).into_iter().zip(self.weights());
            for ((f, weight), slopes) in kinds.zip(slopes.chunks_exact_mut(k)) {
                slopes.copy_from_slice(f);
                let (part, any) = rivals(slopes, labels[i] as usize % k, self.margin.exact());
                for slope in slopes.iter_mut() {
                    *slope *= weight;
                }
                value += weight * part;
                active |= any && weight > 0.0;
            }
            Terms::whole(value, [1, usize::from(active)], matrix.reducer.keep())
        };
        let terms: Vec<Terms> = of_items.map(term).collect();
        let weights = matrix.reducer.weights(&terms, labels, None);
        let rows = terms.iter().zip(slopes.chunks_exact_mut(2 * k));
        let mut evaluation = Evaluation::default();
        for ((terms, slopes), weight) in rows.zip(weights) {
            evaluation.value += weight * terms.value;
            evaluation.tuples += terms.tuples;
            evaluation.active += terms.active;
            let weight = if terms.kept > 0 { weight } else { 0.0 };
            for slope in slopes {
                *slope *= weight;
            }
        }
        walks.gradient(&similar.pull(&slopes), gradients.g);
        evaluation
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let (now, held) = (self.measures(batch), self.measures(batch.held()));
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let y = batch.label(anchor) as usize % self.proxies.get();
            let mut value = 0.0;
            for (kind, weight) in self.weights().into_iter().enumerate() {
                let above = |measures: &[Vec<Vec<f64>>; 2], p: usize| {
                    let of_anchor = &measures[kind][anchor];
                    of_anchor[p] - of_anchor[y] + self.margin.exact()
                };
                let mut sum = 1.0;
                for p in 0..self.proxies.get() {
                    if p != y && above(&held, p) >= 0.0 {
                        sum += above(&now, p).exp();
                    }
                }
                value += weight * sum.ln();
            }
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}

impl Manifold {
    /// `F_ip` and `cos(F_i, F_p)` of each item, for the reference.
    fn measures(&self, batch: &Exact<'_>) -> [Vec<Vec<f64>>; 2] {
        let (b, n, alpha) = (batch.rows(), batch.columns(), self.alpha.exact());
        let s = |i: usize, j: usize| {
            if i == j {
                0.0
            } else {
                let d = f64::midpoint(batch.d(i, j), batch.d(j, i));
                ((1.0 - d).max(0.0) / 0.5).exp()
            }
        };
        let degrees: Vec<f64> = (0..n).map(|i| (0..n).map(|j| s(i, j)).sum()).collect();
        let system = |i: usize, j: usize| {
            f64::from(u8::from(i == j)) - alpha * s(i, j) / (degrees[i] * degrees[j]).sqrt()
        };
        let system = (0..n).map(|i| (0..n).map(|j| system(i, j)).collect());
        let f = inverse(system.collect());
        let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine =
            |x: &[f64], y: &[f64]| product(x, y) / (product(x, x).sqrt() * product(y, y).sqrt());
        let of_items = |measure: &dyn Fn(usize, usize) -> f64| {
            let row = |i| (b..n).map(|p| measure(i, p)).collect();
            (0..b).map(row).collect()
        };
        [
            of_items(&|i, p| (1.0 - alpha) * f[i][p]),
            of_items(&|i, p| cosine(&f[i], &f[p])),
        ]
    }
}

/// The inverse by Gauss and Jordan, for the reference; no pivot of a positive definite matrix vanishes.
fn inverse(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for (i, row) in a.iter_mut().enumerate() {
        row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
    }
    for i in 0..n {
        let pivot = a[i][i];
        a[i].iter_mut().for_each(|x| *x /= pivot);
        let pivot_row = a[i].clone();
        for (r, row) in a.iter_mut().enumerate() {
            let factor = row[i];
            if r != i {
                let pairs = row.iter_mut().zip(&pivot_row);
                pairs.for_each(|(x, p)| *x -= factor * p);
            }
        }
    }
    a.iter().map(|row| row[n..].to_vec()).collect()
}
