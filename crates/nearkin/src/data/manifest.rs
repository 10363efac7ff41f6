//! A table that lists images with their labels.

use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::table::{Column, Table};
use super::tree::{display_name, has_image_extension};
use super::{DataError, Dataset, Part, Skipped, dataset::Items, label_index::label_index};

/// A CSV or TSV table (also `.gz`) with a header, one image a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The table.
    pub path: PathBuf,
    /// The column with each image's path.
    #[serde(default = "default_image_column")]
    pub image_column: String,
    /// The column with each image's class.
    #[serde(default = "default_label_column")]
    pub label_column: String,
    /// The column with `train`, `validation` or `test`, for `[data.split.given]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_column: Option<String>,
    /// The column with the number of the camera that took each image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_column: Option<String>,
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

/// The rows read so far.
#[derive(Default)]
struct Rows {
    names: Vec<String>,
    labels: Vec<String>,
    paths: Vec<PathBuf>,
    parts: Vec<Part>,
    cameras: Vec<u32>,
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
const LABEL: [&str; 5] = ["label", "class", "category", "target", "identity"];
const SPLIT: [&str; 3] = ["split", "part", "subset"];

impl Manifest {
    /// The manifest that a table looks like: a column called as those of images are, with the names of
    /// images in it, and one called as those of classes are. `None` if it looks like something else.
    pub fn guess(path: &Path) -> Option<Self> {
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
        (!is_row || has_image_extension(&row[at])).then(|| Self {
            path: path.into(),
            image_column,
            label_column,
            split_column,
            camera_column: None,
            root: None,
        })
    }

    pub(super) fn open(&self) -> Result<Dataset, DataError> {
        let rows = self.read(Table::open(&self.path, Some(true))?)?;
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
            skipped: Skipped::default(),
            items: Items::Files(rows.paths),
        })
    }

    fn read(&self, mut table: Table) -> Result<Rows, DataError> {
        let column = |name: &str| table.column(&Column::Name(name.to_owned()));
        let image = column(&self.image_column)?;
        let label = column(&self.label_column)?;
        let split = self.split_column.as_deref().map(column).transpose()?;
        let camera = self.camera_column.as_deref().map(column).transpose()?;
        let root = self
            .root
            .as_deref()
            .or(self.path.parent())
            .unwrap_or(Path::new(""));
        let (mut rows, mut row) = (Rows::default(), StringRecord::new());
        while table.next_row(&mut row)? {
            let path = root.join(&row[image]);
            if row[image].is_empty() || !path.is_file() {
                return Err(table.wrong(&row, image, &format!("a file below {}", root.display())));
            }
            if row[label].is_empty() {
                return Err(table.wrong(&row, label, "a label"));
            }
            if let Some(split) = split {
                let part = row[split].parse::<Part>();
                rows.parts.push(
                    part.map_err(|()| table.wrong(&row, split, "train, validation or test"))?,
                );
            }
            if let Some(camera) = camera {
                let number = row[camera].parse::<u32>();
                rows.cameras
                    .push(number.map_err(|_| table.wrong(&row, camera, "the number of a camera"))?);
            }
            rows.names.push(row[image].to_owned());
            rows.labels.push(row[label].to_owned());
            rows.paths.push(path);
        }
        Ok(rows)
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
}
