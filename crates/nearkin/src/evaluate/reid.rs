//! Re-identification: does an item find the same identity seen by another camera?

use super::bootstrap::{Estimate, estimates};
use super::draws::OverDraws;
use super::query_expansion::{QueryExpansion, expanded};
use super::ranks::{Kind, is_ahead, ranks};
use super::rerank::{KReciprocal, Reranked};
use super::{EvaluateError, check_finite};
use crate::search::{Search, Similarity};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Embedded items with what is known of each.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// `[N, D]`.
    pub vectors: Mat<'a>,
    /// Who is on it.
    pub identities: &'a [u32],
    /// Which camera took it.
    pub cameras: &'a [u32],
    /// The items that search.
    pub queries: &'a [usize],
    /// The items that are searched. One that is a query too is not found by itself, being of its own camera.
    pub gallery: &'a [usize],
}

/// How the gallery is ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// By cosine similarity.
    #[default]
    Cosine,
    /// By what neighbors have in common.
    KReciprocal(KReciprocal),
    /// By similarity to the query together with what it found first.
    QueryExpansion(QueryExpansion),
}

/// How re-identification is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReidOptions {
    /// The k of CMC@k.
    pub ks: Vec<usize>,
    /// How the gallery is ranked.
    pub ranking: Ranking,
    /// Draws of a gallery with one item of each identity.
    pub draws: usize,
    /// Bootstrap resamples of queries behind an interval; 0 for none.
    pub resamples: usize,
    /// Decides draws and resamples.
    pub seed: u64,
}

impl Default for ReidOptions {
    fn default() -> Self {
        Self {
            ks: vec![1, 5, 10, 20],
            ranking: Ranking::Cosine,
            draws: 10,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// How well identities are found again.
#[derive(Clone, Debug, Serialize)]
pub struct Reid {
    /// CMC@k over the whole gallery by k: the share of queries with a match among the first k.
    pub cmc: Vec<(usize, Estimate)>,
    /// The mean over queries of the average precision.
    pub map: Estimate,
    /// The mean over queries of the matches divided by the rank of the last.
    pub minp: Estimate,
    /// CMC@k by k over galleries of one item an identity, drawn at random.
    pub single_shot: Vec<(usize, OverDraws)>,
    /// Queries behind the means.
    pub queries: usize,
    /// Queries that no other camera has seen, left out.
    pub excluded: usize,
    /// Items searched.
    pub gallery: usize,
    /// Those of identities that no query is of.
    pub distractors: usize,
    /// The conventions, in words.
    pub convention: String,
}

/// What one query found.
struct Found {
    ranks: Vec<usize>,
    /// The rank of the match in each draw of a gallery.
    drawn: Vec<usize>,
}

/// Measures re-identification: Market-1501's protocol over the whole gallery, and CUHK03's over one item of each identity.
///
/// ```text
/// dropped:      gallery items of the query's identity and camera; a query with no match left is left out
/// CMC@k         1 if a match is among the first k             AP = 1/R Σ_{i ≤ R} i / rank_i
/// mINP          R / rank_R                                    R matches at ranks rank_1 < … < rank_R
/// single shot:  for each query and draw one item of each identity is kept at random, of its own a match
/// ```
///
/// Ties go to the smaller index. Memory is that of one row of similarities for each thread, beside what the ranking keeps.
///
/// # Errors
/// A number is not finite, the counts differ, a number of an item is beyond them, or no query has a match.
///
/// # Reference
/// L. Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; W. Li et al., `DeepReID`, CVPR 2014, drawn as in
/// torchreid's `eval_cuhk03`; mINP: M. Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, 2021.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{ReidOptions, Seen, reid};
/// let points = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9];
/// let (vectors, all) = (Mat::new(&points, 4, 2), [0, 1, 2, 3]);
/// let seen = Seen { vectors, identities: &[7, 7, 9, 9], cameras: &[0, 1, 0, 1], queries: &all, gallery: &all };
/// let found = reid(seen, &ReidOptions::default())?;
/// assert_eq!((found.cmc[0].1.value, found.map.value, found.single_shot[0].1.mean), (1.0, 1.0, 1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn reid(seen: Seen<'_>, options: &ReidOptions) -> Result<Reid, EvaluateError> {
    check(&seen)?;
    let searched = Searched::new(seen);
    let found = searched.found(options)?;
    let kept: Vec<Found> = found.into_iter().flatten().collect();
    let queries = kept.len();
    if queries == 0 {
        return Err(EvaluateError::NothingRelevant {
            items: seen.gallery.len(),
        });
    }
    let of_query = |found: &Found| {
        let (count, last) = (found.ranks.len(), found.ranks.last().copied().unwrap_or(1));
        let precisions = found.ranks.iter().zip(1..).map(|(&rank, i)| f64::from(i) / rank as f64);
        [precisions.sum::<f64>() / count as f64, count as f64 / last as f64].map(|x| x as f32)
    };
    let rows: Vec<[f32; 2]> = kept.iter().map(of_query).collect();
    let [map, minp] = estimates(&rows, options.resamples, options.seed);
    let cmc = options.ks.iter().map(|&k| {
        let hit = |found: &Found| [f32::from(u8::from(found.ranks[0] <= k))];
        let rows: Vec<[f32; 1]> = kept.iter().map(hit).collect();
        let [estimate] = estimates(&rows, options.resamples, options.seed);
        (k, estimate)
    });
    let single_shot = options.ks.iter().map(|&k| {
        let share = |draw: usize| {
            let hits = kept.iter().filter(|found| found.drawn[draw] <= k).count();
            hits as f64 / queries as f64
        };
        let shares: Vec<f64> = (0..options.draws).map(share).collect();
        (k, OverDraws::of(&shares))
    });
    let excluded = seen.queries.len() - queries;
    Ok(Reid {
        cmc: cmc.collect(),
        map,
        minp,
        single_shot: single_shot.collect(),
        queries,
        excluded,
        gallery: seen.gallery.len(),
        distractors: searched.distractors(),
        convention: convention(options, excluded),
    })
}

fn check(seen: &Seen<'_>) -> Result<(), EvaluateError> {
    check_finite(seen.vectors)?;
    let rows = seen.vectors.rows;
    for labels in [seen.identities.len(), seen.cameras.len()] {
        if labels != rows {
            return Err(EvaluateError::Labels { rows, labels });
        }
    }
    match seen.queries.iter().chain(seen.gallery).find(|item| **item >= rows) {
        None => Ok(()),
        Some(&item) => Err(EvaluateError::NoSuchItem { item, items: rows }),
    }
}

fn convention(options: &ReidOptions, excluded: usize) -> String {
    let ranking = match options.ranking {
        Ranking::Cosine => "by cosine similarity".to_owned(),
        Ranking::KReciprocal(k) => {
            format!("re-ranked by k-reciprocal neighbors (k1 = {}, k2 = {}, λ = {})", k.k1, k.k2, k.lambda)
        }
        Ranking::QueryExpansion(e) => {
            format!("by cosine similarity to the query with its first {} (weights cos^{})", e.k, e.alpha)
        }
    };
    format!(
        "{ranking}, exact, ties to the smaller index; items of the query's own identity and camera are dropped, \
         {excluded} queries without a match left are left out;\nsingle shot: {} draws of one item an identity, mean ± deviation",
        options.draws
    )
}

/// A scene with its gallery by identity.
struct Searched<'a> {
    seen: Seen<'a>,
    is_gallery: Vec<bool>,
    /// The gallery items of each identity, by the identity's number.
    of_identity: Vec<Vec<usize>>,
}

impl<'a> Searched<'a> {
    fn new(seen: Seen<'a>) -> Self {
        let mut is_gallery = vec![false; seen.vectors.rows];
        let identities = seen.identities.iter().max().map_or(0, |&top| top as usize + 1);
        let mut of_identity = vec![Vec::new(); identities];
        for &item in seen.gallery {
            if !std::mem::replace(&mut is_gallery[item], true) {
                of_identity[seen.identities[item] as usize].push(item);
            }
        }
        Self {
            seen,
            is_gallery,
            of_identity,
        }
    }

    fn distractors(&self) -> usize {
        let mut asked = vec![false; self.of_identity.len()];
        for &query in self.seen.queries {
            asked[self.seen.identities[query] as usize] = true;
        }
        let items = self.of_identity.iter().zip(asked);
        items.filter(|(_, asked)| !asked).map(|(items, _)| items.len()).sum()
    }

    fn found(&self, options: &ReidOptions) -> Result<Vec<Option<Found>>, EvaluateError> {
        let (seen, dim) = (self.seen, self.seen.vectors.cols);
        let rows = seen.queries.iter().flat_map(|&query| &seen.vectors.data[query * dim..][..dim]);
        let mut vectors: Vec<f32> = rows.copied().collect();
        if let Ranking::QueryExpansion(expansion) = options.ranking {
            vectors = expanded(seen.vectors, (seen.queries, seen.gallery), expansion)?;
        }
        let queries = Mat::new(&vectors, seen.queries.len(), dim);
        let search = Search::new(queries, seen.vectors, Similarity::Cosine)?;
        let found = |query: usize, scores: &[f32]| self.of_query(query, scores, options);
        if let Ranking::KReciprocal(settings) = options.ranking {
            let reranked = Reranked::new(seen.vectors, settings)?;
            return Ok(search.rows(|query, scores| {
                found(query, &reranked.scores(seen.queries[query], scores))
            }));
        }
        Ok(search.rows(found))
    }

    /// What the query of this number found; none if there is no match for it.
    fn of_query(&self, number: usize, scores: &[f32], options: &ReidOptions) -> Option<Found> {
        let query = self.seen.queries[number];
        let (identities, cameras) = (self.seen.identities, self.seen.cameras);
        let kind = |item: usize| {
            let same = identities[item] == identities[query];
            match (same, cameras[item] == cameras[query]) {
                _ if !self.is_gallery[item] || item == query => Kind::Dropped,
                (true, true) => Kind::Dropped,
                (true, false) => Kind::Relevant,
                (false, _) => Kind::Other,
            }
        };
        let ranks = ranks(scores, kind);
        if ranks.is_empty() {
            return None;
        }
        let own = identities[query] as usize;
        let matches = self.of_identity[own].iter().copied();
        let matches: Vec<usize> = matches.filter(|&item| kind(item) == Kind::Relevant).collect();
        let draw = |draw: usize| {
            let mut rng = named_rng(options.seed, &format!("single-shot/{draw}/{number}"));
            let mut any = |items: &[usize]| items[rng.random_range(0..items.len())];
            let chosen = any(&matches);
            let others = self.of_identity.iter().enumerate();
            let others = others.filter(|(identity, items)| *identity != own && !items.is_empty());
            1 + others.filter(|(_, items)| is_ahead(scores, any(items), chosen)).count()
        };
        Some(Found {
            drawn: (0..options.draws).map(draw).collect(),
            ranks,
        })
    }
}
