//! What can go wrong while reading data.

use std::path::PathBuf;

use crate::vectors::VectorsError;

/// Why data could not be read: which file, where in it, what was expected and what came.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A path where no file is.
    #[error("{path}: there is no such file")]
    NoFile {
        /// The path given.
        path: PathBuf,
    },
    /// A folder in place of an image.
    #[error("{path}: a folder, expected an image")]
    Folder {
        /// The path given.
        path: PathBuf,
    },
    /// A path where nothing is.
    #[error("{path}: there is no such file or folder")]
    Nothing {
        /// The path given.
        path: PathBuf,
    },
    /// An item whose content is known not to be there.
    #[error("{reason}")]
    Absent {
        /// Where it was looked for.
        reason: String,
    },
    /// A file where a folder was expected.
    #[error(
        "{path} is a file; [data.source.folder] expects a folder of class folders (a zip goes to [data.source.zip])"
    )]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
    /// A source without a single image.
    #[error("no images in {path}: {found}; files ending in {} count as images", super::IMAGE_EXTENSIONS.join(", "))]
    NoImages {
        /// The folder or archive.
        path: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// A data set without the list that its layout has.
    #[error("{path}: no file {list}, which lists the images of this data set")]
    NoList {
        /// The folder or archive.
        path: PathBuf,
        /// The list's name.
        list: String,
    },
    /// An image whose path is not as those of its data set are.
    #[error("{path}: {file:?} is not called as the images of this data set are, such as {form}")]
    Form {
        /// The folder or archive.
        path: PathBuf,
        /// The image, relative to it.
        file: String,
        /// A path of the expected form.
        form: &'static str,
    },
    /// Annotations that cannot be read, or that are not those of the data set.
    #[error("{path}: {reason}")]
    Annotations {
        /// The file of them.
        path: PathBuf,
        /// What was expected and what came.
        reason: String,
    },
    /// Classes that are not those of the data set.
    #[error("{path}: expected {expected}, found {found}")]
    Classes {
        /// The folder, archive or list.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// A file that is no zip archive, or a damaged one.
    #[error("{path} cannot be read as a zip archive: {source}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The reason.
        source: zip::result::ZipError,
    },
    /// One entry of an archive cannot be read.
    #[error("{path}: entry {entry:?} cannot be read: {reason}")]
    Entry {
        /// The archive.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// The reason.
        reason: String,
    },
    /// An extension that names no known format.
    #[error("{path}: the extension must be one of {expected}")]
    UnknownFormat {
        /// The path given.
        path: PathBuf,
        /// The extensions that are read.
        expected: &'static str,
    },
    /// A file without rows.
    #[error("{path} has no rows{reason}")]
    NoRows {
        /// The table.
        path: PathBuf,
        /// Why, where it is known.
        reason: String,
    },
    /// A line of a table that cannot be split into fields.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The table.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The reason.
        reason: String,
    },
    /// A column that the table does not have.
    #[error("{path}:1: no column {column}{hint}; the table has {known}")]
    UnknownColumn {
        /// The table.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The nearest known name, if one is near.
        hint: String,
        /// The columns there are.
        known: String,
    },
    /// A field whose value cannot be used.
    #[error("{path}:{line}, column {column}: expected {expected}, found {found:?}")]
    Value {
        /// The table.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What was expected.
        expected: String,
        /// What was there.
        found: String,
    },
    /// More rows of a table cannot be used than its `damaged` allows.
    #[error("{path}: {damage}, damaged = {allowed} allows {} of {rows} rows", (allowed * *rows as f64) as usize)]
    DamagedRows {
        /// The table.
        path: PathBuf,
        /// How many, and the first of them.
        damage: crate::text::table::Damage,
        /// The rows that were read.
        rows: usize,
        /// The share that may be damaged.
        allowed: f64,
    },
    /// Rows of text that the recipe describes in a way that cannot be.
    #[error("rows of {path}: {reason}")]
    Rows {
        /// The table.
        path: PathBuf,
        /// What was expected and what came.
        reason: String,
    },
    /// A feature that is NaN, infinite or an empty field.
    #[error(
        "{path}: {row}, column {column}: no finite value ({found:?}); set missing = \"skip\" to leave such rows out"
    )]
    MissingValue {
        /// The table or matrix.
        path: PathBuf,
        /// `line 12` or `row 11`.
        row: String,
        /// The column's name or number.
        column: String,
        /// What was there.
        found: String,
    },
    /// A table whose every column is a label, an id or ignored.
    #[error("none of the {columns} columns of {path} is left to be a feature")]
    NoFeatures {
        /// The table.
        path: PathBuf,
        /// Its columns.
        columns: usize,
    },
    /// As many labels as rows are needed.
    #[error("{path} has {rows} rows but {labels_path} has {labels} labels")]
    LabelCount {
        /// The features.
        path: PathBuf,
        /// Their rows.
        rows: usize,
        /// The label file.
        labels_path: PathBuf,
        /// Its labels.
        labels: usize,
    },
    /// A `.npy` matrix has no labels of its own.
    #[error(
        "{path} has no labels of its own: name a file of them with labels = \"labels.npy\" (or .txt, one a line)"
    )]
    NoLabels {
        /// The features.
        path: PathBuf,
    },
    /// A `.npy` file that cannot be read.
    #[error(transparent)]
    Matrix(#[from] VectorsError),
    /// Images were asked of a set of features.
    #[error("{name} holds rows of features, not images")]
    NotImages {
        /// The set.
        name: String,
    },
}
