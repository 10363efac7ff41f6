//! Batches made ready while the network works on the last one.

use crate::error::Result;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Batches that wait ready; two keep reading ahead without holding much memory.
const AHEAD: usize = 2;

/// A stream of training batches in the order of their numbers.
///
/// The thread behind it ends when the stream is dropped.
pub struct Prefetch<B> {
    ready: Receiver<Result<B>>,
}

impl<B: Send + 'static> Prefetch<B> {
    /// Reads the batches of these numbers; `make` makes the batch of a number.
    pub fn start(
        mut make: impl FnMut(u64) -> Result<B> + Send + 'static,
        numbers: Range<u64>,
    ) -> Self {
        let (sender, ready) = sync_channel(AHEAD);
        thread::spawn(move || {
            for number in numbers {
                let batch = make(number);
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
    /// The batch could not be read, or there is none after the last.
    pub fn next(&self) -> Result<B> {
        self.ready.recv().unwrap_or_else(|_| {
            Err(std::io::Error::other("the thread that reads batches has ended").into())
        })
    }
}
