//! The beginning of a long text that has all the tokens that count.

use tokenizers::{PreTokenizerWrapper, Tokenizer, TruncationDirection};

/// Bytes for each token of the limit that are tried first: words rarely have so many.
const BYTES: usize = 64;
/// How much longer the next beginning is.
const GROWTH: usize = 8;

/// A beginning of `text` that a tokenizer cuts to the same tokens as the whole, which takes eighty times the memory of its text.
///
/// It ends before a space, and half of it has as many tokens as the limit, so that no token that counts lies near its end. A text
/// without such a beginning comes back whole, as does one that is cut on the left, or whose words are not told apart before all else.
pub fn beginning<'t>(tokenizer: &Tokenizer, text: &'t str) -> &'t str {
    let Some(truncation) = tokenizer.get_truncation() else {
        return text;
    };
    let limit = truncation.max_length;
    let is_left = truncation.direction == TruncationDirection::Left;
    let splits = || tokenizer.get_pre_tokenizer().is_some_and(splits_at_spaces);
    let mut end = limit.saturating_mul(BYTES);
    if is_left || end >= text.len() || !splits() {
        return text;
    }
    while end < text.len() {
        let tokens = tokenizer.encode_fast(before_space(text, end / 2), false);
        if tokens.is_ok_and(|tokens| tokens.len() >= limit) {
            return before_space(text, end);
        }
        end = end.saturating_mul(GROWTH);
    }
    text
}

/// What stands before the last space of the first so many bytes.
fn before_space(text: &str, end: usize) -> &str {
    let start = &text[..text.floor_char_boundary(end)];
    &start[..start.rfind(' ').unwrap_or(0)]
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
