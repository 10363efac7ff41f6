//! Random walks over the rows of a square pair matrix: how often they meet, and its gradient. Both go by blocks of rows, so
//! that no matrix is in `f64`; the share of a walk that goes on, below one, bounds how much the `f32` of the factor matters.

use super::cholesky::{Cholesky, LANES};
use super::class_softmax::column_sums;
use crate::pairs::Pairs;
use rayon::prelude::*;
use std::ops::Range;

/// Numbers of several rows at one place, side by side.
type Lanes = [f64; LANES];

/// Rows and columns of the tiles in which `G` is added to its transpose.
const TILE: usize = 32;

/// `F = (1 - alpha) ( I - alpha D^(-1/2) S D^(-1/2) )^(-1)`.
pub(super) struct Walks<'a> {
    pairs: Pairs<'a>,
    alpha: f64,
    /// `log D`.
    degrees: Vec<f64>,
    /// `I - alpha D^(-1/2) S D^(-1/2)`.
    system: Cholesky,
}

/// `∂L/∂F = M F + N` over items with `K` proxies after them: `M` joins items with proxies, and each row with itself; `N` has
/// rows for items and columns for proxies.
pub(super) struct Pull {
    /// `K`.
    pub proxies: usize,
    /// `M` of an item and a proxy, the same in either order, `[B, K]`.
    pub crosswise: Vec<f64>,
    /// The diagonal of `M`.
    pub along: Vec<f64>,
    /// `N`, `[B, K]`.
    pub direct: Vec<f64>,
}

impl Pull {
    /// `X M`, of rows side by side.
    fn joined(&self, x: &[Lanes]) -> Vec<Lanes> {
        let times = |(x, along): (&Lanes, &f64)| x.map(|x| along * x);
        let mut y: Vec<_> = x.iter().zip(&self.along).map(times).collect();
        let (items, proxies) = x.split_at(x.len() - self.proxies);
        let (of_items, of_proxies) = y.split_at_mut(items.len());
        let each = self.crosswise.chunks_exact(self.proxies);
        for ((m, x), y) in each.zip(items).zip(of_items) {
            for ((&m, proxy), of_proxy) in m.iter().zip(proxies).zip(&mut *of_proxies) {
                if m != 0.0 {
                    add(y, m, proxy);
                    add(of_proxy, m, x);
                }
            }
        }
        y
    }

    /// Adds `X N`.
    fn add_direct(&self, x: &[Lanes], y: &mut [Lanes]) {
        let of_proxies = &mut y[x.len() - self.proxies..];
        for (row, x) in self.direct.chunks_exact(self.proxies).zip(x) {
            for (&slope, y) in row.iter().zip(&mut *of_proxies) {
                add(y, slope, x);
            }
        }
    }
}

fn add(sum: &mut Lanes, factor: f64, x: &Lanes) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * x);
}

/// `log S`, by the mean distance of both directions.
fn log_s(pairs: Pairs<'_>, [i, j]: [usize; 2]) -> f64 {
    (2.0 - f64::from(pairs.at(i, j)) - f64::from(pairs.at(j, i))).max(0.0)
}

/// `D^(-1/2) S D^(-1/2)` off the diagonal: at most one, however large `S`.
fn normalized(pairs: Pairs<'_>, degrees: &[f64], [i, j]: [usize; 2]) -> f64 {
    if i == j {
        return 0.0;
    }
    (log_s(pairs, [i, j]) - f64::midpoint(degrees[i], degrees[j])).exp()
}

impl<'a> Walks<'a> {
    pub fn new(pairs: Pairs<'a>, alpha: f64) -> Self {
        let n = pairs.rows();
        let degree = |i: usize| {
            let others = (0..n).filter(|&j| j != i);
            let others = others.map(|j| log_s(pairs, [i, j]));
            let top = others.clone().fold(0.0, f64::max);
            top + others.map(|x| (x - top).exp()).sum::<f64>().ln()
        };
        let degrees: Vec<f64> = (0..n).into_par_iter().map(degree).collect();
        let system = Cholesky::new(n, |i, j| {
            f64::from(u8::from(i == j)) - alpha * normalized(pairs, &degrees, [i, j])
        });
        Self {
            pairs,
            alpha,
            degrees,
            system,
        }
    }

    /// Rows of the inverse of the system, side by side, beginning with row `first`.
    fn inverse(&self, first: usize) -> Vec<Lanes> {
        let mut x = vec![[0.0; LANES]; self.pairs.rows()];
        for (lane, x) in x.iter_mut().skip(first).take(LANES).enumerate() {
            x[lane] = 1.0;
        }
        self.system.solve(&mut x);
        x
    }

    /// What `f` makes of each of some rows of `F`.
    pub fn map_rows<T: Send>(
        &self,
        rows: Range<usize>,
        f: impl Fn(usize, &[f64]) -> T + Sync,
    ) -> Vec<T> {
        let firsts: Vec<_> = rows.clone().step_by(LANES).collect();
        let of_block = |first: usize| {
            let x = self.inverse(first);
            let of_row = |lane: usize| {
                let row: Vec<f64> = x.iter().map(|x| (1.0 - self.alpha) * x[lane]).collect();
                f(first + lane, &row)
            };
            (0..LANES.min(rows.end - first)).map(of_row).collect()
        };
        let blocks: Vec<Vec<T>> = firsts.into_par_iter().map(of_block).collect();
        blocks.into_iter().flatten().collect()
    }

    /// Writes `G`.
    pub fn gradient(&self, pull: &Pull, g: &mut [f32]) {
        let (n, alpha) = (self.pairs.rows(), self.alpha);
        // Minus the slopes in the logarithms of the system's entries: those of the inverse are A⁻¹ (M F + N) A⁻¹.
        let blocks = g.par_chunks_mut(LANES * n).enumerate();
        blocks.for_each(|(block, g)| {
            let first = block * LANES;
            let x = self.inverse(first);
            let mut y = pull.joined(&x);
            self.system.solve(&mut y);
            for y in &mut y {
                *y = y.map(|y| (1.0 - alpha) * y);
            }
            pull.add_direct(&x, &mut y);
            self.system.solve(&mut y);
            for (lane, g) in g.chunks_exact_mut(n).enumerate() {
                for (j, g) in g.iter_mut().enumerate() {
                    let entry = normalized(self.pairs, &self.degrees, [first + lane, j]);
                    *g = (-alpha * (1.0 - alpha) * entry * y[j][lane]) as f32;
                }
            }
        });
        // What the slopes are in the logarithms of the degrees, twice and with the other sign.
        let through = column_sums(g, n, |i, row, sums| {
            for (sum, &g) in sums.iter_mut().zip(row) {
                *sum -= f64::from(g);
            }
            sums[i] -= row.iter().map(|&g| f64::from(g)).sum::<f64>();
        });
        add_transpose(g, n);
        self.pairs.each_anchor(g, |i, g| {
            for (j, g) in g.iter_mut().enumerate() {
                let log_s = log_s(self.pairs, [i, j]);
                if i == j || log_s == 0.0 {
                    *g = 0.0;
                    continue;
                }
                let share = |k: usize| through[k] * (log_s - self.degrees[k]).exp();
                *g += f64::midpoint(share(i), share(j)) as f32;
            }
        });
    }
}

/// `G ← G + Gᵀ`, in place.
fn add_transpose(g: &mut [f32], n: usize) {
    for top in (0..n).step_by(TILE) {
        for left in (top..n).step_by(TILE) {
            for i in top..n.min(top + TILE) {
                for j in left.max(i)..n.min(left + TILE) {
                    let sum = g[i * n + j] + g[j * n + i];
                    g[i * n + j] = sum;
                    g[j * n + i] = sum;
                }
            }
        }
    }
}
