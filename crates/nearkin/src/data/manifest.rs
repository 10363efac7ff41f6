//! A table that lists images with their labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nearkin_encoder::image::{Landmarks, Region};
use serde::{Deserialize, Serialize};

use super::columns::{Columns, column_names, is_parquet};
use super::parquet::{Field, Parquet};
use super::tree::{display_name, has_image_extension};
use super::{DataError, Dataset, Part, Skipped, dataset::Items, label_index::label_index};

/// A table with one image a row: CSV or TSV (also `.gz`) with a header, or Parquet, where a column of a group is called
/// by its path, such as `image.bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The table.
    pub path: PathBuf,
    /// The column with each image's path.
    #[serde(default = "default_image_column")]
    pub image_column: String,
    /// The column with each image's encoded bytes, in Parquet; they are kept in memory. An image is then called as
    /// `image_column` says if the table has it, or by its row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_column: Option<String>,
    /// The column with each image's class.
    #[serde(default = "default_label_column")]
    pub label_column: String,
    /// The column with `train`, `validation` or `test`, for `[data.split.given]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_column: Option<String>,
    /// The column with the number of the camera that took each image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_column: Option<String>,
    /// The columns with the box of what counts in each image: left and top edge, width and height, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_columns: Option<[String; 4]>,
    /// The columns with five points of a face, x and y in pixels for each: the eye that is left in the image, the other,
    /// the nose, the corner of the mouth that is left in the image, the other; for `input.align`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landmark_columns: Option<Box<[String; 10]>>,
    /// The folder that relative image paths start from; without it, the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

fn default_image_column() -> String {
    "path".to_owned()
}

fn default_label_column() -> String {
    "label".to_owned()
}

/// What columns are usually called, the best name first.
const IMAGE: [&str; 7] = [
    "path",
    "image",
    "file",
    "filename",
    "file_name",
    "image_path",
    "filepath",
];
const BYTES: [&str; 3] = ["image.bytes", "img.bytes", "bytes"];
const LABEL: [&str; 5] = ["label", "class", "category", "target", "identity"];
const SPLIT: [&str; 3] = ["split", "part", "subset"];
const CAMERA: [&str; 4] = ["camera", "camera_id", "cam", "camid"];

impl Manifest {
    /// A table with the columns `path` and `label`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            image_column: default_image_column(),
            bytes_column: None,
            label_column: default_label_column(),
            split_column: None,
            camera_column: None,
            box_columns: None,
            landmark_columns: None,
            root: None,
        }
    }

    /// The manifest that a table looks like: a column called as those of images are, and one called as those of classes are.
    /// Beside other columns, which may be features, the first has to look like the path of an image. `None` if it looks like
    /// something else.
    pub fn guess(path: &Path) -> Option<Self> {
        if is_parquet(path) {
            return Self::guess_parquet(path);
        }
        let columns = column_names(path).ok()?;
        let found = Self {
            image_column: known(&IMAGE, &columns)?,
            label_column: known(&LABEL, &columns)?,
            split_column: known(&SPLIT, &columns),
            camera_column: column_of::<u32>(path, &CAMERA, &columns),
            ..Self::new(path)
        };
        let optional = [&found.split_column, &found.camera_column];
        let all = 2 + optional.into_iter().flatten().count();
        (columns.len() == all || names_a_file(path, &found.image_column)).then_some(found)
    }

    /// In Parquet a column of images may also hold the images themselves.
    fn guess_parquet(path: &Path) -> Option<Self> {
        let mut images = Parquet::columns_of_bytes(path).ok()?;
        images.retain(|column| !holds_names(path, column));
        let columns = Parquet::columns(path).ok()?;
        let (of_images, others): (Vec<_>, Vec<_>) = columns
            .iter()
            .cloned()
            .partition(|column| images.contains(column));
        let bytes_column = known(&BYTES, &columns).or_else(|| known(&IMAGE, &of_images));
        let image_column =
            known(&IMAGE, &others).or_else(|| bytes_column.is_some().then(default_image_column));
        Some(Self {
            image_column: image_column?,
            bytes_column,
            label_column: known(&LABEL, &columns)?,
            split_column: known(&SPLIT, &columns),
            camera_column: column_of::<u32>(path, &CAMERA, &columns),
            ..Self::new(path)
        })
    }

    /// The same description of the table at `path`, if it has the columns. The split is that of the column that this one
    /// names, where the other table has it, or of one called as those of splits are; so are cameras, where this one names none.
    pub fn of_table(&self, path: &Path) -> Option<Self> {
        let columns = column_names(path).ok()?;
        let split = self.split_column.clone();
        let of_table = Self {
            path: path.to_owned(),
            split_column: split
                .filter(|name| columns.contains(name))
                .or_else(|| column_of::<Part>(path, &SPLIT, &columns)),
            camera_column: (self.camera_column.clone())
                .or_else(|| column_of::<u32>(path, &CAMERA, &columns)),
            root: None,
            ..self.clone()
        };
        let images = if is_parquet(path) {
            Parquet::columns_of_bytes(path).ok()?
        } else {
            Vec::new()
        };
        let is_named = self.bytes_column.is_none();
        if is_named && images.contains(&self.image_column) && !holds_names(path, &self.image_column)
        {
            return None;
        }
        let places = Places::of(&of_table).ok()?;
        Columns::open(path, &places.wanted).ok()?;
        Some(of_table)
    }

    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        let mut rows = self.read()?;
        if rows.names.is_empty() {
            return Err(DataError::NoRows {
                path: self.path.clone(),
                reason: " after its header".to_owned(),
            });
        }
        if rows.absent.len() == rows.names.len()
            && let Some((_, first)) = rows.absent.pop_first()
        {
            return Err(first);
        }
        let (classes, labels) = label_index(&rows.labels);
        Ok(Dataset {
            name: display_name(&self.path),
            classes,
            labels,
            names: rows.names,
            given_split: self.split_column.is_some().then_some(rows.parts),
            cameras: self.camera_column.is_some().then_some(rows.cameras),
            roles: None,
            regions: self.box_columns.is_some().then_some(rows.regions),
            landmarks: self.landmark_columns.is_some().then_some(rows.landmarks),
            absent: (rows.absent.iter())
                .map(|(&row, error)| (row, error.to_string()))
                .collect(),
            skipped: Skipped::default(),
            items: match self.bytes_column {
                Some(_) => Items::Bytes(rows.contents),
                None => Items::Files(rows.paths),
            },
        })
    }

    fn read(&self) -> Result<Rows, DataError> {
        let places = Places::of(self)?;
        let mut columns = Columns::open(&self.path, &places.wanted)?;
        let mut rows = Rows::default();
        while let Some(fields) = columns.next_row()? {
            let columns = &columns;
            self.read_row(&Row { columns, fields }, &places, &mut rows)?;
        }
        Ok(rows)
    }

    /// An image that is not there is a damaged item, as one that cannot be decoded is.
    fn read_image(&self, row: &Row, places: &Places, rows: &mut Rows) -> Result<(), DataError> {
        let number = rows.names.len();
        if let Some(at) = places.bytes {
            let content = row.bytes(at).map(<[u8]>::to_vec);
            rows.contents.push(content.unwrap_or_else(|error| {
                rows.absent.insert(number, error);
                Vec::new()
            }));
            let named = places.image.filter(|&image| row.fields[image].is_ok());
            rows.names.push(match named {
                Some(image) => row.text(image, "a name")?.to_owned(),
                None => format!("row {}", number + 1),
            });
        } else if let Some(at) = places.image {
            let root = self.root.as_deref().or(self.path.parent());
            let root = root.unwrap_or(Path::new(""));
            let expected = if root.as_os_str().is_empty() {
                "a file below the current folder".to_owned()
            } else {
                format!("a file below {}", root.display())
            };
            let named = row.text(at, &expected);
            let path = root.join(named.as_deref().unwrap_or_default());
            rows.names.push(match &named {
                Ok(name) => (*name).to_owned(),
                Err(_) => format!("row {}", number + 1),
            });
            if !path.is_file() {
                rows.absent.insert(number, row.wrong(at, &expected));
            }
            rows.paths.push(path);
        }
        Ok(())
    }

    fn read_row(&self, row: &Row, places: &Places, rows: &mut Rows) -> Result<(), DataError> {
        let label = row.text(places.label, "a label")?;
        self.read_image(row, places, rows)?;
        rows.labels.push(label.to_owned());
        if let Some(at) = places.split {
            rows.parts
                .push(row.parsed(at, "train, validation or test")?);
        }
        if let Some(at) = places.camera {
            rows.cameras.push(row.parsed(at, "the number of a camera")?);
        }
        if let Some(at) = places.region {
            let [x, y, width, height] = row.numbers(at, "a number of pixels")?;
            rows.regions.push(Region {
                x,
                y,
                width,
                height,
            });
        }
        if let Some(at) = places.landmarks {
            let numbers: [f32; 10] = row.numbers(at, "a number of pixels")?;
            let point = |i: usize| [numbers[2 * i], numbers[2 * i + 1]];
            rows.landmarks.push([0, 1, 2, 3, 4].map(point));
        }
        Ok(())
    }
}

/// The best of these names that a column has, in any case, as the table writes it.
fn known(names: &[&str], columns: &[String]) -> Option<String> {
    let is = |name: &&str| columns.iter().find(|c| c.eq_ignore_ascii_case(name));
    names.iter().find_map(is).cloned()
}

/// The column with the best of these names, if each of its fields is what it is to be: a name alone may mean anything.
fn column_of<T: FromStr>(path: &Path, names: &[&str], columns: &[String]) -> Option<String> {
    let name = known(names, columns)?;
    let mut rows = Columns::open(path, &[&name]).ok()?;
    while let Some(fields) = rows.next_row().ok()? {
        let field = fields.into_iter().next()?.ok()?;
        str::from_utf8(&field).ok()?.parse::<T>().ok()?;
    }
    Some(name)
}

/// Whether the first field of a column looks like the path of an image; what is in a folder is a file too, whatever it ends
/// in, and a table without rows says nothing against it.
fn names_a_file(path: &Path, column: &str) -> bool {
    let first = Columns::open(path, &[column]).and_then(|mut columns| columns.next_row());
    let Some(fields) = first.ok().flatten() else {
        return true;
    };
    let field = fields.into_iter().next().and_then(Result::ok);
    let name = field.and_then(|field| String::from_utf8(field).ok());
    name.is_some_and(|name| has_image_extension(&name) || name.contains(['/', '\\']))
}

/// Whether bytes of a Parquet file are names of images: some programs do not say of their texts that they are.
fn holds_names(path: &Path, column: &str) -> bool {
    let first = Columns::open(path, &[column]).and_then(|mut columns| columns.next_row());
    let field = first
        .ok()
        .flatten()
        .and_then(|fields| fields.into_iter().next());
    let text = field.and_then(|field| String::from_utf8(field.ok()?).ok());
    text.is_some_and(|text| has_image_extension(&text))
}

/// The columns that are read, and the place of each among them.
#[derive(Default)]
struct Places<'m> {
    wanted: Vec<&'m str>,
    image: Option<usize>,
    bytes: Option<usize>,
    label: usize,
    split: Option<usize>,
    camera: Option<usize>,
    /// The first of four.
    region: Option<usize>,
    /// The first of ten.
    landmarks: Option<usize>,
}

impl<'m> Places<'m> {
    fn of(manifest: &'m Manifest) -> Result<Self, DataError> {
        let mut places = Self::default();
        if manifest.bytes_column.is_some() && !is_parquet(&manifest.path) {
            return Err(DataError::UnknownFormat {
                path: manifest.path.clone(),
                expected: "parquet where images are in the table (bytes_column)",
            });
        }
        let image = std::slice::from_ref(&manifest.image_column);
        let is_named = manifest.bytes_column.is_none()
            || Parquet::columns(&manifest.path)?.contains(&manifest.image_column);
        places.image = is_named.then(|| places.add(image));
        places.label = places.add(std::slice::from_ref(&manifest.label_column));
        places.bytes = places.add_some(manifest.bytes_column.as_slice());
        places.split = places.add_some(manifest.split_column.as_slice());
        places.camera = places.add_some(manifest.camera_column.as_slice());
        places.region = places.add_some(manifest.box_columns.as_slice().as_flattened());
        places.landmarks = places.add_some(
            manifest
                .landmark_columns
                .as_deref()
                .map_or(&[], |names| &names[..]),
        );
        Ok(places)
    }

    /// The place of the first of these columns.
    fn add(&mut self, names: &'m [String]) -> usize {
        let at = self.wanted.len();
        self.wanted.extend(names.iter().map(String::as_str));
        at
    }

    fn add_some(&mut self, names: &'m [String]) -> Option<usize> {
        (!names.is_empty()).then(|| self.add(names))
    }
}

/// The rows read so far.
#[derive(Default)]
struct Rows {
    names: Vec<String>,
    labels: Vec<String>,
    paths: Vec<PathBuf>,
    contents: Vec<Vec<u8>>,
    /// Why the image of a row is not there, where it is not.
    absent: BTreeMap<usize, DataError>,
    parts: Vec<Part>,
    cameras: Vec<u32>,
    regions: Vec<Region>,
    landmarks: Vec<Landmarks>,
}

/// The fields of one row, in the order of the wanted columns.
struct Row<'c> {
    columns: &'c Columns,
    fields: Vec<Field>,
}

impl Row<'_> {
    /// A field's bytes, or why there are none.
    fn bytes(&self, at: usize) -> Result<&[u8], DataError> {
        match &self.fields[at] {
            Ok(bytes) => Ok(bytes),
            Err(reason) => Err(self.columns.damaged(reason)),
        }
    }

    /// A field that is text and not empty.
    fn text(&self, at: usize, expected: &str) -> Result<&str, DataError> {
        let text = str::from_utf8(self.bytes(at)?).ok();
        let text = text.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.wrong(at, expected))
    }

    fn parsed<T: FromStr>(&self, at: usize, expected: &str) -> Result<T, DataError> {
        let value = self.text(at, expected)?.trim().parse();
        value.map_err(|_| self.wrong(at, expected))
    }

    /// `N` finite numbers from a column on.
    fn numbers<const N: usize>(&self, at: usize, expected: &str) -> Result<[f32; N], DataError> {
        let mut numbers = [0.0; N];
        for (place, number) in (at..).zip(&mut numbers) {
            *number = self.parsed(place, expected)?;
            if !f32::is_finite(*number) {
                return Err(self.wrong(place, expected));
            }
        }
        Ok(numbers)
    }

    fn wrong(&self, at: usize, expected: &str) -> DataError {
        let found = self.fields[at].as_deref().unwrap_or_default();
        self.columns.wrong(at, expected, found)
    }
}

#[cfg(test)]
mod tests;
