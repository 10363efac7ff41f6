//! What can go wrong with a file of vectors.

use std::path::PathBuf;

/// Why a file of vectors could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An extension that names no known format.
    #[error("{path}: the extension must be npy, safetensors, parquet or jsonl")]
    UnknownFormat {
        /// The path given.
        path: PathBuf,
    },
    /// Lengths that do not agree.
    #[error("{path}: {reason}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// Which lengths.
        reason: String,
    },
    /// A number that is NaN or infinite.
    #[error("{path}: row {row}, column {column} is {value}")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// The number.
        value: f32,
    },
    /// A file that is damaged, truncated or of another kind.
    #[error("{path} cannot be read: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a text file that cannot be used.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// An id or label that the format cannot hold.
    #[error(
        "{path}: {what} of row {row} has a line break, which the text file beside a .npy cannot hold: use .parquet, .jsonl or .safetensors"
    )]
    LineBreak {
        /// The file of ids or labels.
        path: PathBuf,
        /// `id` or `label`.
        what: &'static str,
        /// The row, from 0.
        row: usize,
    },
    /// A file that could not be written.
    #[error("{path} cannot be written: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}
