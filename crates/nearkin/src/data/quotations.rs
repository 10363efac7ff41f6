//! The bytes of a CSV on their way to its parser, in which every quotation must end.

use std::io::{self, Read};
use std::path::Path;

use super::DataError;
use super::table::LineFeeds;

/// Bytes that a field in quotation marks may have. A quotation that is not closed takes all that follows for its field: so memory
/// stays bounded, whatever the size of the file.
const LONGEST: usize = 64 << 20;

/// A quotation that does not end: the `csv` crate would return the rest of the file as one field.
#[derive(Debug, thiserror::Error)]
#[error(
    "the quotation that begins on this line does not end, expected a closing quotation mark before {before}"
)]
pub(crate) struct Unclosed {
    /// The line with its opening mark, from 1.
    line: u64,
    before: &'static str,
}

impl Unclosed {
    /// The one that made reading fail, if it was that.
    pub fn of(error: &csv::Error) -> Option<&Self> {
        let csv::ErrorKind::Io(error) = error.kind() else {
            return None;
        };
        error.get_ref()?.downcast_ref()
    }

    /// The error of the table at `path`.
    pub fn in_file(&self, path: &Path) -> DataError {
        DataError::Line {
            path: path.to_owned(),
            line: self.line,
            reason: self.to_string(),
        }
    }
}

/// Where in a field a byte lies, told as the `csv` crate does.
#[derive(Clone, Copy)]
enum Place {
    /// At its beginning.
    Start,
    /// In one without quotation marks around it, where they are characters like any other.
    Plain,
    /// Between quotation marks.
    Quoted,
    /// Behind a mark that ends the quotation, unless another one follows.
    Closing,
}

/// A text without carriage returns, whose end is an error within a quotation.
pub(crate) struct Quotations {
    text: LineFeeds,
    quoting: bool,
    place: Place,
    /// The line of the next byte.
    line: u64,
    /// The line with the opening mark of the last quotation.
    opened: u64,
    /// Bytes of the quotation so far.
    length: usize,
}

impl Quotations {
    /// Without `quoting`, a quotation mark is a character like any other.
    pub fn new(text: Box<dyn Read>, quoting: bool) -> Self {
        Self {
            text: LineFeeds(text),
            quoting,
            place: Place::Start,
            line: 1,
            opened: 1,
            length: 0,
        }
    }

    fn pass(&mut self, byte: u8) {
        self.length += 1;
        self.place = match (self.place, byte) {
            (Place::Quoted, b'"') => Place::Closing,
            (Place::Quoted, _) | (Place::Closing, b'"') => Place::Quoted,
            (_, b',' | b'\n') => Place::Start,
            (Place::Start, b'"') => {
                (self.opened, self.length) = (self.line, 0);
                Place::Quoted
            }
            // A byte order mark is no part of the first field.
            (Place::Start, 0xef | 0xbb | 0xbf) if self.line == 1 => Place::Start,
            _ => Place::Plain,
        };
        self.line += u64::from(byte == b'\n');
    }

    fn unclosed(&self, before: &'static str) -> io::Error {
        let line = self.opened;
        io::Error::new(io::ErrorKind::InvalidData, Unclosed { line, before })
    }
}

impl Read for Quotations {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        if self.quoting {
            buffer[..read].iter().for_each(|&byte| self.pass(byte));
            if matches!(self.place, Place::Quoted) {
                if read == 0 && !buffer.is_empty() {
                    return Err(self.unclosed("the end of the file"));
                }
                if self.length > LONGEST {
                    return Err(self.unclosed("64 MiB of text"));
                }
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of the quotation that does not end, and how long the last one was.
    fn unclosed(text: impl Read + 'static) -> (Option<u64>, u64) {
        let mut quotations = Quotations::new(Box::new(text), true);
        let mut sink = io::sink();
        let read = io::copy(&mut quotations, &mut sink);
        let passed = quotations.length as u64;
        let line = |error: io::Error| Some(error.get_ref()?.downcast_ref::<Unclosed>()?.line);
        (read.err().and_then(line), passed)
    }

    #[test]
    fn a_quotation_ends_where_the_csv_crate_ends_it() {
        for (text, expected) in [
            ("a,b\n1,\"x\ny\"\n2,\"z\n3,w", Some(4)),
            ("a\n\"x\"\"\n", Some(2)),
            ("a\n\"x\"\"\"", None),
            ("a\n\"x\"y\"\n", None),
            ("a\n5\" wide\n", None),
            ("a\n \"x\n", None),
            ("\u{feff}\"a,\",b\n1,2\n", None),
            ("\u{feff}\"a,b\n1,2\n", Some(1)),
            ("a\r\n\r\n\"x\r\n", Some(3)),
        ] {
            assert_eq!(unclosed(text.as_bytes()).0, expected, "{text:?}");
            // Read with a mark behind it: the parser is in a quotation where it takes the last line break for text.
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(LineFeeds(Box::new(text.as_bytes().chain(&b"\n#"[..]))));
            let last = reader.records().last().unwrap().unwrap();
            let within = last[last.len() - 1].ends_with("\n#");
            assert_eq!(within, expected.is_some(), "{text:?}");
        }
    }

    #[test]
    fn memory_for_a_quotation_without_an_end_is_bounded() {
        let endless = (&b"a\n\""[..]).chain(io::repeat(b'x'));
        let (line, passed) = unclosed(endless);
        assert_eq!(line, Some(2));
        assert!(passed < 2 * LONGEST as u64, "{passed}");
    }
}
