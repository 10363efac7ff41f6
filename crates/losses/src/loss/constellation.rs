//! The constellation loss.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::{described, words};
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::Count;
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

words! {
    /// Where the negatives of a term come from.
    pub enum Mode {
        /// Drawn at random for each positive pair.
        Paper = "paper",
        /// From `k` parts of the batch, at the same places in each.
        Groups = "groups",
        /// The same, with the sums of the authors' code.
        Reference = "reference",
    }
}

described! {
    /// Keeps each positive nearer than several negatives at once, drawn at random from the other classes.
    ///
    /// ```text
    /// paper      L = mean over (a, p) of log( 1 + Σ_{j=1..k} exp( d(a, p) - d(a, n_j) ) ),  n_j drawn for each pair
    /// groups     L = mean over slots (a, p, n) of log( 1 + Σ_g exp( d(a_g, p_g) - d(a_g, n_g) ) ),  groups that form a triplet
    /// reference  L = 1/1000 Σ over all slots of log( 1 + Σ_g exp( d(a_g, p_g) - d(a_g, n_g)  or 0 ) )
    /// ```
    ///
    /// Negatives are drawn uniformly and without replacement; a pair with fewer than `k` of them has them all, which
    /// [`Outcome::short`](crate::Outcome::short) counts. For `groups` and `reference` the batch is cut in order into `k` groups, item
    /// `a` of each being `a_g`; what is left over is left out. They visit `B³/k²` slots. A term is active while some negative is
    /// at least as near as its positive.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// A. Medela, A. Picon, Constellation Loss: Improving the Efficiency of Deep Metric Learning Loss Functions for Optimal
    /// Embedding, `arXiv:1905.10675`, 2019, Eq. 4.
    ///
    /// # Differences
    /// Over `d = -x·y` of normalized embeddings, the exponent is the paper's. The authors' code cuts the batch into groups in
    /// place of drawing, so that a term joins anchors of several groups, masks by a zero exponent, so that all that is no
    /// triplet adds 1 inside the logarithm, and divides by 1000: `mode = "reference"`; `groups` leaves those out and averages.
    /// With `k = 1` a term is a smooth triplet; with all negatives it is a tuplet.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Constellation};
    /// // All four embeddings equal, and two negatives each where four are asked for: log(1 + 2).
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(Constellation::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Constellation {
        /// Negatives of a term, or groups of the batch.
        pub k: Count = Count::literal(4),
        /// Where negatives come from: `paper`, `groups` or `reference`.
        pub mode: Mode = Mode::Paper,
    }
}

/// `log(base + Σ exp x)`; the exponents become their shares of the sum.
fn log_sum(base: f64, x: &mut [f64]) -> f64 {
    let top = x.iter().copied().fold(0.0, f64::max);
    for x in x.iter_mut() {
        *x = (*x - top).exp();
    }
    let sum = base * (-top).exp() + x.iter().sum::<f64>();
    for x in x {
        *x /= sum;
    }
    top + sum.ln()
}

/// The tuplets of a list, with the negatives that are there: the place of one that is missing holds the positive.
fn listed(tuples: &Tuples) -> (usize, &[u32]) {
    match tuples {
        Tuples::Triplets(triplets) => (3, triplets.as_flattened()),
        Tuples::Tuplets { width, indices } => (*width, indices),
        _ => (3, &[]),
    }
}

impl Constellation {
    fn drawn(matrix: &Matrix<'_>, g: &mut [f32]) -> Evaluation {
        let pairs = matrix.pairs;
        let (width, indices) = listed(matrix.tuples);
        let weight = 1.0 / (indices.len() / width).max(1) as f64;
        let kept = matrix.tuples.pairs(pairs);
        let anchors = pairs.each_anchor(g, |a, g| {
            let mut of_anchor = Evaluation::default();
            for tuplet in kept.tuplets(a) {
                let p = tuplet[1] as usize;
                let negatives = tuplet[2..].iter().map(|&n| n as usize);
                let negatives: Vec<_> = negatives.filter(|&n| n != p).collect();
                let gap = |&n: &usize| f64::from(pairs.at(a, p)) - f64::from(pairs.at(a, n));
                let mut x: Vec<_> = negatives.iter().map(gap).collect();
                of_anchor.active += usize::from(x.iter().any(|&x| x >= 0.0));
                of_anchor.value += weight * log_sum(1.0, &mut x);
                of_anchor.tuples += 1;
                for (&n, share) in negatives.iter().zip(x) {
                    g[n] -= (weight * share) as f32;
                    g[p] += (weight * share) as f32;
                }
            }
            of_anchor
        });
        anchors
            .into_iter()
            .fold(Evaluation::default(), |sum, anchor| Evaluation {
                value: sum.value + anchor.value,
                tuples: sum.tuples + anchor.tuples,
                active: sum.active + anchor.active,
            })
    }

    fn grouped(&self, pairs: Pairs<'_>, g: &mut [f32]) -> Evaluation {
        let (k, cols) = (self.k.get(), pairs.cols());
        let n = pairs.rows() / k;
        let same = |i: usize, j: usize| pairs.classes().same(i, j);
        let mut sum = Evaluation::default();
        let (mut triplets, mut x) = (Vec::new(), Vec::new());
        for a in 0..n {
            for p in (0..n).filter(|&p| p != a) {
                let firsts = (0..k).map(|group| group * n);
                let firsts: Vec<_> = firsts.filter(|f| same(f + a, f + p)).collect();
                for q in 0..n {
                    triplets.clear();
                    triplets.extend(firsts.iter().filter(|&&f| !same(f + a, f + q)));
                    if triplets.is_empty() {
                        continue;
                    }
                    let gap = |f: &usize| {
                        f64::from(pairs.at(f + a, f + p)) - f64::from(pairs.at(f + a, f + q))
                    };
                    x.clear();
                    x.extend(triplets.iter().map(gap));
                    sum.tuples += 1;
                    sum.active += usize::from(x.iter().any(|&x| x >= 0.0));
                    sum.value += match self.mode {
                        // Beyond what a slot without a triplet has.
                        Mode::Reference => {
                            log_sum((1 + k - x.len()) as f64, &mut x) - (k as f64).ln_1p()
                        }
                        Mode::Paper | Mode::Groups => log_sum(1.0, &mut x),
                    };
                    for (f, share) in triplets.iter().zip(&x) {
                        let row = &mut g[(f + a) * cols..][..cols];
                        row[f + p] += *share as f32;
                        row[f + q] -= *share as f32;
                    }
                }
            }
        }
        let weight = match self.mode {
            Mode::Reference => 1e-3,
            Mode::Paper | Mode::Groups => 1.0 / sum.tuples.max(1) as f64,
        };
        if self.mode == Mode::Reference {
            sum.value += (n as f64).powi(3) * (k as f64).ln_1p();
        }
        for g in g {
            *g *= weight as f32;
        }
        sum.value *= weight;
        sum
    }
}

impl Definition for Constellation {
    fn default_distance(&self) -> Option<Distance> {
        Some(Dot { normalize: true }.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }

    fn short(&self, tuples: &Tuples) -> usize {
        if self.mode != Mode::Paper {
            return 0;
        }
        let (width, indices) = listed(tuples);
        let missing = (self.k.get() + 2).saturating_sub(width);
        let short = |tuplet: &&[u32]| missing > 0 || tuplet[2..].contains(&tuplet[1]);
        indices.chunks_exact(width).filter(short).count()
    }

    fn form(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        if self.mode != Mode::Paper {
            return Tuples::All;
        }
        // No term has more negatives than there are items.
        let (k, mut indices) = (self.k.get().min(pairs.cols()), Vec::new());
        for a in 0..pairs.rows() {
            let negatives: Vec<_> = pairs.negatives(a).flatten().collect();
            for p in pairs.positives(a).filter(|_| !negatives.is_empty()) {
                indices.extend([a, p].map(|i| i as u32));
                let drawn = sample(rng, negatives.len(), k.min(negatives.len()));
                let drawn = drawn.into_iter().map(|j| negatives[j]);
                let filled = drawn.chain(std::iter::repeat(p)).take(k);
                indices.extend(filled.map(|n| n as u32));
            }
        }
        Tuples::Tuplets {
            width: k + 2,
            indices,
        }
    }
}

impl MatrixLoss for Constellation {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        match self.mode {
            Mode::Paper => Self::drawn(matrix, gradients.g),
            Mode::Groups | Mode::Reference => self.grouped(matrix.pairs, gradients.g),
        }
    }

    fn needs_square(&self) -> bool {
        self.mode != Mode::Paper
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let gap = |a, p, n| batch.d(a, p) - batch.d(a, n);
        let mut logarithms = Vec::new();
        if self.mode == Mode::Paper {
            let (width, indices) = listed(tuples);
            for tuplet in indices.chunks_exact(width) {
                let [a, p] = [0, 1].map(|k| tuplet[k] as usize);
                let negatives = tuplet[2..].iter().filter(|&&n| n != tuplet[1]);
                let sum: f64 = negatives.map(|&n| gap(a, p, n as usize).exp()).sum();
                logarithms.push(sum.ln_1p());
            }
        } else {
            let (groups, b) = (self.k.get(), batch.rows() / self.k.get());
            let label = |i| batch.label(i);
            for slot in 0..b * b * b {
                let slot = [slot / b / b, slot / b % b, slot % b];
                let mut exponents = Vec::new();
                for group in 0..groups {
                    let [a, p, n] = slot.map(|i| group * b + i);
                    if a != p && label(a) == label(p) && label(a) != label(n) {
                        exponents.push(gap(a, p, n));
                    } else if self.mode == Mode::Reference {
                        exponents.push(0.0);
                    }
                }
                if !exponents.is_empty() {
                    logarithms.push(exponents.iter().map(|x| x.exp()).sum::<f64>().ln_1p());
                }
            }
        }
        let divisor = if self.mode == Mode::Reference {
            1000.0
        } else {
            logarithms.len().max(1) as f64
        };
        vec![Term {
            anchor: 0,
            group: 0,
            value: logarithms.iter().sum::<f64>() / divisor,
        }]
    }
}
