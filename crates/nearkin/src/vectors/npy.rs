//! Numpy's `.npy`: a matrix, and text files of ids and labels beside it.

use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::npy_header::{Element, Header, matrix_header};
use super::rows::{Names, Rows, blocks};
use super::staged::Staged;
use super::{Vectors, VectorsError};

/// `name.npy` with `name.ids.txt` and `name.labels.txt`; those left from an earlier file are removed if not written.
pub(super) fn write(path: &Path, source: &mut dyn Rows) -> Result<(), VectorsError> {
    let mut staged = Vec::new();
    for names in Names::BOTH {
        if source.has(names) {
            staged.push(stage_lines(path, names, source)?);
        }
    }
    staged.push(Staged::write(path, |file| {
        file.write_all(&matrix_header(source.shape(), source.element()))?;
        for rows in blocks(source.shape()) {
            source.numbers(rows)?.write(file)?;
        }
        Ok(())
    })?);
    // Nothing is moved before everything is written.
    staged.into_iter().try_for_each(Staged::commit)?;
    for names in Names::BOTH {
        let stale = sidecar(path, names.column());
        if !source.has(names) && stale.exists() {
            fs_err::remove_file(stale)?;
        }
    }
    Ok(())
}

fn stage_lines(path: &Path, names: Names, source: &mut dyn Rows) -> Result<Staged, VectorsError> {
    let path = sidecar(path, names.column());
    Staged::write(&path, |file| {
        for rows in blocks(source.shape()) {
            let first = rows.start;
            for (row, text) in source.names(names, rows)?.iter().enumerate() {
                if text.contains(['\n', '\r']) {
                    return Err(VectorsError::LineBreak {
                        path: path.clone(),
                        what: names.column(),
                        row: first + row,
                    });
                }
                writeln!(file, "{text}")?;
            }
        }
        Ok(())
    })
}

fn sidecar(path: &Path, what: &str) -> PathBuf {
    path.with_extension(format!("{what}s.txt"))
}

pub(super) fn read(path: &Path) -> Result<Vectors, VectorsError> {
    let mut vectors = read_matrix(path)?;
    vectors.ids = names(path, Names::Id)?;
    vectors.labels = names(path, Names::Label)?;
    Ok(vectors)
}

fn read_lines(path: &Path) -> Result<Option<Vec<String>>, VectorsError> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(
        fs_err::read_to_string(path)?
            // The mark of UTF-8 that some editors put before the first line.
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::to_owned)
            .collect(),
    ))
}

/// Reads a matrix `[N, D]` of floats or whole numbers; NaN and infinite values are let through.
pub(crate) fn read_matrix(path: &Path) -> Result<Vectors, VectorsError> {
    let (header, bytes) = read_array(path)?;
    let (rows, dim) = matrix_shape(&header, path)?;
    Ok(Vectors::new(
        rows,
        dim,
        numbers(header.element, &bytes, path)?,
    ))
}

/// Rows and columns, if it is a matrix of vectors.
fn matrix_shape(header: &Header, path: &Path) -> Result<(usize, usize), VectorsError> {
    let [rows, dim] = header.shape[..] else {
        return Err(malformed(
            path,
            format!(
                "expected a matrix [N, D], found an array of shape {:?}",
                header.shape
            ),
        ));
    };
    if rows == 0 || dim == 0 {
        return Err(malformed(
            path,
            format!("a matrix of {rows} rows and {dim} columns has no vectors"),
        ));
    }
    Ok((rows, dim))
}

fn numbers(element: Element, bytes: &[u8], path: &Path) -> Result<Vec<f32>, VectorsError> {
    let elements = bytes.chunks_exact(element.size());
    match element {
        Element::F32 => Ok(elements.map(|b| f32::from_le_bytes(take(b))).collect()),
        Element::F64 => Ok(elements
            .map(|b| f64::from_le_bytes(take(b)) as f32)
            .collect()),
        Element::Int { signed, .. } => {
            Ok(elements.map(|b| whole_number(b, signed) as f32).collect())
        }
        Element::Text { .. } => Err(malformed(path, "expected numbers, found text".to_owned())),
    }
}

/// A matrix `[N, D]` read from its first row on.
pub(super) struct Stream {
    path: PathBuf,
    file: BufReader<fs_err::File>,
    element: Element,
    pub rows: usize,
    pub dim: usize,
}

impl Stream {
    /// Reads the header, and checks that the file has what it claims.
    pub fn open(path: &Path) -> Result<Self, VectorsError> {
        let file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let header = Header::read(&mut file).map_err(|reason| malformed(path, reason))?;
        let (rows, dim) = matrix_shape(&header, path)?;
        let left = len.saturating_sub(file.stream_position()?);
        if header.data_len().is_none_or(|wanted| wanted > left) {
            return Err(cut_short(path, &header));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            element: header.element,
            rows,
            dim,
        })
    }

    /// The next so many rows, which must be there.
    pub fn read(&mut self, rows: usize) -> Result<Vec<f32>, VectorsError> {
        let mut bytes = vec![0; rows * self.dim * self.element.size()];
        self.file.read_exact(&mut bytes)?;
        numbers(self.element, &bytes, &self.path)
    }
}

/// The ids or labels beside a matrix.
pub(super) fn names(path: &Path, what: Names) -> Result<Option<Vec<String>>, VectorsError> {
    read_lines(&sidecar(path, what.column()))
}

/// Reads an array `[N]` of whole numbers or text as labels.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<String>, VectorsError> {
    let (header, bytes) = read_array(path)?;
    // A column [N, 1] is as clear as a vector [N].
    let ([_] | [_, 1]) = header.shape[..] else {
        return Err(malformed(
            path,
            format!(
                "expected labels [N], found an array of shape {:?}",
                header.shape
            ),
        ));
    };
    let elements = bytes.chunks_exact(header.element.size());
    match header.element {
        Element::Int { signed, .. } => Ok(elements
            .map(|b| whole_number(b, signed).to_string())
            .collect()),
        Element::Text { .. } => Ok(elements.map(text).collect()),
        Element::F32 | Element::F64 => Err(malformed(
            path,
            "expected labels as whole numbers or text, found floats".to_owned(),
        )),
    }
}

/// The header and the elements' bytes, exactly as many as the header says.
fn read_array(path: &Path) -> Result<(Header, Vec<u8>), VectorsError> {
    let file = fs_err::File::open(path)?;
    let file_len = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let header = Header::read(&mut file).map_err(|reason| malformed(path, reason))?;
    // What the header claims is compared with what the file can hold before anything is allocated.
    let wanted = header.data_len();
    let mut bytes = Vec::new();
    if let Some(len) = wanted.filter(|&len| len <= file_len) {
        bytes.reserve_exact(len as usize);
        file.take(len).read_to_end(&mut bytes)?;
    }
    if wanted != Some(bytes.len() as u64) {
        return Err(cut_short(path, &header));
    }
    Ok((header, bytes))
}

fn cut_short(path: &Path, header: &Header) -> VectorsError {
    let shape = &header.shape;
    malformed(
        path,
        format!("cut short: an array of shape {shape:?} needs more data than it has"),
    )
}

fn malformed(path: &Path, reason: String) -> VectorsError {
    VectorsError::Malformed {
        path: path.to_owned(),
        reason,
    }
}

fn take<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("chunks have the element's size")
}

/// A little-endian whole number of any width.
fn whole_number(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

/// Code points of four bytes, up to the padding.
fn text(bytes: &[u8]) -> String {
    let points = bytes.chunks_exact(4).map(|b| u32::from_le_bytes(take(b)));
    let text: String = points
        .map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as numpy writes it, in `folder`.
    fn npy(folder: &Path, descr: &str, shape: &str, data: &[u8]) -> PathBuf {
        let path = folder.join("array.npy");
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        fs_err::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn doubles_and_whole_numbers_are_read_as_floats() {
        let folder = tempfile::tempdir().unwrap();
        let doubles: Vec<u8> = [0.5_f64, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let path = npy(folder.path(), "<f8", "(1, 2)", &doubles);
        assert_eq!(super::super::read(&path).unwrap().data, [0.5, -2.0]);
        let path = npy(folder.path(), "|u1", "(2, 1)", &[7, 255]);
        assert_eq!(read_matrix(&path).unwrap().data, [7.0, 255.0]);
    }

    #[test]
    fn labels_are_whole_numbers_of_any_width_or_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = npy(folder.path(), "<i2", "(2,)", &[0xfe, 0xff, 0x00, 0x01]);
        assert_eq!(read_labels(&path).unwrap(), ["-2", "256"]);
        let words: Vec<u8> = "ab\0ü\0\0"
            .chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect();
        let path = npy(folder.path(), "<U3", "(2,)", &words);
        assert_eq!(read_labels(&path).unwrap(), ["ab", "ü"]);
        let path = npy(folder.path(), "<f4", "(1,)", &[0; 4]);
        assert!(
            read_labels(&path)
                .unwrap_err()
                .to_string()
                .contains("found floats")
        );
    }

    #[test]
    fn a_header_that_promises_more_than_the_file_holds_costs_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        for shape in [
            "(9999999999, 4096)",
            "(18446744073709551615, 18446744073709551615)",
            "(3, 1)",
        ] {
            let path = npy(folder.path(), "<f4", shape, &[0; 8]);
            let message = read_matrix(&path).unwrap_err().to_string();
            assert!(
                message.contains("array.npy") && message.contains("cut short"),
                "{message}"
            );
        }
    }

    #[test]
    fn an_array_that_is_no_matrix_is_refused_with_its_shape() {
        let folder = tempfile::tempdir().unwrap();
        for (shape, words) in [
            ("(2,)", "[2]"),
            ("(1, 1, 2)", "[1, 1, 2]"),
            ("(0, 2)", "0 rows"),
        ] {
            let path = npy(folder.path(), "<f4", shape, &[0; 8]);
            let message = read_matrix(&path).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn text_beside_an_older_file_does_not_stay_with_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut vectors = Vectors::new(1, 1, vec![1.0]);
        vectors.ids = Some(vec!["first".to_owned()]);
        super::super::write(&path, &vectors).unwrap();
        assert_eq!(
            fs_err::read_to_string(folder.path().join("v.ids.txt")).unwrap(),
            "first\n"
        );
        vectors.ids = None;
        super::super::write(&path, &vectors).unwrap();
        assert_eq!(super::super::read(&path).unwrap(), vectors);
    }

    #[test]
    fn a_line_break_in_an_id_is_refused_and_a_missing_line_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut vectors = Vectors::new(2, 1, vec![1.0, 2.0]);
        vectors.ids = Some(vec!["a".to_owned(), "b\nc".to_owned()]);
        assert!(
            super::super::write(&path, &vectors)
                .unwrap_err()
                .to_string()
                .contains("id of row 1")
        );
        vectors.ids = Some(vec!["a".to_owned(), "b".to_owned()]);
        super::super::write(&path, &vectors).unwrap();
        fs_err::write(folder.path().join("v.ids.txt"), "a\n").unwrap();
        assert!(
            super::super::read(&path)
                .unwrap_err()
                .to_string()
                .contains("2 rows but 1 ids")
        );
    }
}
