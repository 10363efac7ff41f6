//! A table that lists images with their labels.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::StringRecord;
use nearkin_encoder::image::{Landmarks, Region};
use serde::{Deserialize, Serialize};

use super::columns::{Columns, is_parquet};
use super::parquet::Parquet;
use super::table::Table;
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

    /// The manifest that a table looks like: a column called as those of images are, with the names of
    /// images in it, and one called as those of classes are. `None` if it looks like something else.
    pub fn guess(path: &Path) -> Option<Self> {
        if is_parquet(path) {
            return Self::guess_parquet(path);
        }
        let mut table = Table::open(path, Some(true)).ok()?;
        let known = |names: &[&str]| {
            let found = (0..table.width()).filter_map(|at| {
                let name = table.column_name(at).trim_matches('"').to_owned();
                let rank = names.iter().position(|n| n.eq_ignore_ascii_case(&name))?;
                Some((rank, at, name))
            });
            found.min().map(|(_, at, name)| (at, name))
        };
        let ((at, image_column), (_, label_column)) = (known(&IMAGE)?, known(&LABEL)?);
        let split_column = known(&SPLIT).map(|(_, name)| name);
        let mut row = StringRecord::new();
        let is_row = table.next_row(&mut row).unwrap_or(false);
        // What is in a folder is a file too, whatever it ends in; a number or a word may be anything.
        let is_file = |name: &str| has_image_extension(name) || name.contains(['/', '\\']);
        (!is_row || is_file(&row[at])).then(|| Self {
            image_column,
            label_column,
            split_column,
            ..Self::new(path)
        })
    }

    /// In Parquet a column of images may also hold the images themselves.
    fn guess_parquet(path: &Path) -> Option<Self> {
        let mut images = Parquet::columns_of_bytes(path).ok()?;
        images.retain(|column| !holds_names(path, column));
        let columns = Parquet::columns(path).ok()?;
        let (of_images, others): (Vec<_>, Vec<_>) =
            columns.iter().partition(|column| images.contains(column));
        let known = |names: &[&str], columns: &[&String]| {
            let is = |name: &&str| columns.iter().find(|c| c.eq_ignore_ascii_case(name));
            names.iter().find_map(is).map(ToString::to_string)
        };
        let all: Vec<&String> = columns.iter().collect();
        let bytes_column = known(&BYTES, &all).or_else(|| known(&IMAGE, &of_images));
        let image_column =
            known(&IMAGE, &others).or_else(|| bytes_column.is_some().then(default_image_column));
        Some(Self {
            image_column: image_column?,
            bytes_column,
            label_column: known(&LABEL, &all)?,
            split_column: known(&SPLIT, &all),
            ..Self::new(path)
        })
    }

    /// The same description of the table at `path`, all of whose items count, if it has the columns.
    pub fn of_table(&self, path: &Path) -> Option<Self> {
        let of_table = Self {
            path: path.to_owned(),
            split_column: None,
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
        let rows = self.read()?;
        if rows.names.is_empty() {
            return Err(DataError::NoRows {
                path: self.path.clone(),
                reason: " after its header".to_owned(),
            });
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

    fn read_row(&self, row: &Row, places: &Places, rows: &mut Rows) -> Result<(), DataError> {
        let label = row.text(places.label, "a label")?;
        if let Some(at) = places.bytes {
            rows.contents.push(row.fields[at].clone());
            rows.names.push(match places.image {
                Some(image) => row.text(image, "a name")?.to_owned(),
                None => format!("row {}", rows.names.len() + 1),
            });
        } else if let Some(at) = places.image {
            let root = self.root.as_deref().or(self.path.parent());
            let root = root.unwrap_or(Path::new(""));
            let expected = if root.as_os_str().is_empty() {
                "a file below the current folder".to_owned()
            } else {
                format!("a file below {}", root.display())
            };
            let name = row.text(at, &expected)?;
            let path = root.join(name);
            if !path.is_file() {
                return Err(row.wrong(at, &expected));
            }
            rows.names.push(name.to_owned());
            rows.paths.push(path);
        }
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

/// Whether bytes of a Parquet file are names of images: some programs do not say of their texts that they are.
fn holds_names(path: &Path, column: &str) -> bool {
    let first = Columns::open(path, &[column]).and_then(|mut columns| columns.next_row());
    let field = first
        .ok()
        .flatten()
        .and_then(|fields| fields.into_iter().next());
    let text = field.and_then(|field| String::from_utf8(field).ok());
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
    parts: Vec<Part>,
    cameras: Vec<u32>,
    regions: Vec<Region>,
    landmarks: Vec<Landmarks>,
}

/// The fields of one row, in the order of the wanted columns.
struct Row<'c> {
    columns: &'c Columns,
    fields: Vec<Vec<u8>>,
}

impl Row<'_> {
    /// A field that is text and not empty.
    fn text(&self, at: usize, expected: &str) -> Result<&str, DataError> {
        let text = str::from_utf8(&self.fields[at]).ok();
        let text = text.filter(|text| !text.is_empty());
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
        self.columns.wrong(at, expected, &self.fields[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(table: &str, options: &str) -> Result<Dataset, DataError> {
        let folder = tempfile::tempdir().unwrap();
        for file in ["1.png", "2.png", "3.png"] {
            fs_err::create_dir_all(folder.path().join("img")).unwrap();
            fs_err::write(folder.path().join("img").join(file), file).unwrap();
        }
        let path = folder.path().join("list.csv");
        fs_err::write(&path, table).unwrap();
        let manifest = format!("path = {:?}\n{options}", path.to_str().unwrap());
        let data = toml::from_str::<Manifest>(&manifest).unwrap().open()?;
        for index in 0..data.len() {
            let file = data.names[index].rsplit('/').next().unwrap();
            assert_eq!(data.read(index).unwrap(), file.as_bytes());
        }
        Ok(data)
    }

    #[test]
    fn rows_keep_their_order_and_the_split_column_is_read() {
        let table =
            "label,part,path\ncat,train,img/2.png\nbird,Val,img/1.png\ncat,test,img/3.png\n";
        let data = open(table, "split_column = 'part'").unwrap();
        assert_eq!(data.classes, ["bird", "cat"]);
        assert_eq!(data.labels, [1, 0, 1]);
        assert_eq!(
            data.given_split.unwrap(),
            [Part::Train, Part::Validation, Part::Test]
        );
    }

    #[test]
    fn without_a_split_column_no_split_is_given_and_the_root_can_be_moved() {
        assert!(
            open("path,label\nimg/1.png,a\n", "")
                .unwrap()
                .given_split
                .is_none()
        );
        let error = open("path,label\nimg/1.png,a\n", "root = 'elsewhere'")
            .unwrap_err()
            .to_string();
        assert!(error.contains("a file below elsewhere"), "{error}");
    }

    #[test]
    fn the_camera_column_is_a_number_of_each_image() {
        let cameras = |table: &str| {
            let data = open(table, "camera_column = 'cam'");
            data.map(|data| data.cameras)
                .map_err(|error| error.to_string())
        };
        let table = "path,label,cam\nimg/2.png,a,6\nimg/1.png,a,0\n";
        assert_eq!(cameras(table), Ok(Some(vec![6, 0])));
        for wrong in ["-1", "c2", ""] {
            let error = cameras(&format!("path,label,cam\nimg/2.png,a,{wrong}\n")).unwrap_err();
            let expected = format!(
                "list.csv:2, column \"cam\": expected the number of a camera, found {wrong:?}"
            );
            assert!(error.contains(&expected), "{error}");
        }
        let without = open("path,label\nimg/1.png,a\n", "").unwrap();
        assert_eq!(without.cameras, None);
    }

    #[test]
    fn an_unknown_column_gets_a_suggestion() {
        let error = open("file,lable\nimg/1.png,a\n", "image_column = 'file'")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("list.csv:1: no column \"label\" (did you mean \"lable\"?)"),
            "{error}"
        );
    }

    #[test]
    fn the_usual_names_of_columns_are_known_and_numbers_are_no_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        let guess = |text: &str| {
            fs_err::write(&path, text).unwrap();
            let found = Manifest::guess(&path)?;
            Some((found.image_column, found.label_column, found.split_column))
        };
        let names = |image: &str, label: &str, split: Option<&str>| {
            Some((image.to_owned(), label.to_owned(), split.map(str::to_owned)))
        };
        let text = "Class,file,Split\na,img/1.PNG,train\n";
        assert_eq!(guess(text), names("file", "Class", Some("Split")));
        // Of two candidates the better name counts, wherever it stands.
        let text = "file,path,class,label\n7,1.png,x,y\n";
        assert_eq!(guess(text), names("path", "label", None));
        assert_eq!(guess("path,label\n"), names("path", "label", None));
        let text = "path,label\n/data/1,a\n";
        assert_eq!(guess(text), names("path", "label", None));
        assert_eq!(guess("file,label,f0\nx7,a,0.5\n"), None);
        assert_eq!(guess("f0,f1,label\n1,2,a\n"), None);
        assert_eq!(guess(""), None);
    }

    #[test]
    fn a_bad_row_is_named_by_line_column_and_value() {
        for (table, words) in [
            (
                "path,label,part\nimg/1.png,a,train\nimg/9.png,a,test\n",
                ["list.csv:3", "\"path\"", "img/9.png"],
            ),
            (
                "path,label,part\nimg/1.png,,train\n",
                ["list.csv:2", "\"label\"", "expected a label"],
            ),
            (
                "path,label,part\nimg/1.png,a,trian\n",
                ["list.csv:2", "\"part\"", "\"trian\""],
            ),
            (
                "path,label,part\n",
                ["list.csv", "no rows", "after its header"],
            ),
        ] {
            let error = open(table, "split_column = 'part'")
                .unwrap_err()
                .to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn boxes_and_landmarks_are_numbers_of_pixels() {
        let names: Vec<String> = (0..10).map(|i| format!("p{i}")).collect();
        let options = format!("box_columns = ['l', 't', 'w', 'h']\nlandmark_columns = {names:?}");
        let header = format!("path,label,l,t,w,h,{}\n", names.join(","));
        let row = "img/1.png,a,3,4.5,10,-2,0,1,2,3,4,5,6,7,8,9.5\n";
        let data = open(&format!("{header}{row}"), &options).unwrap();
        let [region] = data.regions.unwrap()[..] else {
            unreachable!()
        };
        let edges = [region.x, region.y, region.width, region.height];
        assert_eq!(edges, [3.0, 4.5, 10.0, -2.0]);
        let points = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.5]];
        assert_eq!(data.landmarks, Some(vec![points]));
        for (wrong, words) in [("nan", "\"t\": expected a number"), ("", "\"t\"")] {
            let row = row.replace("4.5", wrong);
            let error = open(&format!("{header}{row}"), &options).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    /// A Parquet table of `image { bytes, path }`, `label` and `camera`.
    fn parquet(path: &Path, rows: &[(&[u8], &str, &str, i64)]) {
        use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
        use ::parquet::file::writer::SerializedFileWriter;
        use ::parquet::schema::parser::parse_message_type;
        let schema = "message t { REQUIRED GROUP image { REQUIRED BYTE_ARRAY bytes; REQUIRED BYTE_ARRAY path (UTF8); } \
                      REQUIRED BYTE_ARRAY label (UTF8); REQUIRED INT64 camera; }";
        let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
        let file = fs_err::File::create(path).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, schema, std::sync::Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = [
            rows.iter()
                .map(|row| ByteArray::from(row.0.to_vec()))
                .collect::<Vec<_>>(),
            rows.iter().map(|row| ByteArray::from(row.1)).collect(),
            rows.iter().map(|row| ByteArray::from(row.2)).collect(),
        ];
        for values in texts {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        let cameras: Vec<i64> = rows.iter().map(|row| row.3).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int64Type>();
        typed.write_batch(&cameras, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    /// A Parquet table of `image`, bytes or names that the file calls nothing, and `label`.
    fn plain(path: &Path, images: &[&[u8]]) {
        use ::parquet::data_type::{ByteArray, ByteArrayType};
        use ::parquet::file::writer::SerializedFileWriter;
        use ::parquet::schema::parser::parse_message_type;
        let schema = "message t { REQUIRED BYTE_ARRAY image; REQUIRED BYTE_ARRAY label (UTF8); }";
        let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
        let file = fs_err::File::create(path).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, schema, std::sync::Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let labels = vec![ByteArray::from("a"); images.len()];
        let images = images.iter().map(|image| ByteArray::from(image.to_vec()));
        for values in [images.collect(), labels] {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn a_plain_column_of_bytes_holds_the_images_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.parquet");
        let long = [b"\x89PNG".as_slice(), &[b'\xff'; 5000]].concat();
        plain(&path, &[&long, b"P5 text alone"]);
        let guessed = Manifest::guess(&path).unwrap();
        assert_eq!(guessed.bytes_column.as_deref(), Some("image"));
        let data = guessed.open().unwrap();
        assert_eq!(data.names, ["row 1", "row 2"]);
        assert_eq!(data.read(0).unwrap(), long);

        // Told that it holds names, the message is of a length to be read.
        let named = Manifest {
            image_column: "image".into(),
            ..Manifest::new(&path)
        };
        let error = named.open().unwrap_err().to_string();
        let found = format!("found \"{} bytes that are no text\"", long.len());
        assert!(error.contains(&found) && error.len() < 300, "{error}");

        plain(&path, &[b"a.png"]);
        let guessed = Manifest::guess(&path).unwrap();
        assert_eq!(
            (guessed.image_column, guessed.bytes_column),
            ("image".into(), None)
        );
    }

    #[test]
    fn a_description_goes_over_to_another_table_that_has_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let [path, csv] = ["list.parquet", "list.csv"].map(|name| folder.path().join(name));
        plain(&path, &[b"\xff\xd8 one"]);
        fs_err::write(&csv, "image,label\na.png,a\n").unwrap();
        let with = |image: &str, bytes: Option<&str>, label: &str| Manifest {
            image_column: image.into(),
            bytes_column: bytes.map(str::to_owned),
            label_column: label.into(),
            split_column: Some("part".into()),
            root: Some("elsewhere".into()),
            ..Manifest::new("trained.parquet")
        };
        let found = with("path", Some("image"), "label")
            .of_table(&path)
            .unwrap();
        assert_eq!(
            (&found.path, found.split_column, found.root),
            (&path, None, None)
        );
        assert_eq!(found.bytes_column.as_deref(), Some("image"));
        assert!(with("image", None, "label").of_table(&csv).is_some());
        // Other columns, images where names are expected, and names where images are.
        assert_eq!(with("path", Some("image"), "kind").of_table(&path), None);
        assert_eq!(with("image", None, "label").of_table(&path), None);
        assert_eq!(with("path", Some("image"), "label").of_table(&csv), None);
    }

    #[test]
    fn parquet_holds_paths_or_the_images_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.Parquet");
        let images: [&[u8]; 2] = [b"\xff\xd8 one", b"\x89PNG two"];
        for (name, bytes) in [("b.png", images[1]), ("a.jpg", images[0])] {
            fs_err::write(folder.path().join(name), bytes).unwrap();
        }
        parquet(
            &path,
            &[
                (images[0], "a.jpg", "cat", 4),
                (images[1], "b.png", "bat", 2),
            ],
        );
        let manifest = |options: &str| -> Manifest {
            toml::from_str(&format!("path = {:?}\n{options}", path.to_str().unwrap())).unwrap()
        };
        for (options, names) in [
            ("image_column = 'image.path'", ["a.jpg", "b.png"]),
            ("bytes_column = 'image.bytes'", ["row 1", "row 2"]),
            (
                "bytes_column = 'image.bytes'\nimage_column = 'image.path'",
                ["a.jpg", "b.png"],
            ),
        ] {
            let data = manifest(&format!("camera_column = 'camera'\n{options}"))
                .open()
                .unwrap();
            assert_eq!(data.names, names);
            assert_eq!((&data.labels[..], data.classes.len()), (&[1, 0][..], 2));
            assert_eq!(data.cameras, Some(vec![4, 2]));
            for (item, bytes) in images.iter().enumerate() {
                assert_eq!(data.read(item).unwrap(), *bytes);
            }
        }
        let guessed = Manifest::guess(&path).unwrap();
        assert_eq!(guessed.bytes_column.as_deref(), Some("image.bytes"));
        assert_eq!(guessed.open().unwrap().len(), 2);
        for (options, words) in [
            ("", "no column \"path\"; the table has image.bytes"),
            (
                "bytes_column = 'image'",
                "the table has image.bytes, image.path, label, camera",
            ),
            (
                "image_column = 'label'",
                "list.Parquet:1, column \"label\": expected a file below",
            ),
            (
                "image_column = 'image.bytes'",
                "column \"image.bytes\": expected a file below",
            ),
        ] {
            let error = manifest(options).open().unwrap_err().to_string();
            assert!(error.contains(words) && error.len() < 300, "{error}");
        }
        let error = open("path,label\nimg/1.png,a\n", "bytes_column = 'path'").unwrap_err();
        assert!(
            error.to_string().contains("must be one of parquet"),
            "{error}"
        );
    }
}
