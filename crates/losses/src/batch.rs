//! What a criterion is given: embeddings and what is known of them.

use crate::error::Error;
use crate::tuples::{PairMask, Tuples};
use nearkin_kernels::Mat;
use std::borrow::Cow;

/// Embeddings with what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Embeddings `[B, D]`.
    pub embeddings: Mat<'a>,
    /// What is known of the rows.
    pub targets: Targets<'a>,
}

/// What is known of the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// A class for each row: rows of one class belong together.
    Labels(&'a [u32]),
    /// Aligned views: the batch is so many blocks of `n` rows, and row `i` of each block is about item `i`.
    Aligned(Aligned<'a>),
}

/// Aligned views of `n` items: pairs, triplets, or an anchor, its positive and more negatives.
///
/// Two views are pairs that belong together; a third and more are negatives of the first.
#[derive(Clone, Copy, Debug)]
pub struct Aligned<'a> {
    /// Blocks of rows, at least two.
    pub views: usize,
    /// A class for each item, `[n]`, shared by its anchor and its positive; without them each item is a class of its own.
    pub labels: Option<&'a [u32]>,
    /// Numbers for each item, `[n, k]`: gold scores, or a teacher's.
    pub scores: Option<&'a [f32]>,
    /// What a teacher makes of each row, `[B, D']`.
    pub teacher: Option<Mat<'a>>,
}

impl Aligned<'_> {
    /// Pairs that belong together, with nothing else known.
    #[must_use]
    pub fn pairs() -> Self {
        Self {
            views: 2,
            labels: None,
            scores: None,
            teacher: None,
        }
    }
}

/// Items to compare a batch with, in place of one another.
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    /// Embeddings `[C, D]`.
    pub embeddings: Mat<'a>,
    /// A class for each.
    pub labels: &'a [u32],
    /// The reference that is row 0 of the batch, if the batch is among the references: row `a` is left out of its own
    /// positives as reference `own + a`.
    pub own: Option<usize>,
    /// Whether `∂L/∂E` of the references is wanted; otherwise they are held fixed.
    pub learn: bool,
}

/// The rows of a batch for a loss over labels: a class for each, and the tuples that the alignment spells out.
pub(crate) struct Labeled<'a> {
    pub labels: Cow<'a, [u32]>,
    /// Tuples given by the batch itself; `None` if a miner is to choose.
    pub listed: Option<Tuples>,
}

impl<'a> Targets<'a> {
    /// As classes of rows.
    ///
    /// # Errors
    /// Rows are not whole blocks, or labels or scores do not match them.
    pub(crate) fn labeled(&self, rows: usize) -> Result<Labeled<'a>, Error> {
        match *self {
            Targets::Labels(labels) if labels.len() == rows => Ok(Labeled {
                labels: Cow::Borrowed(labels),
                listed: None,
            }),
            Targets::Labels(labels) => Err(Error::Labels {
                rows,
                labels: labels.len(),
            }),
            Targets::Aligned(aligned) => {
                let n = aligned.items(rows)?;
                Ok(aligned.labeled(n))
            }
        }
    }
}

impl Aligned<'_> {
    /// `n`, the number of items of a batch of `rows`.
    pub(crate) fn items(&self, rows: usize) -> Result<usize, Error> {
        let n = rows / self.views.max(1);
        if self.views < 2 || n * self.views != rows {
            return Err(Error::Views {
                rows,
                views: self.views,
            });
        }
        if let Some(labels) = self.labels
            && labels.len() != n
        {
            return Err(Error::Labels {
                rows: n,
                labels: labels.len(),
            });
        }
        Ok(n)
    }

    fn labeled(&self, n: usize) -> Labeled<'static> {
        let item = |i: usize| self.labels.map_or(i as u32, |labels| labels[i]);
        let above = self.labels.map_or(n as u32, |labels| {
            labels
                .iter()
                .max()
                .map_or(0, |&label| label.saturating_add(1))
        });
        let scores = self
            .scores
            .filter(|scores| self.views == 2 && scores.len() == n);
        let mut labels: Vec<u32> = (0..n).map(item).collect();
        // The second view has its anchor's class, unless a score says that the two do not belong together.
        labels.extend((0..n).map(|i| match scores {
            Some(scores) if scores[i] < 0.5 => above.wrapping_add(i as u32),
            _ => item(i),
        }));
        // Further views are negatives: each a class of its own.
        labels.extend((0..(self.views - 2) * n).map(|k| above.wrapping_add(k as u32)));
        let listed = match (self.views, scores) {
            (2, None) => None,
            (2, Some(_)) => {
                let mut mask = PairMask::empty(2 * n, 2 * n);
                (0..n).for_each(|i| mask.insert(i, n + i));
                Some(Tuples::Pairs(mask))
            }
            (3, _) => {
                let triplet = |i: usize| [i, n + i, 2 * n + i].map(|row| row as u32);
                Some(Tuples::Triplets((0..n).map(triplet).collect()))
            }
            (width, _) => Some(Tuples::Tuplets {
                width,
                indices: (0..n)
                    .flat_map(|i| (0..width).map(move |view| (view * n + i) as u32))
                    .collect(),
            }),
        };
        Labeled {
            labels: Cow::Owned(labels),
            listed,
        }
    }
}
