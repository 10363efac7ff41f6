//! The beginning of a long text that has all the tokens that count.

use tokenizers::{PreTokenizerWrapper, Tokenizer, TruncationDirection};

/// Bytes for each token of the limit that are tried first: words rarely have so many.
const BYTES: usize = 64;
/// How much longer the next beginning is.
const GROWTH: usize = 8;

/// A beginning of `text` that a tokenizer cuts to the same tokens as the whole, which takes eighty times the memory of its text.
///
/// It ends before white space, and half of it has as many tokens as the limit, so that no token that counts lies near its end. A text
/// without such a beginning comes back whole, as does one that is cut on the left, or whose words are not told apart before all else.
pub fn beginning<'t>(tokenizer: &Tokenizer, text: &'t str) -> &'t str {
    let Some(truncation) = tokenizer.get_truncation() else {
        return text;
    };
    let limit = truncation.max_length;
    let is_left = truncation.direction == TruncationDirection::Left;
    let mut end = limit.saturating_mul(BYTES);
    if is_left || end >= text.len() {
        return text;
    }
    let Some(spaces) = tokenizer.get_pre_tokenizer().and_then(spaces) else {
        return text;
    };
    while end < text.len() {
        let tokens = tokenizer.encode_fast(before_space(text, end / 2, spaces), false);
        if tokens.is_ok_and(|tokens| tokens.len() >= limit) {
            return before_space(text, end, spaces);
        }
        end = end.saturating_mul(GROWTH);
    }
    text
}

/// What stands before the last space of the first so many bytes, and before all white space ahead of that: a token behind it may
/// take the spaces before itself, as masks do.
fn before_space<'t>(text: &'t str, end: usize, spaces: &[char]) -> &'t str {
    let start = &text[..text.floor_char_boundary(end)];
    start[..start.rfind(spaces).unwrap_or(0)].trim_end()
}

/// The white space over which no token reaches.
fn spaces(words: &PreTokenizerWrapper) -> Option<&'static [char]> {
    let is_any = match words {
        PreTokenizerWrapper::BertPreTokenizer(_)
        | PreTokenizerWrapper::Whitespace(_)
        | PreTokenizerWrapper::WhitespaceSplit(_) => true,
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex,
        PreTokenizerWrapper::Metaspace(of) => return of.split.then_some(&[' ']),
        PreTokenizerWrapper::Sequence(steps) => return steps.as_ref().iter().find_map(spaces),
        _ => false,
    };
    is_any.then_some(&[' ', '\n', '\t', '\r'])
}
