//! The manifold similarity loss.

use super::cholesky::{Cholesky, dot};
use super::{Columns, Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
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
    /// Memory is four matrices `[B + proxies, B + proxies]` in `f64`, and time is cubic in their size.
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

/// Random walks over the rows of a square pair matrix.
struct Walks<'a> {
    pairs: Pairs<'a>,
    alpha: f64,
    /// `log D`.
    degrees: Vec<f64>,
    /// `I - alpha D^(-1/2) S D^(-1/2)`.
    system: Cholesky,
}

/// `log S`, by the mean distance of both directions.
fn log_s(pairs: Pairs<'_>, [i, j]: [usize; 2]) -> f64 {
    (2.0 - f64::from(pairs.at(i, j)) - f64::from(pairs.at(j, i))).max(0.0)
}

impl<'a> Walks<'a> {
    fn new(pairs: Pairs<'a>, alpha: f64) -> Self {
        let n = pairs.rows();
        let degree = |i: usize| {
            let others = (0..n).filter(|&j| j != i);
            let others = others.map(|j| log_s(pairs, [i, j]));
            let top = others.clone().fold(0.0, f64::max);
            top + others.map(|x| (x - top).exp()).sum::<f64>().ln()
        };
        let degrees: Vec<f64> = (0..n).into_par_iter().map(degree).collect();
        let mut a = vec![0.0; n * n];
        a.par_chunks_exact_mut(n).enumerate().for_each(|(i, a)| {
            for (j, a) in a.iter_mut().enumerate() {
                *a = if i == j {
                    1.0
                } else {
                    -alpha * normalized(pairs, &degrees, [i, j])
                };
            }
        });
        Self {
            pairs,
            alpha,
            degrees,
            system: Cholesky::new(a, n),
        }
    }

    /// `F`.
    fn similarities(&self) -> Vec<f64> {
        let n = self.pairs.rows();
        let mut f = vec![0.0; n * n];
        f.iter_mut()
            .step_by(n + 1)
            .for_each(|f| *f = 1.0 - self.alpha);
        self.system.solve(&mut f);
        f
    }

    /// Writes `G` from `h = ∂L/∂F`.
    fn gradient(&self, mut h: Vec<f64>, g: &mut [f32]) {
        let (n, alpha) = (self.pairs.rows(), self.alpha);
        // F h F, transposed, which is as good: all that follows is symmetric.
        self.system.solve(&mut h);
        let mut h = transposed(&h, n);
        self.system.solve(&mut h);
        h.par_chunks_exact_mut(n).enumerate().for_each(|(i, h)| {
            for (j, h) in h.iter_mut().enumerate() {
                *h *= if i == j {
                    0.0
                } else {
                    alpha * (1.0 - alpha) * normalized(self.pairs, &self.degrees, [i, j])
                };
            }
        });
        // What the slopes are in the logarithms of the degrees, twice and with the other sign.
        let mut through: Vec<f64> = h.chunks_exact(n).map(|h| h.iter().sum()).collect();
        for h in h.chunks_exact(n) {
            through.iter_mut().zip(h).for_each(|(sum, h)| *sum += h);
        }
        self.pairs.each_anchor(g, |i, g| {
            for (j, g) in g.iter_mut().enumerate() {
                let log_s = log_s(self.pairs, [i, j]);
                if i != j && log_s > 0.0 {
                    let share = |k: usize| through[k] * (log_s - self.degrees[k]).exp();
                    let through = f64::midpoint(share(i), share(j));
                    *g = (through - h[i * n + j] - h[j * n + i]) as f32;
                }
            }
        });
    }
}

/// `D^(-1/2) S D^(-1/2)` off the diagonal: at most one, however large `S`.
fn normalized(pairs: Pairs<'_>, degrees: &[f64], [i, j]: [usize; 2]) -> f64 {
    (log_s(pairs, [i, j]) - f64::midpoint(degrees[i], degrees[j])).exp()
}

fn transposed(h: &[f64], n: usize) -> Vec<f64> {
    let mut t = vec![0.0; h.len()];
    t.par_chunks_exact_mut(n).enumerate().for_each(|(j, t)| {
        let column = h[j..].iter().step_by(n);
        t.iter_mut().zip(column).for_each(|(t, h)| *t = *h);
    });
    t
}

/// How similar the items are to the proxies, in both ways, each `[B, K]`.
struct Similar<'a> {
    f: &'a [f64],
    /// `B` and `K`.
    sizes: [usize; 2],
    /// Squared norms of the rows of `F`.
    squares: Vec<f64>,
    cosines: Vec<f64>,
}

impl<'a> Similar<'a> {
    fn new(f: &'a [f64], [b, k]: [usize; 2]) -> Self {
        let rows: Vec<&[f64]> = f.chunks_exact(b + k).collect();
        let squares: Vec<f64> = rows.par_iter().map(|f| dot(f, f)).collect();
        let mut cosines = vec![0.0; b * k];
        cosines.par_chunks_mut(k).enumerate().for_each(|(i, row)| {
            for (p, cosine) in row.iter_mut().enumerate() {
                *cosine = dot(rows[i], rows[b + p]) / (squares[i] * squares[b + p]).sqrt();
            }
        });
        Self {
            f,
            sizes: [b, k],
            squares,
            cosines,
        }
    }

    fn row(&self, i: usize) -> &'a [f64] {
        let n = self.squares.len();
        &self.f[i * n..(i + 1) * n]
    }

    fn intrinsic(&self, i: usize) -> &'a [f64] {
        &self.row(i)[self.sizes[0]..]
    }

    fn context(&self, i: usize) -> &[f64] {
        let k = self.sizes[1];
        &self.cosines[i * k..(i + 1) * k]
    }

    /// `∂L/∂F` from the slopes in the similarities, both in one row for each item.
    fn gradient(&self, slopes: &[f64]) -> Vec<f64> {
        let ([b, k], n) = (self.sizes, self.squares.len());
        let mut h = vec![0.0; n * n];
        h.par_chunks_exact_mut(n).enumerate().for_each(|(r, h)| {
            // An item with every proxy, or a proxy with every item.
            let (items, proxies) = if r < b {
                (r..r + 1, 0..k)
            } else {
                (0..b, r - b..r - b + 1)
            };
            let mut along = 0.0;
            for i in items {
                for p in proxies.clone() {
                    let slope = slopes[(2 * i + 1) * k + p];
                    if slope != 0.0 {
                        let other = if r < b { b + p } else { i };
                        let scale = slope / (self.squares[i] * self.squares[b + p]).sqrt();
                        add(h, scale, self.row(other));
                        along += slope * self.cosines[i * k + p] / self.squares[r];
                    }
                }
            }
            add(h, -along, self.row(r));
            if r < b {
                add(&mut h[b..], 1.0, &slopes[2 * r * k..(2 * r + 1) * k]);
            }
        });
        h
    }
}

fn add(sum: &mut [f64], scale: f64, row: &[f64]) {
    sum.iter_mut().zip(row).for_each(|(s, x)| *s += scale * x);
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
        let f = walks.similarities();
        let similar = Similar::new(&f, [b, k]);
        let mut slopes = vec![0.0; 2 * b * k];
        let of_items = slopes.par_chunks_exact_mut(2 * k).enumerate();
        let term = |(i, slopes): (usize, &mut [f64])| {
            let (mut value, mut active) = (0.0, false);
            let kinds = [similar.intrinsic(i), similar.context(i)];
            let kinds = kinds.into_iter().zip(self.weights());
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
        walks.gradient(similar.gradient(&slopes), gradients.g);
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
