//! Weight files: named tensors as safetensors, written beside and renamed.

use crate::error::{Error, Result};
use crate::host::{Host, tensor};
use crate::parameters::{Parameters, Storage};
use crate::stored::Stored;
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 20;

/// Named tensors in host memory.
pub type Tensors = BTreeMap<String, Tensor>;

/// Writes the parameters, under the names and in the shapes of [`Parameter::stored`](crate::parameters::Parameter::stored).
///
/// # Errors
/// The file cannot be written; an older file of that name then stays as it was.
pub fn save(parameters: &Parameters, path: &Path) -> Result<()> {
    write(&tensors(parameters)?, path)
}

/// The parameters as a weight file has them.
///
/// # Errors
/// The device is out of memory.
pub fn tensors(parameters: &Parameters) -> Result<Tensors> {
    let mut stored = Tensors::new();
    for p in parameters {
        let values = p.var.as_detached_tensor();
        let shape = p.storage.shape_in_file(p.var.dims());
        match p.storage {
            Storage::Plain => {
                stored.insert(p.stored[0].clone(), values);
            }
            Storage::Kernel => {
                stored.insert(p.stored[0].clone(), values.permute((0, 3, 1, 2))?);
            }
            Storage::Pointwise => {
                stored.insert(p.stored[0].clone(), values.reshape(&shape[..])?);
            }
            Storage::Blocks(_) | Storage::Rows(_) => {
                let rows = p.var.dims()[0] / p.stored.len();
                for (part, name) in p.stored.iter().enumerate() {
                    let block = values.narrow(0, part * rows, rows)?.reshape(&shape[..])?;
                    stored.insert(name.clone(), block);
                }
            }
        }
    }
    Ok(stored)
}

/// Reads every parameter from a weight file; other tensors in the file are ignored.
///
/// # Errors
/// The file cannot be read, is damaged, lacks a tensor, or holds one of another shape: the first
/// such tensor is named.
pub fn load(parameters: &Parameters, path: &Path) -> Result<()> {
    let stored = Stored::open(path)?;
    for p in parameters {
        let numbers = stored.read(&p.stored, p.storage, p.var.dims())?;
        let values = tensor(numbers, p.var.shape())?.to_dtype(p.var.dtype())?;
        p.var.set(&values.to_device(p.var.device())?)?;
    }
    Ok(())
}

/// Writes named tensors as `f32`, beside the target and renamed; at most one tensor is held a second time.
///
/// # Errors
/// The file cannot be written; an older file of that name then stays as it was.
pub fn write(tensors: &Tensors, path: &Path) -> Result<()> {
    let (mut places, mut end) = (Vec::with_capacity(tensors.len()), 0);
    for (name, values) in tensors {
        let start = end;
        end += size_of::<f32>() * values.elem_count();
        let place = TensorInfo {
            dtype: Dtype::F32,
            shape: values.dims().to_vec(),
            data_offsets: (start, end),
        };
        places.push((name.clone(), place));
    }
    let damaged = |reason: String| Error::File {
        path: path.into(),
        reason,
    };
    let header = Metadata::new(None, places).map_err(|e| damaged(e.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| damaged(e.to_string()))?;
    // Numbers begin at a multiple of eight bytes, as the format has it.
    header.resize(header.len().next_multiple_of(8), b' ');
    beside(path, |file| {
        let mut file = BufWriter::with_capacity(BUFFER, file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for values in tensors.values() {
            let values = values.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
            let values = values.contiguous()?;
            for number in &*Host::new(&values)? {
                file.write_all(&number.to_le_bytes())?;
            }
        }
        Ok(file.flush()?)
    })
}

/// Reads the `f32` tensors of a file.
///
/// # Errors
/// The file cannot be read, is damaged or cut short, or holds numbers that are not `f32`.
pub fn read(path: &Path) -> Result<Tensors> {
    let bytes = fs_err::read(path)?;
    let damaged = |reason: String| Error::File {
        path: path.into(),
        reason,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        damaged(format!(
            "not a whole safetensors file ({e}); {} bytes",
            bytes.len()
        ))
    })?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!(
                "tensor \"{name}\" holds {:?}, expected F32",
                view.dtype()
            )));
        }
        let (words, _) = view.data().as_chunks::<4>();
        let numbers = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        tensors.insert(name.to_owned(), tensor(numbers, view.shape())?);
    }
    Ok(tensors)
}

/// Writes a file beside its target, flushes it to the disk, renames it over the target, and flushes
/// the rename: once this returns, the new file survives a crash of the machine.
///
/// # Errors
/// The disk is full or the folder cannot be written; the old file then stays as it was.
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<()> {
    beside(path, |file| Ok(file.write_all(bytes)?))
}

/// What `write` writes into a file beside `path`, flushed to the disk, then takes the place of `path`.
fn beside(path: &Path, write: impl FnOnce(&mut fs_err::File) -> Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let attempt = || -> Result<()> {
        let mut file = fs_err::File::create(&partial)?;
        write(&mut file)?;
        file.sync_all()?;
        fs_err::rename(&partial, path)?;
        Ok(sync_folder_of(path)?)
    };
    attempt().inspect_err(|_| {
        // What is half written is of no use; the failure to remove it would hide the first error.
        let _ = fs_err::remove_file(&partial);
    })
}

/// Flushes the names in a folder to the disk: until then a crash of the machine may undo what was
/// made, renamed or removed in it.
///
/// # Errors
/// The folder cannot be opened or flushed.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    // Other systems than Unix cannot open a folder, and order such changes themselves.
    if cfg!(unix) {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// [`sync_folder`] of the folder that `path` lies in.
///
/// # Errors
/// As [`sync_folder`].
pub fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    sync_folder(folder.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Convnet, Embedder, Head, InputShape, Network};

    fn embedder(seed: u64) -> Embedder {
        let network = Network::Convnet(Convnet {
            widths: vec![3, 5],
            ..Convnet::default()
        });
        let input = InputShape::Image {
            height: 8,
            width: 8,
            channels: 2,
        };
        Embedder::new(
            &network,
            &Head {
                dim: 4,
                ..Head::default()
            },
            input,
            seed,
        )
        .unwrap()
    }

    fn numbers(embedder: &Embedder) -> Vec<Vec<f32>> {
        let values =
            |p: &crate::parameters::Parameter| p.var.flatten_all().unwrap().to_vec1().unwrap();
        embedder.parameters().iter().map(values).collect()
    }

    #[test]
    fn saved_parameters_load_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let (one, other) = (embedder(1), embedder(2));
        assert_ne!(numbers(&one), numbers(&other));
        save(one.parameters(), &path).unwrap();
        load(other.parameters(), &path).unwrap();
        assert_eq!(numbers(&one), numbers(&other));
    }

    #[test]
    fn kernels_lie_in_the_file_as_pytorch_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        save(embedder(1).parameters(), &path).unwrap();
        assert_eq!(
            read(&path).unwrap()["block1.conv.weight"].dims(),
            [5, 3, 3, 3]
        );
        assert_eq!(
            read(&path).unwrap()["block0.conv.weight"].dims(),
            [3, 2, 3, 3]
        );
    }

    #[test]
    fn a_file_cut_short_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        save(embedder(1).parameters(), &path).unwrap();
        let bytes = fs_err::read(&path).unwrap();
        for len in [0, 5, 100, bytes.len() - 1] {
            fs_err::write(&path, &bytes[..len]).unwrap();
            let error = load(embedder(1).parameters(), &path)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("w.safetensors") && error.contains("not a whole safetensors file"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_first_tensor_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let mut tensors = Tensors::new();
        write(&tensors, &path).unwrap();
        let error = load(embedder(1).parameters(), &path)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"block0.conv.weight\" is missing"),
            "{error}"
        );
        tensors.insert(
            "block0.conv.weight".into(),
            tensor(vec![0.0; 18], (1, 2, 3, 3)).unwrap(),
        );
        write(&tensors, &path).unwrap();
        let error = load(embedder(1).parameters(), &path)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("shape [1, 2, 3, 3], expected [3, 2, 3, 3]"),
            "{error}"
        );
    }
}
