//! Galleries of identities drawn at random from labeled items.

use super::EvaluateError;
use super::draws::OverDraws;
use super::identification::{Identification, identification};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::seq::SliceRandom;
use serde::Serialize;

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
    for &label in labels {
        *sizes.entry(label).or_default() += 1;
    }
    if sizes.values().all(|&size| size < 2) {
        return Err(EvaluateError::Alone {
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
        assert_eq!(error.unwrap_err(), EvaluateError::Alone { items: 60 });
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
