//! The list of everything a recipe can name, made from the doc comments: it feeds the command line, the reference page
//! and the tests.

use crate::described::{Described, Parameter};
use crate::distance::Distance;
use crate::logits::LogitLoss;
use crate::loss::Loss;
use crate::miner::Miner;
use crate::pair_metric::PairLoss;
use crate::reducer::Reducer;
use crate::regularizer::Regularizer;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// One loss, miner, distance, reducer or regularizer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Recipe table that it stands in, such as `loss`.
    pub table: &'static str,
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
    /// What a loss of embeddings needs to know of the items, any one of these; empty for everything else.
    pub targets: String,
    /// Distance of a loss when the recipe names none; `None` if it sees the embeddings themselves.
    pub distance: Option<&'static str>,
    /// Miner of a loss when the recipe names none; `None` if it forms its own tuples.
    pub miner: Option<&'static str>,
    /// Reducer of a loss when the recipe names none; `None` if it is no sum of terms.
    pub reducer: Option<&'static str>,
    /// The whole doc comment.
    pub text: String,
}

impl Entry {
    fn new(table: &'static str, name: &'static str, described: &(impl Described + ?Sized)) -> Self {
        Self::of(table, name, described.text(), described.parameters())
    }

    /// The entry of a recipe table with this doc comment and these keys.
    #[must_use]
    pub fn of(
        table: &'static str,
        name: &'static str,
        text: String,
        parameters: Vec<Parameter>,
    ) -> Self {
        Self {
            table,
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
            parameters,
            targets: String::new(),
            distance: None,
            miner: None,
            reducer: None,
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
#[must_use]
pub fn losses() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let entry = |loss: Loss| {
            let definition = loss.definition();
            let targets: Vec<_> = definition
                .targets()
                .iter()
                .map(ToString::to_string)
                .collect();
            Entry {
                targets: targets.join(", "),
                distance: definition
                    .default_distance()
                    .map(|distance| distance.name()),
                miner: definition.default_miner().map(|miner| miner.name()),
                reducer: definition.default_reducer().map(|reducer| reducer.name()),
                ..Entry::new("loss", loss.name(), definition)
            }
        };
        let mut entries: Vec<_> = Loss::defaults().into_iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.name);
        entries
    });
    &ENTRIES
}

/// Every loss of logits, which a cross-encoder's recipe names in its table `loss`.
#[must_use]
pub fn logit_losses() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let members = LogitLoss::defaults();
        let entry = |loss: &LogitLoss| Entry::new("loss", loss.name(), loss.described());
        members.iter().map(entry).collect()
    });
    &ENTRIES
}

/// Every loss of a learned metric, which the recipe of a network of pairs names in its table `loss`.
#[must_use]
pub fn pair_losses() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let members = PairLoss::defaults();
        let entry = |loss: &PairLoss| Entry::new("loss", loss.name(), loss.described());
        members.iter().map(entry).collect()
    });
    &ENTRIES
}

/// The losses of every kind, for those who ask for one by its name.
#[must_use]
pub fn all_losses() -> Vec<Entry> {
    [losses(), logit_losses(), pair_losses()].concat()
}

/// A list of the members of a family.
macro_rules! entries {
    ($(#[doc = $doc:literal])* $list:ident: $family:ident, $table:literal) => {
        $(#[doc = $doc])*
        pub fn $list() -> &'static [Entry] {
            static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
                let members = $family::defaults();
                members.iter().map(|member| Entry::new($table, member.name(), member.get())).collect()
            });
            &ENTRIES
        }
    };
}

entries! {
    /// Every miner.
    miners: Miner, "miner"
}
entries! {
    /// Every distance.
    distances: Distance, "distance"
}
entries! {
    /// Every reducer.
    reducers: Reducer, "reducer"
}
entries! {
    /// Every regularizer.
    regularizers: Regularizer, "regularizers.penalty"
}

/// The reference page: every loss, miner, distance, reducer and regularizer with its formula, source, parameters and example.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Losses, miners, distances, reducers and regularizers\n\n\
         Generated from the doc comments of `nearkin-losses`; edit those, not this page.\n\n\
         A recipe names one loss, and may name a distance, a miner and a reducer in place of the loss's own:\n\n\
         ```toml\n[loss.triplet_margin]\nmargin = 0.2\n\n[miner.batch_hard]\n\n[distance.cosine]\n```\n\n\
         Regularizers are a list: each adds its value times its weight, on the embeddings or on the proxies of the loss:\n\n\
         ```toml\n[[regularizers]]\nweight = 0.2\non = \"proxies\"\npenalty.sparse_centers = { centers = 10 }\n```\n",
    );
    for (title, entries) in [
        ("Losses", losses()),
        ("Losses of logits, for cross-encoders", logit_losses()),
        (
            "Losses of a learned metric, for networks of pairs",
            pair_losses(),
        ),
        ("Miners", miners()),
        ("Distances", distances()),
        ("Reducers", reducers()),
        ("Regularizers", regularizers()),
    ] {
        _ = writeln!(page, "\n## {title}\n\n| name | |\n|---|---|");
        for entry in entries {
            _ = writeln!(
                page,
                "| [`{0}`](#{1}{0}) | {2} |",
                entry.name,
                entry.table.replace('.', ""),
                plain(&entry.summary)
            );
        }
        for entry in entries {
            _ = write!(page, "\n{}", self::page(entry));
        }
    }
    page
}

/// The section of one entry on the reference page.
#[must_use]
pub fn page(entry: &Entry) -> String {
    let Entry { table, name, .. } = entry;
    let mut page = format!("### `[{table}.{name}]`\n\n{}\n", body(&entry.text));
    if !entry.targets.is_empty() {
        _ = writeln!(page, "\n{}", defaults(entry));
    }
    if !entry.parameters.is_empty() {
        page.push_str("\n| parameter | default | meaning |\n|---|---|---|\n");
    }
    for Parameter { name, doc, default } in &entry.parameters {
        let doc = plain(&doc.replace('\n', " "));
        _ = writeln!(page, "| `{name}` | `{default}` | {doc} |");
    }
    page
}

/// What a loss takes and which parts it brings.
fn defaults(entry: &Entry) -> String {
    let part = |name: &str, default: Option<&str>, without: &str| match default {
        Some(default) => format!("{name}: `{default}`."),
        None => format!("{name}: none, {without}."),
    };
    [
        format!("Targets: {}.", entry.targets),
        part(
            "Distance",
            entry.distance,
            "it sees the embeddings themselves",
        ),
        part("Miner", entry.miner, "it forms its own tuples"),
        part("Reducer", entry.reducer, "it is no sum of terms"),
    ]
    .join(" ")
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

/// The text with links as their names: addresses mean nothing outside of the crate's own pages.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else {
            break;
        };
        let _ = write!(plain, "{before}`{name}`");
        let address = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        rest = address.map_or(after, |(_, after)| after);
    }
    plain + rest
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
