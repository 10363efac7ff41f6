//! The model card of a finished model, `README.md` of its folder.

use super::TextSetup;
use super::report::{Source, TextReport};
use crate::error::Result;
use nearkin_encoder::text::SentenceEncoder;
use std::fmt::Write;
use std::path::Path;

/// What a card says, but for the scores.
pub(super) struct Card<'a> {
    pub head: Head,
    /// The model that training began with.
    pub base: &'a Path,
    /// Lines of a list, Markdown.
    pub facts: Vec<String>,
    /// The recipe, TOML.
    pub recipe: String,
}

/// What is the same for all models of a kind.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// The metadata that model hubs read.
    metadata: &'static str,
    title: &'static str,
    what: &'static str,
    usage: &'static str,
}

const SENTENCE_ENCODER: Head = Head {
    metadata: "library_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n- sentence-transformers\n\
               - sentence-similarity\n- feature-extraction\n- nearkin\n",
    title: "Sentence encoder",
    what: "near means alike in meaning",
    usage: "With nearkin:\n\n```rust\nlet encoder = nearkin::SentenceEncoder::load(folder)?;\n\
            let vectors = encoder.encode(&[\"A man plays.\", \"Someone makes music.\"], &Default::default(), &mut |_| {})?;\n```\n\n\
            With sentence-transformers:\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\
            model = SentenceTransformer(\"FOLDER\")\nvectors = model.encode([\"A man plays.\", \"Someone makes music.\"])\n```\n",
};

pub(super) const CROSS_ENCODER: Head = Head {
    metadata: "library_name: sentence-transformers\npipeline_tag: text-ranking\ntags:\n- sentence-transformers\n\
               - cross-encoder\n- nearkin\n",
    title: "Cross-encoder",
    what: "it reads two texts together",
    usage: "With nearkin:\n\n```rust\nlet judge = nearkin::text::encoder::CrossEncoder::load(folder)?;\n\
            let outputs = judge.predict(&[[\"A man plays.\", \"Someone makes music.\"]], &mut |_| {})?;\n```\n\n\
            With sentence-transformers:\n\n```python\nfrom sentence_transformers import CrossEncoder\n\
            model = CrossEncoder(\"FOLDER\")\noutputs = model.predict([(\"A man plays.\", \"Someone makes music.\")])\n```\n",
};

impl Card<'_> {
    /// The card as Markdown, with the metadata that model hubs read at its top.
    pub fn markdown(&self, report: &TextReport) -> String {
        let Head {
            metadata,
            title,
            what,
            usage,
        } = self.head;
        let base = base_model(self.base);
        let mut text = format!(
            "---\n{metadata}---\n\n# {title}\n\n{base}, trained with nearkin: {what}.\n\n- **Base model**: {base}\n"
        );
        for fact in &self.facts {
            let _ = writeln!(text, "- {fact}");
        }
        let _ = write!(text, "\n## How good it is\n\n{}", table(report));
        let _ = write!(text, "\n## Use\n\n{usage}");
        let _ = write!(text, "\n## Recipe\n\n```toml\n{}```\n", self.recipe);
        text
    }
}

/// The card of a sentence encoder.
pub(super) fn markdown(
    setup: &TextSetup,
    model: &SentenceEncoder,
    report: &TextReport,
) -> Result<String> {
    let modules = model.modules().iter().map(|placed| placed.module.class());
    let modules: Vec<&str> = modules.collect();
    let mut facts = vec![
        format!(
            "**Modules**: {}; {} weights, {} numbers an embedding, at most {} tokens",
            modules.join(" → "),
            model.parameters().count(),
            model.dim(),
            model.tokenizer.limit()
        ),
        weights(report),
    ];
    let losses = setup.sets.iter().map(|set| set.objective.loss.name());
    let sources = report.data.iter().zip(losses);
    facts.extend(sources.map(|(source, loss)| data(source, loss)));
    let card = Card {
        head: SENTENCE_ENCODER,
        base: &setup.recipe.encoder.model,
        facts,
        recipe: setup.recipe.to_toml()?,
    };
    Ok(card.markdown(report))
}

/// Which weights of the run these are.
pub(super) fn weights(report: &TextReport) -> String {
    let TextReport { selected, step, .. } = report;
    format!("**Weights**: {selected} of the run, after {step} steps")
}

/// A data set that was learned from.
pub(super) fn data(source: &Source, loss: &str) -> String {
    let Source {
        name,
        items,
        damaged,
    } = source;
    let damaged = match damaged.rows {
        0 => String::new(),
        count => format!(", {count} rows left out as damaged"),
    };
    format!("**Data**: {name}, {items} items{damaged}; loss `{loss}`")
}

/// The name of the folder or the hub id, without the place on the machine that trained.
fn base_model(path: &Path) -> String {
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
    let damaged = report.evaluate.iter().filter(|s| s.damaged.rows > 0);
    for Source { name, damaged, .. } in damaged {
        let _ = write!(
            text,
            "\n{name}: {} rows left out as damaged\n",
            damaged.rows
        );
    }
    text
}
