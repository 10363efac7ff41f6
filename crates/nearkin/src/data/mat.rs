//! Variables of a MATLAB file of version 5, as far as annotations of data sets need them: numbers, texts, cells, structs.
//!
//! A file is a header and a list of elements, each a type, a length and that many bytes, up to a multiple of eight; an
//! element of at most four bytes has them in its tag. A matrix is an element made of elements, and a compressed one
//! stands for what zlib makes of it.
//!
//! # Reference
//! The `MathWorks`, *MAT-File Format*, chapter 1, "Level 5 MAT-File Format".

use std::io::Read;

use flate2::read::ZlibDecoder;

/// What the elements of a file may unpack to: a file that asks for more is made to exhaust memory.
const MAX_BYTES: u64 = 1 << 26;
/// Fields that a struct may have.
const MAX_FIELDS: usize = 1 << 10;
/// How deep matrices may lie in one another.
const MAX_DEPTH: usize = 8;
const HEADER: usize = 128;

const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// What a variable holds; arrays lie column by column, whatever their shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Numbers(Vec<f64>),
    Text(String),
    Cells(Vec<Value>),
    Structs(Structs),
    /// A kind that no annotation needs, such as a sparse matrix.
    Other,
}

/// An array of structs of the same fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Structs {
    fields: Vec<String>,
    /// The values of the first struct, of the second, …
    values: Vec<Value>,
}

impl Structs {
    /// The values of each struct, in the order of the wanted fields; the error names one that is not there.
    pub fn rows<const N: usize>(
        &self,
        wanted: [&str; N],
    ) -> Result<impl Iterator<Item = [&Value; N]>, String> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(wanted) {
            let found = self.fields.iter().position(|field| field == name);
            *place = found.ok_or_else(|| {
                format!(
                    "expected structs with a field {name}, found {}",
                    self.fields.join(", ")
                )
            })?;
        }
        let rows = self.values.chunks_exact(self.fields.len().max(1));
        Ok(rows.map(move |row| places.map(|place| &row[place])))
    }
}

/// The variables of a file, each with its name.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let (Some([_, 1, b'I', b'M']), Some(body)) = (bytes.get(124..HEADER), bytes.get(HEADER..))
    else {
        return Err("expected a little-endian MATLAB file of version 5".into());
    };
    let (mut elements, mut variables) = (Elements(body), Vec::new());
    let mut budget = MAX_BYTES;
    while let Some((kind, data)) = elements.next_element()? {
        let matrix = match kind {
            COMPRESSED => {
                let unpacked = unpack(data, &mut budget)?;
                let mut inner = Elements(&unpacked);
                inner.matrix()?.map(|data| variable(data, 0)).transpose()?
            }
            MATRIX => Some(variable(data, 0)?),
            _ => None,
        };
        variables.extend(matrix);
    }
    Ok(variables)
}

/// What zlib makes of an element, within what the others left of the budget.
fn unpack(data: &[u8], budget: &mut u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let mut reader = ZlibDecoder::new(data).take(*budget + 1);
    let read = reader.read_to_end(&mut unpacked);
    let read = read.map_err(|error| format!("a compressed element is damaged: {error}"))? as u64;
    *budget = budget
        .checked_sub(read)
        .ok_or_else(|| format!("unpacks to more than the {MAX_BYTES} bytes allowed"))?;
    Ok(unpacked)
}

/// Elements one behind the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The type and the bytes of the next element; `None` after the last.
    fn next_element(&mut self) -> Result<Option<(u32, &'a [u8])>, String> {
        let short = || "ends within an element".to_owned();
        if self.0.is_empty() {
            return Ok(None);
        }
        let (tag, rest) = self.0.split_first_chunk::<8>().ok_or_else(short)?;
        let [first, second] = [0, 4].map(|at| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|byte| tag[at + byte]);
            u32::from_le_bytes([a, b, c, d])
        });
        if let (kind, len @ 1..) = (first & 0xffff, first >> 16) {
            let data = self.0.get(4..4 + len as usize).filter(|_| len <= 4);
            self.0 = rest;
            return Ok(Some((kind, data.ok_or_else(short)?)));
        }
        let len = second as usize;
        let data = rest.get(..len).ok_or_else(short)?;
        let padded = match first {
            COMPRESSED => len,
            _ => len.next_multiple_of(8).min(rest.len()),
        };
        self.0 = &rest[padded..];
        Ok(Some((first, data)))
    }

    fn expected(&mut self, what: &str) -> Result<(u32, &'a [u8]), String> {
        let found = self.next_element()?;
        found.ok_or_else(|| format!("a matrix ends before its {what}"))
    }

    /// The bytes of the next element, if it is a matrix.
    fn matrix(&mut self) -> Result<Option<&'a [u8]>, String> {
        let found = self.next_element()?;
        Ok(found.and_then(|(kind, data)| (kind == MATRIX).then_some(data)))
    }

    /// So many matrices, one behind the other; each takes its tag at least, so that their number is bounded by the bytes.
    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, String> {
        if count > self.0.len() / 8 {
            return Err(format!("{count} matrices in {} bytes", self.0.len()));
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let data = self.matrix()?;
            let data = data.ok_or_else(|| "expected a matrix in another".to_owned())?;
            values.push(variable(data, depth + 1)?.1);
        }
        Ok(values)
    }
}

/// Name and value of the matrix in the bytes of an element.
fn variable(data: &[u8], depth: usize) -> Result<(String, Value), String> {
    if data.is_empty() {
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    if depth > MAX_DEPTH {
        return Err(format!(
            "matrices lie more than {MAX_DEPTH} deep in one another"
        ));
    }
    let mut parts = Elements(data);
    let class = parts.expected("flags")?.1.first().copied().unwrap_or(0);
    let shape = numbers(parts.expected("shape")?)?;
    let name = String::from_utf8_lossy(parts.expected("name")?.1).into_owned();
    let count = || {
        let product: f64 = shape.iter().product();
        // More than there are bytes is refused where they are read.
        (product.clamp(0.0, f64::from(u32::MAX))) as usize
    };
    let value = match class {
        1 => Value::Cells(parts.values(count(), depth)?),
        2 => Value::Structs(structs(&mut parts, count(), depth)?),
        4 => Value::Text(text(parts.expected("characters")?)),
        6..=15 => Value::Numbers(numbers(parts.expected("numbers")?)?),
        _ => Value::Other,
    };
    Ok((name, value))
}

fn structs(parts: &mut Elements, count: usize, depth: usize) -> Result<Structs, String> {
    let width = numbers(parts.expected("length of names")?)?;
    let width = width.first().map_or(0, |&width| width.max(0.0) as usize);
    let names = parts.expected("names of fields")?.1;
    if names.len() / width.max(1) > MAX_FIELDS {
        return Err(format!("structs of more than {MAX_FIELDS} fields"));
    }
    let fields: Vec<String> = names
        .chunks(width.max(1))
        .map(|name| {
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        })
        .collect();
    let values = parts.values(count.saturating_mul(fields.len()), depth)?;
    Ok(Structs { fields, values })
}

/// Characters of 8 or 16 bits.
fn text((kind, data): (u32, &[u8])) -> String {
    match kind {
        4 | 17 => {
            let pairs = data.chunks_exact(2);
            let units: Vec<u16> = pairs
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        }
        _ => String::from_utf8_lossy(data).into_owned(),
    }
}

/// Numbers of any type that an element may store them in.
fn numbers((kind, data): (u32, &[u8])) -> Result<Vec<f64>, String> {
    fn of<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        let (whole, _) = data.as_chunks::<N>();
        whole.iter().map(|bytes| number(*bytes)).collect()
    }
    Ok(match kind {
        1 => of(data, |b| f64::from(i8::from_le_bytes(b))),
        2 => of(data, |[b]| f64::from(b)),
        3 => of(data, |b| f64::from(i16::from_le_bytes(b))),
        4 => of(data, |b| f64::from(u16::from_le_bytes(b))),
        5 => of(data, |b| f64::from(i32::from_le_bytes(b))),
        6 => of(data, |b| f64::from(u32::from_le_bytes(b))),
        7 => of(data, |b| f64::from(f32::from_le_bytes(b))),
        9 => of(data, f64::from_le_bytes),
        12 => of(data, |b| i64::from_le_bytes(b) as f64),
        13 => of(data, |b| u64::from_le_bytes(b) as f64),
        kind => return Err(format!("numbers of an unknown type, {kind}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `cars_annos.py` beside it, compressed and plain.
    const PACKED: &[u8] = include_bytes!("mat/cars_annos.mat");
    const PLAIN: &[u8] = include_bytes!("mat/cars_annos_plain.mat");

    #[test]
    fn structs_cells_numbers_and_texts_are_read_packed_and_plain() {
        for file in [PACKED, PLAIN] {
            let variables = read(file).unwrap();
            let named = |name: &str| &variables.iter().find(|(n, _)| n == name).unwrap().1;
            let Value::Structs(annotations) = named("annotations") else {
                unreachable!()
            };
            let fields = ["relative_im_path", "bbox_x1", "class", "test"];
            let rows: Vec<_> = annotations.rows(fields).unwrap().collect();
            assert_eq!(rows.len(), 4);
            let number = |number: f64| Value::Numbers(vec![number]);
            let path = Value::Text("car_ims/000003.jpg".to_owned());
            assert_eq!(
                rows[2],
                [&path, &number(300.0), &number(99.0), &number(1.0)]
            );
            let error = annotations.rows(["color"]).err().unwrap();
            assert!(
                error.contains("color") && error.contains("bbox_y2"),
                "{error}"
            );
            let names = ["AM General Hummer SUV 2000", "Škoda Octavia 1998"];
            let names = names.map(|name| Value::Text(name.to_owned()));
            assert_eq!(*named("class_names"), Value::Cells(names.to_vec()));
            assert_eq!(*named("sizes"), Value::Numbers(vec![-1.5, 2.0, 70_000.0]));
            assert_eq!(*named("sparse"), Value::Other);
        }
    }

    #[test]
    fn no_damage_ends_in_more_than_an_error() {
        for file in [PACKED, PLAIN] {
            for end in 0..file.len() {
                let _ = read(&file[..end]);
            }
            for at in 0..file.len() {
                for value in [0, 1, 0x0f, 0x7f, 0xff] {
                    let mut damaged = file.to_vec();
                    damaged[at] = value;
                    let _ = read(&damaged);
                }
            }
        }
        assert!(read(b"MATLAB 7.3").unwrap_err().contains("version 5"));
        assert!(
            read(&PLAIN[..PLAIN.len() - 4])
                .unwrap_err()
                .contains("ends within")
        );
    }

    #[test]
    fn what_unpacks_without_end_is_refused() {
        use std::io::Write;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=MAX_BYTES >> 20 {
            packed.write_all(&zeros).unwrap();
        }
        let packed = packed.finish().unwrap();
        let len = (packed.len() as u32).to_le_bytes();
        let tag = [COMPRESSED.to_le_bytes(), len].concat();
        let file = [&PLAIN[..HEADER], &tag, &packed].concat();
        assert!(read(&file).unwrap_err().contains("more than the"));
    }

    #[test]
    fn matrices_in_matrices_end() {
        let cell = |inner: &[u8]| {
            let head = [6, 8, 1, 0, 5, 8, 1, 1, 1, 0]
                .map(u32::to_le_bytes)
                .concat();
            let body = [head, inner.to_vec()].concat();
            let tag = [MATRIX, body.len() as u32].map(u32::to_le_bytes).concat();
            [tag, body].concat()
        };
        let nested = (0..MAX_DEPTH + 2).fold(Vec::new(), |inner, _| cell(&inner));
        let error = read(&[&PLAIN[..HEADER], &nested].concat()).unwrap_err();
        assert!(error.contains("deep"), "{error}");
    }
}
