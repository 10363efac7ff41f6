//! Embeddings in a byte or a bit a number.
//!
//! ```text
//! step = (high − low) / 255, or 1 where that is 0
//! uint8 = clamp(⌊(x − low) / step⌋, 0, 255)      int8   = uint8 − 128
//! ubinary = the bits x > 0, eight a byte, the first the highest      binary = ubinary − 128
//! ```
//!
//! These are the bytes that sentence-transformers' `quantize_embeddings` gives, which other programs read. [`restore`] takes
//! bytes back to the middle of their levels, at most half a step from where they came.

use crate::error::NotFinite;
use nearkin_kernels::Mat;

/// Why embeddings cannot be made smaller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    /// A number is not finite.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// One embedding has no range.
    #[error("embeddings to take ranges from: at least 2 needed, {found} given")]
    TooFew {
        /// What there is.
        found: usize,
    },
    /// Ranges are of other embeddings.
    #[error("the ranges are of {ranges} dimensions, the embeddings of {found}")]
    Width {
        /// Dimensions of the ranges.
        ranges: usize,
        /// Dimensions of the embeddings.
        found: usize,
    },
    /// Bytes that are no whole rows.
    #[error("{bytes} bytes are no rows of {dim} dimensions")]
    Bytes {
        /// Bytes.
        bytes: usize,
        /// Dimensions of the ranges.
        dim: usize,
    },
}

/// The range of each dimension, from which the 256 levels of a byte are made.
///
/// Take it from a large sample of embeddings, once, and quantize everything with it: bytes of different ranges cannot
/// be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// The smallest value of each dimension.
    pub low: Vec<f32>,
    /// The largest value of each dimension.
    pub high: Vec<f32>,
}

impl Ranges {
    /// The ranges of the columns of `[N, D]` embeddings.
    ///
    /// # Errors
    /// There are fewer than two rows, which have no range, or a number is not finite.
    pub fn of(embeddings: Mat) -> Result<Self, QuantizeError> {
        if embeddings.rows < 2 {
            let found = embeddings.rows;
            return Err(QuantizeError::TooFew { found });
        }
        let mut ranges = Self::none(embeddings.cols);
        ranges.widen(embeddings)?;
        Ok(ranges)
    }

    /// The range of nothing, to be [widened](Self::widen).
    pub fn none(dim: usize) -> Self {
        Self {
            low: vec![f32::INFINITY; dim],
            high: vec![f32::NEG_INFINITY; dim],
        }
    }

    /// Takes in more `[N, D]` embeddings.
    ///
    /// # Errors
    /// The width is another, or a number is not finite.
    pub fn widen(&mut self, embeddings: Mat) -> Result<(), QuantizeError> {
        self.check(embeddings.cols)?;
        NotFinite::check(embeddings)?;
        for row in embeddings.data.chunks_exact(embeddings.cols.max(1)) {
            for ((low, high), &x) in self.low.iter_mut().zip(&mut self.high).zip(row) {
                *low = low.min(x);
                *high = high.max(x);
            }
        }
        Ok(())
    }

    /// Whether the ranges are of so many dimensions.
    ///
    /// # Errors
    /// They are of another count.
    pub fn check(&self, found: usize) -> Result<(), QuantizeError> {
        let ends = [self.low.len(), self.high.len()];
        match ends.into_iter().find(|&ranges| ranges != found) {
            Some(ranges) => Err(QuantizeError::Width { ranges, found }),
            None => Ok(()),
        }
    }

    /// The width of a level of each dimension; 1 where all its values are one.
    fn steps(&self) -> Vec<f32> {
        let step = |(low, high): (&f32, &f32)| match (high - low) / 255.0 {
            0.0 => 1.0,
            step => step,
        };
        self.low.iter().zip(&self.high).map(step).collect()
    }
}

/// One byte a number, 0 at the low end of its dimension's range; the high end is 255, or 254 where the division in `f32`
/// falls short.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `ranges`: `D`; result: `[N, D]`
///
/// # Errors
/// The ranges are of another width, or a number is not finite.
///
/// ```
/// use nearkin_index::quantize::{Ranges, int8, uint8};
/// use nearkin_kernels::Mat;
/// let embeddings = Mat::new(&[0.0, 1.0, 2.0, 1.0, 1.0, 1.0], 3, 2);
/// let ranges = Ranges::of(embeddings)?;
/// assert_eq!(uint8(embeddings, &ranges)?, [0, 0, 254, 0, 127, 0]);
/// assert_eq!(int8(embeddings, &ranges)?, [-128, -128, 126, -128, -1, -128]);
/// # Ok::<(), nearkin_index::quantize::QuantizeError>(())
/// ```
pub fn uint8(embeddings: Mat, ranges: &Ranges) -> Result<Vec<u8>, QuantizeError> {
    ranges.check(embeddings.cols)?;
    NotFinite::check(embeddings)?;
    let steps = ranges.steps();
    let rows = embeddings.data.chunks_exact(embeddings.cols.max(1));
    let bytes = rows.flat_map(|row| {
        let levels = row.iter().zip(&ranges.low).zip(&steps);
        levels.map(|((x, low), step)| ((x - low) / step).floor().clamp(0.0, 255.0) as u8)
    });
    Ok(bytes.collect())
}

/// As [`uint8`], less 128.
///
/// # Errors
/// As [`uint8`].
pub fn int8(embeddings: Mat, ranges: &Ranges) -> Result<Vec<i8>, QuantizeError> {
    let bytes = uint8(embeddings, ranges)?;
    Ok(bytes.into_iter().map(less_128).collect())
}

/// The numbers that bytes of [`uint8`] stand for: the middles of their levels.
///
/// ```text
/// x = low + (uint8 + 1/2) · step, at most high
/// ```
///
/// # Shapes
/// - `bytes`: `[N, D]`, `ranges`: `D`; result: `[N, D]`
///
/// # Errors
/// The bytes are no rows of as many dimensions as the ranges.
///
/// ```
/// use nearkin_index::quantize::{Ranges, restore};
/// let ranges = Ranges { low: vec![0.0, 3.0], high: vec![255.0, 3.0] };
/// assert_eq!(restore(&[0, 0, 7, 0], &ranges)?, [0.5, 3.0, 7.5, 3.0]);
/// # Ok::<(), nearkin_index::quantize::QuantizeError>(())
/// ```
pub fn restore(bytes: &[u8], ranges: &Ranges) -> Result<Vec<f32>, QuantizeError> {
    let dim = ranges.low.len();
    ranges.check(dim)?;
    if dim == 0 || !bytes.len().is_multiple_of(dim) {
        let bytes = bytes.len();
        return Err(QuantizeError::Bytes { bytes, dim });
    }
    let steps = ranges.steps();
    let rows = bytes.chunks_exact(dim);
    let numbers = rows.flat_map(|row| {
        let levels = row
            .iter()
            .zip(&steps)
            .zip(ranges.low.iter().zip(&ranges.high));
        levels.map(|((&byte, step), (low, high))| (low + (f32::from(byte) + 0.5) * step).min(*high))
    });
    Ok(numbers.collect())
}

/// One bit a number: whether it is above 0. The last byte of a row is filled up with zeros.
///
/// # Shapes
/// - `embeddings`: `[N, D]`; result: `[N, ⌈D / 8⌉]`
///
/// # Errors
/// A number is not finite.
///
/// ```
/// use nearkin_index::quantize::{binary, ubinary};
/// use nearkin_kernels::Mat;
/// let row = [0.1, -0.2, 0.3, 0.0, 0.5, -0.6, 0.7, -0.8, 0.9];
/// assert_eq!(ubinary(Mat::new(&row, 1, 9))?, [0b1010_1010, 0b1000_0000]);
/// assert_eq!(binary(Mat::new(&row, 1, 9))?, [42, 0]);
/// # Ok::<(), nearkin_index::quantize::QuantizeError>(())
/// ```
pub fn ubinary(embeddings: Mat) -> Result<Vec<u8>, QuantizeError> {
    NotFinite::check(embeddings)?;
    let rows = embeddings.data.chunks_exact(embeddings.cols.max(1));
    let byte = |numbers: &[f32]| {
        let bits = numbers.iter().enumerate();
        bits.fold(0, |byte, (at, &x)| byte | u8::from(x > 0.0) << (7 - at))
    };
    Ok(rows.flat_map(|row| row.chunks(8).map(byte)).collect())
}

/// As [`ubinary`], each byte less 128.
///
/// # Errors
/// As [`ubinary`].
pub fn binary(embeddings: Mat) -> Result<Vec<i8>, QuantizeError> {
    let bytes = ubinary(embeddings)?;
    Ok(bytes.into_iter().map(less_128).collect())
}

fn less_128(byte: u8) -> i8 {
    (i16::from(byte) - 128) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/golden/text.py, function `quantize`: rows (i · 37 mod 101) / 50 − 1 in f32, the ranges of the first four.
    #[test]
    fn bytes_are_those_of_sentence_transformers() {
        let data: Vec<f32> = (0..30)
            .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
            .collect();
        let ranges = Ranges::of(Mat::new(&data[..20], 4, 5)).unwrap();
        let embeddings = Mat::new(&data, 6, 5);
        assert_eq!(
            uint8(embeddings, &ranges).unwrap(),
            [
                0, 103, 255, 0, 103, 255, 51, 170, 255, 51, 203, 0, 85, 203, 0, 151, 255, 0, 151,
                255, 100, 203, 0, 100, 203, 48, 151, 255, 48, 151
            ]
        );
        let signed = uint8(embeddings, &ranges)
            .unwrap()
            .into_iter()
            .map(|b| (i32::from(b) - 128) as i8);
        assert_eq!(
            int8(embeddings, &ranges).unwrap(),
            signed.collect::<Vec<_>>()
        );
        assert_eq!(ubinary(embeddings).unwrap(), [32, 176, 144, 88, 72, 104]);
    }

    #[test]
    fn values_beyond_the_range_are_clamped_and_a_range_of_nothing_has_step_one() {
        let ranges = Ranges {
            low: vec![0.0, 3.0],
            high: vec![255.0, 3.0],
        };
        let row = [-7.0, 2.0, 300.0, 5.5, 4.9, 3.0];
        let bytes = uint8(Mat::new(&row, 3, 2), &ranges).unwrap();
        assert_eq!(bytes, [0, 0, 255, 2, 4, 0]);
    }

    #[test]
    fn what_is_restored_is_at_most_half_a_step_off() {
        let data: Vec<f32> = (0..300)
            .map(|i| (i * i % 211) as f32 / 90.0 - 1.0)
            .collect();
        let embeddings = Mat::new(&data, 60, 5);
        let ranges = Ranges::of(embeddings).unwrap();
        let restored = restore(&uint8(embeddings, &ranges).unwrap(), &ranges).unwrap();
        for (at, (x, found)) in data.iter().zip(&restored).enumerate() {
            let step = (ranges.high[at % 5] - ranges.low[at % 5]) / 255.0;
            assert!((x - found).abs() <= 0.501 * step, "{x} {found}");
        }
        assert_ne!(data, restored);
        assert!(restore(&[1, 2, 3], &ranges).is_err());
    }

    #[test]
    fn one_embedding_has_no_range() {
        let error = Ranges::of(Mat::new(&[1.0, 2.0], 1, 2)).unwrap_err();
        assert!(
            error.to_string().contains("at least 2 needed, 1 given"),
            "{error}"
        );
        let ranges = Ranges::of(Mat::new(&[1.0, 2.0], 2, 1)).unwrap();
        assert!(uint8(Mat::new(&[1.0, 2.0], 1, 2), &ranges).is_err());
        assert!(ubinary(Mat::new(&[f32::NAN], 1, 1)).is_err());
    }
}
