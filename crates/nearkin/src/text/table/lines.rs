//! Lines of a text file, with their numbers.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::TextTable;
use crate::data::DataError;

/// The lines of a file, plain or gzipped; memory holds the one that was read last.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    /// The number of the line read last, from 1.
    pub number: u64,
    bytes: Vec<u8>,
}

/// The bytes of a table's file, decompressed.
pub(super) fn open(table: &TextTable) -> Result<Box<dyn Read>, DataError> {
    if table.is_standard_input() {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = fs_err::File::open(&table.path)?;
    Ok(if table.is_gzipped() {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

impl Lines {
    pub fn open(table: &TextTable) -> Result<Self, DataError> {
        Ok(Self {
            path: table.path.clone(),
            reader: BufReader::new(open(table)?),
            number: 0,
            bytes: Vec::new(),
        })
    }

    /// The next line without its end and without a byte order mark; `None` after the last.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, DataError> {
        self.bytes.clear();
        let read = self.reader.read_until(b'\n', &mut self.bytes);
        let read = read.map_err(|error| DataError::Line {
            path: self.path.clone(),
            line: self.number + 1,
            reason: error.to_string(),
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut line = &self.bytes[..];
        for end in [b'\n', b'\r'] {
            line = line.strip_suffix(&[end]).unwrap_or(line);
        }
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        Ok(Some(line))
    }
}
