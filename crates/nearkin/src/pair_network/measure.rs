//! How well identities are found again by scores of pairs.

use super::{PairSearch, Probes, cameras_of};
use crate::data::Dataset;
use crate::embed::pixels;
use crate::error::Result;
use crate::evaluate::{ClassDistances, EvaluateError, Reid, ReidOptions, ReidRows, Scene, Spread};
use crate::feed::Feed;
use crate::search::{Search, Similarity};
use nearkin_encoder::PairModel;
use nearkin_kernels::Mat;
use serde::Serialize;

/// Re-identification by scores of pairs.
#[derive(Clone, Debug, Serialize)]
pub struct PairReid {
    /// How well identities are found again.
    #[serde(flatten)]
    pub reid: Reid,
    /// The scores of queries with gallery items of the same and of other identities; figure 5 of the quadruplet paper.
    pub distances: ClassDistances,
}

/// Measures a network of pairs: queries and gallery are rows of the search's items; `progress` is told how many queries are
/// done.
///
/// # Errors
/// An image can no longer be read, a score is not finite, or no query has a match.
pub fn measure(
    search: &PairSearch<'_>,
    dataset: &Dataset,
    (queries, gallery): (&[usize], &[usize]),
    options: &ReidOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<PairReid> {
    let cameras = cameras_of(dataset, search.items());
    let scene = Scene {
        identities: search.labels(),
        cameras: &cameras,
        queries,
        gallery,
    };
    let mut tally = Tally::new(scene, options)?;
    search.scores(queries, gallery, &mut |row| {
        tally.push(row)?;
        progress(tally.asked);
        Ok(())
    })?;
    Ok(tally.finish("by the network's score of (query, item)")?)
}

/// The same of a model on probes alone.
///
/// # Errors
/// As [`measure`].
pub(super) fn measure_probes(
    model: &PairModel,
    feed: &Feed,
    probes: &Probes,
    options: &ReidOptions,
) -> Result<PairReid> {
    let search = PairSearch::new(model, feed, &probes.items, &mut |_| {})?;
    let probes = probes.kept(search.items());
    let sides = (&*probes.queries, &*probes.gallery);
    measure(&search, feed.dataset(), sides, options, &mut |_| {})
}

/// The baseline on probes: `‖u − v‖ / 2` of the images' own numbers as unit vectors.
///
/// # Errors
/// An image cannot be read, or no query has a match.
pub(super) fn measure_pixels(
    feed: &Feed,
    probes: &Probes,
    options: &ReidOptions,
) -> Result<PairReid> {
    let raw = pixels(feed, &probes.items)?;
    let probes = probes.kept(&raw.items);
    let cameras = cameras_of(feed.dataset(), &raw.items);
    let scene = Scene {
        identities: &raw.labels,
        cameras: &cameras,
        queries: &probes.queries,
        gallery: &probes.gallery,
    };
    let row = |row: &usize| raw.numbers[row * raw.dim..][..raw.dim].iter().copied();
    let queries: Vec<f32> = probes.queries.iter().flat_map(row).collect();
    let queries = Mat::new(&queries, probes.queries.len(), raw.dim);
    let all = Mat::new(&raw.numbers, raw.items.len(), raw.dim);
    let distance = |cosine: &f32| (2.0 - 2.0 * cosine).max(0.0).sqrt() / 2.0;
    let rows = Search::new(queries, all, Similarity::Cosine)?
        .rows(|_, cosines| cosines.iter().map(distance).collect::<Vec<_>>());
    let mut tally = Tally::new(scene, options)?;
    for row in &rows {
        tally.push(row)?;
    }
    Ok(tally.finish("by distance of pixels")?)
}

/// What is known after some queries.
struct Tally<'a> {
    scene: Scene<'a>,
    rows: ReidRows<'a>,
    asked: usize,
    kinds: [Sum; 2],
}

/// Sums of the first and second powers of some numbers.
#[derive(Clone, Copy, Default)]
struct Sum {
    first: f64,
    squares: f64,
    count: u64,
}

impl<'a> Tally<'a> {
    fn new(scene: Scene<'a>, options: &'a ReidOptions) -> std::result::Result<Self, EvaluateError> {
        Ok(Self {
            scene,
            rows: ReidRows::new(scene, options)?,
            asked: 0,
            kinds: [Sum::default(); 2],
        })
    }

    /// The distances of the next query to all items.
    fn push(&mut self, distances: &[f32]) -> std::result::Result<(), EvaluateError> {
        let alike: Vec<f32> = distances.iter().map(|distance| -distance).collect();
        self.rows.push(&alike)?;
        let (identities, query) = (self.scene.identities, self.scene.queries[self.asked]);
        self.asked += 1;
        for &item in self.scene.gallery.iter().filter(|item| **item != query) {
            let distance = f64::from(distances[item]);
            let Sum {
                first,
                squares,
                count,
            } = &mut self.kinds[usize::from(identities[item] != identities[query])];
            (*first, *squares, *count) =
                (*first + distance, *squares + distance.powi(2), *count + 1);
        }
        Ok(())
    }

    fn finish(self, ranked: &str) -> std::result::Result<PairReid, EvaluateError> {
        let [intra, inter] = self.kinds.map(Sum::spread);
        Ok(PairReid {
            reid: self.rows.finish(ranked)?,
            distances: ClassDistances { intra, inter },
        })
    }
}

impl Sum {
    fn spread(self) -> Spread {
        let count = self.count.max(1) as f64;
        let mean = self.first / count;
        Spread {
            mean,
            std: (self.squares / count - mean * mean).max(0.0).sqrt(),
            pairs: self.count,
        }
    }
}
