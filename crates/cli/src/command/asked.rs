//! The pairs that `nearkin evaluate --protocol verification` is asked about, and which of them count.

use super::evaluate::{Data, OwnPart};
use super::subject::with_remedy;
use crate::arguments::Evaluate;
use crate::failure::Failure;
use nearkin::data::{Dataset, ItemPair, ItemPairs, read_pairs};
use nearkin::embed::Embedded;
use nearkin::evaluate::{Verification, VerificationOptions, verification};
use nearkin::verify::{Paired, Videos};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Pairs, and the items that they need.
pub struct Asked {
    /// Where they are listed.
    pub path: PathBuf,
    /// The pairs that count.
    pub pairs: Vec<ItemPair>,
    /// The items to embed.
    pub items: Vec<usize>,
    videos: Option<Videos>,
    /// The part of the recipe's own data that they are of, where they are of that.
    part: Option<OwnPart>,
    /// Pairs that do not count, as an item of them is of another part.
    of_other_parts: usize,
    contradiction: Option<Contradiction>,
}

impl Asked {
    /// Reads the pairs that were named. Of the recipe's own data those count that are of the measured part alone.
    pub fn read(arguments: &Evaluate, data: &Data) -> Result<Self, Failure> {
        let (wanted, dataset) = (&arguments.verification, data.feed.dataset());
        let Some(path) = &wanted.pairs else {
            return Err(Failure::usage("--protocol verification needs --pairs FILE"));
        };
        let ItemPairs { pairs, are_videos } = read_pairs(path, dataset)?;
        if are_videos && wanted.frames.is_none() {
            return Err(Failure::usage(format!(
                "{}: pairs of videos; say with --frames how many frames of each count, such as the first 100",
                path.display()
            )));
        }
        if wanted.frames.is_none() {
            check_pairs(&pairs, dataset, path)?;
        }
        let frames = wanted.frames.map(NonZeroUsize::get);
        let videos = frames.map(|most| Videos::new(&dataset.names, most));
        let listed = pairs.len();
        let pairs = counting(pairs, videos.as_ref(), data);
        if let (Some(part), true) = (data.part, pairs.is_empty()) {
            return Err(Failure::usage(format!(
                "{}: none of its {listed} pairs is of the {} part of the model's own recipe alone: all have items that {}; name other data with --data",
                path.display(),
                part.name,
                part.others
            )));
        }
        Ok(Self {
            path: path.clone(),
            items: needed(&pairs, videos.as_ref()),
            videos,
            part: data.part,
            of_other_parts: listed - pairs.len(),
            contradiction: Contradiction::find(&pairs, dataset),
            pairs,
        })
    }

    /// The distances of the pairs.
    pub fn paired(&self, embedded: &Embedded) -> Result<Paired, Failure> {
        let paired = match &self.videos {
            None => Paired::new(embedded, &self.pairs),
            Some(videos) => Paired::of_videos(embedded, &self.pairs, videos),
        };
        paired.map_err(with_remedy)
    }

    /// Measures pairs; where too few are left, says why.
    pub fn measure(
        &self,
        paired: &Paired,
        options: &VerificationOptions,
    ) -> Result<Verification, Failure> {
        let found = verification(&paired.distances, &paired.same, &paired.fold_of, options);
        found.map_err(|error| {
            let reasons = [vec![error.to_string()], self.left_out(paired)].concat();
            Failure::run(reasons.join("; "))
        })
    }

    /// What there is to say of the pairs, a line each.
    pub fn remarks(&self, paired: &Paired) -> Vec<String> {
        let mut remarks = self.left_out(paired);
        if paired.dealt_anew {
            remarks.push(
                "folds dealt anew: without the pairs left out one of the list's has pairs of one kind alone"
                    .to_owned(),
            );
        }
        remarks.extend(self.contradiction.as_ref().map(ToString::to_string));
        remarks
    }

    /// The same for machines.
    pub fn facts(&self, paired: &Paired) -> Map<String, Value> {
        let facts = [
            ("pairs", json!(self.path)),
            ("of_other_parts", json!(self.of_other_parts)),
            ("left_out", json!(paired.left_out)),
            ("of_one_video", json!(paired.of_one_video)),
            ("dealt_anew", json!(paired.dealt_anew)),
            ("contradicting", json!(self.contradiction)),
        ];
        facts
            .map(|(name, fact)| (name.to_owned(), fact))
            .into_iter()
            .collect()
    }

    /// Which pairs do not count, and why.
    fn left_out(&self, paired: &Paired) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(part) = self.part {
            let (count, left_out) = (self.pairs.len(), self.of_other_parts);
            let OwnPart { name, others } = part;
            reasons.push(match left_out {
                0 => format!("all {count} pairs are of the {name} part alone"),
                _ => format!(
                    "{count} of {} pairs are of the {name} part alone; the others have items that {others}",
                    count + left_out
                ),
            });
        }
        if paired.left_out > 0 {
            let count = paired.left_out;
            reasons.push(format!("pairs left out for damaged images: {count}"));
        }
        if paired.of_one_video > 0 {
            let count = paired.of_one_video;
            reasons.push(format!("pairs of a video with itself, left out: {count}"));
        }
        reasons
    }
}

/// The items of pairs, or the frames of their videos that count.
fn needed(pairs: &[ItemPair], videos: Option<&Videos>) -> Vec<usize> {
    let both = pairs.iter().flat_map(|p| [p.first, p.second]);
    let mut items: Vec<usize> = match videos {
        None => both.collect(),
        Some(videos) => both.flat_map(|item| videos.frames(item)).copied().collect(),
    };
    items.sort_unstable();
    items.dedup();
    items
}

/// The pairs without those of an item outside of the measured part, where the data are the recipe's own; a video is of the part
/// where all of its frames are.
fn counting(mut pairs: Vec<ItemPair>, videos: Option<&Videos>, data: &Data) -> Vec<ItemPair> {
    if data.part.is_none() {
        return pairs;
    }
    let held: HashSet<usize> = data.indices.iter().copied().collect();
    let is_held = |item: usize| match videos {
        None => held.contains(&item),
        Some(videos) => videos.frames(item).iter().all(|frame| held.contains(frame)),
    };
    pairs.retain(|pair| is_held(pair.first) && is_held(pair.second));
    pairs
}

/// An item is no pair with itself: it would be accepted by any threshold.
pub fn check_pairs(pairs: &[ItemPair], dataset: &Dataset, path: &Path) -> Result<(), Failure> {
    let Some(at) = pairs.iter().position(|pair| pair.first == pair.second) else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "{}: pair {} is of {} with itself, which any threshold accepts",
        path.display(),
        at + 1,
        dataset.names[pairs[at].first]
    )))
}

/// Pairs that are listed as the same but are of two classes of the data, or the other way round. No error: a list may part
/// items more finely than the data do.
#[derive(Serialize)]
pub struct Contradiction {
    /// How many there are.
    pairs: usize,
    /// The line of the first.
    line: usize,
    #[serde(skip)]
    first: String,
}

impl Contradiction {
    /// Those among some pairs; of a single class, as of items without labels, nothing is known.
    pub fn find(pairs: &[ItemPair], dataset: &Dataset) -> Option<Self> {
        let class = |item: usize| dataset.labels[item];
        let wrong = |pair: &&ItemPair| pair.same != (class(pair.first) == class(pair.second));
        let mut all = pairs.iter().filter(wrong);
        let first = all.next().filter(|_| dataset.classes.len() > 1)?;
        let [one, other] = [first.first, first.second].map(|item| &dataset.names[item]);
        let (listed, are) = if first.same {
            ("the same", "two classes")
        } else {
            ("different", "one class")
        };
        Some(Self {
            pairs: 1 + all.count(),
            line: first.line,
            first: format!("{one} and {other}, listed as {listed}, are of {are}"),
        })
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, line, first } = self;
        write!(
            f,
            "pairs that contradict the classes of the data: {pairs}, the first in line {line}: {first}"
        )
    }
}
