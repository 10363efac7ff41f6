//! The nearest of each group of candidates: the least of their distances, or a mean in which the nearer weigh more.
//!
//! The candidates of a group are next to one another. All is done on the calling thread.

// Loops over the lanes of several registers.
#![allow(clippy::needless_range_loop)]

use crate::dispatch::dispatch;
use crate::exp::exp_scalar;

/// mᵢ = min of group i, the `k` numbers of `d` from `i k` on.
///
/// # Panics
/// When `d` is not `k` numbers for each of `minima`.
///
/// ```
/// let mut minima = [0.0; 2];
/// nearkin_kernels::nearest_of_groups(&[3.0, 1.0, 2.0, 5.0], 2, &mut minima);
/// assert_eq!(minima, [1.0, 2.0]);
/// ```
pub fn nearest_of_groups(d: &[f32], k: usize, minima: &mut [f32]) {
    check(d, k, [minima.len(); 2]);
    nearest_piece(d, k, minima);
}

/// The slopes of [`nearest_of_groups`]: the first of the nearest of group i gets `slopes[i]`, the others zero.
///
/// # Panics
/// When `d` or `g` is not `k` numbers for each of `minima` and `slopes`.
pub fn nearest_of_groups_backward(
    d: &[f32],
    k: usize,
    minima: &[f32],
    slopes: &[f32],
    g: &mut [f32],
) {
    check(d, k, [minima.len(), slopes.len()]);
    check(g, k, [minima.len(); 2]);
    nearest_backward_piece(d, k, minima, slopes, g);
}

/// mᵢ = Σⱼ qⱼ dⱼ over group i, where q = softmax(-sharpness d).
///
/// # Panics
/// As for [`nearest_of_groups`].
///
/// ```
/// let mut means = [0.0];
/// // Equally near: the plain mean.
/// nearkin_kernels::soft_nearest_of_groups(&[2.0, 2.0], 2, 10.0, &mut means);
/// assert_eq!(means, [2.0]);
/// ```
pub fn soft_nearest_of_groups(d: &[f32], k: usize, sharpness: f32, means: &mut [f32]) {
    check(d, k, [means.len(); 2]);
    soft_piece(d, k, sharpness, means);
}

/// The slopes of [`soft_nearest_of_groups`]: gⱼ = slopesᵢ qⱼ (1 - sharpness (dⱼ - mᵢ)).
///
/// # Panics
/// As for [`nearest_of_groups_backward`].
pub fn soft_nearest_of_groups_backward(
    d: &[f32],
    (k, sharpness): (usize, f32),
    means: &[f32],
    slopes: &[f32],
    g: &mut [f32],
) {
    check(d, k, [means.len(), slopes.len()]);
    check(g, k, [means.len(); 2]);
    soft_backward_piece(d, k, sharpness, means, slopes, g);
}

fn check(d: &[f32], k: usize, groups: [usize; 2]) {
    for groups in groups {
        assert_eq!(d.len(), k * groups, "not {k} numbers for each of {groups}");
    }
}

dispatch! {
    fn nearest_piece(d: &[f32], k: usize, minima: &mut [f32]) = nearest_body;
    fn nearest_backward_piece(d: &[f32], k: usize, minima: &[f32], slopes: &[f32], g: &mut [f32]) = nearest_backward_body;
    fn soft_piece(d: &[f32], k: usize, sharpness: f32, means: &mut [f32]) = soft_body;
    fn soft_backward_piece(d: &[f32], k: usize, sharpness: f32, means: &[f32], slopes: &[f32], g: &mut [f32]) = soft_backward_body;
}

/// Groups that are worked on side by side, one in each lane of a register of AVX-512.
const LANES: usize = 16;

type Lanes = [f32; LANES];

#[inline(always)]
fn nearest_body<const FMA: bool>(d: &[f32], k: usize, minima: &mut [f32]) {
    // A group of a known few is compared with its neighbors side by side.
    match k {
        2 => nearest_of::<2>(d, minima),
        3 => nearest_of::<3>(d, minima),
        4 => nearest_of::<4>(d, minima),
        _ => {
            for (d, least) in d.chunks_exact(k).zip(minima) {
                *least = d.iter().copied().fold(f32::INFINITY, min);
            }
        }
    }
}

#[inline(always)]
fn nearest_of<const K: usize>(d: &[f32], minima: &mut [f32]) {
    for (d, least) in d.as_chunks::<K>().0.iter().zip(minima) {
        *least = d.iter().copied().fold(f32::INFINITY, min);
    }
}

#[inline(always)]
fn min(x: f32, y: f32) -> f32 {
    if y < x { y } else { x }
}

#[inline(always)]
fn nearest_backward_body<const FMA: bool>(
    d: &[f32],
    k: usize,
    minima: &[f32],
    slopes: &[f32],
    g: &mut [f32],
) {
    match k {
        2 => nearest_backward_of::<2>(d, minima, slopes, g),
        3 => nearest_backward_of::<3>(d, minima, slopes, g),
        4 => nearest_backward_of::<4>(d, minima, slopes, g),
        _ => {
            let groups = minima.iter().zip(slopes);
            for ((d, g), (least, slope)) in d.chunks_exact(k).zip(g.chunks_exact_mut(k)).zip(groups)
            {
                first_takes(d, g, *least, *slope);
            }
        }
    }
}

#[inline(always)]
fn nearest_backward_of<const K: usize>(d: &[f32], minima: &[f32], slopes: &[f32], g: &mut [f32]) {
    let groups = minima.iter().zip(slopes);
    let chunks = d.as_chunks::<K>().0.iter().zip(g.as_chunks_mut::<K>().0);
    for ((d, g), (least, slope)) in chunks.zip(groups) {
        first_takes(d, g, *least, *slope);
    }
}

#[inline(always)]
fn first_takes(d: &[f32], g: &mut [f32], least: f32, mut slope: f32) {
    for (d, g) in d.iter().zip(g) {
        let nearest = *d == least;
        *g = if nearest { slope } else { 0.0 };
        slope = if nearest { 0.0 } else { slope };
    }
}

/// Lane `l` of `tile[j]` becomes candidate `j` of group `l`; lanes without a group are left as they are.
///
/// Not a part of the loops for each instruction set: with gathers and scatters this takes several times as long.
#[inline(never)]
fn load(d: &[f32], k: usize, tile: &mut [Lanes]) {
    for (lane, group) in d.chunks_exact(k).enumerate().take(LANES) {
        for (row, &d) in tile.iter_mut().zip(group) {
            row[lane] = d;
        }
    }
}

/// The way back.
#[inline(never)]
fn store(tile: &[Lanes], k: usize, g: &mut [f32]) {
    for (lane, group) in g.chunks_exact_mut(k).enumerate().take(LANES) {
        for (row, g) in tile.iter().zip(group) {
            *g = row[lane];
        }
    }
}

/// Up to so many numbers, and zeros.
#[inline(always)]
fn padded(x: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes[..x.len()].copy_from_slice(x);
    lanes
}

/// qⱼ = exp(sharpness (min d - dⱼ)) of each lane; their sums.
#[inline(always)]
fn shares<const FMA: bool>(d: &[Lanes], sharpness: f32, q: &mut [Lanes]) -> Lanes {
    let mut least = [f32::INFINITY; LANES];
    for d in d {
        for (least, &d) in least.iter_mut().zip(d) {
            *least = min(*least, d);
        }
    }
    let mut sum = [0.0; LANES];
    for (q, d) in q.iter_mut().zip(d) {
        for l in 0..LANES {
            q[l] = exp_scalar::<FMA>(sharpness * (least[l] - d[l]));
            sum[l] += q[l];
        }
    }
    sum
}

#[inline(always)]
fn soft_body<const FMA: bool>(d: &[f32], k: usize, sharpness: f32, means: &mut [f32]) {
    let [mut tile, mut q] = [vec![[0.0; LANES]; k], vec![[0.0; LANES]; k]];
    for (d, means) in d.chunks(LANES * k).zip(means.chunks_mut(LANES)) {
        load(d, k, &mut tile);
        let sum = shares::<FMA>(&tile, sharpness, &mut q);
        let mut mean = [0.0; LANES];
        for (q, d) in q.iter().zip(&tile) {
            for l in 0..LANES {
                mean[l] += q[l] * d[l];
            }
        }
        for l in 0..LANES {
            mean[l] /= sum[l];
        }
        means.copy_from_slice(&mean[..means.len()]);
    }
}

#[inline(always)]
fn soft_backward_body<const FMA: bool>(
    d: &[f32],
    k: usize,
    sharpness: f32,
    means: &[f32],
    slopes: &[f32],
    g: &mut [f32],
) {
    let [mut tile, mut q] = [vec![[0.0; LANES]; k], vec![[0.0; LANES]; k]];
    let chunks = d.chunks(LANES * k).zip(g.chunks_mut(LANES * k));
    let groups = means.chunks(LANES).zip(slopes.chunks(LANES));
    for ((d, g), (means, slopes)) in chunks.zip(groups) {
        load(d, k, &mut tile);
        let sum = shares::<FMA>(&tile, sharpness, &mut q);
        let (mean, mut slope) = (padded(means), padded(slopes));
        for l in 0..LANES {
            slope[l] /= sum[l];
        }
        for (q, d) in q.iter_mut().zip(&tile) {
            for l in 0..LANES {
                // Far beyond the mean the second factor may be infinite.
                let of = q[l] * slope[l] * (1.0 - sharpness * (d[l] - mean[l]));
                q[l] = if q[l] > 0.0 { of } else { 0.0 };
            }
        }
        store(&q, k, g);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    /// Groups of fewer numbers than the lanes, as many, more; with ties.
    fn cases() -> impl Iterator<Item = (usize, Vec<f32>)> {
        [
            (1, 5),
            (2, 16),
            (3, 33),
            (4, 9),
            (10, 50),
            (16, 3),
            (7, 1),
            (37, 4),
        ]
        .into_iter()
        .map(|(k, groups)| {
            let mut d = random(k * groups, 3);
            if k > 1 {
                d[1] = d[0];
            }
            (k, d)
        })
    }

    #[test]
    fn the_first_of_the_nearest_takes_the_slope() {
        for (k, d) in cases() {
            let groups = d.len() / k;
            let (mut minima, mut g) = (vec![9.0; groups], vec![9.0; d.len()]);
            nearest_of_groups(&d, k, &mut minima);
            let slopes = random(groups, 4);
            nearest_of_groups_backward(&d, k, &minima, &slopes, &mut g);
            for (i, group) in d.chunks(k).enumerate() {
                let least = group.iter().copied().fold(f32::INFINITY, f32::min);
                let first = group.iter().position(|&d| d == least).unwrap();
                assert_eq!(minima[i], least);
                for (j, &g) in g[i * k..][..k].iter().enumerate() {
                    assert_eq!(g, if j == first { slopes[i] } else { 0.0 }, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn soft_means_and_slopes_are_those_of_the_definition() {
        let sharpness = 4.0;
        let mean = |group: &[f64]| {
            let q: Vec<f64> = group.iter().map(|d| (-sharpness * d).exp()).collect();
            let sum: f64 = q.iter().sum();
            q.iter().zip(group).map(|(q, d)| q * d).sum::<f64>() / sum
        };
        for (k, d) in cases() {
            let groups = d.len() / k;
            let (mut means, mut g) = (vec![9.0; groups], vec![9.0; d.len()]);
            soft_nearest_of_groups(&d, k, sharpness as f32, &mut means);
            let slopes = random(groups, 4);
            soft_nearest_of_groups_backward(&d, (k, sharpness as f32), &means, &slopes, &mut g);
            for (i, group) in d.chunks(k).enumerate() {
                let group: Vec<f64> = group.iter().map(|&d| f64::from(d)).collect();
                assert!((f64::from(means[i]) - mean(&group)).abs() < 1e-6);
                for j in 0..k {
                    let at = |step: f64| {
                        let mut moved = group.clone();
                        moved[j] += step;
                        mean(&moved)
                    };
                    let slope = f64::from(slopes[i]) * (at(1e-5) - at(-1e-5)) / 2e-5;
                    assert!((f64::from(g[i * k + j]) - slope).abs() < 1e-5, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn far_groups_stay_finite() {
        let (mut means, mut g) = ([0.0; 1], [0.0; 2]);
        soft_nearest_of_groups(&[1e30, 2e30], 2, 100.0, &mut means);
        soft_nearest_of_groups_backward(&[1e30, 2e30], (2, 100.0), &means, &[1.0], &mut g);
        assert_eq!(means, [1e30]);
        assert!(g.iter().all(|g| g.is_finite()), "{g:?}");
    }
}
