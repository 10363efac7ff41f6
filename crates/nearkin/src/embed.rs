//! Embedding items with a model, in batches.

use crate::error::Result;
use crate::feed::Feed;
use crate::quantize::{Ranges, restore, uint8};
use nearkin_encoder::host::Host;
use nearkin_encoder::{InputShape, Mode, Model};
use nearkin_kernels::{Mat, within_pool};
use std::borrow::Cow;

/// Items of one forward pass: enough to keep the threads busy, little memory.
const BATCH: usize = 64;
/// The most rows and columns of an image of the baseline.
const SIDE: usize = 32;

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

impl Embedded {
    /// The same as they are after they were kept in one byte a number, by the ranges of all of them.
    ///
    /// # Errors
    /// There are fewer than two, or a number is not finite.
    pub fn in_bytes(&self) -> Result<Self> {
        let numbers = Mat::new(&self.numbers, self.items.len(), self.dim);
        let ranges = Ranges::of(numbers)?;
        Ok(Self {
            items: self.items.clone(),
            labels: self.labels.clone(),
            numbers: restore(&uint8(numbers, &ranges)?, &ranges)?,
            dim: self.dim,
        })
    }
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
            let y = within_pool(|| model.embedder.forward(&x, Mode::Eval))?;
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
/// Images above 32 rows or columns are averaged over square cells down to that (tiny images, Torralba,
/// Fergus and Freeman 2008), so that the baseline's memory does not follow the input's size.
///
/// # Errors
/// As [`embed`].
pub fn pixels(feed: &Feed, items: &[usize]) -> Result<Embedded> {
    let shape = feed.input().shape();
    let mut raw = Embedded::default();
    for part in items.chunks(BATCH) {
        let batch = feed.batch(part, None)?;
        for numbers in batch.numbers.chunks_exact(shape.numbers()) {
            let tiny = tiny(numbers, shape);
            raw.dim = tiny.len();
            raw.numbers.extend_from_slice(&tiny);
        }
        raw.items.extend(batch.items);
        raw.labels.extend(batch.labels);
    }
    Ok(raw)
}

/// The means of an image's cells, `[H, W, C]` to `[H', W', C]` with both sides at most [`SIDE`].
fn tiny(numbers: &[f32], shape: InputShape) -> Cow<'_, [f32]> {
    let InputShape::Image {
        height,
        width,
        channels,
    } = shape
    else {
        return Cow::Borrowed(numbers);
    };
    let cell = height.max(width).div_ceil(SIDE);
    if cell <= 1 {
        return Cow::Borrowed(numbers);
    }
    let columns = width.div_ceil(cell);
    let mut means = vec![0.0; height.div_ceil(cell) * columns * channels];
    for (at, pixel) in numbers.chunks_exact(channels).enumerate() {
        let (row, column) = (at / width / cell, at % width / cell);
        // Cells at the far edges are cut short.
        let rows = cell.min(height - row * cell);
        let area = (rows * cell.min(width - column * cell)) as f32;
        let mean = &mut means[(row * columns + column) * channels..][..channels];
        mean.iter_mut().zip(pixel).for_each(|(m, x)| *m += x / area);
    }
    Cow::Owned(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_averaged_channel_by_channel_also_at_the_edges() {
        let (height, width, channels) = (65, 33, 2);
        let shape = InputShape::Image {
            height,
            width,
            channels,
        };
        let value = |row: usize, column: usize, channel: usize| {
            (row * 3 + column * 5) as f32 * if channel == 0 { 1.0 } else { -2.0 }
        };
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        let numbers: Vec<f32> = pixels
            .flat_map(|(row, column)| [value(row, column, 0), value(row, column, 1)])
            .collect();
        let tiny = tiny(&numbers, shape);
        // Cells of 3 × 3 pixels: 22 rows, the last of 2 pixels, and 11 columns.
        assert_eq!(tiny.len(), 22 * 11 * 2);
        let center = |row: usize, column: usize, channel| tiny[(row * 11 + column) * 2 + channel];
        assert!((center(0, 0, 0) - value(1, 1, 0)).abs() < 1e-4);
        assert!((center(4, 7, 1) - value(13, 22, 1)).abs() < 1e-4);
        let last = f32::midpoint(value(63, 1, 0), value(64, 1, 0));
        assert!((center(21, 0, 0) - last).abs() < 1e-3);
    }

    #[test]
    fn small_images_and_features_stay_as_they_are() {
        let numbers: Vec<f32> = (0..32 * 32).map(|x| x as f32).collect();
        let image = InputShape::Image {
            height: 32,
            width: 32,
            channels: 1,
        };
        assert_eq!(*tiny(&numbers, image), *numbers);
        let features = InputShape::Features { dim: 1024 };
        assert_eq!(*tiny(&numbers, features), *numbers);
    }
}
