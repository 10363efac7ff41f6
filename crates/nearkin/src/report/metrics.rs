//! The table of scores: of a finished run as it was reported, of vectors as they are measured.

use super::html::{Html, Table, cell};
use crate::error::{Error, Result};
use crate::evaluate::{Estimate, Evaluation};
use serde::Deserialize;
use std::path::Path;

/// What a model folder says of itself.
#[derive(Debug, Deserialize)]
pub struct Reported {
    /// The part that was measured; of texts each row says it.
    #[serde(default)]
    pub part: Option<String>,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model.
    pub selected: String,
    rows: Rows,
}

/// The rows of a report, by the kind of model.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rows {
    Items(Vec<ItemRow>),
    Pairs(Vec<PairRow>),
    Texts(Vec<TextRow>),
}

#[derive(Debug, Deserialize)]
struct ItemRow {
    name: String,
    evaluation: Evaluation,
}

#[derive(Debug, Deserialize)]
struct PairRow {
    name: String,
    #[serde(flatten)]
    scores: PairScores,
}

#[derive(Debug, Deserialize)]
struct PairScores {
    cmc: Vec<(usize, Estimate)>,
    map: Estimate,
    minp: Estimate,
}

#[derive(Debug, Deserialize)]
struct TextRow {
    name: String,
    metric: String,
    items: usize,
    untrained: Estimate,
    trained: Estimate,
}

impl Reported {
    /// Reads `metrics.json` of a model folder.
    ///
    /// # Errors
    /// The file cannot be read, or is no report.
    pub fn read(model: &Path) -> Result<Self> {
        let path = model.join("metrics.json");
        let text = fs_err::read_to_string(&path)?;
        serde_json::from_str(&text).map_err(|error| Error::Run {
            path,
            reason: format!("no report of a run: {error}"),
        })
    }

    /// The table.
    pub fn table(&self) -> Html {
        let note = |text: &str| {
            let mut html = Html::default();
            html.raw("<p class=\"note\">").text(text).raw("</p>");
            html
        };
        let mut html = match &self.rows {
            // Of any kind of model: the first that no rows are read as.
            Rows::Items(rows) if rows.is_empty() => {
                let text = "Nothing was measured: nothing was set apart for it.";
                return note(text);
            }
            Rows::Items(rows) => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| (row.name.as_str(), &row.evaluation))
                    .collect();
                evaluations(&rows)
            }
            Rows::Pairs(rows) => pairs(rows),
            Rows::Texts(rows) => texts(rows),
        };
        let part = self
            .part
            .as_ref()
            .map_or(String::new(), |part| format!("the {part} part; "));
        let text = format!(
            "In percent, with the 95% bootstrap interval; {part}the {} weights, after {} steps, as training reported.",
            self.selected, self.step
        );
        html.add(&note(&text));
        html
    }
}

/// Evaluations one below the other.
pub fn evaluations(rows: &[(&str, &Evaluation)]) -> Html {
    let Some((_, first)) = rows.first() else {
        return Html::default();
    };
    let shown = |k: usize| [1, 2, 4, 8].contains(&k);
    let recalls = first.retrieval.recall().filter(|(k, _)| shown(*k));
    let recalls: Vec<String> = recalls.map(|(k, _)| format!("Recall@{k}")).collect();
    let mut heads = vec![""];
    heads.extend(recalls.iter().map(String::as_str));
    let seeds = rows
        .iter()
        .filter_map(|(_, of)| of.clustering)
        .map(|of| of.seeds)
        .max();
    let nmi = seeds.map_or_else(|| "NMI".to_owned(), |seeds| format!("NMI, {seeds} seeds"));
    heads.extend(["R-precision", "MAP@R", nmi.as_str()]);
    let mut table = Table::new("Scores", &heads, &[], false);
    for (name, evaluation) in rows {
        let found = &evaluation.retrieval;
        let mut cells = vec![cell(name)];
        let recalls = found.recall().filter(|(k, _)| shown(*k)).map(|(_, e)| e);
        let scores = recalls.chain([found.r_precision, found.map_at_r]);
        cells.extend(scores.map(|score| percent(&score)));
        let nmi = evaluation
            .clustering
            .map(|c| format!("{:.1}", 100.0 * c.nmi));
        cells.push(cell(&nmi.unwrap_or("–".into())));
        table.row(&cells);
    }
    table.finish()
}

fn pairs(rows: &[PairRow]) -> Html {
    let ranks = rows.first().into_iter().flat_map(|row| &row.scores.cmc);
    let ranks: Vec<String> = ranks.map(|(k, _)| format!("rank-{k}")).collect();
    let mut heads = vec![""];
    heads.extend(ranks.iter().map(String::as_str));
    heads.extend(["mAP", "mINP"]);
    let mut table = Table::new("Scores", &heads, &[], false);
    for PairRow { name, scores } in rows {
        let PairScores { cmc, map, minp } = scores;
        let scores = cmc.iter().map(|(_, estimate)| estimate).chain([map, minp]);
        let cells = [cell(name)].into_iter().chain(scores.map(percent));
        table.row(&cells.collect::<Vec<_>>());
    }
    table.finish()
}

fn texts(rows: &[TextRow]) -> Html {
    let mut table = Table::new(
        "Scores",
        &["", "score", "items", "before", "after"],
        &[1],
        false,
    );
    for row in rows {
        table.row(&[
            cell(&row.name),
            cell(&row.metric),
            cell(&row.items.to_string()),
            percent(&row.untrained),
            percent(&row.trained),
        ]);
    }
    table.finish()
}

/// A share as percent with its interval, each on a line.
fn percent(estimate: &Estimate) -> Html {
    let mut html = Html::default();
    html.raw(format_args!("{:.1}", 100.0 * estimate.value));
    if estimate.low < estimate.high {
        let (low, high) = (100.0 * estimate.low, 100.0 * estimate.high);
        html.raw(format_args!("<small>{low:.1} – {high:.1}</small>"));
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reported> {
        let model = tempfile::tempdir().unwrap();
        fs_err::write(model.path().join("metrics.json"), text).unwrap();
        Reported::read(model.path())
    }

    #[test]
    fn a_report_of_texts_is_read() {
        let estimate = "{\"value\":0.5,\"low\":0.4,\"high\":0.6}";
        let texts = format!(
            "{{\"model\":\"m\",\"step\":9,\"selected\":\"best\",\"data\":[],\"rows\":[{{\"name\":\"<b>\",\"items\":3,\"metric\":\"spearman\",\"untrained\":{estimate},\"trained\":{estimate}}}]}}"
        );
        let table = read(&texts).unwrap().table();
        assert!(table.as_str().contains("50.0<small>40.0 – 60.0</small>"));
        assert!(
            table.as_str().contains("the best weights, after 9 steps")
                && !table.as_str().contains("<b>")
        );
    }

    #[test]
    fn a_report_without_rows_says_that_nothing_was_measured() {
        let report = "{\"part\":\"none\",\"step\":9,\"selected\":\"last\",\"rows\":[]}";
        let table = read(report).unwrap().table();
        assert!(table.as_str().contains("Nothing was measured"));
    }

    #[test]
    fn what_a_network_of_pairs_writes_is_what_is_read() {
        use crate::evaluate::{ClassDistances, Reid, Spread};
        use crate::pair_network::{PairReid, PairReport, PairRow};
        let estimate = |value| Estimate {
            value,
            low: value - 0.1,
            high: value + 0.1,
        };
        let spread = Spread {
            mean: 0.5,
            std: 0.1,
            pairs: 9,
        };
        let found = PairReid {
            reid: Reid {
                cmc: vec![(1, estimate(0.5)), (5, estimate(0.75))],
                map: estimate(0.25),
                minp: estimate(0.125),
                single_shot: Vec::new(),
                queries: 3,
                excluded: 0,
                gallery: 4,
                distractors: 0,
                convention: "by the network's score".into(),
            },
            distances: ClassDistances {
                intra: spread,
                inter: spread,
            },
        };
        let report = PairReport {
            model: "run/model".into(),
            part: "test",
            step: 9,
            selected: "last",
            rows: vec![PairRow {
                name: "trained model",
                found,
            }],
            damaged: Vec::new(),
        };
        let table = read(&serde_json::to_string(&report).unwrap());
        let table = table.unwrap().table();
        for part in [
            "rank-5",
            "75.0<small>65.0 – 85.0</small>",
            "25.0<small>",
            "12.5<small>",
        ] {
            assert!(table.as_str().contains(part), "{part}: {}", table.as_str());
        }
    }

    #[test]
    fn what_is_no_report_is_named() {
        let error = read("{\"step\":1}").unwrap_err().to_string();
        assert!(
            error.contains("metrics.json: no report of a run"),
            "{error}"
        );
    }

    #[test]
    fn what_an_evaluation_writes_is_what_is_read() {
        use crate::evaluate::{Options, evaluate};
        let points = [0.0f32, 0.1, 1.0, 1.1].map(|a| [a.cos(), a.sin()]).concat();
        let found = evaluate(
            nearkin_kernels::Mat::new(&points, 4, 2),
            &[0, 0, 1, 1],
            &Options::default(),
        )
        .unwrap();
        let text = serde_json::json!({
            "part": "test", "step": 3, "selected": "last", "rows": [{"name": "trained model", "evaluation": found}]
        });
        let table = read(&text.to_string()).unwrap().table();
        assert!(table.as_str().contains("Recall@1") && table.as_str().contains("trained model"));
        assert!(table.as_str().contains("the test part"));
    }
}
