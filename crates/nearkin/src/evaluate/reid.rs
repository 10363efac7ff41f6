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
use std::collections::HashSet;

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

/// What is known of the items of a scene, whatever says how alike they are.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Who is on each.
    pub identities: &'a [u32],
    /// Which camera took it.
    pub cameras: &'a [u32],
    /// The items that search.
    pub queries: &'a [usize],
    /// The items that are searched.
    pub gallery: &'a [usize],
}

impl<'a> Seen<'a> {
    fn scene(&self) -> Scene<'a> {
        let Self {
            identities,
            cameras,
            queries,
            gallery,
            ..
        } = *self;
        Scene {
            identities,
            cameras,
            queries,
            gallery,
        }
    }
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

impl Found {
    /// Average precision and inverse negative penalty.
    fn precisions(&self) -> [f32; 2] {
        let (count, last) = (self.ranks.len(), self.ranks.last().copied().unwrap_or(1));
        let precisions = self.ranks.iter().zip(1..);
        let precisions = precisions.map(|(&rank, i)| f64::from(i) / rank as f64);
        let average = precisions.sum::<f64>() / count as f64;
        [average, count as f64 / last as f64].map(|x| x as f32)
    }
}

/// Measures re-identification: Market-1501's protocol over the whole gallery, and CUHK03's over one item of each identity.
///
/// ```text
/// dropped:      gallery items of the query's identity and camera; a query with no match left is left out
/// CMC@k         1 if a match is among the first k             AP = 1/R Σ_{i ≤ R} i / rank_i
/// mINP          R / rank_R                                    R matches at ranks rank_1 < … < rank_R
/// single shot:  for each query and draw one item of each identity is kept at random, of another camera than the query's
/// ```
///
/// Ties go to the smaller index. Memory is that of one row of similarities for each thread, beside what the ranking keeps.
///
/// # Errors
/// A number is not finite, the counts differ, a number of an item is beyond them, or no query has a match.
///
/// # Reference
/// L. Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; W. Li et al., `DeepReID`, CVPR 2014, drawn
/// anew for each query as in torchreid's `eval_cuhk03`, which takes other identities from the query's camera too; mINP: M. Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, 2021.
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
    check_finite(seen.vectors)?;
    let scene = seen.scene();
    check(&scene, seen.vectors.rows)?;
    let searched = Searched::new(scene);
    let found = searched.found_by(seen.vectors, options)?;
    searched.measured(found, options, &ranked(options.ranking))
}

/// [`reid`] by similarities that come from elsewhere, such as a network of pairs: row by row, so that the matrix of all is
/// never in memory.
///
/// # Example
/// ```
/// use nearkin::evaluate::{ReidOptions, ReidRows, Scene};
/// let all = [0, 1, 2, 3];
/// let scene = Scene { identities: &[7, 7, 9, 9], cameras: &[0, 1, 0, 1], queries: &[0, 2], gallery: &all };
/// let options = ReidOptions::default();
/// let mut rows = ReidRows::new(scene, &options)?;
/// rows.push(&[0.0, 0.9, 0.1, 0.2])?; // how alike item 0 is to each
/// rows.push(&[0.3, 0.8, 0.0, 0.4])?; // and item 2, which takes item 1 for its match
/// assert_eq!(rows.finish("by hand")?.cmc[0].1.value, 0.5);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub struct ReidRows<'a> {
    searched: Searched<'a>,
    options: &'a ReidOptions,
    found: Vec<Option<Found>>,
}

impl<'a> ReidRows<'a> {
    /// Nothing is known of any query yet; `options.ranking` has no part in it.
    ///
    /// # Errors
    /// The counts differ, or a number of an item is beyond them.
    pub fn new(scene: Scene<'a>, options: &'a ReidOptions) -> Result<Self, EvaluateError> {
        check(&scene, scene.identities.len())?;
        Ok(Self {
            searched: Searched::new(scene),
            options,
            found: Vec::new(),
        })
    }

    /// The similarities of the next query to every item, larger for closer; those to items outside the gallery may be any.
    ///
    /// # Errors
    /// A similarity to a gallery item is not finite, or there are not so many, or there is no next query.
    pub fn push(&mut self, scores: &[f32]) -> Result<(), EvaluateError> {
        let (query, scene) = (self.found.len(), &self.searched.scene);
        let items = scene.identities.len();
        if scores.len() != items || query >= scene.queries.len() {
            return Err(EvaluateError::Labels {
                rows: items,
                labels: scores.len(),
            });
        }
        if let Some(&item) = scene.gallery.iter().find(|i| !scores[**i].is_finite()) {
            let value = scores[item];
            return Err(EvaluateError::Score { query, item, value });
        }
        let found = self.searched.of_query(query, scores, self.options);
        self.found.push(found);
        Ok(())
    }

    /// The numbers over the queries so far; `ranked` says in words how the gallery was.
    ///
    /// # Errors
    /// No query has a match.
    pub fn finish(self, ranked: &str) -> Result<Reid, EvaluateError> {
        self.searched.measured(self.found, self.options, ranked)
    }
}

fn check(scene: &Scene<'_>, rows: usize) -> Result<(), EvaluateError> {
    for labels in [scene.identities.len(), scene.cameras.len()] {
        if labels != rows {
            return Err(EvaluateError::Labels { rows, labels });
        }
    }
    let mut items = scene.queries.iter().chain(scene.gallery);
    match items.find(|item| **item >= rows) {
        None => Ok(()),
        Some(&item) => Err(EvaluateError::NoSuchItem { item, items: rows }),
    }
}

/// A ranking in words.
fn ranked(ranking: Ranking) -> String {
    match ranking {
        Ranking::Cosine => "by cosine similarity".to_owned(),
        Ranking::KReciprocal(k) => {
            format!(
                "re-ranked by k-reciprocal neighbors (k1 = {}, k2 = {}, λ = {})",
                k.k1, k.k2, k.lambda
            )
        }
        Ranking::QueryExpansion(e) => {
            format!(
                "by cosine similarity to the query with its first {} (weights cos^{})",
                e.k, e.alpha
            )
        }
    }
}

/// A scene with its gallery by identity.
struct Searched<'a> {
    scene: Scene<'a>,
    is_gallery: Vec<bool>,
    /// The gallery items of each identity, by the identity's number.
    of_identity: Vec<Vec<usize>>,
}

impl<'a> Searched<'a> {
    fn new(scene: Scene<'a>) -> Self {
        let mut is_gallery = vec![false; scene.identities.len()];
        let identities = scene
            .identities
            .iter()
            .max()
            .map_or(0, |&top| top as usize + 1);
        let mut of_identity = vec![Vec::new(); identities];
        for &item in scene.gallery {
            if !std::mem::replace(&mut is_gallery[item], true) {
                of_identity[scene.identities[item] as usize].push(item);
            }
        }
        Self {
            scene,
            is_gallery,
            of_identity,
        }
    }

    /// What a query does not look for, and whose items it does, in words: cameras say so only where one has several items.
    fn by_camera(&self) -> (&'static str, &'static str) {
        let Scene {
            queries, gallery, ..
        } = self.scene;
        let items: HashSet<&usize> = queries.iter().chain(gallery).collect();
        if self.cameras() == items.len() {
            ("the query itself is", "")
        } else {
            (
                "items of the query's own identity and camera are",
                " of another camera",
            )
        }
    }

    /// Cameras of queries and gallery.
    fn cameras(&self) -> usize {
        let Scene {
            cameras,
            queries,
            gallery,
            ..
        } = self.scene;
        let items = queries.iter().chain(gallery);
        let seen: HashSet<u32> = items.map(|&item| cameras[item]).collect();
        seen.len()
    }

    fn distractors(&self) -> usize {
        let mut asked = vec![false; self.of_identity.len()];
        for &query in self.scene.queries {
            asked[self.scene.identities[query] as usize] = true;
        }
        let items = self.of_identity.iter().zip(asked);
        items
            .filter(|(_, asked)| !asked)
            .map(|(items, _)| items.len())
            .sum()
    }

    fn found_by(
        &self,
        all: Mat<'_>,
        options: &ReidOptions,
    ) -> Result<Vec<Option<Found>>, EvaluateError> {
        let (scene, dim) = (self.scene, all.cols);
        let rows = scene
            .queries
            .iter()
            .flat_map(|&query| &all.data[query * dim..][..dim]);
        let mut vectors: Vec<f32> = rows.copied().collect();
        if let Ranking::QueryExpansion(expansion) = options.ranking {
            vectors = expanded(all, (scene.queries, scene.gallery), expansion)?;
        }
        let queries = Mat::new(&vectors, scene.queries.len(), dim);
        let search = Search::new(queries, all, Similarity::Cosine)?;
        let found = |query: usize, scores: &[f32]| self.of_query(query, scores, options);
        if let Ranking::KReciprocal(settings) = options.ranking {
            let reranked = Reranked::new(all, settings)?;
            return Ok(search.rows(|query, scores| {
                found(query, &reranked.scores(scene.queries[query], scores))
            }));
        }
        Ok(search.rows(found))
    }

    /// The numbers over what the queries found, in their order.
    fn measured(
        &self,
        found: Vec<Option<Found>>,
        options: &ReidOptions,
        ranked: &str,
    ) -> Result<Reid, EvaluateError> {
        let (asked, gallery) = (found.len(), self.scene.gallery.len());
        let kept: Vec<Found> = found.into_iter().flatten().collect();
        let queries = kept.len();
        if queries == 0 {
            return Err(EvaluateError::NoOtherCamera {
                queries: asked,
                cameras: self.cameras(),
            });
        }
        let rows: Vec<[f32; 2]> = kept.iter().map(Found::precisions).collect();
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
        let (dropped, of_another) = self.by_camera();
        let (excluded, draws) = (asked - queries, options.draws);
        Ok(Reid {
            cmc: cmc.collect(),
            map,
            minp,
            single_shot: single_shot.collect(),
            queries,
            excluded,
            gallery,
            distractors: self.distractors(),
            convention: format!(
                "{ranked}, exact, ties to the smaller index; {dropped} dropped,\n\
                 {excluded} queries without a match left are left out;\n\
                 single shot: {draws} draws of one item an identity{of_another}, mean ± deviation"
            ),
        })
    }

    /// What the query of this number found; none if there is no match for it.
    fn of_query(&self, number: usize, scores: &[f32], options: &ReidOptions) -> Option<Found> {
        let query = self.scene.queries[number];
        let (identities, cameras) = (self.scene.identities, self.scene.cameras);
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
        let is_apart = |item: &&usize| cameras[**item] != cameras[query];
        let of_other_cameras =
            |items: &Vec<usize>| items.iter().filter(is_apart).copied().collect();
        let matches: Vec<usize> = of_other_cameras(&self.of_identity[own]);
        let others = self.of_identity.iter().enumerate();
        let others = others.filter(|(identity, _)| *identity != own);
        let others: Vec<Vec<usize>> = others.map(|(_, items)| of_other_cameras(items)).collect();
        let draw = |draw: usize| {
            let mut rng = named_rng(options.seed, &format!("single-shot/{draw}/{number}"));
            let mut any = |items: &[usize]| items[rng.random_range(0..items.len())];
            let chosen = any(&matches);
            let others = others.iter().filter(|items| !items.is_empty());
            1 + others
                .filter(|items| is_ahead(scores, any(items), chosen))
                .count()
        };
        Some(Found {
            drawn: (0..options.draws).map(draw).collect(),
            ranks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 4;

    /// People seen by three cameras, noisy, some by one alone; the last ten items are of people that nobody looks for.
    fn people() -> (Vec<f32>, Vec<u32>, Vec<u32>) {
        let mut rng = named_rng(7, "people");
        let identity = |i: usize| {
            if i < 110 {
                (i * i % 17) as u32
            } else {
                30 + i as u32 % 4
            }
        };
        let identities: Vec<u32> = (0..120).map(identity).collect();
        let camera = |i: usize| if identities[i] == 4 { 1 } else { i as u32 % 3 };
        let cameras = (0..120).map(camera).collect();
        let data = identities.iter().flat_map(|&id| {
            let center = (0..DIM as u32).map(move |at| ((id * 5 + at * 3) % 7) as f32 - 3.0);
            center.collect::<Vec<_>>()
        });
        let data: Vec<f32> = data.collect();
        let noisy = data
            .into_iter()
            .map(|x| x + rng.random_range(-2.0..2.0))
            .collect();
        (noisy, identities, cameras)
    }

    fn seen<'a>(
        (data, identities, cameras): &'a (Vec<f32>, Vec<u32>, Vec<u32>),
        queries: &'a [usize],
        gallery: &'a [usize],
    ) -> Seen<'a> {
        Seen {
            vectors: Mat::new(data, identities.len(), DIM),
            identities,
            cameras,
            queries,
            gallery,
        }
    }

    /// The list of a query by the definition, in f64: gallery items in order, whether each is a match.
    fn listed(seen: &Seen<'_>, query: usize) -> Vec<(usize, bool)> {
        let row = |i: usize| -> Vec<f64> {
            seen.vectors.data[i * DIM..][..DIM]
                .iter()
                .map(|&x| x.into())
                .collect()
        };
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine = |i: usize| {
            let (x, y) = (row(query), row(i));
            dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
        };
        let same = |i: usize| seen.identities[i] == seen.identities[query];
        let kept = |i: &usize| !(same(*i) && seen.cameras[*i] == seen.cameras[query]);
        let mut list: Vec<usize> = seen.gallery.iter().copied().filter(kept).collect();
        list.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)).then(a.cmp(&b)));
        list.into_iter().map(|i| (i, same(i))).collect()
    }

    /// CMC, AP and INP as torchreid's and fast-reid's evaluators compute them, from cumulative sums of the matches.
    fn reference(seen: &Seen<'_>, ks: &[usize]) -> (Vec<f64>, f64, f64, f64) {
        let (mut cmc, mut ap, mut inp, mut queries) = (vec![0.0; ks.len()], 0.0, 0.0, 0.0);
        for &query in seen.queries {
            let raw: Vec<f64> = listed(seen, query)
                .iter()
                .map(|(_, is)| f64::from(u8::from(*is)))
                .collect();
            let count: f64 = raw.iter().sum();
            if count == 0.0 {
                continue;
            }
            queries += 1.0;
            let mut sum = 0.0;
            let cumulative: Vec<f64> = raw
                .iter()
                .map(|x| {
                    sum += x;
                    sum
                })
                .collect();
            for (cmc, &k) in cmc.iter_mut().zip(ks) {
                *cmc += cumulative[k.min(raw.len()) - 1].min(1.0);
            }
            let last = raw.iter().rposition(|x| *x > 0.0).unwrap();
            inp += cumulative[last] / (last as f64 + 1.0);
            let terms = cumulative
                .iter()
                .zip(&raw)
                .zip(1..)
                .map(|((c, x), i)| c / f64::from(i) * x);
            ap += terms.sum::<f64>() / count;
        }
        (
            cmc.into_iter().map(|c| c / queries).collect(),
            ap / queries,
            inp / queries,
            queries,
        )
    }

    #[test]
    fn market_numbers_are_those_of_the_cumulative_sums() {
        let people = people();
        let all: Vec<usize> = (0..120).collect();
        let (queries, gallery): (Vec<usize>, Vec<usize>) = ((0..40).collect(), (40..120).collect());
        for (queries, gallery) in [(&all[..110], &all[..]), (&queries, &gallery)] {
            let seen = seen(&people, queries, gallery);
            let options = ReidOptions::default();
            let found = reid(seen, &options).unwrap();
            let (cmc, map, minp, count) = reference(&seen, &options.ks);
            for ((k, found), expected) in found.cmc.iter().zip(cmc) {
                assert!((found.value - expected).abs() < 1e-6, "CMC@{k}");
            }
            assert!((found.map.value - map).abs() < 1e-6 && (found.minp.value - minp).abs() < 1e-6);
            assert!(found.cmc[0].1.value > 0.2 && found.cmc[0].1.value < 0.95);
            assert_eq!(found.queries as f64, count);
            assert!(found.excluded > 0, "identity 4 was seen by one camera");
            assert_eq!(found.distractors, 10);
            assert!(
                found
                    .convention
                    .contains(&format!("{} queries without a match", found.excluded))
            );
        }
    }

    #[test]
    fn single_shot_is_the_expected_share_over_all_galleries() {
        let people = people();
        let all: Vec<usize> = (0..120).collect();
        let seen = seen(&people, &all[..110], &all);
        let options = ReidOptions {
            draws: 300,
            resamples: 0,
            ks: vec![1],
            ..ReidOptions::default()
        };
        let found = reid(seen, &options).unwrap();
        // First if no chosen item of another identity is ahead: a product of shares over identities, mean over the matches.
        let (mut sum, mut queries) = (0.0, 0.0);
        for &query in seen.queries {
            let list = listed(&seen, query);
            let matches: Vec<usize> = (0..list.len()).filter(|&place| list[place].1).collect();
            if matches.is_empty() {
                continue;
            }
            queries += 1.0;
            for &place in &matches {
                let other = |at: &usize| people.2[list[*at].0] != people.2[query];
                let places = (0..list.len()).filter(|at| !list[*at].1 && other(at));
                let mut others: Vec<u32> = places.map(|at| people.1[list[at].0]).collect();
                others.sort_unstable();
                others.dedup();
                let behind = |identity: &u32| {
                    let of: Vec<usize> = (0..list.len())
                        .filter(|at| people.1[list[*at].0] == *identity && other(at))
                        .collect();
                    of.iter().filter(|&&at| at > place).count() as f64 / of.len() as f64
                };
                sum += others.iter().map(behind).product::<f64>() / matches.len() as f64;
            }
        }
        let (_, shot) = &found.single_shot[0];
        let expected = sum / queries;
        assert!(
            (shot.mean - expected).abs() < 3.0 * shot.std / 300f64.sqrt(),
            "{shot:?} {expected}"
        );
        assert_eq!(reid(seen, &options).unwrap().single_shot, found.single_shot);
        assert!(shot.mean > found.cmc[0].1.value - 0.3);
    }

    #[test]
    fn rows_from_elsewhere_are_measured_alike() {
        let people = people();
        let all: Vec<usize> = (0..120).collect();
        let (queries, gallery): (Vec<usize>, Vec<usize>) = ((0..40).collect(), (40..120).collect());
        for (queries, gallery) in [(&all[..110], &all[..]), (&queries, &gallery)] {
            let seen = seen(&people, queries, gallery);
            let options = ReidOptions::default();
            let search = Search::new(seen.vectors, seen.vectors, Similarity::Cosine).unwrap();
            let scores = search.rows(|_, scores| scores.to_vec());
            let mut rows = ReidRows::new(seen.scene(), &options).unwrap();
            for &query in queries {
                rows.push(&scores[query]).unwrap();
            }
            let (found, want) = (
                rows.finish("by rows").unwrap(),
                reid(seen, &options).unwrap(),
            );
            assert_eq!(found.single_shot, want.single_shot);
            let numbers = |found: &Reid| (found.map.value, found.minp.value, found.queries);
            assert_eq!(numbers(&found), numbers(&want));
            assert!(found.convention.starts_with("by rows, exact"));
        }
        let seen = seen(&people, &all[..1], &all);
        let options = ReidOptions::default();
        let mut rows = ReidRows::new(seen.scene(), &options).unwrap();
        assert!(rows.push(&[0.0; 119]).is_err());
        let mut scores = [0.0; 120];
        scores[7] = f32::NAN;
        let error = rows.push(&scores).unwrap_err().to_string();
        assert!(error.contains("query 0 and item 7 is NaN"), "{error}");
    }

    #[test]
    fn rankings_by_neighbors_differ_and_say_so() {
        let people = people();
        let all: Vec<usize> = (0..120).collect();
        let seen = seen(&people, &all[..110], &all);
        let with = |ranking| {
            reid(
                seen,
                &ReidOptions {
                    ranking,
                    ..ReidOptions::default()
                },
            )
            .unwrap()
        };
        let plain = with(Ranking::Cosine);
        for (ranking, words) in [
            (
                Ranking::KReciprocal(KReciprocal::default()),
                "k1 = 20, k2 = 6, λ = 0.3",
            ),
            (
                Ranking::QueryExpansion(QueryExpansion::default()),
                "its first 5 (weights cos^3.0)",
            ),
        ] {
            let found = with(ranking);
            assert_ne!(found.map.value, plain.map.value);
            assert!(found.convention.contains(words), "{}", found.convention);
            assert_eq!(found.queries, plain.queries);
        }
        // λ = 1 leaves the distance alone.
        let distance = KReciprocal {
            lambda: nearkin_losses::range::Fraction::literal(1.0),
            ..KReciprocal::default()
        };
        assert!((with(Ranking::KReciprocal(distance)).map.value - plain.map.value).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        let people = people();
        let error = |queries: &[usize], gallery: &[usize]| {
            reid(seen(&people, queries, gallery), &ReidOptions::default()).unwrap_err()
        };
        assert_eq!(
            error(&[0], &[200]),
            EvaluateError::NoSuchItem {
                item: 200,
                items: 120
            }
        );
        assert_eq!(
            error(&[0], &[0]),
            EvaluateError::NoOtherCamera {
                queries: 1,
                cameras: 1
            }
        );
        let mut short = seen(&people, &[0], &[1]);
        short.cameras = &[0];
        let short = reid(short, &ReidOptions::default()).unwrap_err();
        assert_eq!(
            short,
            EvaluateError::Labels {
                rows: 120,
                labels: 1
            }
        );
    }
}
