//! One forward pass of a text network: what it is for, and what decides its dropout.

use crate::error::Result;
use crate::layer::Mode;
use crate::op::{self, Dropout};
use candle_core::Tensor;

/// One forward pass.
///
/// Each dropout of a network has a place, and its mask is a function of the pass's seed and that place: a batch can be passed
/// again (gradient caching, checkpointing) with the same result.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Whether it is part of training.
    pub mode: Mode,
    /// Decides the dropout; of no effect in `Mode::Eval`.
    pub seed: u64,
    /// Scales the dropout rates of the network's settings: 1 as they are, 0 for none.
    pub dropout: f32,
    /// Whether layers keep only their inputs and are computed again in the backward pass: less memory, a third more time.
    pub checkpoint: bool,
    /// Tokens at the start of each sentence that pooling leaves out: a prompt's.
    pub skip: usize,
}

impl Pass {
    /// A pass for embedding.
    pub fn eval() -> Self {
        Self {
            mode: Mode::Eval,
            seed: 0,
            dropout: 0.0,
            checkpoint: false,
            skip: 0,
        }
    }

    /// A pass of training with the network's own dropout.
    pub fn train(seed: u64) -> Self {
        Self {
            mode: Mode::Train,
            seed,
            dropout: 1.0,
            checkpoint: false,
            skip: 0,
        }
    }

    /// The dropout at a place of the network; none where nothing is dropped.
    pub(crate) fn dropout(&self, place: u64, rate: f32) -> Option<Dropout> {
        let rate = rate * self.dropout;
        if self.mode == Mode::Eval || rate <= 0.0 {
            return None;
        }
        // The generator splitmix64 of Steele, Lea and Flood 2014, at its place-th number.
        let step = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place.wrapping_add(1));
        let mut z = self.seed.wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let seed = z ^ (z >> 31);
        Some(Dropout { seed, rate })
    }

    /// Drops numbers of `x`.
    pub(crate) fn drop(&self, place: u64, x: &Tensor, rate: f32) -> Result<Tensor> {
        match self.dropout(place, rate) {
            Some(dropout) => Ok(op::dropout(x, dropout)?),
            None => Ok(x.clone()),
        }
    }
}
