//! Identification: who is it, and is it anyone known?

use super::draws::OverDraws;
use super::ranks::is_ahead;
use super::{EvaluateError, check_finite};
use crate::search::{Search, Similarity};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::seq::SliceRandom;
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
        return Err(EvaluateError::NothingRelevant { items: probes.rows });
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

/// Which items are the gallery and which the probes of one draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// One item of each identity that is enrolled.
    pub gallery: Vec<usize>,
    /// All others.
    pub probes: Vec<usize>,
}

/// Draws a gallery of one random item for each of a share of the identities with two items or more; the items of the others,
/// those of single items among them, are impostors. With `share = 1` only single items are.
pub fn enroll(labels: &[u32], share: f64, seed: u64) -> Enrolled {
    let mut items_of = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (item, &label) in labels.iter().enumerate() {
        items_of.entry(label).or_default().push(item);
    }
    let mut rng = named_rng(seed, "enroll");
    let mut several: Vec<u32> = items_of
        .iter()
        .filter(|(_, items)| items.len() >= 2)
        .map(|(&label, _)| label)
        .collect();
    several.shuffle(&mut rng);
    several.truncate(((several.len() as f64 * share).round() as usize).max(1));
    let mut gallery: Vec<usize> = several
        .iter()
        .filter_map(|label| {
            let items = items_of.get_mut(label)?;
            items.shuffle(&mut rng);
            items.first().copied()
        })
        .collect();
    gallery.sort_unstable();
    let probes = (0..labels.len()).filter(|item| gallery.binary_search(item).is_err());
    Enrolled {
        probes: probes.collect(),
        gallery,
    }
}

/// Identification over galleries drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdentificationDraws {
    /// Closed set, every identity with two items or more enrolled: rank-k by k.
    pub rank: Vec<(usize, OverDraws)>,
    /// Open set, a share of them enrolled: DIR by FAR.
    pub detected: Vec<(f64, OverDraws)>,
    /// Identities in the closed and in the open gallery.
    pub identities: [usize; 2],
    /// Genuine probes of the closed set; of the open set as many as the enrolled identities have.
    pub genuine: usize,
    /// Impostors of the open set, mean over the draws.
    pub impostors: f64,
}

/// How galleries are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdentificationOptions {
    /// The k of rank-k.
    pub ks: Vec<usize>,
    /// Rates of false accepts.
    pub fars: Vec<f64>,
    /// The share of identities with two items or more that is enrolled in the open set.
    pub enrolled: f64,
    /// Draws.
    pub draws: usize,
    /// Decides the draws.
    pub seed: u64,
}

impl Default for IdentificationOptions {
    fn default() -> Self {
        Self {
            ks: vec![1, 5, 10],
            fars: vec![0.01, 0.1],
            enrolled: 0.5,
            draws: 10,
            seed: 0,
        }
    }
}

/// Measures identification among labeled items, over galleries of one random item an identity ([`enroll`]).
///
/// In the closed set single items are distractors: they are in the gallery, and no probe is of them. In the open set they are
/// impostors, with all items of the identities that are not enrolled.
///
/// # Errors
/// As [`identification`].
pub fn identification_draws(
    embeddings: Mat<'_>,
    labels: &[u32],
    options: &IdentificationOptions,
) -> Result<IdentificationDraws, EvaluateError> {
    if labels.len() != embeddings.rows {
        return Err(EvaluateError::Labels {
            rows: embeddings.rows,
            labels: labels.len(),
        });
    }
    let mut sizes = std::collections::HashMap::<u32, usize>::new();
    labels
        .iter()
        .for_each(|&label| *sizes.entry(label).or_default() += 1);
    if sizes.values().all(|&size| size < 2) {
        return Err(EvaluateError::NothingRelevant {
            items: labels.len(),
        });
    }
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for draw in 0..options.draws as u64 {
        let seed = options.seed.wrapping_add(draw);
        let mut all = enroll(labels, 1.0, seed);
        let (single, probes) = all
            .probes
            .iter()
            .partition(|&&item| sizes[&labels[item]] == 1);
        all.probes = probes;
        all.gallery.extend::<Vec<usize>>(single);
        closed.push(of(embeddings, labels, &all, options)?);
        open.push(of(
            embeddings,
            labels,
            &enroll(labels, options.enrolled, seed),
            options,
        )?);
    }
    let over = |values: Vec<f64>| OverDraws::of(&values);
    let rank = options.ks.iter().enumerate();
    let rank = rank.map(|(at, &k)| {
        (
            k,
            over(closed.iter().map(|found| found.rank[at].1).collect()),
        )
    });
    let fars = options.fars.iter().enumerate();
    let detected = fars.filter_map(|(at, &far)| {
        let rates: Option<Vec<f64>> = open
            .iter()
            .map(|found| found.detected.get(at).map(|d| d.dir))
            .collect();
        rates.map(|rates| (far, over(rates)))
    });
    let first = |found: &[Identification]| found.first().map_or(0, |found| found.identities);
    Ok(IdentificationDraws {
        rank: rank.collect(),
        detected: detected.collect(),
        identities: [first(&closed), first(&open)],
        genuine: closed.first().map_or(0, |found| found.genuine),
        impostors: OverDraws::of(
            &open
                .iter()
                .map(|found| found.impostors as f64)
                .collect::<Vec<_>>(),
        )
        .mean,
    })
}

/// Identification of one draw.
fn of(
    embeddings: Mat<'_>,
    labels: &[u32],
    drawn: &Enrolled,
    options: &IdentificationOptions,
) -> Result<Identification, EvaluateError> {
    let dim = embeddings.cols;
    let side = |items: &[usize]| -> (Vec<f32>, Vec<u32>) {
        let rows = items
            .iter()
            .flat_map(|&item| &embeddings.data[item * dim..][..dim]);
        (
            rows.copied().collect(),
            items.iter().map(|&item| labels[item]).collect(),
        )
    };
    let [gallery, probes] = [&drawn.gallery, &drawn.probes].map(|items| side(items));
    let [gallery, probes] =
        [&gallery, &probes].map(|(rows, labels)| (Mat::new(rows, labels.len(), dim), &labels[..]));
    identification(gallery, probes, (&options.ks, &options.fars))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn galleries_are_drawn_anew_and_single_items_are_distractors_or_impostors() {
        let labels: Vec<u32> = (0..60).map(|i| if i < 50 { i / 5 } else { i }).collect();
        let mut rng = named_rng(8, "draws");
        let data: Vec<f32> = labels
            .iter()
            .flat_map(|&l| {
                [(l as f32).sin(), (l as f32).cos(), 0.3].map(|x| x + rng.random_range(-0.3..0.3))
            })
            .collect();
        let matrix = Mat::new(&data, 60, 3);
        let found =
            identification_draws(matrix, &labels, &IdentificationOptions::default()).unwrap();
        assert_eq!(
            (found.identities, found.genuine, found.impostors),
            ([20, 5], 40, 35.0)
        );
        assert!(found.rank[0].1.std > 0.0 && found.rank[0].1.mean < found.rank[2].1.mean);
        assert!(found.detected[0].1.mean <= found.detected[1].1.mean);
        assert_eq!(found.rank[0].1.draws, 10);
        let again = identification_draws(matrix, &labels, &IdentificationOptions::default());
        assert_eq!(again.unwrap(), found);
        let alone: Vec<u32> = (0..60).collect();
        let error = identification_draws(matrix, &alone, &IdentificationOptions::default());
        assert_eq!(
            error.unwrap_err(),
            EvaluateError::NothingRelevant { items: 60 }
        );
    }

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
            EvaluateError::NothingRelevant { items: 1 }
        );
    }

    #[test]
    fn a_draw_enrolls_one_item_of_so_many_identities() {
        let labels = [0, 0, 0, 1, 2, 2, 3, 3, 4, 9, 9];
        for seed in 0..20 {
            let drawn = enroll(&labels, 0.5, seed);
            assert_eq!(drawn.gallery.len(), 2);
            let of: Vec<u32> = drawn.gallery.iter().map(|&item| labels[item]).collect();
            assert!(of[0] != of[1] && of.iter().all(|label| ![1, 4].contains(label)));
            assert_eq!(drawn.probes.len(), 9);
            assert_eq!(drawn, enroll(&labels, 0.5, seed));
        }
        assert_eq!(enroll(&labels, 1.0, 0).gallery.len(), 4);
    }
}
