//! Identification: who is it, and is it anyone known?

use super::ranks::is_ahead;
use super::{EvaluateError, check_finite};
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;
use serde::Serialize;

/// How well probes are identified in a gallery of known identities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Identification {
    /// Identities in the gallery.
    pub identities: usize,
    /// Probes of identities that are in the gallery.
    pub genuine: usize,
    /// Probes of others.
    pub impostors: usize,
    /// Closed set: the share of genuine probes whose identity is among the first k, by k.
    pub rank: Vec<(usize, f64)>,
    /// Open set: detection and identification at each rate of false accepts; none without impostors.
    pub detected: Vec<Detected>,
}

/// DIR@FAR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detected {
    /// The largest share of impostors that may be accepted.
    pub far: f64,
    /// The share of genuine probes that are accepted with the right identity first.
    pub dir: f64,
    /// The share of impostors that was accepted.
    pub accepted: f64,
}

/// Identifies probes by cosine similarity; an identity is as near as the nearest of its gallery items.
///
/// ```text
/// rank-k    = |{ genuine : own identity among the k nearest }| / |genuine|
/// DIR@FAR   = |{ genuine : own identity nearest, similarity > t }| / |genuine|
/// t: the largest such that |{ impostors : similarity of the nearest > t }| ≤ FAR · |impostors|
/// ```
///
/// Identities of equal similarity go by the smaller index of their items; a probe exactly at the threshold is rejected.
///
/// # Shapes
/// - `gallery`, `probes`: `[N, D]` with the identity of each row
///
/// # Errors
/// A number is not finite, counts or widths differ, or no probe is genuine.
///
/// # Reference
/// L. Best-Rowden, H. Han, C. Otto, B. Klare, A. Jain, Unconstrained Face Recognition: Identifying a Person of Interest from a
/// Media Collection, 2014, §IV, as in the N-pair paper's table 3.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::identification;
/// let gallery = (Mat::new(&[1.0, 0.0, 0.0, 1.0], 2, 2), &[5, 6][..]);
/// let probes = (Mat::new(&[0.9, 0.1, 0.2, 0.9, 0.7, 0.7], 3, 2), &[5, 6, 7][..]);
/// let found = identification(gallery, probes, (&[1], &[0.01]))?;
/// assert_eq!((found.genuine, found.impostors), (2, 1));
/// assert_eq!((found.rank[0].1, found.detected[0].dir), (1.0, 1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn identification(
    (gallery, known): (Mat<'_>, &[u32]),
    (probes, identities): (Mat<'_>, &[u32]),
    (ks, fars): (&[usize], &[f64]),
) -> Result<Identification, EvaluateError> {
    for (matrix, labels) in [(gallery, known), (probes, identities)] {
        if labels.len() != matrix.rows {
            return Err(EvaluateError::Labels {
                rows: matrix.rows,
                labels: labels.len(),
            });
        }
        check_finite(matrix)?;
    }
    let mut numbers: Vec<u32> = known.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    let number = |identity: u32| numbers.binary_search(&identity).ok();
    let known: Vec<usize> = known
        .iter()
        .filter_map(|&identity| number(identity))
        .collect();
    let search = Search::new(probes, gallery, Similarity::Cosine)?;
    let found = search.rows(|probe, scores| {
        Found::new(scores, (&known, numbers.len()), number(identities[probe]))
    });
    let mut genuine: Vec<Found> = Vec::new();
    let mut impostors: Vec<f32> = Vec::new();
    for found in found {
        match found.rank {
            Some(_) => genuine.push(found),
            None => impostors.push(found.score),
        }
    }
    if genuine.is_empty() {
        return Err(EvaluateError::NoGenuine {
            probes: probes.rows,
            identities: numbers.len(),
        });
    }
    let share = |is: &dyn Fn(&Found) -> bool| {
        genuine.iter().filter(|found| is(found)).count() as f64 / genuine.len() as f64
    };
    let rank = ks
        .iter()
        .map(|&k| (k, share(&|found| found.rank <= Some(k))));
    impostors.sort_by(|a, b| b.total_cmp(a));
    let detected = fars.iter().filter(|_| !impostors.is_empty()).map(|&far| {
        let threshold = threshold(&impostors, far);
        let accepted = impostors.iter().filter(|&&score| score > threshold).count();
        Detected {
            far,
            dir: share(&|found| found.rank == Some(1) && found.score > threshold),
            accepted: accepted as f64 / impostors.len() as f64,
        }
    });
    Ok(Identification {
        identities: numbers.len(),
        genuine: genuine.len(),
        impostors: impostors.len(),
        rank: rank.collect(),
        detected: detected.collect(),
    })
}

/// The smallest similarity above which at most the share `far` of the impostors lies; these are falling.
fn threshold(impostors: &[f32], far: f64) -> f32 {
    let allowed = (far * impostors.len() as f64).floor() as usize;
    impostors.get(allowed).copied().unwrap_or(f32::NEG_INFINITY)
}

/// What a probe found.
struct Found {
    /// The rank of its identity, from 1; none if that is not in the gallery.
    rank: Option<usize>,
    /// The similarity of the nearest identity.
    score: f32,
}

impl Found {
    fn new(scores: &[f32], (known, identities): (&[usize], usize), own: Option<usize>) -> Self {
        // The nearest item of each identity.
        let mut nearest: Vec<Option<usize>> = vec![None; identities];
        for (item, &identity) in known.iter().enumerate() {
            let best = &mut nearest[identity];
            if best.is_none_or(|best| is_ahead(scores, item, best)) {
                *best = Some(item);
            }
        }
        let nearest: Vec<usize> = nearest.into_iter().flatten().collect();
        let first = nearest
            .iter()
            .map(|&item| scores[item])
            .fold(f32::NEG_INFINITY, f32::max);
        // Every identity has an item, so that places are identities.
        let rank = own.map(|own| {
            1 + nearest
                .iter()
                .filter(|&&item| is_ahead(scores, item, nearest[own]))
                .count()
        });
        Self { rank, score: first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// By the definition, in f64: every threshold is tried.
    fn reference(
        gallery: &[(Vec<f64>, u32)],
        probes: &[(Vec<f64>, u32)],
        (k, far): (usize, f64),
    ) -> (f64, f64) {
        let cosine = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
        };
        let ranked = |probe: &[f64]| {
            let mut list: Vec<(f64, u32)> = gallery
                .iter()
                .map(|(row, id)| (cosine(probe, row), *id))
                .collect();
            list.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut seen = Vec::new();
            list.retain(|(_, id)| {
                !seen.contains(id) && {
                    seen.push(*id);
                    true
                }
            });
            list
        };
        let known = |id: u32| gallery.iter().any(|(_, other)| *other == id);
        let (genuine, impostors): (Vec<_>, Vec<_>) = probes.iter().partition(|(_, id)| known(*id));
        let count = genuine.len() as f64;
        let closed = genuine
            .iter()
            .filter(|(row, id)| ranked(row).iter().take(k).any(|(_, other)| other == id));
        let closed = closed.count() as f64 / count;
        let tops: Vec<f64> = impostors.iter().map(|(row, _)| ranked(row)[0].0).collect();
        let mut best = 0.0;
        for &t in tops.iter().chain(&[-2.0]) {
            let wrong = tops.iter().filter(|&&top| top > t).count() as f64;
            if wrong <= far * tops.len() as f64 {
                let right = genuine
                    .iter()
                    .filter(|(row, id)| ranked(row)[0].1 == *id && ranked(row)[0].0 > t);
                best = f64::max(best, right.count() as f64 / count);
            }
        }
        (closed, best)
    }

    #[test]
    fn shares_are_those_of_the_definition_with_several_gallery_items_an_identity() {
        let mut rng = named_rng(4, "identification");
        let dim = 4;
        let mut draw = |count: usize, identities: u32| -> (Vec<f32>, Vec<u32>) {
            let labels: Vec<u32> = (0..count)
                .map(|_| rng.random_range(0..identities))
                .collect();
            let data = labels.iter().flat_map(|&label| {
                (0..dim)
                    .map(move |at| (label * 7 + at * 3) as f32 % 5.0 - 2.0)
                    .collect::<Vec<_>>()
            });
            let data: Vec<f32> = data.collect();
            let noisy = data
                .into_iter()
                .map(|x| x + rng.random_range(-1.5..1.5))
                .collect();
            (noisy, labels)
        };
        let (gallery, known) = draw(40, 12);
        let (probes, labels) = draw(150, 20);
        let rows = |data: &[f32], labels: &[u32]| -> Vec<(Vec<f64>, u32)> {
            let rows = data
                .chunks(4)
                .map(|row| row.iter().map(|&x| x.into()).collect());
            rows.zip(labels.iter().copied()).collect()
        };
        let fars = [0.001, 0.05, 0.3, 1.0];
        let found = identification(
            (Mat::new(&gallery, 40, 4), &known),
            (Mat::new(&probes, 150, 4), &labels),
            (&[1, 3], &fars),
        )
        .unwrap();
        assert_eq!(found.genuine + found.impostors, 150);
        for (detected, far) in found.detected.iter().zip(fars) {
            for (k, share) in &found.rank {
                let expected =
                    reference(&rows(&gallery, &known), &rows(&probes, &labels), (*k, far));
                assert!((share - expected.0).abs() < 1e-12, "rank {k}");
                assert!(
                    (detected.dir - expected.1).abs() < 1e-12,
                    "FAR {far}: {} {}",
                    detected.dir,
                    expected.1
                );
            }
            assert!(detected.accepted <= far);
        }
        assert_eq!(found.detected[3].dir, found.rank[0].1, "all are accepted");
    }

    #[test]
    fn impostors_at_the_threshold_are_rejected_together() {
        // Three impostors of the same similarity: a third of them cannot be accepted.
        let unit = [1.0, 0.0];
        let probes = [1.0, 0.0, 0.6, 0.8, 0.6, 0.8, 0.6, 0.8];
        let found = identification(
            (Mat::new(&unit, 1, 2), &[1]),
            (Mat::new(&probes, 4, 2), &[1, 2, 2, 2]),
            (&[1], &[0.4]),
        );
        let detected = found.unwrap().detected[0];
        assert_eq!((detected.dir, detected.accepted), (1.0, 0.0));
        let none = identification(
            (Mat::new(&unit, 1, 2), &[1]),
            (Mat::new(&unit, 1, 2), &[2]),
            (&[1], &[0.4]),
        );
        assert_eq!(
            none.unwrap_err(),
            EvaluateError::NoGenuine {
                probes: 1,
                identities: 1
            }
        );
    }
}
