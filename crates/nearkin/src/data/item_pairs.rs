//! Pairs of items, the same class or not, for verification.

use super::{DataError, Dataset, pair_folds, youtube_faces};
use std::collections::HashMap;
use std::path::Path;

/// Two items of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemPair {
    /// The first item.
    pub first: usize,
    /// The second item.
    pub second: usize,
    /// Whether the two are of the same class.
    pub same: bool,
    /// The fold that the list says, from 0; none where it leaves folds open, see [`PairFolds`](super::PairFolds).
    pub fold: Option<usize>,
    /// Where it stands in the list, from 1.
    pub line: usize,
}

/// A list of pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPairs {
    /// The pairs.
    pub pairs: Vec<ItemPair>,
    /// Whether each item stands for the video that it is a frame of, as the list says.
    pub are_videos: bool,
}

/// Reads a list of pairs: that of Labeled Faces in the Wild, that of YouTube Faces, or a table.
///
/// - LFW: `Name i j` for images i and j of one person, `Name i Other j` for two; an image is `Name/Name_000i.jpg` of the data
///   set, with any extension and in any folder. A first line with the number of folds (`10  300`) makes each fold as many lines,
///   in their order; the lists of its view 1 have the number of pairs of each kind there, and leave folds open.
/// - YouTube Faces (`splits.txt`): `split, first, second, same` between commas, with or without a heading: the number of the
///   split from 1, which is the fold, two videos by their folders (`Ann_Lee/0`, the last two of their frames' paths), and 1 or 0.
/// - `.csv`, `.tsv`: a header `first,second,same` and maybe `fold`; items by their names in the data set (relative paths), `same`
///   is 1 or 0, folds are called anything, and counted from 0 in the order in which they come.
///
/// # Errors
/// The file cannot be read, a line has another form, an item is not in the data set, or a fold that the list says has pairs of
/// one kind alone: with its line.
pub fn read_pairs(path: &Path, dataset: &Dataset) -> Result<ItemPairs, DataError> {
    let text = fs_err::read_to_string(path)?;
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let is_table = ["csv", "tsv"].map(|table| extension.eq_ignore_ascii_case(table));
    let are_videos = is_table == [false; 2] && youtube_faces::is_list(&text);
    let pairs = match is_table {
        [true, _] => table(path, &text, b',', dataset)?,
        [_, true] => table(path, &text, b'\t', dataset)?,
        _ if are_videos => youtube_faces::read(path, &text, dataset)?,
        _ => lfw(path, &text, dataset)?,
    };
    if pairs.is_empty() {
        return Err(DataError::NoRows {
            path: path.into(),
            reason: String::new(),
        });
    }
    pair_folds::check(path, &pairs)?;
    Ok(ItemPairs { pairs, are_videos })
}

pub(super) fn line_error(path: &Path, line: usize, reason: String) -> DataError {
    DataError::Line {
        path: path.into(),
        line: line as u64,
        reason,
    }
}

fn lfw(path: &Path, text: &str, dataset: &Dataset) -> Result<Vec<ItemPair>, DataError> {
    let items = by_stem(dataset);
    let item = |line: usize, name: &str, number: &str| {
        let stem = number
            .parse::<u32>()
            .map(|n| format!("{name}/{name}_{n:04}"));
        let stem =
            stem.map_err(|_| line_error(path, line, format!("{number} is no number of an image")))?;
        let found = items.get(stem.as_str()).copied();
        found.ok_or_else(|| {
            line_error(
                path,
                line,
                format!(
                    "{stem} is not among the {} items of {}",
                    dataset.len(),
                    dataset.name
                ),
            )
        })
    };
    let mut pairs = Vec::new();
    let mut count = None;
    for (line, fields) in (1..).zip(
        text.lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>()),
    ) {
        let (first, second, same) = match fields[..] {
            [] => continue,
            [number] | [number, _] if line == 1 => {
                let number = number.parse::<usize>().ok().filter(|&number| number > 0);
                let expected =
                    || line_error(path, line, "expected the number of folds, or a pair".into());
                count = Some(number.ok_or_else(expected)?);
                continue;
            }
            [name, i, j] => (item(line, name, i)?, item(line, name, j)?, true),
            [name, i, other, j] => (item(line, name, i)?, item(line, other, j)?, false),
            _ => {
                let reason = format!(
                    "expected \"name i j\" or \"name i other j\", found {} fields",
                    fields.len()
                );
                return Err(line_error(path, line, reason));
            }
        };
        pairs.push(ItemPair {
            first,
            second,
            same,
            fold: None,
            line,
        });
    }
    if let Some(count) = count {
        in_order(path, &mut pairs, count)?;
    }
    Ok(pairs)
}

/// As many folds as the first line says, of pairs in their order; it may say the number of pairs of each kind instead.
fn in_order(path: &Path, pairs: &mut [ItemPair], count: usize) -> Result<(), DataError> {
    let all = pairs.len();
    if count > all {
        let reason = format!("{count} folds of {all} pairs");
        return Err(line_error(path, 1, reason));
    }
    let same = pairs.iter().filter(|pair| pair.same).count();
    // All of the same first: such folds would have pairs of one kind alone.
    let is_of_kinds = count == same && all == 2 * count && pairs[..count].iter().all(|p| p.same);
    if !is_of_kinds {
        for (place, pair) in pairs.iter_mut().enumerate() {
            pair.fold = Some(place * count / all);
        }
    }
    Ok(())
}

/// Items by `folder/file` without extension.
fn by_stem(dataset: &Dataset) -> HashMap<String, usize> {
    let stem = |name: &str| {
        let path = Path::new(name);
        let folder = path
            .parent()
            .and_then(Path::file_name)?
            .to_str()?
            .to_owned();
        Some(format!("{folder}/{}", path.file_stem()?.to_str()?))
    };
    let items = dataset.names.iter().enumerate();
    items
        .filter_map(|(item, name)| Some((stem(name)?, item)))
        .collect()
}

fn table(
    path: &Path,
    text: &str,
    separator: u8,
    dataset: &Dataset,
) -> Result<Vec<ItemPair>, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        line_error(path, line as usize, error.to_string())
    };
    let header = reader.headers().map_err(broken)?.clone();
    let column = |name: &str| header.iter().position(|known| known == name);
    let needed = |name: &'static str| {
        let expected = || {
            line_error(
                path,
                1,
                format!("no column {name}; expected first, second, same and maybe fold"),
            )
        };
        column(name).ok_or_else(expected)
    };
    let (first, second, same, fold) = (
        needed("first")?,
        needed("second")?,
        needed("same")?,
        column("fold"),
    );
    // A name of several items stands for none of them.
    let mut items: HashMap<&str, Option<usize>> = HashMap::new();
    for (item, name) in dataset.names.iter().enumerate() {
        let of_name = items.entry(name).or_insert(Some(item));
        *of_name = of_name.filter(|&first| first == item);
    }
    let (mut pairs, mut folds) = (Vec::new(), HashMap::new());
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let line = row.position().map_or(1, csv::Position::line) as usize;
        let item = |at: usize| {
            let unknown = || {
                line_error(
                    path,
                    line,
                    format!(
                        "{} is not among the {} items of {}",
                        &row[at],
                        dataset.len(),
                        dataset.name
                    ),
                )
            };
            let several = || {
                let reason = format!(
                    "{} is the name of several items of {}",
                    &row[at], dataset.name
                );
                line_error(path, line, reason)
            };
            items.get(&row[at]).ok_or_else(unknown)?.ok_or_else(several)
        };
        let number = |at: usize| {
            if row[at].is_empty() {
                let reason = "no fold is said, where the header has a column for it";
                return Err(line_error(path, line, reason.to_owned()));
            }
            let next = folds.len();
            Ok(*folds.entry(row[at].to_owned()).or_insert(next))
        };
        pairs.push(ItemPair {
            first: item(first)?,
            second: item(second)?,
            same: match &row[same] {
                "1" | "true" => true,
                "0" | "false" => false,
                other => {
                    return Err(line_error(
                        path,
                        line,
                        format!("same is {other}, expected 1 or 0"),
                    ));
                }
            },
            fold: fold.map(number).transpose()?,
            line,
        });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{PairFolds, Source};
    use crate::vectors::Vectors;
    use std::fmt::Write;

    /// Two people with three images each.
    fn dataset(folder: &Path) -> Dataset {
        for person in ["Ann_Lee", "Bo"] {
            fs_err::create_dir_all(folder.join("faces").join(person)).unwrap();
            for i in 1..=3 {
                let name = format!("faces/{person}/{person}_{i:04}.png");
                fs_err::write(folder.join(name), b"read later").unwrap();
            }
        }
        let source: Source =
            toml::from_str(&format!("folder.path = {:?}", folder.join("faces"))).unwrap();
        Dataset::open(&source).unwrap()
    }

    fn read(name: &str, text: &str) -> Result<Vec<(usize, usize, bool, usize)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        let list = read_pairs(&path, &dataset).map_err(|error| error.to_string())?;
        assert!(!list.are_videos);
        let folds = PairFolds::new(&list.pairs);
        assert!(!folds.anew);
        let pairs = list.pairs.iter().zip(folds.of);
        Ok(pairs
            .map(|(p, fold)| (p.first, p.second, p.same, fold))
            .collect())
    }

    #[test]
    fn lists_of_labeled_faces_are_read_with_their_folds() {
        let text = "2\t1\nAnn_Lee\t1\t3\nAnn_Lee\t2\tBo\t1\nBo\t1\t2\nBo\t3\tAnn_Lee\t1\n";
        let want = vec![
            (0, 2, true, 0),
            (1, 3, false, 0),
            (3, 4, true, 1),
            (5, 0, false, 1),
        ];
        assert_eq!(read("pairs.txt", text).unwrap(), want);
        // Without a number of folds each kind is dealt by itself.
        let text = text.split_once('\n').unwrap().1;
        assert_eq!(read("pairs.txt", text).unwrap(), want);
        let view_1 = "2\nAnn_Lee 1 3\nBo 1 2\nAnn_Lee 2 Bo 1\nBo 3 Ann_Lee 1\n";
        let folds: Vec<usize> = (read("pairs.txt", view_1).unwrap().iter())
            .map(|pair| pair.3)
            .collect();
        assert_eq!(folds, [0, 1, 0, 1]);
    }

    #[test]
    fn tables_name_items_as_the_data_set_does() {
        let pairs = [
            "Bo/Bo_0001.png,Bo/Bo_0002.png,1",
            "Bo/Bo_0001.png,Ann_Lee/Ann_Lee_0001.png,0",
        ];
        // Folds are called anything.
        for (first, second) in [("1", "2"), ("0", "1"), ("dev", "-3")] {
            let mut text = "first,second,same,fold\n".to_owned();
            for fold in [first, second] {
                for pair in pairs {
                    writeln!(text, "{pair},{fold}").unwrap();
                }
            }
            assert_eq!(
                read("pairs.csv", &text).unwrap(),
                vec![
                    (3, 4, true, 0),
                    (3, 0, false, 0),
                    (3, 4, true, 1),
                    (3, 0, false, 1)
                ]
            );
        }
    }

    #[test]
    fn a_name_of_several_items_is_no_item_of_a_pair() {
        let vectors = Vectors {
            ids: Some(["a", "b", "a"].map(str::to_owned).to_vec()),
            ..Vectors::new(3, 1, vec![1.0, 2.0, 3.0])
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        fs_err::write(&path, "first,second,same\nb,a,1\n").unwrap();
        let dataset = Dataset::of_vectors("v.npy", vectors);
        let error = read_pairs(&path, &dataset).unwrap_err().to_string();
        assert!(
            error.contains("p.csv:2: a is the name of several items"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (name, text, part) in [
            (
                "p.txt",
                "Ann_Lee 1 4\n",
                "p.txt:1: Ann_Lee/Ann_Lee_0004 is not among the 6 items",
            ),
            ("p.txt", "Bo 1 2\nBo 1 x\n", "p.txt:2: x is no number"),
            ("p.txt", "Bo 1 2 3 4\n", "found 5 fields"),
            ("p.txt", "zero\n", "expected the number of folds"),
            ("p.txt", "\n", "has no rows"),
            ("p.txt", "a, b, c, d\n", "has no rows"),
            (
                "p.txt",
                "99999999999999999 1\nBo 1 2\n",
                "p.txt:1: 99999999999999999 folds of 1 pairs",
            ),
            (
                "p.csv",
                "first,second,same,fold\nBo/Bo_0001.png,Bo/Bo_0002.png,1,\n",
                "p.csv:2: no fold is said",
            ),
            ("p.csv", "first,second\n", "no column same"),
            (
                "p.csv",
                "first,second,same\nBo/Bo_0001.png,x,1\n",
                "p.csv:2: x is not among",
            ),
            (
                "p.tsv",
                "first\tsecond\tsame\nBo/Bo_0001.png\tBo/Bo_0002.png\tyes\n",
                "same is yes",
            ),
            (
                "p.csv",
                "first,second,same\nBo/Bo_0001.png\n",
                "found record with 1 fields",
            ),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
