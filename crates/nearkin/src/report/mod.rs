//! The report that people look at: one HTML file that opens without a network.
//!
//! [`Report::of_run`] reports a run: its training curves, and once it is done what its model makes of the part that the recipe
//! held out. [`Report::of_vectors`] reports a file of labeled vectors, whatever made them. [`Watch`] serves the curves of a
//! run while it goes on.
//!
//! ```
//! use nearkin::report::{Report, ReportOptions};
//! use nearkin::vectors::{self, Vectors};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("faces.jsonl");
//! let mut faces = Vectors::new(4, 2, vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9]);
//! faces.labels = Some(["ann", "ann", "bob", "bob"].map(String::from).to_vec());
//! vectors::write(&path, &faces)?;
//! let report = Report::of_vectors(&path, None, &ReportOptions::default(), &mut |_| {})?;
//! assert_eq!(report.figures["recall_at_1"], 1.0);
//! report.write(&folder.path().join("report.html"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chart;
mod cmc;
mod confusion;
mod curves;
mod environment;
mod gallery;
mod hardest;
mod history;
mod html;
mod items;
mod map;
mod metrics;
mod neighbors;
mod page;
mod pairs;
mod per_class;
mod pictures;
mod telling;
mod tsne;
mod watch;

pub use environment::command;
pub use history::{Evaluated, Follow, History, Step};
pub use tsne::tsne;
pub use watch::Watch;

use crate::error::{Error, Result};
use crate::evaluate::{EvaluateError, Evaluation, FARTHEST, Options, class_distances, evaluate};
use crate::recipe::{AnyRecipe, Document};
use crate::train::Setup;
use crate::verify::kept_threshold;
use crate::write_beside;
use hardest::Hardest;
use html::Html;
use items::Items;
use map::Map;
use metrics::Reported;
use nearkin_encoder::Model;
use neighbors::Nearest;
use page::{Liveness, Section, page};
use pairs::Pairs;
use pictures::Pictures;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use telling::Telling;

/// What a report holds, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// Items on the map; the time it takes grows with their square.
    pub mapped: usize,
    /// Pairs of the same, and of different classes, behind ROC, DET and histogram.
    pub pairs: usize,
    /// Bytes of the page that pictures may take.
    pub picture_bytes: usize,
    /// Decides what is drawn at random.
    pub seed: u64,
    /// The command that asked for the report, which the page shows.
    pub command: String,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            mapped: 2000,
            pairs: 50_000,
            picture_bytes: 3_500_000,
            seed: 0,
            command: String::new(),
        }
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many of so many items are embedded.
    Embedding(usize, usize),
    /// Something of unknown length.
    Working(&'static str),
}

/// A report, ready to be written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it is of, in words.
    pub subject: String,
    /// The identifiers of its parts, in their order.
    pub sections: Vec<&'static str>,
    /// Its key figures by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// What a reader should know of what is not in it.
    pub notes: Vec<String>,
    /// The page.
    #[serde(skip)]
    pub html: String,
}

impl Report {
    /// The report of a run: curves alone while it has no model.
    ///
    /// # Errors
    /// The folder is no run, its journal is empty or broken, or its model and data do not go together any more.
    pub fn of_run(
        run: &Path,
        options: &ReportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let history = History::read(run)?;
        let model = run.join("model");
        let mut draft = Draft::default();
        let recipe = recipe(run)?;
        let done = model.join("metrics.json").is_file();
        if done {
            let table = Reported::read(&model)?.table();
            draft.push(Section::new("scores", "Scores", table));
        }
        draft.push(Section::new(
            "curves",
            "Training curves",
            curves::figures(&history),
        ));
        draft.figure("steps", history.steps.last().map(|step| step.step as f64));
        draft.figure("loss", history.steps.last().and_then(|step| step.loss));
        let items = match (&recipe, done) {
            (Some(document), true) => held_out(document, &model, progress)?,
            _ => None,
        };
        let held = items.as_ref().filter(|items| items.len() > 0);
        match held {
            Some(items) => {
                let kept = kept_threshold(&model, FARTHEST)?.map(|kept| kept.threshold);
                draft.measure(items, kept, options, progress)?;
            }
            None => draft.notes.push(unmeasured(done, items.is_some()).into()),
        }
        let text = recipe.as_ref().map(|document| document.text().to_owned());
        draft.push(Section::new(
            "environment",
            "Environment",
            environment::html(
                &options.command,
                text.as_deref().filter(|_| done),
                Some(run),
            ),
        ));
        let of = held.map_or(String::new(), |items| format!(": {}", items.what));
        Ok(draft.finish(format!("{}{of}", run.display())))
    }

    /// The report of a file of labeled vectors; pictures of its items are below `images`, called as the items' ids are.
    ///
    /// # Errors
    /// The file cannot be read or has no labels, or its items are of one class or each of its own.
    pub fn of_vectors(
        path: &Path,
        images: Option<&Path>,
        options: &ReportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        progress(Progress::Working("reading vectors"));
        let items = Items::of_file(path, images)?;
        let mut draft = Draft::default();
        draft.measure(&items, None, options, progress)?;
        draft.push(Section::new(
            "environment",
            "Environment",
            environment::html(&options.command, None, None),
        ));
        Ok(draft.finish(items.what))
    }

    /// Writes the page beside its place and renames it.
    ///
    /// # Errors
    /// The file cannot be written; an older one stays as it was.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_beside(path, self.html.as_bytes())
    }
}

/// The recipe of a run, from its model where there is one.
fn recipe(run: &Path) -> Result<Option<Document>> {
    let paths = [run.join("model/recipe.toml"), run.join("recipe.toml")];
    let found = paths.iter().find(|path| path.is_file());
    Ok(found.map(|path| Document::read(path)).transpose()?)
}

/// The items that the recipe of a run holds out, where its model makes vectors of labeled items.
fn held_out(
    document: &Document,
    model: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Items>> {
    let AnyRecipe::Items(recipe) = document.any_recipe()? else {
        return Ok(None);
    };
    let setup = Setup::new(*recipe)?;
    let model = Model::load(model)?;
    let items = Items::of_setup(&setup, &model, &mut |done, all| {
        progress(Progress::Embedding(done, all));
    })?;
    Ok(Some(items))
}

/// Why a run has no items to look at.
fn unmeasured(is_done: bool, has_vectors: bool) -> &'static str {
    match (is_done, has_vectors) {
        (false, _) => "the run has no model yet: curves alone",
        (true, true) => "every item trained, and none was set apart to be measured: curves alone",
        (true, false) => {
            "a model without vectors of labeled items: curves and scores alone; a map needs a file of vectors with labels"
        }
    }
}

/// A report in the making.
#[derive(Default)]
struct Draft {
    sections: Vec<Section>,
    figures: BTreeMap<&'static str, f64>,
    notes: Vec<String>,
}

impl Draft {
    fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    fn figure(&mut self, name: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.figures.insert(name, value);
        }
    }

    /// Everything that labeled vectors tell.
    fn measure(
        &mut self,
        items: &Items,
        kept: Option<f64>,
        options: &ReportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let classes = items.sizes().iter().filter(|size| **size > 0).count();
        if classes < 2 {
            return Err(EvaluateError::TooFewClasses {
                needed: 2,
                found: classes,
            }
            .into());
        }
        progress(Progress::Working("measuring"));
        // A finished run has its scores already.
        let scored = self.sections.iter().any(|section| section.id == "scores");
        let evaluation = measured(items, scored)?;
        if !scored {
            self.push(Section::new("scores", "Scores", scores(&evaluation)));
        }
        self.tell(items, &evaluation, kept, options)?;
        self.look(items, options, progress)
    }

    /// What is looked at item by item: map, neighbors, hard pairs, classes.
    fn look(
        &mut self,
        items: &Items,
        options: &ReportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        progress(Progress::Working("searching neighbors"));
        let nearest = Nearest::new(items)?;
        let mut pictures = Pictures::new(items, options.picture_bytes);
        let neighbors = gallery::gallery(items, &nearest, &mut pictures, options.seed);
        let hardest = Hardest::new(items)?.html(items, &mut pictures);
        let classes = per_class::table(items, &per_class::scores(items, &nearest));
        let confused = confusion::confusions(items, &nearest);
        let confused = confusion::table(items, &confused, &mut pictures);
        progress(Progress::Working("drawing the map"));
        let map = Map::new(items, options.mapped, options.seed)?;
        self.figure("map_neighbors_kept", Some(map.kept));
        let parts = [
            ("map", "Map", map.html(items, &mut pictures)?),
            ("neighbors", "Nearest neighbors", neighbors),
            ("hardest", "Hardest pairs", hardest),
            ("classes", "Classes", classes),
            ("confusions", "Confused classes", confused),
        ];
        let kind = if pictures.are_there() {
            "images"
        } else {
            "texts"
        };
        for (id, title, body) in parts {
            let mut html = Html::default();
            html.raw(format_args!("<div class=\"{kind}\">"))
                .add(&body)
                .raw("</div>");
            self.push(Section::new(id, title, html));
        }
        self.remark(items, &pictures);
        Ok(())
    }

    /// ROC, DET, CMC and the histogram.
    fn tell(
        &mut self,
        items: &Items,
        evaluation: &Evaluation,
        kept: Option<f64>,
        options: &ReportOptions,
    ) -> Result<()> {
        let telling = Telling::new(Pairs::new(items, options.pairs, options.seed)?, kept)?;
        let retrieval = &evaluation.retrieval;
        self.figure("items", Some(evaluation.items as f64));
        self.figure("classes", Some(evaluation.classes as f64));
        self.figure(
            "recall_at_1",
            retrieval.recall().next().map(|(_, e)| e.value),
        );
        self.figure("map_at_r", Some(retrieval.map_at_r.value));
        if let Some(found) = &telling.verification {
            self.figure("auc", Some(found.auc.value));
            self.figure("equal_error", Some(found.equal_error.value));
        }
        let body = telling.curves(&cmc::chart(retrieval));
        self.push(Section::new("rates", "ROC, DET and CMC", body));
        let spread = class_distances(items.matrix(), &items.labels)?;
        self.push(Section::new(
            "distances",
            "Distances",
            telling.histogram(&spread),
        ));
        Ok(())
    }

    fn remark(&mut self, items: &Items, pictures: &Pictures) {
        let count = |count: usize, [one, several]: [&str; 2], what: &str| {
            let noun = if count == 1 { one } else { several };
            (count > 0).then(|| format!("{count} {noun} {what}"))
        };
        let pictures_were = ["picture was", "pictures were"];
        let remarks = [
            count(
                items.damaged.len(),
                ["damaged item was", "damaged items were"],
                "left out",
            ),
            count(
                pictures.unreadable,
                ["picture", "pictures"],
                "could not be read",
            ),
            count(
                pictures.without_room,
                pictures_were,
                "left out: the page has no room for more",
            ),
        ];
        self.notes.extend(remarks.into_iter().flatten());
    }

    fn finish(self, subject: String) -> Report {
        let lead = match self.notes.as_slice() {
            [] => String::new(),
            notes => format!("{}.", notes.join("; ")),
        };
        Report {
            html: page(&subject, &lead, &self.sections, Liveness::Still),
            sections: self.sections.iter().map(|section| section.id).collect(),
            figures: self.figures,
            notes: self.notes,
            subject,
        }
    }
}

/// Retrieval at the ranks of the CMC curve, and clusters unless the run has told them.
fn measured(items: &Items, scored: bool) -> Result<Evaluation> {
    let mut options = Options {
        ks: cmc::RANKS.to_vec(),
        // As many as `nearkin evaluate` has.
        cluster_seeds: 10,
        ..Options::default()
    };
    if scored {
        options.cluster_seeds = 0;
    }
    evaluate(items.matrix(), &items.labels, &options).map_err(Error::from)
}

fn scores(evaluation: &Evaluation) -> Html {
    let mut html = metrics::evaluations(&[("vectors", evaluation)]);
    html.raw("<p class=\"note\">").text(&format!(
        "In percent, with the 95% bootstrap interval; {} items of {} classes, {} numbers each; {}.",
        evaluation.items, evaluation.classes, evaluation.dim, evaluation.retrieval.convention
    ));
    html.raw("</p>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, Vectors};
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    const MARKUP: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&";

    /// Thirty vectors of three classes, with markup in a label, an id and the file's name.
    fn untrusted(folder: &Path) -> std::path::PathBuf {
        let mut rng = named_rng(0, "report");
        let data = (0..30 * 4).map(|at| {
            if at % 4 == at / 4 % 3 {
                1.0
            } else {
                rng.random_range(-0.6..0.6)
            }
        });
        let mut file = Vectors::new(30, 4, data.collect());
        let label = |row: usize| {
            if row.is_multiple_of(3) {
                MARKUP.to_owned()
            } else {
                format!("c{}", row % 3)
            }
        };
        file.labels = Some((0..30).map(label).collect());
        file.ids = Some((0..30).map(|row| format!("{row} {MARKUP}")).collect());
        let path = folder.join("<script>&.jsonl");
        vectors::write(&path, &file).unwrap();
        path
    }

    #[test]
    fn labels_texts_and_paths_are_never_markup() {
        let folder = tempfile::tempdir().unwrap();
        let path = untrusted(folder.path());
        let options = ReportOptions {
            command: format!("nearkin report {MARKUP}"),
            ..ReportOptions::default()
        };
        let report = Report::of_vectors(&path, None, &options, &mut |_| {}).unwrap();
        // The data of the map and the page's own script.
        assert_eq!(report.html.matches("<script").count(), 2);
        assert_eq!(report.html.matches("</script>").count(), 2);
        assert!(!report.html.contains("<img src=x"));
        assert!(report.html.contains("&lt;script&gt;&amp;.jsonl"));
    }

    #[test]
    fn the_same_page_again_and_every_part_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = untrusted(folder.path());
        let of =
            || Report::of_vectors(&path, None, &ReportOptions::default(), &mut |_| {}).unwrap();
        let report = of();
        assert_eq!(report.html, of().html);
        let parts = [
            "scores",
            "rates",
            "distances",
            "map",
            "neighbors",
            "hardest",
            "classes",
            "confusions",
            "environment",
        ];
        assert_eq!(report.sections, parts);
        for part in parts {
            assert!(
                report.html.contains(&format!("href=\"#{part}\""))
                    && report.html.contains(&format!("<section id=\"{part}\""))
            );
        }
        assert_eq!(report.figures["items"], 30.0);
    }

    #[test]
    fn what_cannot_be_reported_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let of = |labels: [&str; 3]| {
            let mut file = Vectors::new(3, 1, vec![1.0, 2.0, 3.0]);
            file.labels = Some(labels.map(String::from).to_vec());
            vectors::write(&path, &file).unwrap();
            let report = Report::of_vectors(&path, None, &ReportOptions::default(), &mut |_| {});
            report.unwrap_err().to_string()
        };
        assert!(of(["a", "a", "a"]).contains("2 classes are needed, but there are 1"));
        assert!(of(["a", "b", "c"]).contains("none with another of its class"));
    }

    #[test]
    fn a_run_without_a_model_has_curves_alone() {
        let run = tempfile::tempdir().unwrap();
        let line = "{\"step\":1,\"loss\":0.5,\"rate\":0.1}\n";
        fs_err::write(run.path().join("metrics.jsonl"), line).unwrap();
        let report = Report::of_run(run.path(), &ReportOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(report.sections, ["curves", "environment"]);
        assert_eq!(
            (report.figures["steps"], report.figures["loss"]),
            (1.0, 0.5)
        );
        assert!(report.notes[0].contains("no model yet"));
    }
}
