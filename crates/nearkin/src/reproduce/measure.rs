//! The numbers that tables of papers are made of.

use super::drawn_pairs::drawn_pairs;
use crate::embed::{Embedded, embed, pixels};
use crate::error::{Error, Result};
use crate::evaluate::{
    FARTHEST, IdentificationOptions, Labeled, Options, References, ReidOptions, Roc, Seen,
    evaluate, few_shot, identification_draws, n_way, over_folds, reid, squared_distances,
};
use crate::pair_network::{PairReport, PairRow, Probes};
use crate::train::Setup;
use crate::verify::Paired;
use nearkin_encoder::Model;
use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Neighbors that vote, scikit-learn's default.
const NEIGHBORS: usize = 5;
/// Seeds of k-means, draws of negatives and galleries.
const DRAWS: u8 = 10;
/// Items of which all pairs are verified, from the first on: the pairs grow with their square.
const PAIRED: usize = 2000;
/// The share of different pairs that may be accepted.
const FAR: f64 = 1e-3;

/// A number of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share of the test part that five neighbors of the training part put into its class.
    Accuracy,
    /// Mean over classes of that share.
    BalancedAccuracy,
    /// Davies–Bouldin index of the true classes.
    DaviesBouldin,
    /// Silhouette of the true classes.
    Silhouette,
    /// Recall@1.
    RecallAt1,
    /// Recall@8.
    RecallAt8,
    /// MAP@R.
    MapAtR,
    /// Normalized mutual information of clusters and classes, mean over ten seeds.
    Nmi,
    /// Pairwise F1 of clusters and classes, mean over ten seeds.
    F1,
    /// VRF(neg = 1): the positive is nearer than a negative.
    OneNegative,
    /// VRF(neg = 20): the positive is nearer than negatives of twenty classes.
    TwentyNegatives,
    /// Share of pairs of the same accepted, with one of a thousand different ones; all pairs of up to 2,000 items.
    ValAtFar,
    /// CMC@1, one gallery item of another camera for each identity.
    Rank1,
    /// CMC@5.
    Rank5,
    /// CMC@10.
    Rank10,
    /// Accuracy of verification over ten folds of drawn pairs.
    PairAccuracy,
    /// Share of probes whose identity is the nearest of a gallery with one image of each.
    ClosedRank1,
    /// Share of probes accepted with the right identity first, with one of a hundred impostors; half of the identities are enrolled.
    DirAtFar,
}

impl Measure {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "BAC",
            Self::DaviesBouldin => "Davies–Bouldin",
            Self::Silhouette => "silhouette",
            Self::RecallAt1 => "Recall@1",
            Self::RecallAt8 => "Recall@8",
            Self::MapAtR => "MAP@R",
            Self::Nmi => "NMI",
            Self::F1 => "F1",
            Self::OneNegative => "VRF neg=1",
            Self::TwentyNegatives => "VRF neg=20",
            Self::ValAtFar => "VAL@0.001",
            Self::Rank1 => "rank 1",
            Self::Rank5 => "rank 5",
            Self::Rank10 => "rank 10",
            Self::PairAccuracy => "VRF",
            Self::ClosedRank1 => "closed rank 1",
            Self::DirAtFar => "DIR@0.01",
        }
    }

    /// Whether less of it is better.
    pub fn smaller_is_better(self) -> bool {
        self == Self::DaviesBouldin
    }

    /// As tables show it: percent, but for what is no share.
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::DaviesBouldin | Self::Silhouette => format!("{value:.4}"),
            _ => format!("{:.2}", 100.0 * value),
        }
    }

    fn group(self) -> Group {
        match self {
            Self::Accuracy | Self::BalancedAccuracy | Self::DaviesBouldin | Self::Silhouette => {
                Group::Neighbors
            }
            Self::RecallAt1 | Self::RecallAt8 | Self::MapAtR => Group::Retrieval,
            Self::Nmi | Self::F1 => Group::Clusters,
            Self::OneNegative | Self::TwentyNegatives => Group::Negatives,
            Self::ValAtFar => Group::Pairs,
            Self::Rank1 | Self::Rank5 | Self::Rank10 => Group::Cameras,
            Self::PairAccuracy => Group::DrawnPairs,
            Self::ClosedRank1 | Self::DirAtFar => Group::Galleries,
        }
    }
}

/// Measures that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Neighbors,
    Retrieval,
    Clusters,
    Negatives,
    Pairs,
    Cameras,
    DrawnPairs,
    Galleries,
}

/// The measures of the part of a run that is reported, in their order, by a model's vectors or, without one, by the items' own
/// numbers.
///
/// # Errors
/// Items cannot be read, or they are none that could be so measured.
pub fn measured(measures: &[Measure], setup: &Setup, model: Option<&Model>) -> Result<Vec<f64>> {
    let test = vectors(setup, model, setup.parts.measured().1)?;
    let mut values = BTreeMap::new();
    let mut groups: Vec<Group> = measures.iter().map(|m| m.group()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        values.extend(match group {
            Group::Neighbors => neighbors(&test, &vectors(setup, model, &setup.parts.train)?)?,
            Group::Retrieval => retrieval(&test)?,
            Group::Clusters => clusters(&test)?,
            Group::Negatives => negatives(&test)?,
            Group::Pairs => pairs(&test)?,
            Group::Cameras => cameras(&test, setup)?,
            Group::DrawnPairs => accuracy_of_drawn_pairs(&test)?,
            Group::Galleries => galleries(&test)?,
        });
    }
    Ok(measures.iter().map(|m| values[m]).collect())
}

fn vectors(setup: &Setup, model: Option<&Model>, items: &[usize]) -> Result<Embedded> {
    match model {
        Some(model) => embed(model, &setup.feed, items, &mut |_| {}),
        None => pixels(&setup.feed, items),
    }
}

type Found = Result<Vec<(Measure, f64)>>;

fn labeled(embedded: &Embedded) -> Labeled<'_> {
    Labeled {
        vectors: Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim),
        labels: &embedded.labels,
    }
}

fn neighbors(test: &Embedded, train: &Embedded) -> Found {
    let found = few_shot(labeled(test), References::Given(labeled(train)), NEIGHBORS)?;
    Ok(vec![
        (Measure::Accuracy, found.accuracy.mean),
        (Measure::BalancedAccuracy, found.balanced.mean),
        (Measure::DaviesBouldin, found.davies_bouldin),
        (Measure::Silhouette, found.silhouette),
    ])
}

fn retrieval(test: &Embedded) -> Found {
    let Labeled { vectors, labels } = labeled(test);
    let found = evaluate(vectors, labels, &Options::quick())?.retrieval;
    let recall = |k: usize| {
        let at = found.recall().find(|(at, _)| *at == k);
        at.map_or(f64::NAN, |(_, estimate)| estimate.value)
    };
    Ok(vec![
        (Measure::RecallAt1, recall(1)),
        (Measure::RecallAt8, recall(8)),
        (Measure::MapAtR, found.map_at_r.value),
    ])
}

fn clusters(test: &Embedded) -> Found {
    let Labeled { vectors, labels } = labeled(test);
    let options = Options {
        cluster_seeds: u64::from(DRAWS),
        ..Options::quick()
    };
    let found = evaluate(vectors, labels, &options)?.clustering;
    let of = |number: fn(crate::evaluate::Clustering) -> f64| found.map_or(f64::NAN, number);
    Ok(vec![
        (Measure::Nmi, of(|found| found.nmi)),
        (Measure::F1, of(|found| found.f1)),
    ])
}

fn negatives(test: &Embedded) -> Found {
    let Labeled { vectors, labels } = labeled(test);
    let found = n_way(vectors, labels, &[1, 20], (usize::from(DRAWS), 0))?;
    let measures = [Measure::OneNegative, Measure::TwentyNegatives];
    let means = found.success.iter().map(|(_, over)| over.mean);
    Ok(measures.into_iter().zip(means).collect())
}

fn pairs(test: &Embedded) -> Found {
    let count = test.items.len().min(PAIRED);
    let row = |i: usize| &test.numbers[i * test.dim..(i + 1) * test.dim];
    let (mut distances, mut same) = (Vec::new(), Vec::new());
    for i in 0..count {
        let others = i + 1..count;
        let repeated = row(i).repeat(others.len());
        let rest = &test.numbers[(i + 1) * test.dim..count * test.dim];
        let sides = [&repeated, rest].map(|side| Mat::new(side, others.len(), test.dim));
        distances.extend(squared_distances(sides[0], sides[1])?);
        same.extend(others.map(|j| test.labels[i] == test.labels[j]));
    }
    let rate = Roc::new(&distances, &same)?.accepted_at(FAR).rate;
    Ok(vec![(Measure::ValAtFar, rate)])
}

fn accuracy_of_drawn_pairs(test: &Embedded) -> Found {
    let paired = Paired::new(test, &drawn_pairs(test)?)?;
    let Paired {
        distances,
        same,
        fold_of,
        ..
    } = &paired;
    let found = over_folds(distances, same, fold_of, (FAR, FARTHEST))?;
    Ok(vec![(Measure::PairAccuracy, found.accuracy.mean)])
}

fn galleries(test: &Embedded) -> Found {
    let Labeled { vectors, labels } = labeled(test);
    let options = IdentificationOptions {
        ks: vec![1],
        fars: vec![0.01],
        draws: usize::from(DRAWS),
        ..IdentificationOptions::default()
    };
    let found = identification_draws(vectors, labels, &options)?;
    let rank = found.rank.first().map(|(_, over)| over.mean);
    let detected = found.detected.first().map(|(_, over)| over.mean);
    Ok(vec![
        (Measure::ClosedRank1, rank.unwrap_or(f64::NAN)),
        (Measure::DirAtFar, detected.unwrap_or(f64::NAN)),
    ])
}

/// By the same probes as those of a network of pairs, which could not score all.
fn cameras(test: &Embedded, setup: &Setup) -> Found {
    let dataset = setup.feed.dataset();
    let of_item = |item: &usize| dataset.cameras.as_ref().map_or(0, |of| of[*item]);
    let cameras: Vec<u32> = test.items.iter().map(of_item).collect();
    let row = |item: &usize| test.items.iter().position(|of| of == item);
    let probes = Probes::reported(dataset, &test.items);
    let rows = |side: &[usize]| -> Vec<usize> {
        let items = side.iter().map(|&at| &probes.items[at]);
        items.filter_map(row).collect()
    };
    let Labeled { vectors, labels } = labeled(test);
    let seen = Seen {
        vectors,
        identities: labels,
        cameras: &cameras,
        queries: &rows(&probes.queries),
        gallery: &rows(&probes.gallery),
    };
    let options = ReidOptions {
        ks: vec![1, 5, 10],
        draws: usize::from(DRAWS),
        resamples: 0,
        ..ReidOptions::default()
    };
    let found = reid(seen, &options)?.single_shot;
    let measures = [Measure::Rank1, Measure::Rank5, Measure::Rank10];
    let means = found.iter().map(|(_, over)| over.mean);
    Ok(measures.into_iter().zip(means).collect())
}

/// The measures of a row of a report of a network of pairs, in their order.
///
/// # Errors
/// A measure is none of pairs.
pub fn measured_of_pairs(
    measures: &[Measure],
    report: &PairReport,
    row: &PairRow,
) -> Result<Vec<f64>> {
    let rank = |measure: &Measure| {
        let k = match measure {
            Measure::Rank1 => Some(1),
            Measure::Rank5 => Some(5),
            Measure::Rank10 => Some(10),
            _ => None,
        };
        let mut ranks = row.found.reid.single_shot.iter();
        let found = ranks.find(|(at, _)| Some(*at) == k);
        found.map(|(_, over)| over.mean).ok_or_else(|| Error::Run {
            path: report.model.clone(),
            reason: format!("a network of pairs has no {}", measure.name()),
        })
    };
    measures.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty people of three images: one number of `dim` is 1, that of the person or of the image.
    fn faces(of_person: bool) -> Embedded {
        let (people, dim) = (40, 120);
        let mut numbers = vec![0.0; people * 3 * dim];
        for (image, row) in numbers.chunks_exact_mut(dim).enumerate() {
            row[if of_person { image / 3 } else { image }] = 1.0;
        }
        Embedded {
            items: (0..people * 3).collect(),
            labels: (0..people as u32).flat_map(|p| [p; 3]).collect(),
            numbers,
            dim,
        }
    }

    #[test]
    fn faces_that_are_known_are_verified_and_identified_and_others_are_not() {
        let found = |faces: &Embedded| -> Vec<f64> {
            let all = [accuracy_of_drawn_pairs(faces), galleries(faces)];
            let all = all.into_iter().flat_map(Result::unwrap);
            all.map(|(_, value)| value).collect()
        };
        assert_eq!(found(&faces(true)), [1.0; 3]);
        // All are alike far: half of the pairs are right whatever is said, and a probe finds the first of the gallery, by whose
        // similarity nobody is told from an impostor.
        let [accuracy, rank, detected] = found(&faces(false))[..] else {
            unreachable!()
        };
        assert!((accuracy - 0.5).abs() < 1e-9 && rank < 0.05 && detected == 0.0);
    }
}
