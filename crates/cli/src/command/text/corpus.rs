//! Texts with their vectors: embedded now, or before.

use super::TextSubject;
use crate::arguments::TextInput;
use crate::failure::Failure;
use nearkin::Mat;
use nearkin::text::TextTable;
use nearkin::text::embed::Role;
use nearkin::vectors::{self, Vectors};

/// Texts, or what else names rows, and their vectors.
pub struct Corpus {
    pub names: Vec<String>,
    pub numbers: Vec<f32>,
    pub dim: usize,
    /// Their classes, where they have some.
    pub classes: Option<Vec<String>>,
}

impl From<Vectors> for Corpus {
    fn from(vectors: Vectors) -> Self {
        let numbered = || (0..vectors.rows).map(|row| row.to_string()).collect();
        Self {
            names: vectors.ids.unwrap_or_else(numbered),
            numbers: vectors.data,
            dim: vectors.dim,
            classes: vectors.labels,
        }
    }
}

impl Corpus {
    /// A file of vectors, or texts, which need a model.
    pub fn load(
        table: &TextTable,
        input: &TextInput,
        subject: Option<&TextSubject>,
    ) -> Result<Self, Failure> {
        if holds_vectors(table)? {
            let corpus: Self = vectors::read(&table.path)?.into();
            // Bytes lie on other scales than the model's floats, and bits are eight to a number.
            if subject.is_some() && corpus.numbers.iter().all(|x| x.fract() == 0.0) {
                let path = table.path.display();
                return Err(Failure::usage(format!(
                    "{path}: whole numbers, as --quantize writes them; expected the model's floats: embed without --quantize"
                )));
            }
            return Ok(corpus);
        }
        let subject = subject.ok_or_else(|| {
            let path = table.path.display();
            Failure::usage(format!(
                "{path}: texts need a sentence encoder: --model MODEL"
            ))
        })?;
        Self::of_texts(table, input, subject, Role::Document)
    }

    /// Texts of a table, embedded now.
    pub fn of_texts(
        table: &TextTable,
        input: &TextInput,
        subject: &TextSubject,
        role: Role,
    ) -> Result<Self, Failure> {
        let (texts, names) = input.read(table)?;
        let (numbers, dim) = subject.vectors(&texts, role)?;
        let names = names.unwrap_or(texts);
        Ok(Self {
            names,
            numbers,
            dim,
            classes: None,
        })
    }

    /// `[N, D]`
    pub fn mat(&self) -> Mat<'_> {
        Mat::new(&self.numbers, self.names.len(), self.dim)
    }
}

/// Whether a file is one that `nearkin embed` writes rather than a table of texts.
fn holds_vectors(table: &TextTable) -> Result<bool, Failure> {
    let extension = table.path.extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    Ok(match (table.format, extension.as_str()) {
        (None, "npy" | "safetensors") => true,
        (None, "jsonl") => table.columns()?.iter().any(|name| name == "embedding"),
        // Lists of numbers are no column of a table of texts.
        (None, "parquet") => table
            .columns()?
            .iter()
            .all(|name| name == "id" || name == "label"),
        _ => false,
    })
}
