//! The part of Python's pickles that tables of tensors are written in. Nothing is called: what a call would give stays a [`Value::Call`].

use std::collections::HashMap;
use std::io::{BufRead, Read};

/// The most bytes of a pickle.
const LONGEST: u64 = 16 << 20;
/// The most bytes of the name of a class, and of its module.
const LONGEST_NAME: usize = 256;
/// Classes whose objects are tables.
const TABLES: [&str; 2] = ["collections.OrderedDict", "collections.defaultdict"];

/// The number of a value in its pickle: values may be shared, and hold themselves.
pub type Id = usize;

/// A value of a pickle.
#[derive(Debug)]
pub enum Value {
    /// A whole number of at most 64 bits.
    Int(i64),
    /// A text.
    Text(String),
    /// A class or function by its dotted name.
    Class(String),
    /// A tuple or a list.
    Sequence(Vec<Id>),
    /// Keys with their values.
    Table(Vec<(Id, Id)>),
    /// A call of a class or function with a tuple of arguments.
    Call(Id, Id),
    /// What lies outside of the pickle, by what names it there.
    Outside(Id),
    /// A truth value.
    Flag(bool),
    /// Anything else: nothing, a fraction, a longer number.
    Other,
}

impl Value {
    /// What it is, in a word: a value itself may fill a page.
    fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Class(_) => "a class",
            Self::Sequence(_) => "a list",
            Self::Table(_) => "a table",
            Self::Call(..) => "a call",
            Self::Outside(_) => "a name of what lies outside",
            Self::Flag(_) => "a truth value",
            Self::Other => "something else",
        }
    }
}

/// The values of a pickle.
pub struct Pickle {
    values: Vec<Value>,
    /// The value that was pickled.
    pub root: Id,
}

impl Pickle {
    /// Reads the pickle that begins here, and nothing behind it.
    ///
    /// # Errors
    /// It is cut short, longer than 16 MiB, or of what no table of tensors needs; says at which of its bytes.
    pub fn read(reader: &mut impl BufRead) -> Result<Self, String> {
        let mut machine = Machine {
            reader: reader.take(LONGEST),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let at = LONGEST - machine.reader.limit();
            match machine.step() {
                Ok(false) => {}
                Ok(true) => break,
                Err(reason) => return Err(format!("byte {at} of a pickle: {reason}")),
            }
        }
        let root = machine.pop()?;
        let values = machine.values;
        Ok(Self { values, root })
    }

    /// A value.
    pub fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// All names of what lies outside of the pickle.
    pub fn outside(&self) -> impl Iterator<Item = Id> {
        self.values.iter().filter_map(|value| match value {
            Value::Outside(name) => Some(*name),
            _ => None,
        })
    }

    /// The values of a tuple or a list.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Sequence(ids) => Some(ids),
            _ => None,
        }
    }

    /// The text that a value is.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The dotted name of the class or function that a value is.
    pub fn class(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Class(name) => Some(name),
            _ => None,
        }
    }

    /// The count that a value is.
    pub fn count(&self, id: Id) -> Option<usize> {
        match self.value(id) {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The counts that a tuple or a list holds.
    pub fn counts(&self, id: Id) -> Option<Vec<usize>> {
        let ids = self.sequence(id)?;
        // PyTorch has no tensors of more dimensions; a list that is shared by many would be copied for each.
        let ids = (ids.len() <= 64).then_some(ids)?;
        ids.iter().map(|&id| self.count(id)).collect()
    }
}

/// A pickle is a program for a stack of values.
struct Machine<R> {
    reader: std::io::Take<R>,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack, from which on values are taken together.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: BufRead> Machine<R> {
    /// Runs an instruction; whether it was the last one.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = self.bytes()?;
        match code {
            b'.' => return Ok(true),
            0x80 => drop(self.bytes::<1>()?),
            // A frame says how many bytes may be read at once.
            0x95 => drop(self.bytes::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'q' | b'r' => self.put(code == b'r')?,
            0x94 => self.put_next()?,
            b'h' | b'j' => self.get(code == b'j')?,
            b'a' | b'e' => self.append(code == b'e')?,
            b's' | b'u' => self.set(code == b'u')?,
            // State of an object, such as the versions that a table of tensors carries.
            b'b' => drop(self.pop()?),
            b'R' | 0x81 => self.call()?,
            b'Q' => {
                let name = self.pop()?;
                self.push(Value::Outside(name));
            }
            _ => {
                let value = self.made(code)?;
                self.push(value);
            }
        }
        Ok(false)
    }

    /// The value that an instruction makes.
    fn made(&mut self, code: u8) -> Result<Value, String> {
        Ok(match code {
            b'N' => Value::Other,
            0x88 | 0x89 => Value::Flag(code == 0x88),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes()?).into()),
            b'K' => Value::Int(u8::from_le_bytes(self.bytes()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes()?).into()),
            0x8a => self.long()?,
            b'G' => {
                self.bytes::<8>()?;
                Value::Other
            }
            0x8c => {
                let length = u8::from_le_bytes(self.bytes()?);
                Value::Text(self.text(length.into())?)
            }
            b'X' => {
                let length = u32::from_le_bytes(self.bytes()?);
                Value::Text(self.text(length.into())?)
            }
            0x93 => Value::Class(self.named()?),
            b'c' => Value::Class(format!("{}.{}", self.line()?, self.line()?)),
            b')' | b']' => Value::Sequence(Vec::new()),
            b'}' => Value::Table(Vec::new()),
            b't' | b'l' => Value::Sequence(self.marked()?),
            0x85..=0x87 => Value::Sequence(self.taken(usize::from(code - 0x84))?),
            b'd' => {
                let ids = self.marked()?;
                Value::Table(pairs(&ids)?)
            }
            _ => {
                return Err(format!(
                    "instruction {code:#04x} is not of a table of tensors"
                ));
            }
        })
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn last(&self) -> Result<Id, String> {
        let last = self.stack.last().copied();
        last.ok_or_else(|| "the stack is empty".into())
    }

    /// The last so many values of the stack.
    fn taken(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let rest = self.stack.len().checked_sub(count);
        let rest = rest.ok_or("the stack holds too few values")?;
        Ok(self.stack.split_off(rest))
    }

    /// The values since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark")?;
        let count = self.stack.len().checked_sub(mark);
        self.taken(count.ok_or("the stack ends before its mark")?)
    }

    /// The values that are to be added: those since the last mark, or the last so many.
    fn added(&mut self, is_marked: bool, count: usize) -> Result<Vec<Id>, String> {
        if is_marked {
            self.marked()
        } else {
            self.taken(count)
        }
    }

    fn append(&mut self, is_marked: bool) -> Result<(), String> {
        let added = self.added(is_marked, 1)?;
        let list = self.last()?;
        match &mut self.values[list] {
            Value::Sequence(ids) => ids.extend(added),
            other => return Err(format!("a list expected, {} found", other.kind())),
        }
        Ok(())
    }

    fn set(&mut self, is_marked: bool) -> Result<(), String> {
        let added = self.added(is_marked, 2)?;
        let table = self.last()?;
        match &mut self.values[table] {
            Value::Table(entries) => entries.extend(pairs(&added)?),
            other => return Err(format!("a table expected, {} found", other.kind())),
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let is_table =
            matches!(&self.values[class], Value::Class(name) if TABLES.contains(&name.as_str()));
        self.push(if is_table {
            Value::Table(Vec::new())
        } else {
            Value::Call(class, arguments)
        });
        Ok(())
    }

    fn put(&mut self, is_long: bool) -> Result<(), String> {
        let (place, id) = (self.place(is_long)?, self.last()?);
        self.memo.insert(place, id);
        Ok(())
    }

    /// Keeps the last value at the first place that is free, which this instruction does not name.
    fn put_next(&mut self) -> Result<(), String> {
        let id = self.last()?;
        self.memo.insert(self.memo.len() as u32, id);
        Ok(())
    }

    /// The dotted name of a class of which module and name are the last two values.
    fn named(&mut self) -> Result<String, String> {
        let parts = self.taken(2)?;
        let part = |&id: &Id| match &self.values[id] {
            // A long text that is shared by many would be copied for each.
            Value::Text(text) if text.len() <= LONGEST_NAME => Ok(text.as_str()),
            Value::Text(text) => Err(format!("a class's name of {} bytes", text.len())),
            other => Err(format!("a class's name expected, {} found", other.kind())),
        };
        let parts: Vec<&str> = parts.iter().map(part).collect::<Result<_, _>>()?;
        Ok(parts.join("."))
    }

    fn get(&mut self, is_long: bool) -> Result<(), String> {
        let place = self.place(is_long)?;
        let id = self.memo.get(&place);
        let id = id.ok_or_else(|| format!("nothing was kept at place {place}"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn place(&mut self, is_long: bool) -> Result<u32, String> {
        Ok(if is_long {
            u32::from_le_bytes(self.bytes()?)
        } else {
            u8::from_le_bytes(self.bytes()?).into()
        })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|e| self.ended(&e))?;
        Ok(bytes)
    }

    fn ended(&self, error: &std::io::Error) -> String {
        match self.reader.limit() {
            0 => format!("it is longer than {LONGEST} bytes"),
            _ if error.kind() == std::io::ErrorKind::UnexpectedEof => "the file ends here".into(),
            _ => error.to_string(),
        }
    }

    fn text(&mut self, length: u64) -> Result<String, String> {
        let mut bytes = Vec::new();
        // Memory follows what is there, not the length that is said.
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes);
        if read.map_err(|e| e.to_string())? as u64 != length {
            return Err(format!(
                "a text of {length} bytes, of which {} are there",
                bytes.len()
            ));
        }
        String::from_utf8(bytes).map_err(|_| "a text that is not UTF-8".into())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes);
        read.map_err(|e| e.to_string())?;
        if bytes.pop() != Some(b'\n') {
            return Err("the file ends in a name".into());
        }
        String::from_utf8(bytes).map_err(|_| "a name that is not UTF-8".into())
    }

    /// A whole number in so many bytes, the lowest first.
    fn long(&mut self) -> Result<Value, String> {
        let [length] = self.bytes()?;
        let mut bytes = Vec::new();
        for _ in 0..length {
            bytes.extend(self.bytes::<1>()?);
        }
        if bytes.len() > 8 {
            return Ok(Value::Other);
        }
        let sign = if bytes.last().is_some_and(|high| high >> 7 == 1) {
            0xff
        } else {
            0
        };
        bytes.resize(8, sign);
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        Ok(Value::Int(i64::from_le_bytes(bytes)))
    }
}

/// Values in turn as keys and what they stand for.
fn pairs(ids: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match ids.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key without a value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(&mut &*bytes)
    }

    /// The values of a table of two, "a" and "b".
    fn a_and_b(pickle: &Pickle) -> [Id; 2] {
        let Value::Table(entries) = pickle.value(pickle.root) else {
            panic!("{:?}", pickle.value(pickle.root));
        };
        let [(a, first), (b, second)] = entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((pickle.text(a), pickle.text(b)), (Some("a"), Some("b")));
        [first, second]
    }

    #[test]
    fn numbers_texts_and_shared_values_are_read() {
        // {"a": (1, 258, -2), "b": the same tuple}
        let pickle = read(
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01M\x02\x01\x8a\x01\xfe\x87q\x01X\x01\x00\x00\x00bh\x01u.rest",
        );
        let pickle = pickle.unwrap();
        let [first, second] = a_and_b(&pickle);
        assert_eq!(first, second);
        let numbers = pickle.sequence(first).unwrap().iter();
        let numbers = numbers.map(|&id| match pickle.value(id) {
            Value::Int(n) => *n,
            _ => 0,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 258, -2]);
    }

    #[test]
    fn protocol_4_names_classes_by_texts_and_counts_what_it_keeps() {
        // {"a": collections.OrderedDict, "b": the same}
        let pickle = read(
            b"\x80\x04\x95\x2c\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94\x8c\x01b\x94h\x04u.",
        );
        let pickle = pickle.unwrap();
        let [first, second] = a_and_b(&pickle);
        assert_eq!(pickle.class(first), Some("collections.OrderedDict"));
        assert_eq!(first, second);
    }

    #[test]
    fn what_is_cut_short_or_made_to_harm_is_an_error_with_its_place() {
        let long = [
            b"X\xff\xff\x00\x00",
            "a".repeat(0xffff).as_bytes(),
            b"q\x00h\x00\x93.",
        ]
        .concat();
        let cases: [(&[u8], &str); 11] = [
            (&long, "a class's name of 65535 bytes"),
            (
                b"K\x01K\x02\x93.",
                "a class's name expected, a number found",
            ),
            (b"", "byte 0 of a pickle: the file ends here"),
            (
                b"\x80\x02X\xff\xff\xff\xffab",
                "byte 2 of a pickle: a text of 4294967295 bytes, of which 2",
            ),
            (b"\x80\x02cos\nsys", "the file ends in a name"),
            (b"\x80\x02\x87.", "too few values"),
            (b"(0.", "instruction 0x30"),
            (b"K\x01K\x01(\x86t.", "the stack ends before its mark"),
            (b"}K\x01(K\x02u.", "a table expected, a number found"),
            (b"h\x07.", "nothing was kept at place 7"),
            (b".", "the stack is empty"),
        ];
        for (bytes, words) in cases {
            let error = read(bytes).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        // Every prefix of a pickle is an error, none a panic.
        let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aJ\x01\x00\x00\x00G\x00\x00\x00\x00\x00\x00\x00\x00\x86]r\x01\x00\x00\x00(K\x01eu.";
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_value_that_doubles_and_one_that_is_nested_take_no_more_than_their_bytes() {
        let mut doubling = b"K\x01q\x00".to_vec();
        for _ in 0..1000 {
            doubling.extend(b"h\x00h\x00\x86q\x00");
        }
        assert!(read(&[&doubling[..], b"."].concat()).is_ok());
        let nested = [&b"K\x01"[..], &vec![0x85; 1_000_000], b"."].concat();
        assert!(read(&nested).is_ok());
    }
}
