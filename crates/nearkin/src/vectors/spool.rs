//! Vectors that come a block at a time, kept beside their file until all are there.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::{Element, Names, Numbers, Rows};
use super::{Format, VectorsError, staged::write_f32s};

/// Rows on the way to a file: memory holds a block of them, and what was [kept](Self::keep) outlives the process.
///
/// Beside `out.npy` lie `out.npy.partial` with the numbers, `out.npy.partial.names` with the ids as JSON strings, a line
/// each, and `out.npy.partial.json` with the count of both and what the rows are [of](Self::source); [`finish`](Self::finish) takes
/// them away.
///
/// ```
/// use nearkin::vectors::{self, Element, Numbers, Spool};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("v.npy");
/// let mut spool = Spool::open(&path)?;
/// spool.append(&["a", "b"], &[1.0, 0.0, 0.0, 1.0], 2)?;
/// spool.keep("two of three")?;
/// drop(spool);
/// let mut spool = Spool::open(&path)?;
/// assert_eq!((spool.rows(), spool.source()), (2, "two of three"));
/// spool.append(&["c"], &[0.5, 0.5], 2)?;
/// spool.finish((2, Element::F32), &mut |rows| Ok(Numbers::F32(rows.to_vec().into())))?;
/// assert_eq!(vectors::read(&path)?.ids.unwrap(), ["a", "b", "c"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spool {
    target: PathBuf,
    format: Format,
    count: Count,
    numbers: fs_err::File,
    names: fs_err::File,
}

/// What is whole of the two files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Count {
    rows: usize,
    dim: usize,
    /// Bytes of the file of names.
    names: u64,
    /// What the rows are of, as the caller calls it.
    #[serde(default)]
    source: String,
}

fn beside(target: &Path, what: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(what);
    target.with_file_name(name)
}

impl Spool {
    /// Opens what an earlier process kept for the file `target`, or starts anew.
    ///
    /// # Errors
    /// The extension is unknown, a file cannot be written or is damaged, or another process is at it.
    pub fn open(target: &Path) -> Result<Self, VectorsError> {
        let format = Format::of(target)?;
        let open = |path: PathBuf| {
            let mut options = fs_err::OpenOptions::new();
            options.read(true).write(true).create(true).open(path)
        };
        let numbers = open(beside(target, ".partial"))?;
        if numbers.file().try_lock().is_err() {
            let reason = "another process is writing it".to_owned();
            return Err(VectorsError::Write {
                path: target.to_owned(),
                reason,
            });
        }
        let names = open(beside(target, ".partial.names"))?;
        let mut spool = Self {
            target: target.to_owned(),
            format,
            count: Count::default(),
            numbers,
            names,
        };
        spool.count = Count::read(target)?;
        // What came after the last count may be cut short.
        for (file, len) in [
            (&mut spool.numbers, spool.count.bytes()),
            (&mut spool.names, spool.count.names),
        ] {
            if file.metadata()?.len() < len {
                let reason = "shorter than its count says; remove it to start anew".to_owned();
                return Err(VectorsError::Malformed {
                    path: file.path().to_owned(),
                    reason,
                });
            }
            file.set_len(len)?;
            file.seek(SeekFrom::End(0))?;
        }
        Ok(spool)
    }

    /// What a process that ends now leaves for the file `target`: the count of rows that were kept. Where there are none, nothing
    /// is left.
    ///
    /// # Errors
    /// A file cannot be read or removed.
    pub fn leave(target: &Path) -> Result<usize, VectorsError> {
        let kept = Count::read(target)?.rows;
        if kept == 0 {
            remove(target)?;
        }
        Ok(kept)
    }

    /// The file that is to be written.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Rows that are there.
    pub fn rows(&self) -> usize {
        self.count.rows
    }

    /// What the rows are of, as [`keep`](Self::keep) was told.
    pub fn source(&self) -> &str {
        &self.count.source
    }

    /// Length of a row; 0 where there is none.
    pub fn dim(&self) -> usize {
        self.count.dim
    }

    /// The names of the rows that are there, in order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn names(
        &self,
    ) -> Result<impl Iterator<Item = Result<String, VectorsError>> + use<>, VectorsError> {
        let path = beside(&self.target, ".partial.names");
        let lines = BufReader::new(fs_err::File::open(&path)?).lines();
        Ok(lines.map(move |line| {
            serde_json::from_str(&line?).map_err(|error| VectorsError::Malformed {
                path: path.clone(),
                reason: error.to_string(),
            })
        }))
    }

    /// Some of the rows that are there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, rows: Range<usize>) -> Result<Vec<f32>, VectorsError> {
        let size = 4 * self.count.dim as u64;
        let mut bytes = vec![0; rows.len() * size as usize];
        self.numbers
            .seek(SeekFrom::Start(rows.start as u64 * size))?;
        self.numbers.read_exact(&mut bytes)?;
        self.numbers.seek(SeekFrom::End(0))?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// Adds rows of `dim` numbers, with a name each.
    ///
    /// # Errors
    /// The lengths do not agree, a number is not finite, the names are more than the format has room for, or the disk is full.
    pub fn append<T: AsRef<str>>(
        &mut self,
        names: &[T],
        data: &[f32],
        dim: usize,
    ) -> Result<(), VectorsError> {
        if self.count.rows > 0 && self.count.dim != dim || names.len() * dim != data.len() {
            let reason = format!(
                "{} rows of {} numbers so far, now {} rows of {dim} and {} numbers",
                self.count.rows,
                self.count.dim,
                names.len(),
                data.len()
            );
            let path = self.target.clone();
            return Err(VectorsError::Shape { path, reason });
        }
        if let Some(at) = data.iter().position(|x| !x.is_finite()) {
            return Err(VectorsError::NotFinite {
                path: self.target.clone(),
                row: self.count.rows + at / dim,
                column: at % dim,
                value: data[at],
            });
        }
        let mut lines = Vec::new();
        for name in names {
            serde_json::to_writer(&mut lines, name.as_ref()).map_err(std::io::Error::from)?;
            lines.push(b'\n');
        }
        let rows = self.count.rows + names.len();
        let bytes = self.count.names as usize + lines.len() - rows;
        self.format.check_ids(&self.target, rows, bytes)?;
        write_f32s(&mut self.numbers, data)?;
        self.names.write_all(&lines)?;
        self.count.rows += names.len();
        self.count.dim = dim;
        self.count.names += lines.len() as u64;
        Ok(())
    }

    /// Flushes the rows to the disk, from which [`open`](Self::open) takes them up; `source` says what they are of, for who goes on
    /// to compare.
    ///
    /// # Errors
    /// The disk is full.
    pub fn keep(&mut self, source: &str) -> Result<(), VectorsError> {
        source.clone_into(&mut self.count.source);
        self.numbers.sync_data()?;
        self.names.sync_data()?;
        let count = serde_json::to_vec(&self.count).map_err(std::io::Error::from)?;
        let path = beside(&self.target, ".partial.json");
        nearkin_encoder::weights::write_beside(&path, &count).map_err(|error| VectorsError::Write {
            path,
            reason: error.to_string(),
        })
    }

    /// Writes the file of all rows, each block as `convert` makes it, and removes what lay beside it.
    ///
    /// # Shapes
    /// - `convert`: `[N, D]` to `[N, dim]` of `element`
    ///
    /// # Errors
    /// There is no row, or the file cannot be written; the rows then stay where they are.
    pub fn finish(
        mut self,
        (dim, element): (usize, Element),
        convert: &mut dyn FnMut(&[f32]) -> Result<Numbers<'static>, VectorsError>,
    ) -> Result<(), VectorsError> {
        if self.count.rows == 0 || dim == 0 {
            let reason = format!("{} rows of {dim} numbers", self.count.rows);
            remove(&self.target)?;
            let path = self.target.clone();
            return Err(VectorsError::Shape { path, reason });
        }
        let (target, format) = (self.target.clone(), self.format);
        let mut whole = Whole {
            lines: None,
            spool: &mut self,
            dim,
            element,
            convert,
        };
        format.write(&target, &mut whole)?;
        remove(&self.target)
    }
}

/// Removes what lies beside a file.
fn remove(target: &Path) -> Result<(), VectorsError> {
    // The count first: without it the rest is nothing.
    for what in [".partial.json", ".partial.names", ".partial"] {
        let path = beside(target, what);
        if path.exists() {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Without a count the files are of no use; the error that led here is the one to report.
        if !beside(&self.target, ".partial.json").exists() {
            let _ = remove(&self.target);
        }
    }
}

impl Count {
    /// The count of what was kept for a file.
    fn read(target: &Path) -> Result<Self, VectorsError> {
        let path = beside(target, ".partial.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&fs_err::read(&path)?).map_err(|error| VectorsError::Malformed {
            path,
            reason: format!("{error}; remove it to start anew"),
        })
    }

    fn bytes(&self) -> u64 {
        4 * (self.rows * self.dim) as u64
    }
}

/// Names, one after another.
type Lines = Box<dyn Iterator<Item = Result<String, VectorsError>>>;

/// The rows of a spool as the file will have them.
struct Whole<'s> {
    spool: &'s mut Spool,
    /// The names from this row on.
    lines: Option<(usize, Lines)>,
    dim: usize,
    element: Element,
    convert: &'s mut dyn FnMut(&[f32]) -> Result<Numbers<'static>, VectorsError>,
}

impl Rows for Whole<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.spool.rows(), self.dim)
    }

    fn element(&self) -> Element {
        self.element
    }

    fn has(&self, names: Names) -> bool {
        names == Names::Id
    }

    fn names(&mut self, names: Names, rows: Range<usize>) -> Result<Vec<String>, VectorsError> {
        if !self.has(names) {
            return Ok(Vec::new());
        }
        let (at, mut lines) = match self.lines.take() {
            Some((at, lines)) if at == rows.start => (at, lines),
            _ => {
                let lines: Lines = Box::new(self.spool.names()?.skip(rows.start));
                (rows.start, lines)
            }
        };
        let texts = lines.by_ref().take(rows.len()).collect::<Result<_, _>>()?;
        self.lines = Some((at + rows.len(), lines));
        Ok(texts)
    }

    fn numbers(&mut self, rows: Range<usize>) -> Result<Numbers<'_>, VectorsError> {
        let numbers = self.spool.read(rows)?;
        (self.convert)(&numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{Vectors, read, write};

    fn spooled(path: &Path, element: Element) {
        let mut spool = Spool::open(path).unwrap();
        spool
            .append(&["a", "b \"ü\""], &[1.0, -2.0, 3.0, 4.0], 2)
            .unwrap();
        spool.append(&["c"], &[0.0, 7.0], 2).unwrap();
        let mut convert = |rows: &[f32]| {
            Ok(match element {
                Element::F32 => Numbers::F32(rows.to_vec().into()),
                Element::I8 => Numbers::I8(rows.iter().map(|&x| x as i8).collect()),
                Element::U8 => Numbers::U8(rows.iter().map(|&x| (x + 2.0) as u8).collect()),
            })
        };
        spool.finish((2, element), &mut convert).unwrap();
    }

    #[test]
    fn every_format_holds_what_was_appended_as_if_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for extension in ["npy", "safetensors", "parquet", "jsonl"] {
            let [one, other] =
                ["one", "other"].map(|name| folder.path().join(name).with_extension(extension));
            spooled(&one, Element::F32);
            let mut vectors = Vectors::new(3, 2, vec![1.0, -2.0, 3.0, 4.0, 0.0, 7.0]);
            vectors.ids = Some(["a", "b \"ü\"", "c"].map(str::to_owned).to_vec());
            write(&other, &vectors).unwrap();
            assert!(
                fs_err::read(&one).unwrap() == fs_err::read(&other).unwrap(),
                "{extension}"
            );
            for (element, shift) in [(Element::I8, 0.0), (Element::U8, 2.0)] {
                spooled(&one, element);
                let shifted: Vec<f32> = vectors.data.iter().map(|x| x + shift).collect();
                assert_eq!(read(&one).unwrap().data, shifted, "{extension}");
            }
        }
        let left = fs_err::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        assert!(
            left.into_iter()
                .all(|path| !path.to_string_lossy().contains("partial"))
        );
    }

    #[test]
    fn ids_beyond_the_header_of_safetensors_are_refused_before_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let long = ["x".repeat(60_000_000)];
        for (extension, is_enough) in [("safetensors", false), ("parquet", true)] {
            let path = folder.path().join("v").with_extension(extension);
            let mut spool = Spool::open(&path).unwrap();
            spool.append(&long, &[1.0], 1).unwrap();
            spool.keep("").unwrap();
            let second = spool.append(&long, &[2.0], 1);
            assert_eq!(second.is_ok(), is_enough, "{extension}");
            if let Err(error) = second {
                let error = error.to_string();
                assert!(error.contains("write .npy, .parquet or .jsonl"), "{error}");
                drop(spool);
                assert_eq!(Spool::leave(&path).unwrap(), 1);
            }
        }
    }

    #[test]
    fn rows_that_were_not_kept_are_forgotten_and_a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let mut spool = Spool::open(&path).unwrap();
        assert!(
            Spool::open(&path)
                .err()
                .unwrap()
                .to_string()
                .contains("another process")
        );
        spool.append(&["a"], &[1.0], 1).unwrap();
        spool.keep("").unwrap();
        spool.append(&["b"], &[2.0], 1).unwrap();
        drop(spool);
        let mut spool = Spool::open(&path).unwrap();
        assert_eq!((spool.rows(), spool.read(0..1).unwrap()), (1, vec![1.0]));
        let error = spool.append(&["b"], &[2.0, 3.0], 2).unwrap_err();
        assert!(
            error.to_string().contains("1 rows of 1 numbers so far"),
            "{error}"
        );
        let error = spool.append(&["b"], &[f32::NAN], 1).unwrap_err();
        assert!(
            error.to_string().contains("row 1, column 0 is NaN"),
            "{error}"
        );
    }
}
