//! Stored weights: named tensors in safetensors or PyTorch files, read one by one as `f32`.

use crate::error::{Error, Result};
use crate::host::tensor;
use crate::parameters::{Storage, begins};
use place::Place;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

mod pickle;
mod place;
mod pytorch;

/// The most bytes of a safetensors header.
const LONGEST_HEADER: u64 = 100 << 20;

/// Weights of a network in one or more files.
pub struct Stored {
    path: PathBuf,
    tensors: HashMap<String, Place>,
    /// What stands before the names in the files, such as `bert.`.
    prefix: String,
    /// Beginnings of the names of parameters that start anew.
    fresh: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Stored {
    /// The tensors of a `.safetensors` file, of a table that PyTorch of any version wrote (`.bin`, `.pt`, `.pth`; pickle protocol 2,
    /// which is its default), or of the shards
    /// of either that an `.index.json` names.
    ///
    /// # Errors
    /// A file cannot be read, is damaged or cut short.
    pub fn open(path: &Path) -> Result<Self> {
        let mut stored = Self {
            path: path.into(),
            tensors: HashMap::new(),
            prefix: String::new(),
            fresh: Vec::new(),
        };
        if path.extension().is_some_and(|e| e == "json") {
            stored.add_shards(path)?;
        } else {
            stored.add(path)?;
        }
        Ok(stored)
    }

    /// The same, read under names that stand behind a prefix in the files: the first of `prefixes` under which `name` is there.
    #[must_use]
    pub fn behind(mut self, prefixes: &[&str], name: &str) -> Self {
        let found = prefixes
            .iter()
            .find(|prefix| self.tensors.contains_key(&format!("{prefix}{name}")));
        self.prefix = found.copied().unwrap_or_default().into();
        self
    }

    /// The same, with the parameters whose names begin so not read but started anew.
    #[must_use]
    pub fn fresh(self, beginnings: Vec<String>) -> Self {
        Self {
            fresh: beginnings,
            ..self
        }
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, as the files have them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full(name))
    }

    pub(crate) fn is_fresh(&self, name: &str) -> bool {
        self.fresh.iter().any(|start| begins(name, start))
    }

    fn full(&self, name: &str) -> String {
        let full = format!("{}{name}", self.prefix);
        if self.tensors.contains_key(&full) {
            return full;
        }
        // Weights that came from TensorFlow call the scale and the shift of a norm otherwise.
        let old = full
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        // Heads stand beside the prefix, not behind it.
        if self.tensors.contains_key(&old) {
            old
        } else {
            name.into()
        }
    }

    /// The numbers of a parameter of this shape, from the tensors that it lies in.
    ///
    /// # Errors
    /// A tensor is missing, of another shape, of a number type that is not F32, F16, BF16 or F64, or holds a number that is not
    /// finite.
    pub fn read(&self, names: &[String], storage: Storage, shape: &[usize]) -> Result<Vec<f32>> {
        let expected = storage.shape_in_file(shape);
        let mut numbers = Vec::with_capacity(shape.iter().product());
        for name in names {
            let (found, mut part) = self.tensor(name)?;
            if found != expected {
                return Err(Error::TensorShape {
                    path: self.path.clone(),
                    tensor: name.clone(),
                    expected,
                    found,
                });
            }
            if let Some(at) = nearkin_kernels::first_non_finite(&part) {
                return Err(Error::File {
                    path: self.path.clone(),
                    reason: format!("tensor \"{name}\" holds {} at place {at}", part[at]),
                });
            }
            match names {
                [_] => numbers = part,
                _ => numbers.append(&mut part),
            }
        }
        if storage == Storage::Kernel {
            let kernel = tensor(numbers, &expected[..])?.permute((0, 2, 3, 1))?;
            return Ok(kernel.flatten_all()?.to_vec1()?);
        }
        Ok(numbers)
    }

    /// Shape and numbers of a tensor, finite or not.
    ///
    /// # Errors
    /// The tensor is missing, or of a number type that is not F32, F16, BF16 or F64.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let full = self.full(name);
        let place = self.tensors.get(&full);
        let place = place.ok_or_else(|| self.missing(name))?;
        let numbers = place.read().map_err(|reason| Error::File {
            path: place.file.clone(),
            reason: format!("tensor \"{full}\": {reason}"),
        })?;
        Ok((place.shape.clone(), numbers))
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.into(),
        }
    }

    fn add_shards(&mut self, path: &Path) -> Result<()> {
        let text = fs_err::read_to_string(path)?;
        let index: Index = serde_json::from_str(&text).map_err(|e| Error::File {
            path: path.into(),
            reason: e.to_string(),
        })?;
        let mut shards: Vec<&String> = index.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            self.add(&path.with_file_name(shard))?;
        }
        let absent = index
            .weight_map
            .keys()
            .find(|name| !self.tensors.contains_key(*name));
        absent.map_or(Ok(()), |name| Err(self.missing(name)))
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let extension = path.extension().and_then(|e| e.to_str());
        if !matches!(extension, Some("bin" | "pt" | "pth")) {
            return self.add_safetensors(path);
        }
        let tensors = pytorch::tensors(path).map_err(|reason| Error::File {
            path: path.into(),
            reason: format!("not a PyTorch file that can be read ({reason})"),
        })?;
        self.tensors.extend(tensors);
        Ok(())
    }

    fn add_safetensors(&mut self, path: &Path) -> Result<()> {
        let mut file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        let damaged = |what: String| Error::File {
            path: path.into(),
            reason: format!("not a whole safetensors file ({what}); {size} bytes"),
        };
        let mut header = vec![0; 8];
        file.read_exact(&mut header)
            .map_err(|_| damaged("no header".into()))?;
        let length = header
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if length > LONGEST_HEADER || length + 8 > size {
            return Err(damaged(format!("a header of {length} bytes")));
        }
        header.resize(8 + length as usize, 0);
        file.read_exact(&mut header[8..])?;
        // Its deserialization checks that the tensors lie one after another and are as long as their shapes say.
        let metadata: Metadata =
            serde_json::from_slice(&header[8..]).map_err(|e| damaged(e.to_string()))?;
        for (name, info) in metadata.tensors() {
            if info.data_offsets.1 as u64 + 8 + length > size {
                return Err(damaged(format!("tensor \"{name}\" ends beyond the file")));
            }
            let place = Place {
                file: path.into(),
                start: 8 + length + info.data_offsets.0 as u64,
                dtype: info.dtype,
                shape: info.shape.clone(),
                strides: None,
                fault: None,
            };
            self.tensors.insert(name, place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView};

    fn write(path: &Path, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    #[test]
    fn halves_of_both_kinds_are_widened_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let bytes = |words: &[u16]| {
            words
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let f16 = bytes(&[0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x3555]);
        let bf16 = bytes(&[0x3f80, 0xc000, 0x0001, 0x7f7f, 0x8000, 0x3eab]);
        write(
            &path,
            &[
                ("a", Dtype::F16, vec![6], f16),
                ("b", Dtype::BF16, vec![2, 3], bf16),
            ],
        );
        let stored = Stored::open(&path).unwrap();
        let want = [1.0, -2.0, 5.960_464_5e-8, 65504.0, -0.0, 0.333_251_95];
        assert_eq!(stored.tensor("a").unwrap(), (vec![6], want.to_vec()));
        let (shape, numbers) = stored.tensor("b").unwrap();
        assert_eq!((shape, &numbers[..2]), (vec![2, 3], &[1.0, -2.0][..]));
        assert!((numbers[5] - 0.333_98).abs() < 1e-4);
    }

    #[test]
    fn shards_are_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let one = 1.0f32.to_le_bytes().to_vec();
        for (file, name) in [("m-1.safetensors", "a"), ("m-2.safetensors", "b")] {
            write(
                &folder.path().join(file),
                &[(name, Dtype::F32, vec![1], one.clone())],
            );
        }
        let index = folder.path().join("model.safetensors.index.json");
        let map = r#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
        fs_err::write(&index, map).unwrap();
        let stored = Stored::open(&index).unwrap();
        assert!(stored.has("a") && stored.has("b"));
        fs_err::write(&index, map.replace("\"b\":", "\"c\":")).unwrap();
        let error = Stored::open(&index).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("\"c\" is missing"), "{error}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let bytes = [1.0f32, f32::NAN]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        write(&path, &[("a", Dtype::F32, vec![2], bytes)]);
        let stored = Stored::open(&path).unwrap();
        let error = stored
            .read(&["a".into()], Storage::Plain, &[2])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("tensor \"a\" holds NaN at place 1"),
            "{error}"
        );
    }

    #[test]
    fn names_are_found_behind_a_prefix_or_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let one = || 1.0f32.to_le_bytes().to_vec();
        write(
            &path,
            &[
                ("bert.a", Dtype::F32, vec![1], one()),
                ("head", Dtype::F32, vec![1], one()),
            ],
        );
        let stored = Stored::open(&path).unwrap().behind(&["", "bert."], "a");
        assert!(stored.has("a") && stored.has("head") && !stored.has("b"));
    }
}
