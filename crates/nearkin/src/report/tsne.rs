//! t-SNE, the exact one, for as many points as a page shows.
//!
//! The crates for it start from the system's random numbers and sum in an order that threads decide; here the same input gives
//! the same bits on any number of threads.

use crate::evaluate::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::RngExt;
use rayon::prelude::*;

/// Neighbors that count, in effect.
const PERPLEXITY: f64 = 30.0;
/// Steps, the first of them with exaggerated attraction.
const STEPS: usize = 600;
const EXAGGERATED: usize = 200;
const EXAGGERATION: f64 = 12.0;

/// Attraction of a point to others: their numbers and `p_ij`, which sum to 1 over all points.
type Attraction = Vec<Vec<(usize, f64)>>;

/// Places in the plane at which points that are near by cosine are near.
///
/// `p_j|i` is Gaussian in the distance of unit vectors, of perplexity 30 among the 90 nearest; `q_ij ∝ 1 / (1 + ‖y_i − y_j‖²)`.
/// 600 steps down the gradient of KL(P‖Q), the first 200 with P times 12, with momentum and gains. Time is O(N²) a step,
/// memory O(N).
///
/// # Shapes
/// - `vectors`: `[N, D]`, the result `N` pairs
///
/// # Errors
/// A number is not finite.
///
/// # Reference
/// L. van der Maaten, G. Hinton, Visualizing Data using t-SNE, JMLR 2008, equations 1–5 and the appendix; the sparse P is of
/// L. van der Maaten, Accelerating t-SNE using Tree-Based Algorithms, JMLR 2014, equations 6 and 7.
pub fn tsne(vectors: Mat, seed: u64) -> Result<Vec<[f64; 2]>, EvaluateError> {
    let attraction = attraction(vectors)?;
    let mut rng = named_rng(seed, "tsne");
    let mut places: Vec<[f64; 2]> = (0..vectors.rows)
        .map(|_| [0; 2].map(|_| 1e-4 * rng.random_range(-1.0..1.0)))
        .collect();
    // As many in a step as keeps the exaggerated pull of a point below its distance (Belkina et al. 2019).
    let rate = (vectors.rows as f64 / EXAGGERATION / 4.0).max(10.0);
    let mut motion = vec![[0.0; 2]; places.len()];
    let mut gains = vec![[1.0f64; 2]; places.len()];
    for step in 0..STEPS {
        let early = step < EXAGGERATED;
        let pull = if early { EXAGGERATION } else { 1.0 };
        let momentum = if early { 0.5 } else { 0.8 };
        let gradient = gradient(&places, &attraction, pull);
        for (at, slope) in gradient.iter().enumerate() {
            for axis in 0..2 {
                let gain = &mut gains[at][axis];
                let turned = (slope[axis] > 0.0) != (motion[at][axis] > 0.0);
                *gain = if turned {
                    *gain + 0.2
                } else {
                    (*gain * 0.8).max(0.01)
                };
                motion[at][axis] = momentum * motion[at][axis] - rate * *gain * slope[axis];
                places[at][axis] += motion[at][axis];
            }
        }
        center(&mut places);
    }
    Ok(places)
}

/// `∂KL/∂y_i = 4 Σ_j (pull · p_ij − q_ij) (y_i − y_j) / (1 + ‖y_i − y_j‖²)`, equation 5.
fn gradient(places: &[[f64; 2]], attraction: &Attraction, pull: f64) -> Vec<[f64; 2]> {
    let repelled: Vec<(f64, [f64; 2])> = places
        .par_iter()
        .map(|here| repulsion(here, places))
        .collect();
    // Each point counted itself once, with weight 1. Summed in the order of points, whoever made the terms.
    let total: f64 = repelled.iter().map(|(sum, _)| sum - 1.0).sum();
    let total = total.max(f64::MIN_POSITIVE);
    let each = places.par_iter().zip(attraction).zip(&repelled);
    each.map(|((here, near), (_, away))| {
        let mut slope = away.map(|push| -push / total);
        for &(other, p) in near {
            let (dx, dy) = (here[0] - places[other][0], here[1] - places[other][1]);
            let weight = pull * p / (1.0 + dx * dx + dy * dy);
            slope[0] += weight * dx;
            slope[1] += weight * dy;
        }
        slope.map(|s| 4.0 * s)
    })
    .collect()
}

/// The sum of `w = 1 / (1 + ‖y_i − y_j‖²)` over all points, and of `w² (y_i − y_j)`.
fn repulsion(here: &[f64; 2], places: &[[f64; 2]]) -> (f64, [f64; 2]) {
    let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
    for there in places {
        let (dx, dy) = (here[0] - there[0], here[1] - there[1]);
        let weight = 1.0 / (1.0 + dx * dx + dy * dy);
        sum += weight;
        x += weight * weight * dx;
        y += weight * weight * dy;
    }
    (sum, [x, y])
}

fn center(places: &mut [[f64; 2]]) {
    for axis in 0..2 {
        let mean = places.iter().map(|p| p[axis]).sum::<f64>() / places.len().max(1) as f64;
        for place in places.iter_mut() {
            place[axis] -= mean;
        }
    }
}

/// `p_ij = (p_j|i + p_i|j) / 2N`.
fn attraction(vectors: Mat) -> Result<Attraction, EvaluateError> {
    let perplexity = PERPLEXITY
        .min((vectors.rows.saturating_sub(1)) as f64 / 3.0)
        .max(1.0);
    let count = (3.0 * perplexity).ceil() as usize;
    let search = Search::among(vectors, Similarity::Cosine)?;
    let one_way = search.map(count, |_, near| {
        let distances: Vec<f64> = near
            .iter()
            .map(|n| 2.0 - 2.0 * f64::from(n.score))
            .collect();
        let shares = shares(&distances, perplexity);
        let to = near.iter().map(|n| n.index as usize);
        to.zip(shares).collect::<Vec<(usize, f64)>>()
    });
    let mut both: Attraction = one_way.clone();
    for (from, near) in one_way.iter().enumerate() {
        for &(to, p) in near {
            match both[to].iter_mut().find(|(other, _)| *other == from) {
                Some((_, sum)) => *sum += p,
                None => both[to].push((from, p)),
            }
        }
    }
    let scale = 1.0 / (2.0 * vectors.rows as f64);
    both.iter_mut().flatten().for_each(|(_, p)| *p *= scale);
    Ok(both)
}

/// `exp(−β d²)`, normalized, with the β whose entropy is that of so many equal neighbors: by bisection, equation 1.
fn shares(squared: &[f64], perplexity: f64) -> Vec<f64> {
    let least = squared.iter().copied().fold(f64::INFINITY, f64::min);
    let weigh = |beta: f64| -> Vec<f64> {
        let weights: Vec<f64> = squared
            .iter()
            .map(|d| (-beta * (d - least)).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / sum).collect()
    };
    let entropy = |shares: &[f64]| -> f64 {
        let terms = shares.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln());
        terms.sum()
    };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut beta = 1.0;
    for _ in 0..60 {
        if entropy(&weigh(beta)) > perplexity.ln() {
            low = beta;
        } else {
            high = beta;
        }
        beta = if high.is_infinite() {
            low * 2.0
        } else {
            f64::midpoint(low, high)
        };
    }
    weigh(beta)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around `clusters` axes of the space.
    fn clusters(clusters: usize, each: usize, dim: usize) -> Vec<f32> {
        let mut rng = named_rng(3, "clusters");
        (0..clusters * each)
            .flat_map(|item| {
                let mut row: Vec<f32> = (0..dim).map(|_| rng.random_range(-0.15..0.15)).collect();
                row[item / each] += 1.0;
                row
            })
            .collect()
    }

    #[test]
    fn clusters_stay_together_and_apart() {
        let (groups, each, dim) = (4, 30, 8);
        let data = clusters(groups, each, dim);
        let places = tsne(Mat::new(&data, groups * each, dim), 0).unwrap();
        for (at, here) in places.iter().enumerate() {
            let distance = |other: &[f64; 2]| (here[0] - other[0]).hypot(here[1] - other[1]);
            let nearest = (0..places.len())
                .filter(|other| *other != at)
                .min_by(|&a, &b| distance(&places[a]).total_cmp(&distance(&places[b])))
                .unwrap();
            assert_eq!(nearest / each, at / each, "point {at}");
        }
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let data = clusters(3, 20, 4);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| tsne(Mat::new(&data, 60, 4), 5).unwrap())
        };
        assert_eq!(on(1), on(3));
        assert_ne!(on(1), tsne(Mat::new(&data, 60, 4), 6).unwrap());
    }

    #[test]
    fn the_gradient_is_that_of_the_divergence() {
        let data = clusters(2, 6, 3);
        let attraction = attraction(Mat::new(&data, 12, 3)).unwrap();
        let total: f64 = attraction.iter().flatten().map(|(_, p)| p).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");
        let mut rng = named_rng(1, "places");
        let places: Vec<[f64; 2]> = (0..12)
            .map(|_| [0; 2].map(|_| rng.random_range(-1.0..1.0)))
            .collect();
        // Slow and plain: KL(P‖Q) over all pairs, but for the entropy of P.
        let divergence = |places: &[[f64; 2]]| {
            let w = |i: usize, j: usize| {
                let (dx, dy): (f64, f64) =
                    (places[i][0] - places[j][0], places[i][1] - places[j][1]);
                1.0 / (1.0 + dx * dx + dy * dy)
            };
            let pairs = (0..12).flat_map(|i| (0..12).map(move |j| (i, j)));
            let total: f64 = pairs.filter(|(i, j)| i != j).map(|(i, j)| w(i, j)).sum();
            let terms = attraction.iter().enumerate();
            terms
                .flat_map(|(i, near)| near.iter().map(move |&(j, p)| (i, j, p)))
                .map(|(i, j, p)| -p * (w(i, j) / total).ln())
                .sum::<f64>()
        };
        let found = gradient(&places, &attraction, 1.0);
        for (at, slope) in found.iter().enumerate() {
            for axis in 0..2 {
                let moved = |by: f64| {
                    let mut places = places.clone();
                    places[at][axis] += by;
                    divergence(&places)
                };
                let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (slope[axis] - expected).abs() < 1e-7,
                    "{} {expected}",
                    slope[axis]
                );
            }
        }
    }

    #[test]
    fn shares_have_the_perplexity_asked_for() {
        let squared: Vec<f64> = (0..90).map(|i| f64::from(i) / 40.0).collect();
        let shares = shares(&squared, 30.0);
        let entropy: f64 = shares.iter().map(|p| -p * p.ln()).sum();
        assert!((entropy.exp() - 30.0).abs() < 1e-6);
    }

    #[test]
    fn few_or_equal_points_are_no_trouble() {
        for rows in 1..4 {
            let data = vec![1.0; rows * 2];
            let places = tsne(Mat::new(&data, rows, 2), 0).unwrap();
            assert!(places.iter().flatten().all(|x| x.is_finite()), "{places:?}");
        }
        assert!(tsne(Mat::new(&[f32::NAN, 1.0], 2, 1), 0).is_err());
    }
}
