//! The model card of a network of pairs.

use super::{PairReport, PairSetup};
use crate::card;
use crate::error::Result;
use nearkin_encoder::PairModel;
use std::fmt::Write;

/// The card as Markdown, `README.md` of the model folder.
///
/// # Errors
/// The recipe has no TOML form.
pub(super) fn markdown(
    setup: &PairSetup,
    model: &PairModel,
    report: &PairReport,
) -> Result<String> {
    let summary = crate::data::summary(setup.feed.dataset());
    let parts = &setup.parts;
    let mut text = String::from(
        "# Network of pairs\n\nTrained with nearkin: it says how different two images are, and has no vector of one.\n\n",
    );
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
            "- **Network**: {} weights, {} outputs",
            model.scorer.parameters().count(),
            model.config.pair_network.output().count()
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
    text.push_str(
        "\n## Use\n\n```sh\nnearkin evaluate MODEL --protocol reid --data IMAGES\nnearkin verify MODEL ONE.jpg OTHER.jpg\n```\n",
    );
    let recipe = setup.recipe.to_toml()?;
    let _ = write!(text, "\n## Recipe\n\n```toml\n{recipe}```\n");
    Ok(text)
}

/// The report's table.
fn table(report: &PairReport) -> String {
    let Some(first) = report.rows.first() else {
        return card::UNMEASURED.to_owned();
    };
    let reid = &first.found.reid;
    let mut text = format!(
        "On the {} part: {} queries, {} gallery items, one of each identity drawn {} times; mAP with 95% bootstrap interval.\n\n",
        report.part,
        reid.queries,
        reid.gallery,
        reid.single_shot.first().map_or(0, |(_, over)| over.draws)
    );
    let ks = reid.single_shot.iter().map(|(k, _)| format!("rank {k}"));
    let names = ["mAP", "mean same", "mean different"].map(str::to_owned);
    let header: Vec<String> = ks.chain(names).collect();
    let rules = "|---".repeat(header.len());
    let _ = writeln!(text, "| | {} |\n|---{rules}|", header.join(" | "));
    for row in &report.rows {
        let (reid, distances) = (&row.found.reid, &row.found.distances);
        let shots = reid.single_shot.iter();
        let mut cells: Vec<String> = shots.map(|(_, o)| format!("{:.3}", o.mean)).collect();
        cells.push(reid.map.to_string());
        let means = [distances.intra.mean, distances.inter.mean];
        cells.extend(means.map(|mean| format!("{mean:.4}")));
        let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
    }
    text
}
