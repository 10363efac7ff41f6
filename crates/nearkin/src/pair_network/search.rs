//! Scoring images against one another, in blocks: neither all maps nor all scores are ever in memory.

use crate::error::{Error, Result};
use crate::feed::Feed;
use nearkin_encoder::{Error as EncoderError, Mode, PairModel, Tensor};

/// Images of one forward pass.
const IMAGES: usize = 64;
/// Pairs of one forward pass.
const PAIRS: usize = 256;
/// Queries whose scores are in memory together.
const QUERIES: usize = 32;
/// Bytes of maps that are kept; those of further images are made anew for each block of queries.
const KEPT: usize = 512 << 20;

/// Images made ready to be scored with one another: what the network makes of single ones is made once.
pub struct PairSearch<'a> {
    model: &'a PairModel,
    feed: &'a Feed,
    items: Vec<usize>,
    labels: Vec<u32>,
    blocks: Vec<Block>,
}

/// The maps of [`IMAGES`] images, or fewer.
struct Block {
    /// The row of the first.
    first: usize,
    maps: Option<Tensor>,
}

impl<'a> PairSearch<'a> {
    /// Reads images, damaged ones left out; `progress` is told how many are done.
    ///
    /// # Errors
    /// More are damaged than allowed.
    pub fn new(
        model: &'a PairModel,
        feed: &'a Feed,
        items: &[usize],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let mut search = Self {
            model,
            feed,
            items: Vec::new(),
            labels: Vec::new(),
            blocks: Vec::new(),
        };
        let mut kept = 0;
        for (at, part) in items.chunks(IMAGES).enumerate() {
            let batch = feed.batch(part, None)?;
            if !batch.items.is_empty() {
                let x = batch.tensor(feed.input(), 0..batch.items.len())?;
                let maps = model.scorer.maps(&x, Mode::Eval)?;
                kept += maps.elem_count() * size_of::<f32>();
                search.blocks.push(Block {
                    first: search.items.len(),
                    maps: (kept <= KEPT).then_some(maps),
                });
            }
            search.items.extend(batch.items);
            search.labels.extend(batch.labels);
            progress(at * IMAGES + part.len());
        }
        Ok(search)
    }

    /// The images by their rows.
    pub fn items(&self) -> &[usize] {
        &self.items
    }

    /// Their classes.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Scores each of the query rows with each of the gallery's, as (query, gallery): calls `each` for one query after the
    /// other with its distances by row, smaller for closer; rows outside of the gallery are 0.
    ///
    /// # Errors
    /// An image can no longer be read, or `each` fails.
    pub fn scores(
        &self,
        queries: &[usize],
        gallery: &[usize],
        each: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let count = self.items.len();
        let mut rows = vec![0.0; QUERIES.min(queries.len()) * count];
        for queries in queries.chunks(QUERIES) {
            let asked = self.maps(queries)?;
            for gallery in gallery.chunks(IMAGES) {
                let maps = Tensor::cat(&[&asked, &self.maps(gallery)?], 0);
                let scores = self.block(&maps.map_err(EncoderError::from)?, queries.len())?;
                let places = (0..queries.len()).flat_map(|q| gallery.iter().map(move |g| (q, g)));
                for ((query, item), score) in places.zip(scores) {
                    rows[query * count + item] = score;
                }
            }
            let all = queries.len() * count;
            rows[..all].chunks_exact(count).try_for_each(&mut *each)?;
        }
        Ok(())
    }

    /// The score of each pair of rows, the mean over both orders: the network sees a first and a second image, and which is
    /// which is no part of the question. `progress` is told how many pairs are done.
    ///
    /// # Errors
    /// An image can no longer be read.
    pub fn of_pairs(
        &self,
        pairs: &[[u32; 2]],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f32>> {
        let scorer = &self.model.scorer;
        let mut scores = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(PAIRS / 2) {
            let (rows, mut both) = apart(pairs);
            let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
            let turned: Vec<_> = both.iter().map(|&[one, other]| [other, one]).collect();
            both.extend(turned);
            let outputs = scorer.outputs(&self.maps(&rows)?, &both, Mode::Eval)?;
            let distances = scorer.distances(&outputs)?;
            let (ahead, turned) = distances.split_at(pairs.len());
            scores.extend(ahead.iter().zip(turned).map(|(a, b)| a.midpoint(*b)));
            progress(scores.len());
        }
        Ok(scores)
    }

    /// Distances of the first `queries` maps with each of the others, row by row.
    fn block(&self, maps: &Tensor, queries: usize) -> Result<Vec<f32>> {
        let (scorer, all) = (&self.model.scorer, maps.dim(0).map_err(EncoderError::from)?);
        let pair = |q: usize| (queries..all).map(move |g| [q as u32, g as u32]);
        let pairs: Vec<[u32; 2]> = (0..queries).flat_map(pair).collect();
        let mut scores = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(PAIRS) {
            let outputs = scorer.outputs(maps, pairs, Mode::Eval)?;
            scores.extend(scorer.distances(&outputs)?);
        }
        Ok(scores)
    }

    /// The maps of some rows, in their order.
    fn maps(&self, rows: &[usize]) -> Result<Tensor> {
        let block = |row: usize| self.blocks.partition_point(|block| block.first <= row) - 1;
        let parts = rows.chunk_by(|a, b| block(*a) == block(*b));
        let parts = parts.map(|rows| {
            let Block { first, maps } = &self.blocks[block(rows[0])];
            let Some(maps) = maps else {
                return self.maps_anew(rows);
            };
            let places: Vec<u32> = rows.iter().map(|row| (row - first) as u32).collect();
            let places = Tensor::new(places, maps.device());
            let chosen = places.and_then(|places| maps.index_select(&places, 0));
            Ok(chosen.map_err(EncoderError::from)?)
        });
        let parts: Vec<Tensor> = parts.collect::<Result<_>>()?;
        Ok(Tensor::cat(&parts, 0).map_err(EncoderError::from)?)
    }

    fn maps_anew(&self, rows: &[usize]) -> Result<Tensor> {
        let items: Vec<usize> = rows.iter().map(|&row| self.items[row]).collect();
        let batch = self.feed.batch(&items, None)?;
        if batch.items.len() < items.len() {
            let data = self.feed.dataset();
            let gone = items.iter().find(|item| !batch.items.contains(item));
            return Err(Error::Run {
                path: gone.map_or(&data.name, |&item| &data.names[item]).into(),
                reason: "the image could be read before and cannot now".to_owned(),
            });
        }
        let x = batch.tensor(self.feed.input(), 0..items.len())?;
        Ok(self.model.scorer.maps(&x, Mode::Eval)?)
    }

    /// The same, with the maps of the first `blocks` blocks alone at hand.
    #[cfg(test)]
    pub(super) fn keeping(mut self, blocks: usize) -> Self {
        self.blocks[blocks..]
            .iter_mut()
            .for_each(|block| block.maps = None);
        self
    }
}

/// The images of some pairs, each once, and the pairs by their places among these.
pub(super) fn apart(pairs: &[[u32; 2]]) -> (Vec<u32>, Vec<[u32; 2]>) {
    let mut images: Vec<u32> = pairs.iter().flatten().copied().collect();
    images.sort_unstable();
    images.dedup();
    let place = |image: u32| images.partition_point(|&known| known < image) as u32;
    let pairs = pairs.iter().map(|pair| pair.map(place)).collect();
    (images, pairs)
}
