//! Files of embeddings: a matrix `[N, D]`, and an id and a label for each row where there are any.
//!
//! The extension says the format:
//!
//! | extension | matrix | ids and labels |
//! |---|---|---|
//! | `.npy` | `float32` or bytes, C order (reads `float64` and whole numbers too) | beside it, one a line: `name.ids.txt`, `name.labels.txt` |
//! | `.safetensors` | tensor `embeddings`, F32, I8 or U8 (reads F64 too) | metadata `nearkin`: `{"ids": […], "labels": […]}` |
//! | `.parquet` | column `embedding`, list of float or whole numbers (reads double too) | columns `id`, `label` |
//! | `.jsonl` | `"embedding": […]` on each line | `"id"`, `"label"` on each line |
//!
//! Files are written beside their place and renamed, so that a full disk or a kill leaves the old file as it was.
//!
//! ```
//! use nearkin::vectors::{self, Vectors};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("faces.parquet");
//! let mut vectors = Vectors::new(2, 3, vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
//! vectors.ids = Some(vec!["ann/1.png".into(), "bob/1.png".into()]);
//! vectors::write(&path, &vectors)?;
//! assert_eq!(vectors::read(&path)?, vectors);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod classes;
mod error;
mod jsonl;
pub(crate) mod npy;
mod npy_header;
mod parquet;
mod parts;
mod rows;
mod safetensors;
mod spool;
mod staged;

use std::path::Path;

pub use classes::classes;
pub use error::VectorsError;
pub use parts::Parts;
pub use rows::{Element, Numbers};
pub use spool::Spool;

/// Embeddings, row by row, and what each row is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// The number of rows, N.
    pub rows: usize,
    /// The length of a row, D.
    pub dim: usize,
    /// The matrix `[N, D]`, row by row.
    pub data: Vec<f32>,
    /// An id for each row.
    pub ids: Option<Vec<String>>,
    /// A label for each row.
    pub labels: Option<Vec<String>>,
}

impl Vectors {
    /// The matrix alone, without ids and labels.
    pub fn new(rows: usize, dim: usize, data: Vec<f32>) -> Self {
        Self {
            rows,
            dim,
            data,
            ids: None,
            labels: None,
        }
    }

    /// Checks that the lengths agree and that every number is finite; `path` is for the message.
    fn check(&self, path: &Path) -> Result<(), VectorsError> {
        let wrong = |reason: String| VectorsError::Shape {
            path: path.to_owned(),
            reason,
        };
        let Self {
            rows, dim, data, ..
        } = self;
        if *rows == 0 || *dim == 0 {
            return Err(wrong(format!(
                "{rows} rows of {dim} numbers: there must be at least one of each"
            )));
        }
        if rows.checked_mul(*dim) != Some(data.len()) {
            return Err(wrong(format!(
                "{rows} rows of {dim} numbers, but {} numbers in all",
                data.len()
            )));
        }
        for (what, texts) in [("ids", &self.ids), ("labels", &self.labels)] {
            if let Some(texts) = texts.as_ref().filter(|texts| texts.len() != *rows) {
                return Err(wrong(format!("{rows} rows but {} {what}", texts.len())));
            }
        }
        match data.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(VectorsError::NotFinite {
                path: path.to_owned(),
                row: at / dim,
                column: at % dim,
                value: data[at],
            }),
        }
    }
}

/// The formats, by extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
    Parquet,
    Jsonl,
}

impl Format {
    fn of(path: &Path) -> Result<Self, VectorsError> {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        match extension.as_str() {
            "npy" => Ok(Self::Npy),
            "safetensors" => Ok(Self::Safetensors),
            "parquet" => Ok(Self::Parquet),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(VectorsError::UnknownFormat {
                path: path.to_owned(),
            }),
        }
    }

    fn check_ids(self, path: &Path, ids: usize, bytes: usize) -> Result<(), VectorsError> {
        match self {
            Self::Safetensors => safetensors::check_ids(path, ids, bytes),
            Self::Npy | Self::Parquet | Self::Jsonl => Ok(()),
        }
    }

    fn write(self, path: &Path, source: &mut dyn rows::Rows) -> Result<(), VectorsError> {
        match self {
            Self::Npy => npy::write(path, source),
            Self::Safetensors => safetensors::write(path, source),
            Self::Parquet => parquet::write(path, source),
            Self::Jsonl => jsonl::write(path, source),
        }
    }
}

/// Whether a file of this name can hold vectors.
///
/// # Errors
/// The extension is not one of those that are known.
pub fn check_extension(path: &Path) -> Result<(), VectorsError> {
    Format::of(path).map(drop)
}

/// The bytes of an id as a JSON string within a text that itself is a JSON string, but for what [`check_ids`] counts for each.
pub fn id_bytes(id: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 4,
        b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 3,
        0..0x20 => 7,
        _ => 1,
    };
    2 + id.bytes().map(escaped).sum::<usize>()
}

/// Whether a file of this name has room for so many ids, of so many bytes ([`id_bytes`]): the header of `.safetensors` has
/// 100 MB for them.
///
/// # Errors
/// It has not, or the extension is not one of those that are known.
pub fn check_ids(path: &Path, ids: usize, bytes: usize) -> Result<(), VectorsError> {
    Format::of(path)?.check_ids(path, ids, bytes)
}

/// Writes `vectors` to `path` in the format of its extension, replacing the file only once all is written.
///
/// # Errors
/// An unknown extension, lengths that do not agree, a number that is not finite, or a file that cannot be written; an
/// old file at `path` is then as it was.
pub fn write(path: &Path, vectors: &Vectors) -> Result<(), VectorsError> {
    let format = Format::of(path)?;
    vectors.check(path)?;
    format.write(path, &mut &*vectors)
}

/// Reads the vectors at `path` in the format of its extension.
///
/// # Errors
/// An unknown extension, a file that cannot be read or is damaged or truncated, a matrix of another shape or type, or
/// a number that is not finite.
pub fn read(path: &Path) -> Result<Vectors, VectorsError> {
    let vectors = match Format::of(path)? {
        Format::Npy => npy::read(path)?,
        Format::Safetensors => safetensors::read(path)?,
        Format::Parquet => parquet::read(path)?,
        Format::Jsonl => jsonl::read(path)?,
    };
    vectors.check(path)?;
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENSIONS: [&str; 4] = ["npy", "safetensors", "parquet", "jsonl"];

    /// Values that a sloppy decimal or half-precision path would change.
    fn sample(rows: usize, dim: usize) -> Vectors {
        let data = (0_u16..)
            .take(rows * dim)
            .map(|i| (f32::from(i) * 0.731).sin() * 10_f32.powi(i32::from(i % 13) - 6))
            .collect();
        Vectors::new(rows, dim, data)
    }

    fn named(vectors: Vectors) -> Vectors {
        let texts = |what: &str| {
            Some(
                (0..vectors.rows)
                    .map(|i| format!("{what} \"{i}\" ü/,\t"))
                    .collect(),
            )
        };
        Vectors {
            ids: texts("id"),
            labels: texts("label"),
            ..vectors
        }
    }

    #[test]
    fn every_format_gives_back_the_same_bits_with_and_without_names() {
        let folder = tempfile::tempdir().unwrap();
        for extension in EXTENSIONS {
            let path = folder.path().join("vectors").with_extension(extension);
            for vectors in [named(sample(7, 5)), sample(1, 1), sample(300, 33)] {
                write(&path, &vectors).unwrap();
                let read = read(&path).unwrap();
                assert!(
                    read == vectors,
                    "{extension}: {} × {}",
                    vectors.rows,
                    vectors.dim
                );
            }
            let labels_only = Vectors {
                ids: None,
                ..named(sample(3, 2))
            };
            write(&path, &labels_only).unwrap();
            assert_eq!(read(&path).unwrap(), labels_only, "{extension}");
        }
    }

    #[test]
    fn writing_twice_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for extension in EXTENSIONS {
            let paths = [1, 2].map(|i| folder.path().join(format!("{i}.{extension}")));
            for path in &paths {
                write(path, &named(sample(20, 4))).unwrap();
            }
            assert!(
                fs_err::read(&paths[0]).unwrap() == fs_err::read(&paths[1]).unwrap(),
                "{extension}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_that_names_it_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        for extension in EXTENSIONS {
            let path = folder.path().join("cut").with_extension(extension);
            write(&path, &sample(6, 4)).unwrap();
            let whole = fs_err::read(&path).unwrap();
            // A text file that ends between two lines is a shorter file, not a damaged one.
            let ends_a_line = |len: usize| {
                extension == "jsonl" && (whole[len - 1] == b'\n' || whole.get(len) == Some(&b'\n'))
            };
            for len in (1..whole.len()).filter(|&len| !ends_a_line(len)) {
                fs_err::write(&path, &whole[..len]).unwrap();
                let message = read(&path).unwrap_err().to_string();
                assert!(
                    message.contains("cut."),
                    "{extension} cut at {len}: {message}"
                );
            }
        }
    }

    #[test]
    fn lengths_that_disagree_and_numbers_that_are_not_finite_are_refused_before_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut nan = sample(3, 2);
        nan.data[3] = f32::NAN;
        for (vectors, words) in [
            (
                Vectors::new(2, 3, vec![0.0; 5]),
                "2 rows of 3 numbers, but 5",
            ),
            (Vectors::new(0, 3, Vec::new()), "at least one"),
            (
                Vectors {
                    labels: Some(vec![String::new()]),
                    ..sample(2, 2)
                },
                "2 rows but 1 labels",
            ),
            (nan, "row 1, column 1 is NaN"),
        ] {
            let message = write(&path, &vectors).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn an_unknown_extension_is_refused_with_the_known_ones() {
        let message = write(Path::new("v.csv"), &sample(1, 1))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("v.csv") && message.contains("parquet"),
            "{message}"
        );
    }

    #[test]
    fn an_id_is_as_long_as_a_text_within_a_text() {
        for id in ["plain", "é \"quoted\" \\", "line\nline\ttab", "\u{1}", ""] {
            let once = serde_json::to_string(id).unwrap();
            let twice = serde_json::to_string(&once).unwrap();
            // But for the outer quotation marks, and the backslashes before the inner ones, counted with the comma.
            assert_eq!(id_bytes(id), twice.len() - 4, "{id:?}");
        }
    }
}
