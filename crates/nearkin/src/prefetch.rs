//! Batches made ready while the network works on the last one.

use crate::error::Result;
use crate::feed::{Batch, Changes, Feed};
use crate::sampler::Draw;
use nearkin_encoder::image::Augment;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Batches that wait ready; two keep decoding ahead without holding much memory.
const AHEAD: usize = 2;

/// A stream of training batches in the order of their numbers.
///
/// The thread behind it ends when the stream is dropped.
pub struct Prefetch {
    ready: Receiver<Result<Batch>>,
}

/// What decides the batches of a run.
pub struct Plan {
    /// The items.
    pub feed: Feed,
    /// Which items each batch holds.
    pub draw: Draw,
    /// Random changes to the items.
    pub augment: Augment,
    /// Seed of the run.
    pub seed: u64,
}

impl Prefetch {
    /// Starts with batch number `first` and goes on without end.
    pub fn start(mut plan: Plan, first: u64) -> Self {
        let (sender, ready) = sync_channel(AHEAD);
        thread::spawn(move || {
            for step in first.. {
                let items = plan.draw.batch(step);
                let changes = Changes {
                    augment: &plan.augment,
                    seed: plan.seed,
                    step,
                };
                let batch = plan.feed.batch(&items, Some(changes));
                let failed = batch.is_err();
                // Sending fails once the receiver is gone: training has ended.
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        Self { ready }
    }

    /// The next batch.
    ///
    /// # Errors
    /// The batch could not be read.
    pub fn next(&self) -> Result<Batch> {
        self.ready.recv().unwrap_or_else(|_| {
            Err(std::io::Error::other("the thread that reads batches has ended").into())
        })
    }
}
