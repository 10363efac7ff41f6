//! Tables of tensors that PyTorch wrote: a zip archive since version 1.6, pickles with the numbers behind them before.
//!
//! ```text
//! archive:  FOLDER/data.pkl  the table        FOLDER/data/KEY  the numbers of a storage
//! before:   magic number, protocol, system, the table, the keys of its storages: five pickles;
//!           then of each storage, in the order of the keys, its count in 8 bytes and its numbers
//! ```

use super::pickle::{Id, Pickle, Value};
use super::place::Place;
use safetensors::Dtype;
use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// How a zip archive begins.
const ARCHIVE: &[u8] = b"PK\x03\x04";
/// The magic number's pickle, behind the two bytes that name its protocol, and from protocol 4 on nine of a frame.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Calls within calls that make a tensor: a parameter of a tensor of a subclass.
const DEEPEST: usize = 3;

/// The tensors of a file by name.
///
/// # Errors
/// The file cannot be read, is cut short, or holds no table of tensors.
pub fn tensors(path: &Path) -> Result<HashMap<String, Place>, String> {
    let mut file = BufReader::new(fs_err::File::open(path).map_err(|e| e.to_string())?);
    let mut start = Vec::new();
    let mut head = (&mut file).take(11 + MAGIC.len() as u64);
    read(head.read_to_end(&mut start))?;
    read(file.rewind())?;
    let is_magic = |at: usize| start.get(at..).is_some_and(|rest| rest.starts_with(MAGIC));
    let (views, storages) = if start.starts_with(ARCHIVE) {
        of_archive(file)?
    } else if is_magic(2) || is_magic(11) {
        of_pickles(file)?
    } else {
        return Err("neither a zip archive nor pickles of before PyTorch 1.6".into());
    };
    let place = |(name, view): (String, Option<View>)| {
        let missing = "not made of a storage of numbers, an offset, a shape and strides";
        let view = view.ok_or_else(|| missing.to_owned());
        let place = view.and_then(|view| view.place(path, &storages));
        (name, place.unwrap_or_else(|fault| faulty(path, fault)))
    };
    Ok(views.into_iter().map(place).collect())
}

/// A tensor that cannot be read, as who asks for it is told.
fn faulty(path: &Path, fault: String) -> Place {
    Place {
        file: path.into(),
        start: 0,
        dtype: Dtype::F32,
        shape: Vec::new(),
        strides: None,
        fault: Some(fault),
    }
}

fn read<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

/// Where the numbers of a storage lie in the file.
struct Extent {
    start: u64,
    bytes: u64,
}

type Extents = HashMap<String, Extent>;

/// Tensors by name; none where one is made of other things than numbers in a storage.
type Views = Vec<(String, Option<View>)>;

/// The tensors of an archive, and where its storages are.
fn of_archive(file: BufReader<fs_err::File>) -> Result<(Views, Extents), String> {
    let size = read(file.get_ref().metadata())?.len();
    let wrong = |e: zip::result::ZipError| e.to_string();
    let mut archive = ZipArchive::new(file).map_err(wrong)?;
    let names = archive.file_names();
    let names = names.map(|name| Ok(name.map_err(wrong)?.into_owned()));
    let names = names.collect::<Result<Vec<String>, String>>()?;
    let is_table = |name: &&String| name.rsplit('/').next() == Some("data.pkl");
    let name = names.iter().find(is_table);
    let name = name.ok_or("a zip archive without data.pkl")?;
    let entry = archive.by_name(name).map_err(wrong)?;
    if entry.compression() != CompressionMethod::Stored {
        return Err(format!("{name} in the archive is compressed"));
    }
    let views = views(&Pickle::read(&mut BufReader::new(entry))?)?;
    let base = name.strip_suffix("data.pkl").unwrap_or_default();
    if let Ok(mut order) = archive.by_name(&format!("{base}byteorder")) {
        let mut text = String::new();
        read((&mut order).take(16).read_to_string(&mut text))?;
        check_order(text == "little")?;
    }
    let folder = format!("{base}data/");
    let mut extents = Extents::new();
    for (index, name) in names.iter().enumerate() {
        let Some(key) = name.strip_prefix(&folder) else {
            continue;
        };
        let entry = archive.by_index(index).map_err(wrong)?;
        let bytes = entry.size();
        let start = entry.data_start().unwrap_or(u64::MAX);
        if entry.compression() != CompressionMethod::Stored {
            return Err(format!("{name} in the archive is compressed"));
        }
        if start.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(format!(
                "{name} in the archive ends beyond the file, {size} bytes"
            ));
        }
        extents.insert(key.into(), Extent { start, bytes });
    }
    Ok((views, extents))
}

/// The tensors of a file of pickles, and where its storages are.
fn of_pickles(mut file: BufReader<fs_err::File>) -> Result<(Views, Extents), String> {
    let size = read(file.get_ref().metadata())?.len();
    let (_magic, _protocol) = (Pickle::read(&mut file)?, Pickle::read(&mut file)?);
    let system = Pickle::read(&mut file)?;
    if let Value::Table(entries) = system.value(system.root) {
        let is_big = |&(key, value): &(Id, Id)| {
            system.text(key) == Some("little_endian")
                && matches!(system.value(value), Value::Flag(false))
        };
        check_order(!entries.iter().any(is_big))?;
    }
    let table = Pickle::read(&mut file)?;
    let views = views(&table)?;
    let keys = Pickle::read(&mut file)?;
    let listed = keys.sequence(keys.root).unwrap_or_default();
    let listed = listed.iter().map(|&key| keys.text(key).unwrap_or_default());
    let storages = table.outside().filter_map(|name| Storage::of(&table, name));
    let storages: HashMap<String, Storage> = storages.map(|s| (s.key.clone(), s)).collect();
    let mut extents = Extents::new();
    for key in listed {
        let storage = storages.get(key);
        let storage = storage.ok_or_else(|| format!("storage \"{key}\" is of no tensor"))?;
        let mut count = [0; 8];
        let there = file.read_exact(&mut count);
        there.map_err(|_| format!("the file ends before storage \"{key}\", at {size} bytes"))?;
        let (count, expected) = (u64::from_le_bytes(count), storage.count as u64);
        if count != expected {
            return Err(format!(
                "storage \"{key}\" has {count} numbers, expected {expected}"
            ));
        }
        let start = read(file.stream_position())?;
        let bytes = count.checked_mul(storage.width() as u64);
        let end = bytes.and_then(|bytes| start.checked_add(bytes));
        let (Some(bytes), Some(end)) = (bytes, end.filter(|&end| end <= size)) else {
            return Err(format!(
                "storage \"{key}\" of {count} numbers ends beyond the file, {size} bytes"
            ));
        };
        read(file.seek(SeekFrom::Start(end)))?;
        extents.insert(key.into(), Extent { start, bytes });
    }
    Ok((views, extents))
}

fn check_order(is_little: bool) -> Result<(), String> {
    let wrong = "its numbers have their bytes from the highest to the lowest (big-endian); save it with torch.save on another machine";
    is_little.then_some(()).ok_or_else(|| wrong.into())
}

/// Numbers that tensors share.
struct Storage {
    key: String,
    dtype: Dtype,
    count: usize,
    /// The number at which the part begins that is meant here.
    shift: usize,
}

impl Storage {
    /// By what names it outside of the pickle: `("storage", type, key, device, count)` and, before version 0.4, the part of it that is
    /// meant, `(key, start, count)`.
    fn of(table: &Pickle, name: Id) -> Option<Self> {
        let [kind, class, key, _, count, part @ ..] = table.sequence(name)? else {
            return None;
        };
        let part = part.first().and_then(|&part| table.sequence(part));
        Some(Self {
            key: table
                .text(*key)
                .filter(|_| table.text(*kind) == Some("storage"))?
                .into(),
            dtype: dtype(table.class(*class)?)?,
            count: table.count(*count)?,
            shift: match part {
                Some(part) => table.count(*part.get(1)?)?,
                None => 0,
            },
        })
    }

    /// Bytes of a number.
    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }
}

/// The number type of a storage's class, such as `torch.FloatStorage`.
fn dtype(class: &str) -> Option<Dtype> {
    Some(match class.rsplit('.').next()? {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

/// A tensor as a way to walk through a storage.
struct View {
    storage: Storage,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The tensors of a table; what else it holds is passed over.
fn views(table: &Pickle) -> Result<Views, String> {
    let Value::Table(entries) = table.value(table.root) else {
        return Err("it holds no table of tensors (a state_dict)".into());
    };
    let mut views = Vec::new();
    for &(key, value) in entries {
        let name = table.text(key);
        let (Some(name), Some(arguments)) = (name, rebuilt(table, value)) else {
            continue;
        };
        views.push((name.into(), View::of(table, arguments)));
    }
    if views.is_empty() {
        let names = entries.iter().filter_map(|&(key, _)| table.text(key));
        let names: Vec<&str> = names.take(5).collect();
        return Err(format!(
            "its table holds no tensors, but {names:?}: save the table of tensors itself (a state_dict)"
        ));
    }
    Ok(views)
}

/// The arguments of the call that makes a tensor.
fn rebuilt(table: &Pickle, value: Id) -> Option<&[Id]> {
    let call = |value| match table.value(value) {
        Value::Call(class, arguments) => Some((*class, *arguments)),
        _ => None,
    };
    let (mut class, mut arguments) = call(value)?;
    for _ in 0..DEEPEST {
        let given = table.sequence(arguments)?;
        match table.class(class)? {
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                return Some(given);
            }
            "torch._utils._rebuild_parameter" => (class, arguments) = call(*given.first()?)?,
            // The function, the subclass, the function's arguments.
            "torch._tensor._rebuild_from_type_v2" => {
                (class, arguments) = (*given.first()?, *given.get(2)?);
            }
            _ => return None,
        }
    }
    None
}

impl View {
    /// By the arguments of the call: storage, offset, shape, strides, and what does not matter here.
    fn of(table: &Pickle, arguments: &[Id]) -> Option<Self> {
        let [storage, offset, shape, strides, ..] = *arguments else {
            return None;
        };
        let Value::Outside(name) = table.value(storage) else {
            return None;
        };
        Some(Self {
            storage: Storage::of(table, *name)?,
            offset: table.count(offset)?,
            shape: table.counts(shape)?,
            strides: table.counts(strides)?,
        })
    }

    /// Where it is in the file.
    fn place(self, path: &Path, extents: &Extents) -> Result<Place, String> {
        let Storage {
            key, dtype, shift, ..
        } = &self.storage;
        let width = self.storage.width();
        let extent = extents.get(key);
        let extent = extent.ok_or_else(|| format!("its storage \"{key}\" is missing"))?;
        let there = (extent.bytes / width as u64) as usize;
        let first = self.offset.checked_add(*shift);
        let end = first.and_then(|first| self.span()?.checked_add(first));
        let (Some(first), Some(_)) = (first, end.filter(|&end| end <= there)) else {
            let Self {
                offset,
                shape,
                strides,
                ..
            } = self;
            return Err(format!(
                "shape {shape:?} with strides {strides:?} from {offset} on, which its storage of {there} numbers has not"
            ));
        };
        Ok(Place {
            file: path.into(),
            start: extent.start + (first * width) as u64,
            dtype: *dtype,
            strides: (!self.is_row_major()).then_some(self.strides),
            fault: None,
            shape: self.shape,
        })
    }

    /// Numbers of the storage from the first to the last one; none where they cannot be counted, or where some are repeated.
    fn span(&self) -> Option<usize> {
        let count = self
            .shape
            .iter()
            .try_fold(1usize, |count, &n| count.checked_mul(n))?;
        if count == 0 || self.shape.len() != self.strides.len() {
            return (count == 0).then_some(0);
        }
        let along = |last: usize, (&n, &stride): (&usize, &usize)| {
            (n - 1).checked_mul(stride)?.checked_add(last)
        };
        let span = self.shape.iter().zip(&self.strides).try_fold(1, along)?;
        (count <= span).then_some(span)
    }

    fn is_row_major(&self) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let mut expected = 1;
        let mut dimensions = self.shape.iter().zip(&self.strides).rev();
        dimensions.all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected *= n;
            fits
        })
    }
}

#[cfg(test)]
mod tests;
