//! A batch of sentences without padding.

use std::sync::Arc;

/// The tokens of one sentence, or of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Their numbers in the vocabulary, special tokens included.
    pub ids: Vec<u32>,
    /// The segment of each: 0, and 1 for the second sentence of a pair.
    pub segments: Vec<u32>,
}

/// Sentences one after another, with the places where they begin.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Numbers in the vocabulary, `[tokens]`.
    pub ids: Arc<[u32]>,
    /// Segments, `[tokens]`.
    pub segments: Arc<[u32]>,
    /// The place of each token in its sentence, from 0, `[tokens]`.
    pub places: Arc<[u32]>,
    /// The first token of each sentence, then the number of tokens.
    pub offsets: Arc<[usize]>,
}

impl Packed {
    /// Packs sentences in their order.
    ///
    /// ```
    /// use nearkin_encoder::text::{Packed, Tokens};
    /// let sentence = |n| Tokens { ids: vec![7; n], segments: vec![0; n] };
    /// let packed = Packed::new([&sentence(2), &sentence(3)]);
    /// assert_eq!((&packed.offsets[..], &packed.places[..]), (&[0, 2, 5][..], &[0, 1, 0, 1, 2][..]));
    /// ```
    pub fn new<'a>(sentences: impl IntoIterator<Item = &'a Tokens>) -> Self {
        let (mut ids, mut segments, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut offsets = vec![0];
        for sentence in sentences {
            ids.extend_from_slice(&sentence.ids);
            segments.extend_from_slice(&sentence.segments);
            places.extend(0..sentence.ids.len() as u32);
            offsets.push(ids.len());
        }
        Self {
            ids: ids.into(),
            segments: segments.into(),
            places: places.into(),
            offsets: offsets.into(),
        }
    }

    /// How many sentences it holds.
    pub fn sentences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many tokens the longest sentence has.
    pub fn longest(&self) -> usize {
        let lengths = self.offsets.windows(2).map(|pair| pair[1] - pair[0]);
        lengths.max().unwrap_or(0)
    }
}
