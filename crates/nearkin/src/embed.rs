//! Embedding items with a model, in batches.

use crate::error::Result;
use crate::feed::Feed;
use nearkin_encoder::host::Host;
use nearkin_encoder::{Mode, Model};

/// Items of one forward pass: enough to keep the threads busy, little memory.
const BATCH: usize = 64;

/// Vectors of items, damaged ones left out.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// The items.
    pub items: Vec<usize>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// Their vectors, `[items, dim]` row by row.
    pub numbers: Vec<f32>,
    /// Length of a vector.
    pub dim: usize,
}

/// Embeds items; `progress` is told how many are done.
///
/// # Errors
/// More items are damaged than allowed.
pub fn embed(
    model: &Model,
    feed: &Feed,
    items: &[usize],
    progress: &mut dyn FnMut(usize),
) -> Result<Embedded> {
    let mut embedded = Embedded {
        dim: model.embedder.dim(),
        ..Embedded::default()
    };
    for (at, part) in items.chunks(BATCH).enumerate() {
        let batch = feed.batch(part, None)?;
        if !batch.items.is_empty() {
            let x = batch.tensor(feed.input(), 0..batch.items.len())?;
            let y = model.embedder.forward(&x, Mode::Eval)?;
            embedded.numbers.extend_from_slice(&Host::new(&y)?);
        }
        embedded.items.extend(batch.items);
        embedded.labels.extend(batch.labels);
        progress(at * BATCH + part.len());
    }
    Ok(embedded)
}

/// The items' own numbers as vectors, as the network would read them: the baseline.
///
/// # Errors
/// As [`embed`].
pub fn pixels(feed: &Feed, items: &[usize]) -> Result<Embedded> {
    let batch = feed.batch(items, None)?;
    let dim = feed.input().shape().numbers();
    Ok(Embedded {
        items: batch.items,
        labels: batch.labels,
        numbers: batch.numbers,
        dim,
    })
}
