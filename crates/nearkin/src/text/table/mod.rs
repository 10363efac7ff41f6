//! Tables of text: TSV, CSV, JSON lines, Parquet or plain lines, as they are or gzipped.
//!
//! A [`TextTable`] says where a table lies, [`Rows`] which of its columns are what. Rows that cannot be used are counted
//! and named by their line; unless the recipe allows a share of them, they are an error.
//!
//! ```
//! use nearkin::text::table::{Rows, Target, TextTable};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("nli.tsv");
//! std::fs::write(&path, "label\tpremise\thypothesis\nneutral\tA dog runs.\tIt rains.\n-\tA cat.\tA dog.\n")?;
//! let table: TextTable = toml::from_str(&format!("path = {path:?}"))?;
//! let rows: Rows = toml::from_str(
//!     "[pairs]\nfirst = 'premise'\nsecond = 'hypothesis'\nlabel = 'label'\n\
//!      classes = ['contradiction', 'entailment', 'neutral']\ndrop = '-'",
//! )?;
//! let read = table.read(&rows)?;
//! assert_eq!(read.texts, [["A dog runs."], ["It rains."]]);
//! assert!(matches!(read.target, Target::Classes { of, .. } if of == [2]));
//! assert_eq!((read.lines, read.dropped), (vec![2], 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod delimited;
mod jsonl;
mod lines;
mod names;
mod parquet;
mod reader;
mod rows;
mod write;

pub use names::Names;
pub use reader::{Damage, RowReader};
pub use rows::{Labeled, Pairs, Rows, Scored, Target, TextRows, Texts, Triplets};
pub use write::table_bytes;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use nearkin_losses::range::Fraction;
use serde::{Deserialize, Serialize};

use crate::data::DataError;

/// Where a table of text lies and which of its rows are wanted, as the recipe writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTable {
    /// The file; with the extension `.gz` it is gzipped. `-` is standard input, lines where `format` says nothing else.
    pub path: PathBuf,
    /// What the file holds; without it the extension says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The share of rows that may be damaged; they are left out.
    #[serde(default = "none")]
    pub damaged: Fraction,
    /// Rows to read at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroUsize>,
    /// Only rows whose column has one of these values, for instance `{ split = "test", year = [2015, 2016] }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Names>,
}

fn none() -> Fraction {
    Fraction::literal(0.0)
}

/// What a table's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Tab-separated with a header; a quotation mark is a character like any other (`.tsv`, `.tab`).
    Tsv,
    /// Comma-separated with a header and quoting (`.csv`).
    Csv,
    /// A JSON object on each line (`.jsonl`, `.ndjson`).
    Jsonl,
    /// Parquet with columns of text, numbers or truth values (`.parquet`).
    Parquet,
    /// One text a line, without a header: the only column is called `text` (`.txt`).
    Lines,
}

impl TextTable {
    /// All rows of the table at `path`, in the format of its extension; no row may be damaged.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            damaged: none(),
            limit: None,
            filter: BTreeMap::new(),
        }
    }

    /// Opens the table to read the `columns`, a row at a time: memory does not grow with the table.
    ///
    /// # Errors
    /// The file cannot be opened, its format is unknown, or it lacks a column.
    pub fn rows<'t>(&'t self, columns: &[&'t str]) -> Result<RowReader<'t>, DataError> {
        RowReader::open(self, columns)
    }

    /// Keeps only rows of a filter `column=value`; the value may be a TOML list of several, or text without quotes.
    ///
    /// ```
    /// use nearkin::text::TextTable;
    /// let mut table = TextTable::new("sts.tsv");
    /// table.filter_by("split=test")?;
    /// table.filter_by("year=[2012, 2013]")?;
    /// assert_eq!(table.filter["year"].0, ["2012", "2013"]);
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// There is no `=` in it.
    pub fn filter_by(&mut self, text: &str) -> Result<(), String> {
        let (column, value) = text
            .split_once('=')
            .ok_or_else(|| format!("\"{text}\" is no filter, expected column=value"))?;
        // Quotation marks and lists are TOML's; anything else is the value itself.
        let names = if value.trim_start().starts_with(['[', '"', '\'']) {
            toml::from_str::<BTreeMap<String, Names>>(&format!("value = {value}"))
                .map_err(|error| format!("{text}: {}", error.message()))?
                .remove("value")
                .unwrap_or_default()
        } else {
            Names(vec![value.to_owned()])
        };
        self.filter.insert(column.trim().to_owned(), names);
        Ok(())
    }

    /// The names of the columns; in JSON lines the keys of the first object.
    ///
    /// # Errors
    /// The file cannot be opened, or its format is unknown.
    pub fn columns(&self) -> Result<Vec<String>, DataError> {
        match self.format()? {
            Format::Tsv => delimited::tsv_columns(self),
            Format::Csv => delimited::csv_columns(self),
            Format::Jsonl => jsonl::columns(self),
            Format::Parquet => parquet::columns(self),
            Format::Lines => Ok(vec!["text".to_owned()]),
        }
    }

    /// Reads the table whole.
    ///
    /// # Errors
    /// What [`Self::rows`] and [`RowReader::read_row`] refuse; no row is left, or more are damaged than allowed.
    pub fn read(&self, rows: &Rows) -> Result<TextRows, DataError> {
        rows.read(self)
    }

    fn format(&self) -> Result<Format, DataError> {
        self.format
            .or_else(|| format_of(&self.path))
            .or_else(|| self.is_standard_input().then_some(Format::Lines))
            .ok_or_else(|| DataError::UnknownFormat {
                path: self.path.clone(),
                expected: "tsv, csv, jsonl, parquet, txt (or these with .gz), or format must be set",
            })
    }

    /// Whether the extension says what the file holds.
    pub fn has_known_extension(&self) -> bool {
        format_of(&self.path).is_some()
    }

    /// Whether the table comes from standard input, which can be read once.
    pub fn is_standard_input(&self) -> bool {
        self.path == Path::new("-")
    }

    fn is_gzipped(&self) -> bool {
        extension(&self.path).as_deref() == Some("gz")
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_lowercase())
}

fn format_of(path: &Path) -> Option<Format> {
    match extension(path)?.as_str() {
        "tsv" | "tab" => Some(Format::Tsv),
        "csv" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        "parquet" => Some(Format::Parquet),
        "txt" => Some(Format::Lines),
        "gz" => format_of(Path::new(path.file_stem()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
