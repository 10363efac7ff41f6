//! Rows of a table, one at a time.

use serde::Serialize;
use std::fmt;

use super::delimited::{Csv, Tsv};
use super::jsonl::Jsonl;
use super::lines::Lines;
use super::parquet::Parquet;
use super::{Format, Names, TextTable};
use crate::data::{DataError, unknown_column};

/// What came from a file.
pub(super) enum Next {
    /// A row; its fields were pushed.
    Row,
    /// A row that cannot be used, and why.
    Damaged(String),
    /// Nothing more.
    End,
}

impl Next {
    pub fn of(row: Result<(), String>) -> Self {
        match row {
            Ok(()) => Self::Row,
            Err(reason) => Self::Damaged(reason),
        }
    }
}

/// An open file of rows.
enum Source {
    Tsv(Tsv),
    Csv(Csv),
    Jsonl(Jsonl),
    Parquet(Box<Parquet>),
    /// Lines, and how often the one column is wanted.
    Lines(Lines, usize),
}

impl Source {
    fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        Ok(match table.format()? {
            Format::Tsv => Self::Tsv(Tsv::open(table, wanted)?),
            Format::Csv => Self::Csv(Csv::open(table, wanted)?),
            Format::Jsonl => Self::Jsonl(Jsonl::open(table, wanted)?),
            Format::Parquet => Self::Parquet(Box::new(Parquet::open(table, wanted)?)),
            Format::Lines => {
                if let Some(other) = wanted.iter().find(|column| **column != "text") {
                    return Err(unknown_column(&table.path, other, &["text".to_owned()]));
                }
                Self::Lines(Lines::open(table)?, wanted.len())
            }
        })
    }

    fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        match self {
            Self::Tsv(rows) => rows.next(fields),
            Self::Csv(rows) => rows.next(fields),
            Self::Jsonl(rows) => rows.next(fields),
            Self::Parquet(rows) => rows.next(fields),
            Self::Lines(lines, times) => Ok(match lines.next_line()? {
                None => Next::End,
                Some(line) => Next::of(match str::from_utf8(line) {
                    Ok(text) => {
                        fields.extend(std::iter::repeat_n(text.to_owned(), *times));
                        Ok(())
                    }
                    Err(error) => Err(format!("not UTF-8 text: {error}")),
                }),
            }),
        }
    }

    fn line(&self) -> u64 {
        match self {
            Self::Tsv(rows) => rows.line(),
            Self::Csv(rows) => rows.line(),
            Self::Jsonl(rows) => rows.line(),
            Self::Parquet(rows) => rows.line(),
            Self::Lines(lines, _) => lines.number,
        }
    }
}

/// Rows that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// How many.
    pub rows: usize,
    /// The line and the reason of the first ones.
    pub first: Vec<(u64, String)>,
}

impl Damage {
    /// Damaged rows that are named; the others are counted.
    const NAMED: usize = 10;

    fn add(&mut self, line: u64, reason: String) {
        self.rows += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((line, reason));
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let plural = if self.rows == 1 { "" } else { "s" };
        write!(f, "{} damaged row{plural}", self.rows)?;
        for (at, (line, reason)) in self.first.iter().enumerate() {
            let separator = if at == 0 { ": " } else { "; " };
            write!(f, "{separator}line {line}: {reason}")?;
        }
        match self.rows - self.first.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A table read row by row, from [`TextTable::rows`].
///
/// ```
/// use nearkin::text::TextTable;
/// let folder = tempfile::tempdir()?;
/// let table = TextTable::new(folder.path().join("questions.csv"));
/// std::fs::write(&table.path, "id,question\n7,\"Where, then?\"\n8,When?\n")?;
/// let (mut rows, mut fields) = (table.rows(&["question"])?, Vec::new());
/// while rows.read_row(&mut fields)? {
///     println!("{}: {}", rows.line(), fields[0]);
/// }
/// assert_eq!(rows.finish()?.rows, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RowReader<'t> {
    table: &'t TextTable,
    source: Source,
    wanted: usize,
    /// The values that each of the columns after the wanted ones may have.
    filters: Vec<&'t Names>,
    damage: Damage,
    /// Rows read, the damaged ones and those filtered out among them.
    read: usize,
    kept: usize,
}

impl<'t> RowReader<'t> {
    pub(super) fn open(table: &'t TextTable, columns: &[&'t str]) -> Result<Self, DataError> {
        let filtered = table.filter.keys().map(String::as_str);
        let all: Vec<&str> = columns.iter().copied().chain(filtered).collect();
        Ok(Self {
            source: Source::open(table, &all)?,
            wanted: columns.len(),
            filters: table.filter.values().collect(),
            table,
            damage: Damage::default(),
            read: 0,
            kept: 0,
        })
    }

    /// Replaces `fields` by those of the next row that is whole and passes the filter; false after the last.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn read_row(&mut self, fields: &mut Vec<String>) -> Result<bool, DataError> {
        while self.table.limit.is_none_or(|limit| self.kept < limit.get()) {
            fields.clear();
            match self.source.next(fields)? {
                Next::End => break,
                Next::Damaged(reason) => self.damage.add(self.source.line(), reason),
                Next::Row => {
                    let mut values = self.filters.iter().zip(&fields[self.wanted..]);
                    if values.all(|(names, value)| names.contains(value)) {
                        fields.truncate(self.wanted);
                        self.read += 1;
                        self.kept += 1;
                        return Ok(true);
                    }
                }
            }
            self.read += 1;
        }
        fields.clear();
        Ok(false)
    }

    /// The line on which the row read last begins, from 1; in Parquet the row's number.
    pub fn line(&self) -> u64 {
        self.source.line()
    }

    /// Takes back the row read last: it does not count towards the limit.
    pub fn leave_out(&mut self) {
        self.kept = self.kept.saturating_sub(1);
    }

    /// Takes back the row read last because it cannot be used.
    pub fn reject(&mut self, reason: String) {
        self.leave_out();
        self.damage.add(self.source.line(), reason);
    }

    /// What was damaged so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// What was damaged, after the last row.
    ///
    /// # Errors
    /// More rows were damaged than the table allows.
    pub fn finish(self) -> Result<Damage, DataError> {
        let allowed = self.table.damaged.exact();
        if self.damage.rows as f64 > allowed * self.read as f64 {
            return Err(DataError::DamagedRows {
                path: self.table.path.clone(),
                damage: self.damage,
                rows: self.read,
                allowed,
            });
        }
        Ok(self.damage)
    }
}
