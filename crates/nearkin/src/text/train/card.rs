//! The model card of a sentence encoder, `README.md` of its folder.

use super::TextSetup;
use super::report::TextReport;
use crate::error::Result;
use nearkin_encoder::text::SentenceEncoder;
use std::fmt::Write;

/// The card as Markdown, with the metadata that model hubs read at its top.
pub(super) fn markdown(
    setup: &TextSetup,
    model: &SentenceEncoder,
    report: &TextReport,
) -> Result<String> {
    let base = base_model(setup);
    let mut text = format!(
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n- sentence-transformers\n\
         - sentence-similarity\n- feature-extraction\n- nearkin\n---\n\n# Sentence encoder\n\n\
         {base}, trained with nearkin: near means alike in meaning.\n\n"
    );
    let modules = model.modules().iter().map(|placed| placed.module.class());
    let modules: Vec<&str> = modules.collect();
    let mut lines = vec![
        format!("- **Base model**: {base}"),
        format!(
            "- **Modules**: {}; {} weights, {} numbers an embedding, at most {} tokens",
            modules.join(" → "),
            model.parameters().count(),
            model.dim(),
            model.tokenizer.limit()
        ),
        format!(
            "- **Weights**: {} of the run, after {} steps",
            report.selected, report.step
        ),
    ];
    for (set, source) in setup.sets.iter().zip(&report.data) {
        let (name, items) = (&source.name, source.items);
        let damaged = match source.damaged {
            0 => String::new(),
            count => format!(", {count} rows left out as damaged"),
        };
        let loss = set.objective.loss.name();
        lines.push(format!(
            "- **Data**: {name}, {items} items{damaged}; loss `{loss}`"
        ));
    }
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    let _ = write!(text, "\n## How good it is\n\n{}", table(report));
    let _ = write!(text, "\n## Use\n\n{}", usage());
    let _ = write!(
        text,
        "\n## Recipe\n\n```toml\n{}```\n",
        setup.recipe.to_toml()?
    );
    Ok(text)
}

/// The name of the folder or the hub id, without the place on the machine that trained.
fn base_model(setup: &TextSetup) -> String {
    let path = &setup.recipe.encoder.model;
    let name = if path.is_absolute() {
        path.file_name()
            .unwrap_or(path.as_os_str())
            .display()
            .to_string()
    } else {
        path.display().to_string()
    };
    format!("`{name}`")
}

fn table(report: &TextReport) -> String {
    let mut text = String::from("95% bootstrap intervals in brackets.");
    if report.selected == "best"
        && let Some(first) = report.rows.first()
    {
        let _ = write!(text, " {} chose the weights.", first.name);
    }
    text.push_str("\n\n| | items | score | before | after |\n|---|---|---|---|---|\n");
    for row in &report.rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.name, row.items, row.metric, row.untrained, row.trained
        );
    }
    text
}

fn usage() -> &'static str {
    "With nearkin:\n\n```rust\nlet encoder = nearkin::SentenceEncoder::load(folder)?;\n\
     let vectors = encoder.encode(&[\"A man plays.\", \"Someone makes music.\"], &Default::default(), &mut |_| {})?;\n```\n\n\
     With sentence-transformers:\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\
     model = SentenceTransformer(\"FOLDER\")\nvectors = model.encode([\"A man plays.\", \"Someone makes music.\"])\n```\n"
}
