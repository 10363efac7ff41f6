//! A file of vectors, a part of its rows at a time.

use super::rows::Names;
use super::{Format, Vectors, VectorsError, npy};
use std::path::{Path, PathBuf};

/// The rows of a file of vectors, a part at a time. Of a `.npy` memory holds one part; files of the other formats are read whole.
///
/// ```
/// use nearkin::vectors::{self, Parts, Vectors};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("many.npy");
/// vectors::write(&path, &Vectors::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))?;
/// let mut parts = Parts::open(&path)?;
/// assert_eq!(parts.read(2)?, Some(vec![1.0, 2.0, 3.0, 4.0]));
/// assert_eq!((parts.read(2)?, parts.read(2)?), (Some(vec![5.0, 6.0]), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Parts {
    path: PathBuf,
    source: Source,
    labels: Option<Vec<String>>,
    /// Rows that were read.
    read: usize,
}

enum Source {
    Stream(npy::Stream),
    Whole(Vectors),
}

impl Parts {
    /// Opens a file in the format of its extension.
    ///
    /// # Errors
    /// As [`read`](super::read); that a number is not finite is found when its part is read.
    pub fn open(path: &Path) -> Result<Self, VectorsError> {
        let (source, labels) = if Format::of(path)? == Format::Npy {
            let labels = npy::names(path, Names::Label)?;
            (Source::Stream(npy::Stream::open(path)?), labels)
        } else {
            let mut vectors = super::read(path)?;
            let labels = vectors.labels.take();
            (Source::Whole(vectors), labels)
        };
        let parts = Self {
            path: path.to_owned(),
            source,
            labels,
            read: 0,
        };
        if let Some(labels) = parts.labels.as_ref().filter(|of| of.len() != parts.rows()) {
            return Err(VectorsError::Shape {
                path: path.to_owned(),
                reason: format!("{} rows but {} labels", parts.rows(), labels.len()),
            });
        }
        Ok(parts)
    }

    /// All rows of the file, N.
    pub fn rows(&self) -> usize {
        match &self.source {
            Source::Stream(stream) => stream.rows,
            Source::Whole(vectors) => vectors.rows,
        }
    }

    /// The length of a row, D.
    pub fn dim(&self) -> usize {
        match &self.source {
            Source::Stream(stream) => stream.dim,
            Source::Whole(vectors) => vectors.dim,
        }
    }

    /// The labels of all rows.
    pub fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }

    /// The next rows, up to so many, one after another; none at the end.
    ///
    /// # Errors
    /// The file cannot be read, or a number is not finite.
    pub fn read(&mut self, rows: usize) -> Result<Option<Vec<f32>>, VectorsError> {
        let (first, dim) = (self.read, self.dim());
        let rows = rows.min(self.rows() - first);
        if rows == 0 {
            return Ok(None);
        }
        let part = match &mut self.source {
            Source::Stream(stream) => stream.read(rows)?,
            Source::Whole(vectors) => vectors.data[first * dim..(first + rows) * dim].to_vec(),
        };
        self.read += rows;
        match nearkin_kernels::first_non_finite(&part) {
            None => Ok(Some(part)),
            Some(at) => Err(VectorsError::NotFinite {
                path: self.path.clone(),
                row: first + at / dim,
                column: at % dim,
                value: part[at],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vectors {
        Vectors {
            labels: Some((0..7).map(|i| format!("l{}", i % 3)).collect()),
            ..Vectors::new(7, 3, (0..21).map(|i| i as f32 - 8.0).collect())
        }
    }

    #[test]
    fn parts_of_every_format_are_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        for extension in ["npy", "safetensors", "parquet", "jsonl"] {
            let path = folder.path().join("v").with_extension(extension);
            crate::vectors::write(&path, &vectors()).unwrap();
            let mut parts = Parts::open(&path).unwrap();
            assert_eq!((parts.rows(), parts.dim()), (7, 3));
            assert_eq!(parts.labels(), vectors().labels.as_deref());
            let mut all = Vec::new();
            while let Some(part) = parts.read(2).unwrap() {
                assert!(part.len() <= 6);
                all.extend(part);
            }
            assert_eq!(all, vectors().data, "{extension}");
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_placed_in_the_file_and_a_short_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        crate::vectors::write(&path, &vectors()).unwrap();
        let mut bytes = fs_err::read(&path).unwrap();
        let at = bytes.len() - 4 * 4;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs_err::write(&path, &bytes).unwrap();
        let mut parts = Parts::open(&path).unwrap();
        parts.read(4).unwrap();
        let error = parts.read(4).unwrap_err().to_string();
        assert!(error.contains("row 5, column 2 is NaN"), "{error}");

        fs_err::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = Parts::open(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{error}");
        fs_err::write(&path, &bytes).unwrap();
        fs_err::write(path.with_extension("labels.txt"), "a\nb\n").unwrap();
        let error = Parts::open(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains("7 rows but 2 labels"), "{error}");
    }
}
