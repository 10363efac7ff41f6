//! The model card: what a model is, how good it is, how to use it.

use crate::error::Result;
use crate::train::{Report, Setup};
use nearkin_encoder::Model;
use std::fmt::Write;

/// The card as Markdown, `README.md` of the model folder.
///
/// # Errors
/// The recipe has no TOML form.
pub fn markdown(setup: &Setup, model: &Model, report: &Report) -> Result<String> {
    let summary = crate::data::summary(setup.feed.dataset());
    let parameters = model.embedder.parameters().count();
    let mut text = String::from("# Embedding model\n\nTrained with nearkin: near means kin.\n\n");
    let parts = &setup.parts;
    let lines = [
        format!("- **Data**: {summary}"),
        format!(
            "- **Split**: {} items to train, {} to validate, {} to test",
            parts.train.len(),
            parts.validation.len(),
            parts.test.len()
        ),
        format!("- **Loss**: `{}`", setup.recipe.loss.name()),
        format!(
            "- **Network**: {parameters} weights, {} numbers an embedding",
            model.embedder.dim()
        ),
        format!(
            "- **Weights**: {} of the run, after {} steps",
            report.selected, report.step
        ),
    ];
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    let _ = write!(text, "\n## How good it is\n\n{}", table(report));
    let _ = write!(
        text,
        "\n## Use\n\n```sh\nnearkin embed MODEL IMAGES -o vectors.npy\nnearkin search MODEL GALLERY QUERY\nnearkin evaluate MODEL --data IMAGES\n```\n"
    );
    let _ = write!(
        text,
        "\n## Recipe\n\n```toml\n{}```\n",
        setup.recipe.to_toml()?
    );
    Ok(text)
}

/// What stands in place of a table where all items trained.
pub(crate) const UNMEASURED: &str =
    "Nothing was measured: every item trained, and none was set apart to test or to validate.\n";

/// The report's table with 95% intervals.
fn table(report: &Report) -> String {
    let Some(first) = report.rows.first() else {
        return UNMEASURED.to_owned();
    };
    let mut text = format!(
        "On the {} part; 95% bootstrap intervals in brackets.\n\n",
        report.part
    );
    let ks = first
        .evaluation
        .retrieval
        .recall()
        .map(|(k, _)| format!("Recall@{k}"));
    let header: Vec<String> = ks
        .chain(["R-precision".into(), "MAP@R".into(), "NMI".into()])
        .collect();
    let _ = writeln!(
        text,
        "| | {} |\n|---{}|",
        header.join(" | "),
        "|---".repeat(header.len())
    );
    for row in &report.rows {
        let retrieval = &row.evaluation.retrieval;
        let mut cells: Vec<String> = retrieval.recall().map(|(_, e)| e.to_string()).collect();
        cells.extend([
            retrieval.r_precision.to_string(),
            retrieval.map_at_r.to_string(),
        ]);
        cells.push(row.evaluation.clustering.as_ref().map_or_else(
            || "–".into(),
            |c| format!("{:.3} ± {:.3}", c.nmi, c.nmi_std),
        ));
        let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
    }
    text
}
