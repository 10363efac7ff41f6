//! The beginning of a long text that has all the tokens that count.

use tokenizers::{PreTokenizerWrapper, Tokenizer, TruncationDirection};

/// Bytes for each token of the limit that are tried first: words rarely have so many.
const BYTES: usize = 64;
/// How much longer the next beginning is.
const GROWTH: usize = 8;
/// The smallest limit at which texts are cut: tokens beyond it keep what the cut may change away from those before.
const FEWEST: usize = 16;

/// A beginning of `text` that a tokenizer cuts to the same tokens as the whole, which takes eighty times the memory of its text.
///
/// It ends before a space and has more than twice the tokens of the limit; a text without such a beginning comes back whole, as does
/// one that is cut on the left, or whose words are not told apart before all else.
pub fn beginning<'t>(tokenizer: &Tokenizer, text: &'t str) -> &'t str {
    let Some(truncation) = tokenizer.get_truncation() else {
        return text;
    };
    let limit = truncation.max_length;
    let is_left = truncation.direction == TruncationDirection::Left;
    let splits = || tokenizer.get_pre_tokenizer().is_some_and(splits_at_spaces);
    let mut end = limit.saturating_mul(BYTES);
    if is_left || limit < FEWEST || end >= text.len() || !splits() {
        return text;
    }
    while end < text.len() {
        let part = &text[..text.floor_char_boundary(end)];
        let part = &part[..part.rfind(' ').unwrap_or(0)];
        let tokens = tokenizer.encode_fast(part, true);
        // What goes beyond the limit comes in encodings of its own, of which only the last one is not full.
        if tokens.is_ok_and(|tokens| tokens.get_overflowing().len() >= 2) {
            return part;
        }
        end = end.saturating_mul(GROWTH);
    }
    text
}

/// Whether no token reaches over a space.
fn splits_at_spaces(words: &PreTokenizerWrapper) -> bool {
    match words {
        PreTokenizerWrapper::BertPreTokenizer(_)
        | PreTokenizerWrapper::Whitespace(_)
        | PreTokenizerWrapper::WhitespaceSplit(_) => true,
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex,
        PreTokenizerWrapper::Metaspace(spaces) => spaces.split,
        PreTokenizerWrapper::Sequence(steps) => steps.as_ref().iter().any(splits_at_spaces),
        _ => false,
    }
}
