//! What can go wrong in the encoder.

use std::path::PathBuf;

/// Error of the encoder crate: what was expected, what came, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// Reading or writing a file failed; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An image could not be decoded.
    #[error("{name}: not a readable image: {reason}")]
    Image {
        /// The item's name or path.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// A setting is outside what the layer or network can do.
    #[error("{key}: expected {expected}, found {found}")]
    Setting {
        /// The recipe key, dotted.
        key: String,
        /// What would be accepted.
        expected: String,
        /// What came.
        found: String,
    },
    /// A layer gets a feature map smaller than its window.
    #[error(
        "{layer}: the feature map is {height}x{width} here, smaller than the layer's {}x{} window; use a larger input or fewer stages",
        window[0], window[1]
    )]
    TooSmall {
        /// The layer's name.
        layer: String,
        /// Height of the map that arrives.
        height: usize,
        /// Width of the map that arrives.
        width: usize,
        /// Height and width of the layer's window.
        window: [usize; 2],
    },
    /// A parameter of more numbers than memory is asked for.
    #[error("{name}: at most {most} weights, found shape {shape:?}")]
    TooManyWeights {
        /// The parameter's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The most numbers of a parameter.
        most: usize,
    },
    /// A weight file lacks a tensor that the network has.
    #[error("{path}: tensor \"{tensor}\" is missing")]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A weight file holds a tensor of another shape.
    #[error("{path}: tensor \"{tensor}\" has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape the network needs.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A file is damaged or of another kind than its name says.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model folder holds another kind of model.
    #[error("{path}: expected {expected}, found {found}")]
    Kind {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A model folder was written by a version this one does not read.
    #[error("{path}: model format {found}, this version reads formats up to {supported}")]
    Version {
        /// The file that names the version.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version supported.
        supported: u32,
    },
}

/// Result of the encoder crate.
pub type Result<T> = std::result::Result<T, Error>;
