//! `nearkin evaluate --protocol reid|few-shot|n-way|clustering`, and what identification shares with them.

use super::evaluate::Data;
use super::grouping;
use super::subject::{Subject, left_out, with_remedy};
use crate::arguments::{Evaluate, Protocol, Ranked};
use crate::failure::Failure;
use crate::progress::{activity, items as items_bar};
use crate::table::{numbers_right, over_draws, percent};
use crate::{output, table};
use comfy_table::Table;
use nearkin::data::{Dataset, Role};
use nearkin::embed::{Embedded, pixels};
use nearkin::evaluate::{
    ClassDistances, FewShot, Labeled, NWay, References, Reid, ReidOptions, Seen, Spread,
    class_distances, few_shot, n_way, reid,
};
use nearkin::pair_network::{PairReid, PairSearch, cameras_of, measure};
use nearkin::{Mat, PairModel};
use serde::Serialize;
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// Draws of galleries, negatives and references.
pub(super) const DRAWS: usize = 10;
/// Neighbors that vote.
const NEIGHBORS: usize = 5;
/// The rows of every table.
pub(super) const NAMES: [&str; 2] = ["raw input", "model"];

/// What distances within and between identities are, of vectors.
pub(super) const OF_VECTORS: &str = "intra, inter: mean ± deviation of ‖u − v‖ / 2 of unit vectors, over pairs of the same and of different identities";

/// The items as vectors: their own numbers, or the model's.
pub(super) struct Side {
    pub(super) measured: Embedded,
    /// The items that trained the model, where they are the references.
    pub(super) trained: Option<Embedded>,
}

/// Measures a model beside the raw input.
pub fn run(
    arguments: &Evaluate,
    protocol: Protocol,
    (subject, data): (&Subject, &Data),
    json: bool,
) -> Result<(), Failure> {
    if protocol == Protocol::Identification {
        return super::identification::run(arguments, (subject, data), json);
    }
    let shots = arguments.items.shots.map(NonZeroUsize::get);
    let from_training = protocol == Protocol::FewShot && shots.is_none();
    let sides = sides(subject, data, from_training)?;
    let report = Report { data, json };
    match protocol {
        Protocol::Reid => {
            let ranked = arguments.items.ranking.unwrap_or(Ranked::Cosine);
            let options = reid_options(ranked);
            let measured = |side: &Side| {
                let dataset = data.feed.dataset();
                let cameras = known_cameras(side, dataset)?;
                people(side, dataset, (&cameras, &options))
            };
            report.of(&sides, measured, |found| show_people(found, OF_VECTORS))
        }
        Protocol::FewShot => report.of(&sides, |side| few(side, shots), show_few),
        Protocol::Clustering => report.of(&sides, grouping::measure, grouping::show),
        _ => report.of(&sides, |side| tried(side, arguments), show_tried),
    }
}

/// What is printed, and how.
pub(super) struct Report<'a> {
    pub(super) data: &'a Data,
    pub(super) json: bool,
}

impl Report<'_> {
    /// Measures both sides and prints them, as a table with its conventions or as JSON.
    pub(super) fn of<T: Serialize>(
        &self,
        sides: &[Side; 2],
        measure: impl Fn(&Side) -> Result<T, Failure>,
        show: impl Fn(&[(&str, &T)]) -> (String, String),
    ) -> Result<(), Failure> {
        let bar = activity("measuring");
        let [raw, model] = sides;
        let found = [measure(raw)?, measure(model)?];
        bar.finish_and_clear();
        self.print(&found, show)
    }

    fn print<T: Serialize>(
        &self,
        found: &[T; 2],
        show: impl Fn(&[(&str, &T)]) -> (String, String),
    ) -> Result<(), Failure> {
        let (what, damaged) = (&self.data.what, self.data.feed.damaged());
        let [raw, model] = found;
        if self.json {
            return output::json(&serde_json::json!({
                "data": what, "raw": raw, "model": model, "damaged": damaged
            }));
        }
        let (shown, conventions) = show(&[(NAMES[0], raw), (NAMES[1], model)]);
        output::line(format_args!("{what}, in percent:"))?;
        output::line(shown)?;
        output::line(conventions)?;
        left_out(&damaged).map_or(Ok(()), output::line)
    }
}

/// Both sides; the items that trained the model too where they are the references.
pub(super) fn sides(
    subject: &Subject,
    data: &Data,
    from_training: bool,
) -> Result<[Side; 2], Failure> {
    let Data {
        feed,
        indices,
        trained,
        ..
    } = data;
    if from_training {
        let labels = &feed.dataset().labels;
        let known: HashSet<u32> = trained.iter().map(|&item| labels[item]).collect();
        if indices.iter().any(|&item| !known.contains(&labels[item])) {
            return Err(Failure::usage(
                "classes are measured that did not train the model: say with --shots how many labeled items each has",
            ));
        }
    }
    let trained = from_training.then_some(trained);
    let embed = |items: &Vec<usize>| subject.embed(feed, items);
    let raw = |items: &Vec<usize>| pixels(feed, items).map_err(with_remedy);
    let model = Side {
        measured: embed(indices)?,
        trained: trained.map(embed).transpose()?,
    };
    let raw = Side {
        measured: raw(indices)?,
        trained: trained.map(raw).transpose()?,
    };
    Ok([raw, model])
}

pub(super) fn labeled(embedded: &Embedded) -> Labeled<'_> {
    Labeled {
        vectors: Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim),
        labels: &embedded.labels,
    }
}

/// Measures a network of pairs beside the raw input: every query with every item of the gallery.
pub fn run_pairs(model: &PairModel, data: &Data, json: bool) -> Result<(), Failure> {
    let Data { feed, indices, .. } = data;
    let (dataset, options) = (feed.dataset(), reid_options(Ranked::Cosine));
    let raw = Side {
        measured: pixels(feed, indices).map_err(with_remedy)?,
        trained: None,
    };
    let cameras = cameras_of(dataset, &raw.measured.items);
    let raw = people(&raw, dataset, (&cameras, &options))?;
    let bar = items_bar(indices.len(), "reading");
    let search = PairSearch::new(model, feed, indices, &mut |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let search = search.map_err(with_remedy)?;
    let (queries, gallery) = sides_of(dataset, search.items());
    let bar = items_bar(queries.len(), "scoring queries");
    let found = measure(
        &search,
        dataset,
        (&queries, &gallery),
        &options,
        &mut |done| {
            bar.set_position(done as u64);
        },
    );
    bar.finish_and_clear();
    let PairReid { reid, distances } = found.map_err(with_remedy)?;
    let report = Report { data, json };
    report.print(&[raw, People { reid, distances }], |found| {
        let distances = "intra, inter: mean ± deviation over pairs of the same and of different identities, for the model of its \
                         scores of queries with\nthe gallery, for the raw input of ‖u − v‖ / 2 of unit vectors";
        show_people(found, distances)
    })
}

/// Re-identification, and how far people are from themselves and from one another.
#[derive(Serialize)]
pub(super) struct People {
    #[serde(flatten)]
    reid: Reid,
    distances: ClassDistances,
}

pub(super) fn reid_options(ranked: Ranked) -> ReidOptions {
    ReidOptions {
        ranking: ranked.into(),
        draws: DRAWS,
        ..ReidOptions::default()
    }
}

/// The camera of each item of a side, which has to be known.
fn known_cameras(side: &Side, dataset: &Dataset) -> Result<Vec<u32>, Failure> {
    match &dataset.cameras {
        Some(_) => Ok(cameras_of(dataset, &side.measured.items)),
        None => Err(Failure::usage(format!(
            "{}: --protocol reid needs the camera of each image, such as a table's column that camera_column names",
            dataset.name
        ))),
    }
}

/// Rows of queries and of the gallery.
fn sides_of(dataset: &Dataset, items: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let without = |left_out: &[Role]| -> Vec<usize> {
        let roles = dataset.roles.as_ref();
        let is = |&row: &usize| roles.is_none_or(|of| !left_out.contains(&of[items[row]]));
        (0..items.len()).filter(is).collect()
    };
    let queries = without(&[Role::Gallery, Role::Distractor]);
    (queries, without(&[Role::Query]))
}

/// Re-identification of one side.
pub(super) fn people(
    side: &Side,
    dataset: &Dataset,
    (cameras, options): (&[u32], &ReidOptions),
) -> Result<People, Failure> {
    let (queries, gallery) = sides_of(dataset, &side.measured.items);
    let Labeled { vectors, labels } = labeled(&side.measured);
    let seen = Seen {
        vectors,
        identities: labels,
        cameras,
        queries: &queries,
        gallery: &gallery,
    };
    Ok(People {
        reid: reid(seen, options)?,
        distances: distances(&side.measured, &queries)?,
    })
}

/// Distances among the items of identities that some query has: distractors are no identity.
fn distances(embedded: &Embedded, queries: &[usize]) -> Result<ClassDistances, Failure> {
    let asked: HashSet<u32> = queries.iter().map(|&row| embedded.labels[row]).collect();
    let (mut numbers, mut labels) = (Vec::new(), Vec::new());
    let rows = embedded.numbers.chunks_exact(embedded.dim.max(1));
    for (row, label) in rows
        .zip(&embedded.labels)
        .filter(|(_, label)| asked.contains(label))
    {
        numbers.extend_from_slice(row);
        labels.push(*label);
    }
    let matrix = Mat::new(&numbers, labels.len(), embedded.dim);
    Ok(class_distances(matrix, &labels)?)
}

pub(super) fn show_people(found: &[(&str, &People)], distances_are: &str) -> (String, String) {
    let Some((_, People { reid: last, .. })) = found.last() else {
        return <_>::default();
    };
    let ranks = || last.cmc.iter().map(|(k, _)| format!("rank-{k}"));
    let named = |first: &str| [first.to_owned()].into_iter();
    let mut whole = titled(
        named("whole gallery")
            .chain(ranks())
            .chain(["mAP", "mINP"].map(String::from)),
    );
    let mut single = titled(
        named("single shot")
            .chain(ranks())
            .chain(["intra", "inter"].map(String::from)),
    );
    for (name, People { reid, distances }) in found {
        let cmc = reid.cmc.iter().map(|(_, estimate)| estimate);
        let scores = cmc.chain([&reid.map, &reid.minp]).map(percent);
        whole.add_row(named(name).chain(scores));
        let shots = reid.single_shot.iter().map(|(_, over)| over_draws(over));
        let spread = |of: &Spread| format!("{:.1} ±{:.1}", 100.0 * of.mean, 100.0 * of.std);
        let distances = [&distances.intra, &distances.inter].map(spread);
        single.add_row(named(name).chain(shots).chain(distances));
    }
    let conventions = format!(
        "{} queries, {} gallery items, {} of them distractors; half the 95% bootstrap interval;\n{};\n{distances_are}",
        last.queries, last.gallery, last.distractors, last.convention
    );
    (format!("{}\n{}", right(whole), right(single)), conventions)
}

/// Few-shot classification of one side.
pub(super) fn few(side: &Side, shots: Option<usize>) -> Result<FewShot, Failure> {
    let references = match (&side.trained, shots) {
        (Some(trained), None) => References::Given(labeled(trained)),
        (_, shots) => References::Drawn {
            shots: shots.unwrap_or(1),
            draws: DRAWS,
            seed: 0,
        },
    };
    Ok(few_shot(labeled(&side.measured), references, NEIGHBORS)?)
}

pub(super) fn show_few(found: &[(&str, &FewShot)]) -> (String, String) {
    let Some((_, last)) = found.last() else {
        return <_>::default();
    };
    let header = ["", "accuracy", "BAC", "silhouette", "Davies–Bouldin"];
    let mut shown = table::new(&header);
    for (name, found) in found {
        shown.add_row([
            (*name).to_owned(),
            over_draws(&found.accuracy),
            over_draws(&found.balanced),
            format!("{:.3}", found.silhouette),
            format!("{:.3}", found.davies_bouldin),
        ]);
    }
    let draws = match last.accuracy.draws {
        1 => "by the items that trained the model".to_owned(),
        draws => format!("mean ± deviation over {draws} draws of references"),
    };
    let conventions = format!(
        "{} items classified by {} nearest, {draws}, {} classes with too few items left out;\n\
         Euclidean distances of vectors as they are, ties to the smallest label;\n\
         silhouette and Davies–Bouldin, which are no percentages, are of the true classes",
        last.items, last.k, last.excluded
    );
    (right(shown), conventions)
}

/// Verification among negatives, of one side.
pub(super) fn tried(side: &Side, arguments: &Evaluate) -> Result<NWay, Failure> {
    let given = arguments.items.negatives.iter().map(|n| n.get());
    let mut negatives: Vec<usize> = given.collect();
    let Labeled { vectors, labels } = labeled(&side.measured);
    if negatives.is_empty() {
        // The paper's two, as far as there are other classes.
        let classes: HashSet<u32> = labels.iter().copied().collect();
        negatives = vec![1, classes.len().saturating_sub(1).clamp(1, 71)];
        negatives.dedup();
    }
    Ok(n_way(vectors, labels, &negatives, (DRAWS, 0))?)
}

pub(super) fn show_tried(found: &[(&str, &NWay)]) -> (String, String) {
    let Some((_, last)) = found.last() else {
        return <_>::default();
    };
    let numbers = last.success.iter().map(|(n, _)| format!("VRF(neg = {n})"));
    let mut shown = titled([String::new()].into_iter().chain(numbers));
    for (name, found) in found {
        let success = found.success.iter().map(|(_, over)| over_draws(over));
        shown.add_row([(*name).to_owned()].into_iter().chain(success));
    }
    let conventions = format!(
        "{} queries, each with a random positive and random items of other classes, by cosine similarity; ties fail;\n\
         mean ± deviation over {DRAWS} draws; {} items alone in their class are no queries",
        last.queries, last.excluded
    );
    (right(shown), conventions)
}

pub(super) fn titled(header: impl Iterator<Item = String>) -> Table {
    let header: Vec<String> = header.collect();
    table::new(&header.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The table with its numbers to the right.
pub(super) fn right(mut table: Table) -> String {
    numbers_right(&mut table);
    table.to_string()
}
