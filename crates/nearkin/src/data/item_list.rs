//! Lists of items in a text file.

use super::item_pairs::line_error;
use super::{DataError, Dataset};
use std::collections::HashMap;
use std::path::Path;

/// Reads a list of items of a data set, one a line; empty lines count for nothing.
///
/// An item goes by its name in the data set (a relative path), or by the end of it without the extension:
/// `Ann_Lee/Ann_Lee_0001` or `Ann_Lee_0001` for `lfw/Ann_Lee/Ann_Lee_0001.jpg`.
///
/// # Errors
/// The file cannot be read or lists nothing, or an item is not in the data set, is listed twice, or is called as several
/// are: with its line.
pub fn read_items(path: &Path, dataset: &Dataset) -> Result<Vec<usize>, DataError> {
    let text = fs_err::read_to_string(path)?;
    let known = by_name(dataset);
    let (mut items, mut seen) = (Vec::new(), HashMap::new());
    let lines = (1..).zip(text.lines().map(str::trim));
    for (line, name) in lines.filter(|(_, name)| !name.is_empty()) {
        let wrong = |reason: String| line_error(path, line, reason);
        let found = known
            .get(name)
            .or_else(|| known.get(without_extension(name)));
        let item = match found {
            Some(Called::One(item)) => *item,
            Some(Called::Several) => {
                return Err(wrong(format!(
                    "several items are called {name}: name their folders"
                )));
            }
            None => {
                let (count, data) = (dataset.len(), &dataset.name);
                let reason = format!("{name} is not among the {count} items of {data}");
                return Err(wrong(reason));
            }
        };
        if let Some(before) = seen.insert(item, line) {
            return Err(wrong(format!("{name} was listed in line {before}")));
        }
        items.push(item);
    }
    if items.is_empty() {
        let (path, reason) = (path.into(), String::new());
        return Err(DataError::NoRows { path, reason });
    }
    Ok(items)
}

/// Which item a name is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    One(usize),
    Several,
}

fn by_name(dataset: &Dataset) -> HashMap<&str, Called> {
    let mut known: HashMap<&str, Called> = HashMap::new();
    for (item, name) in dataset.names.iter().enumerate() {
        let stem = without_extension(name);
        let ends = stem.rmatch_indices('/').map(|(at, _)| &stem[at + 1..]);
        for name in ends.chain([stem, name]) {
            let called = known.entry(name).or_insert(Called::One(item));
            if *called != Called::One(item) {
                *called = Called::Several;
            }
        }
    }
    known
}

/// A path without what stands behind the last dot of its file's name.
fn without_extension(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;
    use crate::data::tree::tests::folder_of;

    #[test]
    fn items_go_by_the_ends_of_their_names() {
        let files = ["a/x/1.jpg", "a/x/2.jpg", "b/y/1.jpg", "b/y/v.2.jpg"];
        let folder = folder_of(&files.map(|file| (file, b"later".as_slice())));
        let source = format!("folder.path = {:?}", folder.path());
        let dataset = Dataset::open(&toml::from_str::<Source>(&source).unwrap()).unwrap();
        let path = folder.path().join("list.txt");
        let read = |text: &str| {
            fs_err::write(&path, text).unwrap();
            read_items(&path, &dataset).map_err(|error| error.to_string())
        };
        assert_eq!(
            read("a/x/2.jpg\n\nx/1\n y/1 \nv.2\n").unwrap(),
            [1, 0, 2, 3]
        );
        assert!(
            read("x/2.jpg\nx/2")
                .unwrap_err()
                .contains("listed in line 1")
        );
        for (text, part) in [
            ("y/1\n1\n", "list.txt:2: several items are called 1"),
            ("z/1\n", "list.txt:1: z/1 is not among the 4 items"),
            ("\n", "has no rows"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
