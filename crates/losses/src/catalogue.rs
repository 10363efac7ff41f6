//! The list of everything a recipe can name, made from the doc comments: it feeds the command line, the reference page
//! and the tests.

use crate::described::{Described, Parameter};
use crate::distance::Distance;
use crate::loss::Loss;
use crate::miner::Miner;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// One loss, miner or distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Recipe key.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: String,
    /// Its formula; empty if the summary says it all.
    pub formula: String,
    /// Authors, title, year, venue, equation.
    pub reference: String,
    /// Recipe keys of its table, with their defaults.
    pub parameters: Vec<Parameter>,
    /// What a loss needs to know of each item (`labels`); empty for miners and distances.
    pub targets: &'static str,
    /// Distance when the recipe names none; empty for miners and distances.
    pub distance: &'static str,
    /// Miner when the recipe names none; empty for miners and distances.
    pub miner: &'static str,
    /// The whole doc comment.
    pub text: String,
}

impl Entry {
    fn new(name: &'static str, described: &(impl Described + ?Sized)) -> Self {
        let text = described.text();
        Self {
            name,
            summary: text
                .split("\n\n")
                .next()
                .unwrap_or_default()
                .replace('\n', " "),
            formula: text
                .split("```text\n")
                .nth(1)
                .and_then(|rest| rest.split("\n```").next())
                .unwrap_or("")
                .into(),
            reference: section(&text, "Reference"),
            parameters: described.parameters(),
            targets: "",
            distance: "",
            miner: "",
            text,
        }
    }
}

/// The body of a section of a doc comment, on one line.
fn section(text: &str, title: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| line.strip_prefix("# ") != Some(title))
        .skip(1);
    let body: Vec<_> = lines.take_while(|line| !line.starts_with("# ")).collect();
    body.join(" ").trim().into()
}

/// Every loss.
pub fn losses() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let entry = |loss: Loss| Entry {
            targets: loss.get().targets(),
            distance: loss.get().default_distance().name(),
            miner: loss.get().default_miner().name(),
            ..Entry::new(loss.name(), loss.get())
        };
        Loss::defaults().into_iter().map(entry).collect()
    });
    &ENTRIES
}

/// Every miner.
pub fn miners() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        Miner::defaults()
            .iter()
            .map(|miner| Entry::new(miner.name(), miner.get()))
            .collect()
    });
    &ENTRIES
}

/// Every distance.
pub fn distances() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        Distance::defaults()
            .iter()
            .map(|distance| Entry::new(distance.name(), distance.get()))
            .collect()
    });
    &ENTRIES
}

/// The reference page: every loss, miner and distance with its formula, source, parameters and example.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Losses, miners and distances\n\n\
         Generated from the doc comments of `nearkin-losses`; edit those, not this page.\n\n\
         A recipe names one loss, and may name a distance and a miner in place of the loss's own:\n\n\
         ```toml\n[loss.triplet_margin]\nmargin = 0.2\n\n[miner.batch_hard]\n\n[distance.cosine]\n```\n",
    );
    for (title, table, entries) in [
        ("Losses", "loss", losses()),
        ("Miners", "miner", miners()),
        ("Distances", "distance", distances()),
    ] {
        _ = writeln!(page, "\n## {title}\n\n| name | |\n|---|---|");
        for entry in entries {
            _ = writeln!(
                page,
                "| [`{0}`](#{1}{0}) | {2} |",
                entry.name,
                table,
                plain(&entry.summary)
            );
        }
        for entry in entries {
            _ = write!(
                page,
                "\n### `[{table}.{}]`\n\n{}\n",
                entry.name,
                body(&entry.text)
            );
            if !entry.distance.is_empty() {
                _ = writeln!(
                    page,
                    "\nTargets: {}. Default distance: `{}`. Default miner: `{}`.",
                    entry.targets, entry.distance, entry.miner
                );
            }
            if !entry.parameters.is_empty() {
                page.push_str("\n| parameter | default | meaning |\n|---|---|---|\n");
                for Parameter { name, doc, default } in &entry.parameters {
                    _ = writeln!(
                        page,
                        "| `{name}` | `{default}` | {} |",
                        plain(&doc.replace('\n', " "))
                    );
                }
            }
        }
    }
    page
}

/// A doc comment for a page outside rustdoc: links lose their brackets, headings step down, hidden lines go.
fn body(text: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let fence = line.starts_with("```");
        fenced ^= fence;
        lines.push(match line {
            "```" if fenced => "```rust".into(),
            _ if fence => line.into(),
            _ if fenced && (line == "#" || line.starts_with("# ")) => continue,
            _ if fenced => line.into(),
            _ if line.starts_with("# ") => format!("###{line}"),
            _ => plain(line),
        });
    }
    lines.join("\n")
}

fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`")
}

/// Declares an enum of recipe tables: `module::Type` stands for the key `module` and the struct `Type` in that module.
macro_rules! family {
    (
        $(#[doc = $doc:literal])*
        pub enum $family:ident: $contract:ident {
            $($module:ident::$name:ident),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $family {
            $(
                #[doc = concat!("See [`", stringify!($name), "`](struct@", stringify!($name), ").")]
                $name($name),
            )+
        }

        impl $family {
            /// Every member with its default parameters.
            pub fn defaults() -> Vec<Self> {
                vec![$(Self::$name($name::default())),+]
            }

            /// Recipe key.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($module)),+
                }
            }

            /// The member behind the name.
            pub fn get(&self) -> &(dyn $contract + 'static) {
                match self {
                    $(Self::$name(member) => member),+
                }
            }
        }

        $(
            impl From<$name> for $family {
                fn from(member: $name) -> Self {
                    Self::$name(member)
                }
            }
        )+
    };
}

pub(crate) use family;
