//! The header of numpy's `.npy` format, versions 1 to 3.

use std::io::Read;

use super::rows;

/// The magic string that every `.npy` file begins with.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// What the file says of its array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
}

/// The type of an array's elements, all little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    /// A whole number of `size` bytes.
    Int {
        size: usize,
        signed: bool,
    },
    /// Text of `chars` code points of four bytes each, padded with zeros.
    Text {
        chars: usize,
    },
}

impl Element {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Int { size, .. } => size,
            Self::Text { chars } => 4 * chars,
        }
    }

    fn of(descr: &str) -> Option<Self> {
        let (order, kind) = descr.split_at_checked(1)?;
        let (kind, size) = kind.split_at_checked(1)?;
        let size: usize = size.parse().ok()?;
        if order == ">" && size > 1 {
            return None;
        }
        match (kind, size) {
            ("f", 4) => Some(Self::F32),
            ("f", 8) => Some(Self::F64),
            ("b", 1) => Some(Self::Int {
                size,
                signed: false,
            }),
            ("i" | "u", 1 | 2 | 4 | 8) => Some(Self::Int {
                size,
                signed: kind == "i",
            }),
            ("U", 1..=65_536) => Some(Self::Text { chars: size }),
            _ => None,
        }
    }
}

impl Header {
    /// Reads the header and leaves `file` at the first element.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, String> {
        let mut start = [0; 8];
        file.read_exact(&mut start)
            .map_err(|_| "shorter than a .npy header".to_owned())?;
        if start[..6] != *MAGIC {
            return Err("it does not begin as a .npy file does".to_owned());
        }
        // The length has two bytes in version 1 and four from version 2 on.
        let mut len = [0; 4];
        let bytes = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => {
                return Err(format!(
                    "version {version} of the .npy format; versions 1 to 3 are read"
                ));
            }
        };
        let cut = |_| "the header is cut off".to_owned();
        file.read_exact(&mut len[..bytes]).map_err(cut)?;
        let mut header = Vec::new();
        let len = u64::from(u32::from_le_bytes(len));
        file.take(len)
            .read_to_end(&mut header)
            .map_err(|error| error.to_string())?;
        if (header.len() as u64) < len {
            return Err("the header is cut off".to_owned());
        }
        Self::parse(&String::from_utf8_lossy(&header))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let field = |key: &str| {
            let found = ["'", "\""]
                .iter()
                .find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")));
            let value = found.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
            value
                .map(str::trim_start)
                .ok_or_else(|| format!("no {key:?} in its header"))
        };
        let descr = field("descr")?;
        let quoted = descr
            .strip_prefix(['\'', '"'])
            .and_then(|rest| rest.split(['\'', '"']).next());
        let element = quoted.and_then(Element::of).ok_or_else(|| {
            let shown = quoted.unwrap_or("a structured type");
            format!("elements of type {shown}; expected <f4, <f8, whole numbers or <U text")
        })?;
        if !field("fortran_order")?.starts_with("False") {
            return Err(
                "the array is in Fortran order; write it with numpy.ascontiguousarray".to_owned(),
            );
        }
        let shape = field("shape")?
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'));
        let sizes = shape.map(|(sizes, _)| {
            let sizes = sizes
                .split(',')
                .map(str::trim)
                .filter(|size| !size.is_empty());
            sizes
                .map(str::parse::<usize>)
                .collect::<Result<Vec<_>, _>>()
        });
        match sizes {
            Some(Ok(shape)) => Ok(Self { element, shape }),
            _ => Err("no readable \"shape\" in its header".to_owned()),
        }
    }

    /// The bytes of the elements, or `None` if the count overflows.
    pub(super) fn data_len(&self) -> Option<u64> {
        let count = self
            .shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        count.checked_mul(self.element.size()).map(|len| len as u64)
    }
}

/// The header of a `float32` matrix in C order, version 1, padded so that the data begins at a multiple of 64.
pub(super) fn matrix_header((rows, dim): (usize, usize), element: rows::Element) -> Vec<u8> {
    let descr = match element {
        rows::Element::F32 => "<f4",
        rows::Element::I8 => "|i1",
        rows::Element::U8 => "|u1",
    };
    let text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let padded = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64);
    let len = padded - MAGIC.len() - 4;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend((len as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header.resize(padded - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_numpy_writes_them_are_understood() {
        for (text, element, shape) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
                Element::F32,
                vec![3, 4],
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
                Element::F64,
                vec![3],
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (), }",
                Element::Int {
                    size: 1,
                    signed: false,
                },
                vec![],
            ),
            (
                "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
                Element::Int {
                    size: 8,
                    signed: true,
                },
                vec![2],
            ),
            (
                "{\"descr\":\"<U3\",\"fortran_order\":False,\"shape\":(2,)}",
                Element::Text { chars: 3 },
                vec![2],
            ),
        ] {
            assert_eq!(Header::parse(text), Ok(Header { element, shape }));
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, words) in [
            (
                "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4), }",
                "type >f4",
            ),
            (
                "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 4), }",
                "type <c8",
            ),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
                "structured",
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
                "Fortran",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4), }",
                "shape",
            ),
            ("{'fortran_order': False, 'shape': (3, 4), }", "descr"),
        ] {
            let message = Header::parse(text).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn the_written_header_is_read_back_and_aligned() {
        let bytes = matrix_header((123, 456), rows::Element::F32);
        assert_eq!(bytes.len() % 64, 0);
        let header = Header::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(
            header,
            Header {
                element: Element::F32,
                shape: vec![123, 456]
            }
        );
        assert_eq!(header.data_len(), Some(123 * 456 * 4));
    }
}
