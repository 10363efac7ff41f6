//! Verification with a model: pairs of embedded items, and the threshold that a model folder keeps.

use crate::data::{ItemPair, PairFolds};
use crate::embed::Embedded;
use crate::error::{Error, Result};
use crate::evaluate::{Calibration, squared_distances, video_distances};
use crate::write_beside;
use nearkin_kernels::Mat;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Pairs of items with the squared distances of their unit vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paired {
    /// One for each pair, from 0 to 4; scores of a network of pairs likewise, see [`of_scores`](Self::of_scores).
    pub distances: Vec<f32>,
    /// Whether each is of one class.
    pub same: Vec<bool>,
    /// The fold of each, see [`PairFolds`].
    pub fold_of: Vec<usize>,
    /// Whether the list's own folds were given up, because without the pairs that are left out some would have pairs of one kind
    /// alone.
    pub dealt_anew: bool,
    /// Pairs left out because an item of them is damaged.
    pub left_out: usize,
    /// Pairs of a video with itself, which are left out: frames of one video are alike whoever they show.
    pub of_one_video: usize,
}

impl Paired {
    /// Pairs that are measured, their distances to come.
    pub(crate) fn of(pairs: &[ItemPair]) -> Self {
        let folds = PairFolds::new(pairs);
        Self {
            same: pairs.iter().map(|pair| pair.same).collect(),
            fold_of: folds.of,
            dealt_anew: folds.anew,
            ..Self::default()
        }
    }

    /// Distances of the pairs whose items are embedded.
    ///
    /// # Errors
    /// A vector is not finite.
    pub fn new(embedded: &Embedded, pairs: &[ItemPair]) -> Result<Self> {
        Self::between(embedded, embedded, pairs)
    }

    /// Distances between the first items of the pairs by one model and the second ones by another: what a gallery of the
    /// other is worth to the one.
    ///
    /// # Errors
    /// A vector is not finite, or the two models' vectors are of different lengths.
    pub fn between(one: &Embedded, other: &Embedded, pairs: &[ItemPair]) -> Result<Self> {
        let rows = |embedded: &Embedded| -> HashMap<usize, usize> {
            embedded.items.iter().copied().zip(0..).collect()
        };
        let (rows_of_one, rows_of_other) = (rows(one), rows(other));
        let (mut first, mut second, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for pair in pairs {
            let found = (
                rows_of_one.get(&pair.first),
                rows_of_other.get(&pair.second),
            );
            let (Some(&a), Some(&b)) = found else {
                continue;
            };
            first.extend_from_slice(&one.numbers[a * one.dim..][..one.dim]);
            second.extend_from_slice(&other.numbers[b * other.dim..][..other.dim]);
            kept.push(*pair);
        }
        let count = kept.len();
        let (first, second) = (
            Mat::new(&first, count, one.dim),
            Mat::new(&second, count, other.dim),
        );
        Ok(Self {
            distances: squared_distances(first, second)?,
            left_out: pairs.len() - count,
            ..Self::of(&kept)
        })
    }
}

/// Which images are frames of one video: those in one folder.
#[derive(Clone, Debug)]
pub struct Videos {
    /// The video of each item.
    of_item: Vec<usize>,
    /// The frames of each video that count, in the order of the data.
    frames: Vec<Vec<usize>>,
}

impl Videos {
    /// The videos of items with these names, `person/video/frame.jpg`; the first `most` frames of each count.
    pub fn new(names: &[String], most: usize) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut of_item, mut frames) = (Vec::new(), Vec::<Vec<usize>>::new());
        for (item, name) in names.iter().enumerate() {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let video = *numbers.entry(folder).or_insert(frames.len());
            if video == frames.len() {
                frames.push(Vec::new());
            }
            if frames[video].len() < most {
                frames[video].push(item);
            }
            of_item.push(video);
        }
        Self { of_item, frames }
    }

    /// The frames that count of the video that an item is a frame of.
    pub fn frames(&self, item: usize) -> &[usize] {
        &self.frames[self.of_item[item]]
    }
}

impl Paired {
    /// Distances of pairs of videos, each named by any of its frames, of which some are embedded. A pair of a video with itself
    /// is none, as in YouTube Faces, whose pairs of the same are of two videos of a person.
    ///
    /// # Errors
    /// A vector is not finite.
    pub fn of_videos(embedded: &Embedded, pairs: &[ItemPair], videos: &Videos) -> Result<Self> {
        let count = embedded.items.len();
        let video_of: Vec<usize> = embedded
            .items
            .iter()
            .map(|&item| videos.of_item[item])
            .collect();
        let seen: HashSet<usize> = video_of.iter().copied().collect();
        let (mut kept, mut asked) = (Vec::new(), Vec::new());
        let mut of_one_video = 0;
        for pair in pairs {
            let both = [pair.first, pair.second].map(|item| videos.of_item[item]);
            if both.iter().any(|video| !seen.contains(video)) {
                continue;
            }
            if both[0] == both[1] {
                of_one_video += 1;
                continue;
            }
            asked.push(both);
            kept.push(*pair);
        }
        let frames = Mat::new(&embedded.numbers, count, embedded.dim);
        Ok(Self {
            // Which frames count was decided before they were embedded.
            distances: video_distances(frames, &video_of, &asked, usize::MAX)?,
            left_out: pairs.len() - kept.len() - of_one_video,
            of_one_video,
            ..Self::of(&kept)
        })
    }
}

/// The file of a model folder that holds its threshold.
fn file(model: &Path) -> PathBuf {
    model.join("verification.json")
}

/// The threshold that a model folder keeps, if it keeps one; no distance of the model is beyond `farthest`
/// ([`FARTHEST`](crate::evaluate::FARTHEST) of unit vectors).
///
/// # Errors
/// The file cannot be read, is damaged, or has numbers that no calibration gives.
pub fn kept_threshold(model: &Path, farthest: f64) -> Result<Option<Calibration>> {
    let path = file(model);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(&path)?;
    let damaged = |reason| Error::Run { path, reason };
    let read = serde_json::from_str(&text).map_err(|error| error.to_string());
    let checked = read.and_then(|kept: Calibration| check_ranges(&kept, farthest).map(|()| kept));
    checked.map(Some).map_err(damaged)
}

/// Says which number cannot be.
fn check_ranges(kept: &Calibration, farthest: f64) -> std::result::Result<(), String> {
    // Squared distances of opposite unit vectors may be rounded to a little more than 4.
    const ROUNDING: f64 = 1e-4;
    for (name, value, most, rounding) in [
        ("threshold", kept.threshold, farthest, ROUNDING),
        ("far", kept.far, 1.0, 0.0),
        ("far_asked", kept.far_asked.unwrap_or(kept.far), 1.0, 0.0),
        ("tar", kept.tar, 1.0, 0.0),
    ] {
        if !(0.0..=most + rounding).contains(&value) {
            return Err(format!(
                "{name}: expected a number from 0 to {most}, found {value}"
            ));
        }
    }
    for (name, pairs) in [("same", kept.same), ("different", kept.different)] {
        if pairs == 0 {
            return Err(format!(
                "{name}: expected a number of pairs from 1, found 0"
            ));
        }
    }
    Ok(())
}

/// Keeps a threshold in a model folder, in place of an earlier one.
///
/// # Errors
/// The file cannot be written.
pub fn keep_threshold(model: &Path, calibration: &Calibration) -> Result<()> {
    let path = file(model);
    let text = serde_json::to_string_pretty(calibration).map_err(|error| Error::Run {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    write_beside(&path, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::FARTHEST;

    #[test]
    fn pairs_with_a_damaged_item_are_left_out_and_counted() {
        let embedded = Embedded {
            items: vec![4, 7, 9],
            labels: vec![0, 0, 1],
            numbers: vec![1.0, 0.0, 2.0, 0.0, 0.0, 1.0],
            dim: 2,
        };
        let pair = |first, second, same| ItemPair {
            first,
            second,
            same,
            fold: Some(3),
            line: 1,
        };
        let pairs = [pair(4, 7, true), pair(5, 7, true), pair(9, 4, false)];
        let want = Paired {
            distances: vec![0.0, 2.0],
            same: vec![true, false],
            fold_of: vec![0, 0],
            dealt_anew: true,
            left_out: 1,
            of_one_video: 0,
        };
        assert_eq!(Paired::new(&embedded, &pairs).unwrap(), want);
        // Another model turned all by a quarter, and could not read one.
        let other = Embedded {
            items: vec![7, 4],
            labels: vec![0, 0],
            numbers: vec![0.0, 2.0, 0.0, 1.0],
            dim: 2,
        };
        let want = Paired {
            distances: vec![2.0, 0.0],
            same: vec![true, false],
            fold_of: vec![0, 0],
            dealt_anew: true,
            left_out: 1,
            of_one_video: 0,
        };
        assert_eq!(Paired::between(&embedded, &other, &pairs).unwrap(), want);
        let longer = Embedded {
            numbers: vec![0.0; 6],
            dim: 3,
            ..other
        };
        assert!(Paired::between(&embedded, &longer, &pairs).is_err());
    }

    #[test]
    fn frames_of_a_folder_are_a_video_and_one_without_a_frame_is_left_out() {
        let names = [
            "a/0/1.jpg",
            "a/0/2.jpg",
            "a/0/3.jpg",
            "a/1/1.jpg",
            "b/0/1.jpg",
            "c/0/1.jpg",
        ];
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let videos = Videos::new(&names, 2);
        assert_eq!(
            (videos.frames(2), videos.frames(3)),
            (&[0, 1][..], &[3][..])
        );
        let embedded = Embedded {
            items: vec![0, 1, 3, 4],
            labels: vec![0, 0, 0, 1],
            numbers: vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.0, -1.0, 0.0],
            dim: 2,
        };
        let pair = |first, second, same| ItemPair {
            first,
            second,
            same,
            fold: Some(1),
            line: 1,
        };
        // Named by frames that do not count too; the last video has no frame left.
        let pairs = [
            pair(2, 3, true),
            pair(3, 4, false),
            pair(0, 5, false),
            pair(2, 0, true),
        ];
        let want = Paired {
            distances: vec![1.0, 4.0],
            same: vec![true, false],
            fold_of: vec![0, 0],
            dealt_anew: true,
            left_out: 1,
            of_one_video: 1,
        };
        assert_eq!(Paired::of_videos(&embedded, &pairs, &videos).unwrap(), want);
    }

    #[test]
    fn a_threshold_is_kept_and_a_damaged_one_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kept_threshold(folder.path(), FARTHEST).unwrap(), None);
        let calibration = Calibration {
            threshold: 1.1,
            far: 0.001,
            far_asked: Some(0.01),
            tar: 0.9,
            same: 10,
            different: 20,
            data: "pairs.txt".into(),
        };
        keep_threshold(folder.path(), &calibration).unwrap();
        assert_eq!(
            kept_threshold(folder.path(), FARTHEST).unwrap(),
            Some(calibration)
        );
        fs_err::write(folder.path().join("verification.json"), "{").unwrap();
        let error = kept_threshold(folder.path(), FARTHEST)
            .unwrap_err()
            .to_string();
        assert!(error.contains("verification.json"), "{error}");
    }

    #[test]
    fn a_threshold_that_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Calibration {
            threshold: 4.0,
            far: 0.0,
            far_asked: None,
            tar: 1.0,
            same: 1,
            different: 1,
            data: String::new(),
        };
        keep_threshold(folder.path(), &whole).unwrap();
        assert!(kept_threshold(folder.path(), FARTHEST).unwrap().is_some());
        for (name, value, words) in [
            (
                "threshold",
                "1e9",
                "threshold: expected a number from 0 to 4, found 1000000000",
            ),
            ("threshold", "-0.1", "from 0 to 4, found -0.1"),
            ("far", "2.0", "far: expected a number from 0 to 1, found 2"),
            (
                "far_asked",
                "-1",
                "far_asked: expected a number from 0 to 1, found -1",
            ),
            ("tar", "5.0", "tar: expected a number from 0 to 1, found 5"),
            ("same", "0", "same: expected a number of pairs from 1"),
            (
                "different",
                "0",
                "different: expected a number of pairs from 1",
            ),
        ] {
            let mut json = serde_json::to_value(&whole).unwrap();
            json[name] = serde_json::from_str(value).unwrap();
            fs_err::write(file(folder.path()), json.to_string()).unwrap();
            let error = kept_threshold(folder.path(), FARTHEST)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("verification.json") && error.contains(words),
                "{error}"
            );
        }
    }
}
