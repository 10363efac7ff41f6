//! Pairs of videos as YouTube Faces lists them.

use super::item_pairs::{ItemPair, line_error};
use super::{DataError, Dataset};
use std::collections::HashMap;
use std::path::Path;

/// Whether a list is one of these: its fields stand between commas.
pub(super) fn is_list(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.contains(','))
}

/// Lines `split, first, second, same`: the number of a split from 1, two videos `person/number`, and 1 or 0. A first line that
/// begins with no number is a heading. A video is named by its folder, and stands for its first frame in the data set.
pub(super) fn read(path: &Path, text: &str, dataset: &Dataset) -> Result<Vec<ItemPair>, DataError> {
    let videos = videos(dataset);
    let mut pairs = Vec::new();
    let lines = (1..).zip(text.lines().map(str::trim));
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        let wrong = |reason: String| line_error(path, line, reason);
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let [split, first, second, same] = fields[..] else {
            let expected = "expected \"split, first, second, same\"";
            return Err(wrong(format!("{expected}, found {} fields", fields.len())));
        };
        let Some(split) = split.parse::<usize>().ok().filter(|&split| split > 0) else {
            if pairs.is_empty() && !split.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                continue;
            }
            return Err(wrong(format!("{split} is no number of a split from 1")));
        };
        let video = |name: &str| {
            let absent = || {
                wrong(format!(
                    "no video {name} among the folders of {}",
                    dataset.name
                ))
            };
            videos.get(name).copied().ok_or_else(absent)
        };
        pairs.push(ItemPair {
            first: video(first)?,
            second: video(second)?,
            same: match same {
                "1" => true,
                "0" => false,
                other => return Err(wrong(format!("same is {other}, expected 1 or 0"))),
            },
            fold: Some(split - 1),
            line,
        });
    }
    Ok(pairs)
}

/// The first frame of each video, by the last two folders of its path.
fn videos(dataset: &Dataset) -> HashMap<String, usize> {
    let mut first = HashMap::new();
    for (item, name) in dataset.names.iter().enumerate() {
        let mut folders = name.rsplit('/').skip(1);
        if let (Some(number), Some(person)) = (folders.next(), folders.next()) {
            first.entry(format!("{person}/{number}")).or_insert(item);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::ItemPair;
    use crate::data::tree::tests::folder_of;
    use crate::data::{Dataset, Source};

    /// Two people with two videos each, of two frames.
    fn read(text: &str) -> Result<Vec<(usize, usize, bool, usize)>, String> {
        let mut files = Vec::new();
        for person in ["Ann_Lee", "Bo"] {
            for frame in ["0/0.1", "0/0.2", "2/2.7", "2/2.8"] {
                files.push(format!("frames/{person}/{frame}.jpg"));
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|f| (f.as_str(), b"later".as_slice()))
            .collect();
        let folder = folder_of(&files);
        let source = format!("folder.path = {:?}", folder.path().join("frames"));
        let dataset = Dataset::open(&toml::from_str::<Source>(&source).unwrap()).unwrap();
        let path = folder.path().join("splits.txt");
        fs_err::write(&path, text).unwrap();
        assert!(super::is_list(text));
        let pairs = super::read(&path, text, &dataset).map_err(|error| error.to_string())?;
        let fold = |p: &ItemPair| p.fold.unwrap();
        Ok(pairs
            .iter()
            .map(|p| (p.first, p.second, p.same, fold(p)))
            .collect())
    }

    #[test]
    fn splits_are_folds_and_videos_their_first_frames() {
        let pairs = "1, Ann_Lee/0, Bo/2, 0\n2 ,Bo/0,Bo/2, 1\n10, Ann_Lee/2, Ann_Lee/0, 1\n";
        let want = vec![(0, 6, false, 0), (4, 6, true, 1), (2, 0, true, 9)];
        assert_eq!(read(pairs).unwrap(), want);
        let heading = "split number, first name, second name, is same\n\n";
        assert_eq!(read(&format!("{heading}{pairs}")).unwrap(), want);
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, part) in [
            (
                "1, Bo/0, Bo/2\n",
                "splits.txt:1: expected \"split, first, second, same\", found 3 fields",
            ),
            (
                "1, Bo/0, Bo/1, 1\n",
                "splits.txt:1: no video Bo/1 among the folders",
            ),
            ("1, Bo/0, Bo/2, 2\n", "same is 2, expected 1 or 0"),
            ("0, Bo/0, Bo/2, 1\n", "0 is no number of a split from 1"),
            (
                "1, Bo/0, Bo/2, 1\nx, Bo/0, Bo/2, 1\n",
                "splits.txt:2: x is no number",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
