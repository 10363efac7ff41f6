//! `.safetensors`: the tensor `embeddings`, with ids and labels as JSON in the metadata.

use std::io::Write;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::rows::{self, Element, Rows, blocks};
use super::staged::Staged;
use super::{Vectors, VectorsError};

const TENSOR: &str = "embeddings";
/// One metadata key, since several would be written in no fixed order.
const METADATA: &str = "nearkin";
/// The format's own limit.
const MAX_HEADER: usize = 100_000_000;

/// Ids and labels as they are read.
#[derive(Deserialize)]
struct NamesIn {
    ids: Option<Vec<rows::Name>>,
    labels: Option<Vec<rows::Name>>,
}

#[derive(Serialize)]
struct Names {
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
}

pub(super) fn write(path: &Path, source: &mut dyn Rows) -> Result<(), VectorsError> {
    let header = header(source)?.map_err(|error| write_error(path, error.to_string()))?;
    check_header(path, header.len())?;
    Staged::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for rows in blocks(source.shape()) {
            source.numbers(rows)?.write(file)?;
        }
        Ok(())
    })?
    .commit()
}

/// Refuses a header of more bytes than the format allows.
fn check_header(path: &Path, bytes: usize) -> Result<(), VectorsError> {
    if bytes <= MAX_HEADER {
        return Ok(());
    }
    let reason = format!(
        "ids and labels take {bytes} bytes and more, of which a .safetensors file can have {MAX_HEADER}: write .npy, .parquet or .jsonl"
    );
    Err(write_error(path, reason))
}

/// Refuses more ids than a header has room for: so many, of so many bytes as JSON strings.
pub(super) fn check_ids(path: &Path, ids: usize, bytes: usize) -> Result<(), VectorsError> {
    // At least a backslash before either quotation mark, and the comma.
    check_header(path, bytes + 3 * ids)
}

/// The JSON header, padded so that the data is aligned to eight bytes.
fn header(source: &mut dyn Rows) -> Result<serde_json::Result<String>, VectorsError> {
    let (rows, dim) = source.shape();
    let mut all = |names: rows::Names| {
        let there = source.has(names);
        there.then(|| source.names(names, 0..rows)).transpose()
    };
    let names = Names {
        ids: all(rows::Names::Id)?,
        labels: all(rows::Names::Label)?,
    };
    let (dtype, size) = match source.element() {
        Element::F32 => ("F32", 4),
        Element::I8 => ("I8", 1),
        Element::U8 => ("U8", 1),
    };
    let tensor = serde_json::json!({
        "dtype": dtype,
        "shape": [rows, dim],
        "data_offsets": [0, size * rows * dim],
    });
    Ok(header_text(&names, tensor))
}

fn header_text(names: &Names, tensor: serde_json::Value) -> serde_json::Result<String> {
    let mut header = serde_json::Map::new();
    if names.ids.is_some() || names.labels.is_some() {
        let names = serde_json::to_string(names)?;
        header.insert(
            "__metadata__".to_owned(),
            serde_json::json!({ METADATA: names }),
        );
    }
    header.insert(TENSOR.to_owned(), tensor);
    let mut text = serde_json::to_string(&header)?;
    let padding = text.len().next_multiple_of(8) - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    Ok(text)
}

pub(super) fn read(path: &Path) -> Result<Vectors, VectorsError> {
    let malformed = |reason: String| VectorsError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let bytes = fs_err::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
    let tensor = tensors.tensor(TENSOR).map_err(|_| {
        let mut names = tensors.names();
        names.sort_unstable();
        malformed(format!("no tensor {TENSOR:?}; it has {}", names.join(", ")))
    })?;
    let [rows, dim] = tensor.shape()[..] else {
        return Err(malformed(format!(
            "expected {TENSOR:?} of shape [N, D], found {:?}",
            tensor.shape()
        )));
    };
    let data = tensor.data();
    let data = match tensor.dtype() {
        Dtype::F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F64 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b) as f32)
            .collect(),
        Dtype::I8 => data.iter().map(|b| f32::from(b.cast_signed())).collect(),
        Dtype::U8 => data.iter().map(|b| f32::from(*b)).collect(),
        other => {
            return Err(malformed(format!(
                "expected {TENSOR:?} of type F32, F64, I8 or U8, found {other:?}"
            )));
        }
    };
    let names = names(&bytes).map_err(malformed)?;
    Ok(Vectors {
        ids: names.ids,
        labels: names.labels,
        ..Vectors::new(rows, dim, data)
    })
}

/// The ids and labels in the metadata of a file, if it has any.
fn names(bytes: &[u8]) -> Result<Names, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    match header
        .metadata()
        .as_ref()
        .and_then(|texts| texts.get(METADATA))
    {
        Some(text) => {
            let wrong = |error| format!("metadata {METADATA:?}: {error}");
            let NamesIn { ids, labels } = serde_json::from_str(text).map_err(wrong)?;
            let texts = |names: Vec<rows::Name>| names.into_iter().map(String::from).collect();
            Ok(Names {
                ids: ids.map(texts),
                labels: labels.map(texts),
            })
        }
        None => Ok(Names {
            ids: None,
            labels: None,
        }),
    }
}

fn write_error(path: &Path, reason: String) -> VectorsError {
    VectorsError::Write {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_file_of_another_program_is_read_or_refused_with_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.safetensors");
        let doubles: Vec<u8> = [0.5_f64, 2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        for (name, dtype, shape, words) in [
            ("embeddings", Dtype::F64, vec![1, 2], None),
            ("vectors", Dtype::F64, vec![1, 2], Some("it has vectors")),
            ("embeddings", Dtype::F64, vec![2], Some("found [2]")),
            ("embeddings", Dtype::I32, vec![2, 2], Some("found I32")),
        ] {
            let view = TensorView::new(dtype, shape, &doubles).unwrap();
            fs_err::write(&path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
            match words {
                None => assert_eq!(super::super::read(&path).unwrap().data, [0.5, 2.0]),
                Some(words) => {
                    let message = read(&path).unwrap_err().to_string();
                    assert!(message.contains(words), "{message}");
                }
            }
        }
    }
}
