//! Loss, distance and miner together: embeddings and labels in, value and gradient out.

use crate::distance::{Distance, Distances};
use crate::error::Error;
use crate::exact::Exact;
use crate::loss::Loss;
use crate::miner::{All, Miner};
use crate::pairs::{Classes, Pairs};
use crate::scratch;
use crate::tuples::Tuples;
use nearkin_kernels::Mat;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What training minimizes: a loss over the tuples that a miner finds by a distance.
///
/// ```text
/// E --distance--> S --miner--> tuples --loss--> L, G = ∂L/∂S --distance--> ∂L/∂E
/// ```
///
/// # Example
/// ```
/// use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng};
/// let objective: Objective = toml::from_str("[loss.contrastive]\nnegative_margin = 2\n").unwrap();
/// // Points 0 and 1.5 on a line, of two classes: [2 - 1.5]₊² for either order, and the slope -2 (2 - 1.5) for each.
/// let batch = Mat::new(&[0.0, 1.5], 2, 1);
/// let outcome = objective.value_and_grad(batch, &[0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert_eq!((outcome.value, outcome.gradient), (0.25, vec![1.0, -1.0]));
/// # Ok::<(), nearkin_losses::Error>(())
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The loss.
    pub loss: Loss,
    /// The distance; left out, that of the loss's paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// The miner; left out, that of the loss's paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Miner>,
}

/// What an objective makes of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// `L`.
    pub value: f32,
    /// `∂L/∂E`, shape `[B, D]`, row-major.
    pub gradient: Vec<f32>,
    /// Share of the tuples still violated, from 0 to 1: near 0 there is nothing left to learn from, and a sudden 1 is a
    /// sign of collapse.
    pub active: f32,
    /// Tuples that took part; zero if the batch has no positives or no negatives to form one.
    pub tuples: usize,
}

impl<L: Into<Loss>> From<L> for Objective {
    fn from(loss: L) -> Self {
        Self {
            loss: loss.into(),
            distance: None,
            miner: None,
        }
    }
}

impl Objective {
    /// The same with another distance.
    #[must_use]
    pub fn with_distance(self, distance: impl Into<Distance>) -> Self {
        Self {
            distance: Some(distance.into()),
            ..self
        }
    }

    /// The same with another miner.
    #[must_use]
    pub fn with_miner(self, miner: impl Into<Miner>) -> Self {
        Self {
            miner: Some(miner.into()),
            ..self
        }
    }

    /// The same with the distance and the miner spelled out, as a checkpoint records them.
    #[must_use]
    pub fn resolved(self) -> Self {
        Self {
            distance: Some(self.distance()),
            miner: Some(self.miner()),
            ..self
        }
    }

    /// The distance in use.
    pub fn distance(&self) -> Distance {
        self.distance
            .clone()
            .unwrap_or_else(|| self.loss.get().default_distance())
    }

    /// The miner in use.
    pub fn miner(&self) -> Miner {
        self.miner
            .clone()
            .unwrap_or_else(|| self.loss.get().default_miner())
    }

    /// Whether the parts go together.
    ///
    /// # Errors
    /// [`Error::Miner`] if the loss forms its own tuples and a miner other than `all` is named.
    pub fn check(&self) -> Result<(), Error> {
        match &self.miner {
            Some(miner) if self.loss.get().forms_tuples() && *miner != All {}.into() => {
                Err(Error::Miner {
                    loss: self.loss.name(),
                    miner: miner.name(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Value and gradient for embeddings `[B, D]`, row-major, with one label for each row.
    ///
    /// The same inputs and state of `rng` give the same bits on any number of threads. Only a miner that chooses at random
    /// draws from `rng`. Memory: two matrices `[B, B]`, which the calling
    /// thread keeps for its next batch.
    ///
    /// # Errors
    /// Labels that do not match the rows, embeddings that are not finite or too large, parts that do not go together: see
    /// [`Error`].
    pub fn value_and_grad(
        &self,
        embeddings: Mat<'_>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        self.check()?;
        let dense = dense(embeddings, labels)?;
        if dense.is_empty() {
            return Ok(Outcome {
                value: 0.0,
                gradient: Vec::new(),
                active: 0.0,
                tuples: 0,
            });
        }
        let (distance, classes) = (self.distance(), Classes::new(labels));
        let distances = Distances::new(distance.get(), &dense, embeddings.cols)?;
        let pairs = Pairs::new(distances.s(), &classes);
        let tuples = self.miner().get().mine(pairs, rng);
        let mut g = scratch::take(labels.len() * labels.len());
        g.par_chunks_mut(1 << 16).for_each(|chunk| chunk.fill(0.0));
        let evaluation = self.loss.get().value_and_grad(pairs, &tuples, &mut g);
        let mut gradient = distances.gradient(&g);
        scratch::keep(g);
        let term = self
            .loss
            .get()
            .embedding_term(&dense, &classes, &mut gradient);

        let value = (evaluation.value + term) as f32;
        if !value.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
            return Err(Error::overflow(&dense));
        }
        let active = evaluation.active as f32 / evaluation.tuples.max(1) as f32;
        Ok(Outcome {
            value,
            gradient,
            active,
            tuples: evaluation.tuples,
        })
    }

    /// The tuples that [`value_and_grad`](Self::value_and_grad) would use.
    ///
    /// # Errors
    /// As for [`value_and_grad`](Self::value_and_grad).
    pub fn mine(
        &self,
        embeddings: Mat<'_>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Tuples, Error> {
        self.check()?;
        let dense = dense(embeddings, labels)?;
        if dense.is_empty() {
            return Ok(Tuples::All);
        }
        let (distance, classes) = (self.distance(), Classes::new(labels));
        let distances = Distances::new(distance.get(), &dense, embeddings.cols)?;
        Ok(self
            .miner()
            .get()
            .mine(Pairs::new(distances.s(), &classes), rng))
    }

    /// The value by its definition, in `f64`, over given tuples: simple, slow and sharing nothing with
    /// [`value_and_grad`](Self::value_and_grad).
    pub fn reference(
        &self,
        embeddings: &[f64],
        cols: usize,
        labels: &[u32],
        tuples: &Tuples,
    ) -> f64 {
        let distance = self.distance();
        self.loss.get().reference(
            &Exact::new(embeddings, cols, labels, distance.get()),
            tuples,
        )
    }
}

/// The embeddings row after row, if they are sound.
fn dense<'a>(embeddings: Mat<'a>, labels: &[u32]) -> Result<Cow<'a, [f32]>, Error> {
    let Mat {
        rows,
        cols,
        row_stride,
        col_stride,
        ..
    } = embeddings;
    if rows != labels.len() {
        return Err(Error::Labels {
            rows,
            labels: labels.len(),
        });
    }
    let dense = embeddings.as_contiguous().map_or_else(
        || {
            let at = |k: usize| embeddings.data[k / cols * row_stride + k % cols * col_stride];
            (0..rows * cols).map(at).collect()
        },
        Cow::Borrowed,
    );
    match dense.iter().position(|value| !value.is_finite()) {
        None => Ok(dense),
        Some(k) => Err(Error::NonFinite {
            row: k / cols,
            column: k % cols,
            value: dense[k],
        }),
    }
}
