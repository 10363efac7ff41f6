//! Precomputed features: one row of numbers an item.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::table::{Column, Table, line_of, table_format};
use super::tree::display_name;
use super::{DataError, Dataset, Skipped, dataset::Items, label_index::label_index};
use crate::vectors::npy;

/// Rows of features: a CSV or TSV table (also `.gz`), or a `.npy` matrix `[N, D]` with a file of labels.
///
/// In a table every column that is not the label, the id or ignored is a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// The table or matrix.
    pub path: PathBuf,
    /// A file with one label a row: `.npy` (whole numbers or text), otherwise text, one label a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The table's label column; without it the column `label` where there is a header, otherwise the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_column: Option<Column>,
    /// The table's column with the item's id; without it the row number is the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<Column>,
    /// Columns of the table that are no features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_columns: Vec<Column>,
    /// Whether the table's first row names its columns; without it, it does if there is no number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// What to do with a row that has a NaN, an infinite value or an empty field.
    #[serde(default)]
    pub missing: Missing,
    /// Every column is a feature and no row has a label: something to embed, which no recipe can name.
    #[serde(skip)]
    unlabeled: bool,
}

/// What to do with a row of features that has a value missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Refuse the file, naming row and column.
    #[default]
    Error,
    /// Leave the row out and count it.
    Skip,
}

/// The rows read so far.
#[derive(Default)]
struct Rows {
    dim: usize,
    data: Vec<f32>,
    labels: Vec<String>,
    names: Vec<String>,
    skipped: usize,
}

/// Which column of a table is what.
struct Roles {
    label: Label,
    id: Option<usize>,
    features: Vec<usize>,
}

/// Where a table's labels are.
enum Label {
    Column(usize),
    File(Vec<String>),
    Nowhere,
}

impl Label {
    /// The label of row `number`; empty beyond the end of a file of labels, whose length is checked afterwards.
    fn of(&self, number: usize, row: &StringRecord, table: &Table) -> Result<String, DataError> {
        match self {
            Self::Column(column) if row[*column].trim().is_empty() => {
                Err(table.wrong(row, *column, "a label"))
            }
            Self::Column(column) => Ok(row[*column].trim().to_owned()),
            Self::File(labels) => Ok(labels.get(number).cloned().unwrap_or_default()),
            Self::Nowhere => Ok(String::new()),
        }
    }
}

/// The column of a row that is no finite number.
enum Unread {
    /// Nothing, NaN, infinite, or one of the usual words for it.
    Missing(usize),
    Text(usize),
}

impl Features {
    /// The features of a table at `path`, every option at its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            labels: None,
            label_column: None,
            id_column: None,
            ignore_columns: Vec::new(),
            header: None,
            missing: Missing::Error,
            unlabeled: false,
        }
    }

    /// Reads rows that have no labels: every column is a feature.
    ///
    /// # Errors
    /// The file cannot be read, or a field is no number.
    pub fn open_unlabeled(&self) -> Result<Dataset, DataError> {
        let unlabeled = true;
        Self {
            unlabeled,
            ..self.clone()
        }
        .open()
    }

    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        if self
            .path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
        {
            return self.finish(self.read_matrix()?);
        }
        if table_format(&self.path).is_none() {
            let expected = "npy, csv, tsv, csv.gz, tsv.gz";
            return Err(DataError::UnknownFormat {
                path: self.path.clone(),
                expected,
            });
        }
        self.open_table(Table::open(&self.path, self.header)?)
    }

    pub(super) fn open_table(&self, table: Table) -> Result<Dataset, DataError> {
        let rows = self.read_table(table)?;
        self.finish(rows)
    }

    fn finish(&self, rows: Rows) -> Result<Dataset, DataError> {
        if rows.labels.is_empty() {
            let reason = match rows.skipped {
                0 => " after its header".to_owned(),
                skipped => format!(" left: a value was missing in each of {skipped}"),
            };
            return Err(DataError::NoRows {
                path: self.path.clone(),
                reason,
            });
        }
        let (classes, labels) = label_index(&rows.labels);
        Ok(Dataset {
            name: display_name(&self.path),
            classes,
            labels,
            names: rows.names,
            given_split: None,
            cameras: None,
            roles: None,
            regions: None,
            landmarks: None,
            absent: BTreeMap::new(),
            skipped: Skipped {
                rows: rows.skipped,
                ..Skipped::default()
            },
            items: Items::Features {
                dim: rows.dim,
                data: rows.data,
            },
        })
    }

    fn read_table(&self, mut table: Table) -> Result<Rows, DataError> {
        let roles = self.roles(&table)?;
        let mut rows = Rows {
            dim: roles.features.len(),
            ..Rows::default()
        };
        let mut row = StringRecord::new();
        let mut number = 0;
        while table.next_row(&mut row)? {
            let start = rows.data.len();
            match parse_row(&row, &roles.features, &mut rows.data) {
                Ok(()) => {
                    rows.labels.push(roles.label.of(number, &row, &table)?);
                    rows.names.push(
                        roles
                            .id
                            .map_or_else(|| number.to_string(), |id| row[id].to_owned()),
                    );
                }
                Err(Unread::Missing(column)) => {
                    let place = format!("line {}", line_of(&row));
                    self.missing_value(&place, table.column_name(column), &row[column], &mut rows)?;
                    rows.data.truncate(start);
                }
                Err(Unread::Text(column)) => {
                    let expected = "a number (a column that is no feature goes to ignore_columns)";
                    return Err(table.wrong(&row, column, expected));
                }
            }
            number += 1;
        }
        if let Label::File(labels) = &roles.label {
            self.check_label_count(number, labels.len())?;
        }
        Ok(rows)
    }

    fn roles(&self, table: &Table) -> Result<Roles, DataError> {
        let named = match &self.label_column {
            Some(column) => Some(table.column(column)?),
            None if self.labels.is_some() || self.unlabeled => None,
            None if table.has_header() => Some(table.column(&Column::Name("label".to_owned()))?),
            None => Some(table.column(&Column::Number(-1))?),
        };
        let id = self
            .id_column
            .as_ref()
            .map(|column| table.column(column))
            .transpose()?;
        let mut ignored = self
            .ignore_columns
            .iter()
            .map(|column| table.column(column))
            .collect::<Result<Vec<_>, _>>()?;
        ignored.extend(named.into_iter().chain(id));
        let features: Vec<usize> = (0..table.width())
            .filter(|column| !ignored.contains(column))
            .collect();
        if features.is_empty() {
            return Err(DataError::NoFeatures {
                path: self.path.clone(),
                columns: table.width(),
            });
        }
        let label = match (&self.labels, named) {
            (None, Some(column)) => Label::Column(column),
            (Some(path), _) => Label::File(read_labels(path)?),
            (None, None) => Label::Nowhere,
        };
        Ok(Roles {
            label,
            id,
            features,
        })
    }

    fn read_matrix(&self) -> Result<Rows, DataError> {
        let matrix = npy::read_matrix(&self.path)?;
        let labels = match &self.labels {
            Some(path) => read_labels(path)?,
            None if self.unlabeled => vec![String::new(); matrix.rows],
            None => {
                return Err(DataError::NoLabels {
                    path: self.path.clone(),
                });
            }
        };
        self.check_label_count(matrix.rows, labels.len())?;
        let mut rows = Rows {
            dim: matrix.dim,
            ..Rows::default()
        };
        for ((number, values), label) in
            matrix.data.chunks_exact(matrix.dim).enumerate().zip(labels)
        {
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                let found = values[column].to_string();
                self.missing_value(
                    &format!("row {number}"),
                    column.to_string(),
                    &found,
                    &mut rows,
                )?;
                continue;
            }
            rows.data.extend_from_slice(values);
            rows.labels.push(label);
            rows.names.push(number.to_string());
        }
        Ok(rows)
    }

    /// Counts a row to be left out, or refuses it.
    fn missing_value(
        &self,
        row: &str,
        column: String,
        found: &str,
        rows: &mut Rows,
    ) -> Result<(), DataError> {
        match self.missing {
            Missing::Skip => {
                rows.skipped += 1;
                Ok(())
            }
            Missing::Error => Err(DataError::MissingValue {
                path: self.path.clone(),
                row: row.to_owned(),
                column,
                found: found.to_owned(),
            }),
        }
    }

    fn check_label_count(&self, rows: usize, labels: usize) -> Result<(), DataError> {
        match &self.labels {
            Some(labels_path) if labels != rows => Err(DataError::LabelCount {
                path: self.path.clone(),
                rows,
                labels_path: labels_path.clone(),
                labels,
            }),
            _ => Ok(()),
        }
    }
}

/// Appends the values of `columns` to `data`, up to the first that is no finite number.
fn parse_row(row: &StringRecord, columns: &[usize], data: &mut Vec<f32>) -> Result<(), Unread> {
    const MISSING: [&str; 6] = ["", "na", "n/a", "null", "none", "?"];
    for &column in columns {
        let field = row[column].trim();
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => data.push(value),
            Ok(_) => return Err(Unread::Missing(column)),
            Err(_) if MISSING.contains(&field.to_ascii_lowercase().as_str()) => {
                return Err(Unread::Missing(column));
            }
            Err(_) => return Err(Unread::Text(column)),
        }
    }
    Ok(())
}

fn read_labels(path: &Path) -> Result<Vec<String>, DataError> {
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
    {
        return Ok(npy::read_labels(path)?);
    }
    let text = fs_err::read_to_string(path)?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, Vectors};

    /// Opens `table` (written as `name`) with the recipe's `options`.
    fn open(name: &str, table: &str, options: &str) -> Result<Dataset, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, table).unwrap();
        let labels = folder.path().join("labels.txt");
        fs_err::write(&labels, "b\na\n").unwrap();
        let options = options.replace("LABELS", labels.to_str().unwrap());
        toml::from_str::<Features>(&format!("path = {:?}\n{options}", path.to_str().unwrap()))
            .unwrap()
            .open()
    }

    const NAMED: &str = "tile\tlabel\ttissue\tx\ty\n7\t10\tTUMOR\t0.5\t-1\n9\t9\tFAT\t1e2\t3\n";

    #[test]
    fn a_table_with_a_header_takes_its_label_id_and_ignored_columns_by_name() {
        let options = "id_column = 'tile'\nignore_columns = ['tissue']";
        let data = open("f.tsv", NAMED, options).unwrap();
        assert_eq!(data.is_features(), Some(2));
        assert_eq!(data.features(), [0.5, -1.0, 100.0, 3.0]);
        assert_eq!(
            (data.classes, data.labels),
            (vec!["9".to_owned(), "10".to_owned()], vec![1, 0])
        );
        assert_eq!(data.names, ["7", "9"]);
    }

    #[test]
    fn a_table_without_a_header_takes_the_last_column_as_label_unless_told() {
        let data = open("f.csv", "0,1,a\n2,3,b\n", "").unwrap();
        assert_eq!(
            (data.features(), data.names[1].as_str()),
            ([0.0, 1.0, 2.0, 3.0].as_slice(), "1")
        );
        let data = open("f.csv", "0,1,5\n2,3,5\n", "label_column = 0").unwrap();
        assert_eq!(
            (data.features(), data.classes.as_slice()),
            (
                [1.0, 5.0, 3.0, 5.0].as_slice(),
                ["0".into(), "2".into()].as_slice()
            )
        );
    }

    #[test]
    fn labels_may_lie_in_a_file_of_their_own() {
        let data = open("f.csv", "0,1\n2,3\n", "labels = 'LABELS'").unwrap();
        assert_eq!(
            (data.is_features(), data.labels.as_slice()),
            (Some(2), [1, 0].as_slice())
        );
        let error = open("f.csv", "0,1\n", "labels = 'LABELS'")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("has 1 rows") && error.contains("has 2 labels"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_value_is_refused_by_line_and_column_or_skipped_and_counted() {
        let table = "label,x,y\na,1,2\nb,nan,2\nc,1,\nd,3,4\n";
        let error = open("f.csv", table, "").unwrap_err().to_string();
        assert!(
            error.contains("f.csv: line 3, column \"x\"") && error.contains("nan"),
            "{error}"
        );
        let data = open("f.csv", table, "missing = 'skip'").unwrap();
        assert_eq!(
            (data.features(), data.skipped.rows),
            ([1.0, 2.0, 3.0, 4.0].as_slice(), 2)
        );
        assert_eq!(
            (data.classes.join(""), data.names.join("")),
            ("ad".to_owned(), "03".to_owned())
        );
        let error = open("f.csv", "label,x\na,nan\n", "missing = 'skip'")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no rows left"), "{error}");
    }

    #[test]
    fn tables_without_a_feature_a_label_or_a_known_format_are_refused() {
        for (name, table, options, words) in [
            ("f.csv", "label\na\n", "", "none of the 1 columns"),
            ("f.csv", "lable,x\na,1\n", "", "did you mean \"lable\""),
            (
                "f.csv",
                "label,x\na,1\n",
                "label_column = 'labell'",
                "did you mean \"label\"",
            ),
            (
                "f.csv",
                "a,1\n",
                "label_column = 2",
                "2 columns and no header",
            ),
            (
                "f.csv",
                "label,x,kind\na,1,big\n",
                "missing = 'skip'",
                "f.csv:2, column \"kind\": expected a number (a column",
            ),
            (
                "f.csv",
                "label,x\n,1\n",
                "",
                "f.csv:2, column \"label\": expected a label",
            ),
            ("f.bin", "", "", "npy, csv, tsv"),
            ("f.csv", "", "", "no rows"),
        ] {
            let error = open(name, table, options).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_matrix_takes_its_labels_from_a_file_and_finds_missing_values() {
        let folder = tempfile::tempdir().unwrap();
        let (path, labels) = (folder.path().join("x.npy"), folder.path().join("y.txt"));
        vectors::write(
            &path,
            &Vectors::new(2, 3, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        )
        .unwrap();
        fs_err::write(&labels, "cat\ndog\n").unwrap();
        let mut features = Features::new(&path);
        assert!(
            features
                .open()
                .unwrap_err()
                .to_string()
                .contains("labels = ")
        );
        features.labels = Some(labels);
        let data = features.open().unwrap();
        assert_eq!(
            (data.is_features(), data.classes.join(" ")),
            (Some(3), "cat dog".to_owned())
        );

        let mut bytes = fs_err::read(&path).unwrap();
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs_err::write(&path, bytes).unwrap();
        assert!(
            features
                .open()
                .unwrap_err()
                .to_string()
                .contains("row 1, column 2")
        );
        features.missing = Missing::Skip;
        let data = features.open().unwrap();
        assert_eq!(
            (data.features(), data.classes.join(" ")),
            ([0.0, 1.0, 2.0].as_slice(), "cat".to_owned())
        );
    }
}
