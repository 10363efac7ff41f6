//! Why embeddings of text cannot be measured or searched.

use crate::evaluate::EvaluateError;

/// What was expected and what came.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TextError {
    /// A number is not finite, or widths differ.
    #[error(transparent)]
    Embeddings(#[from] EvaluateError),
    /// Things that belong together differ in count.
    #[error("{expected} {what} were expected, one for each {of}, but there are {found}")]
    Count {
        /// What there is too much or too little of.
        what: &'static str,
        /// What each belongs to.
        of: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Nothing can be computed from so little.
    #[error("{what}: at least {least} needed, {found} given")]
    TooFew {
        /// What is short.
        what: &'static str,
        /// The least that would do.
        least: usize,
        /// What there is.
        found: usize,
    },
    /// A gold score is NaN or infinite.
    #[error("gold score {row} is {value}")]
    GoldScore {
        /// The row, from 0.
        row: usize,
        /// The score.
        value: f64,
    },
    /// An index beyond the end.
    #[error("{what} {index} of {of} {row}, but there are only {count}")]
    Index {
        /// What is indexed.
        what: &'static str,
        /// The index, from 0.
        index: usize,
        /// What names it.
        of: &'static str,
        /// Which of those, from 0.
        row: usize,
        /// How many there are to index.
        count: usize,
    },
    /// A setting that cannot be.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What was expected and what came.
        reason: String,
    },
}

/// Checks that there are as many as expected.
pub(super) fn check_count(
    what: &'static str,
    of: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), TextError> {
    if expected == found {
        return Ok(());
    }
    Err(TextError::Count {
        what,
        of,
        expected,
        found,
    })
}
