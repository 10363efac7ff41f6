//! The recipe as a document: reading, changing, and errors that point at line and column.

use super::chain::{AFTER, After};
use super::{AnyRecipe, Recipe};
use crate::nearest::nearest;
use crate::pair_network::PairRecipe;
use crate::text::recipe::{CrossEncoderRecipe, TextRecipe};
use serde::de::DeserializeOwned;
use std::path::Path;
use toml_edit::{Document as Parsed, DocumentMut, Item, Table, Value};

/// What is wrong with a recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The document says something that cannot be; `place` is `file:line:column`.
    #[error("{place}: {message}")]
    At {
        /// `file:line:column`.
        place: String,
        /// What was expected and what came.
        message: String,
    },
    /// A `--set` is not `path.to.key=value`, or a `--vary` no `path.to.key=[one, another]`.
    #[error("{option} {text}: {message}")]
    Set {
        /// `--set` or `--vary`.
        option: &'static str,
        /// The text of the option.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The recipe has no TOML form.
    #[error("the recipe cannot be written as TOML: {0}")]
    Write(String),
}

/// A recipe as written.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) name: String,
    pub(super) text: String,
    /// The recipe that it goes on from, once [`chain`](Self::chain) has read both.
    pub(super) after: Option<After>,
}

impl Document {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        Self::parse(&path.display().to_string(), &fs_err::read_to_string(path)?)
    }

    /// Takes a recipe's text; `name` stands in error messages.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn parse(name: &str, text: &str) -> Result<Self, RecipeError> {
        let document = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            after: None,
        };
        match Parsed::parse(text) {
            Ok(_) => Ok(document),
            Err(error) => Err(document.at(error.span(), error.message())),
        }
    }

    /// Changes one key: `path.to.key=value`, the value as TOML or, where it is none, as a string.
    /// Setting `[loss.x]`, `[network.x]` and the like replaces the variant that was there; items of a list go by their
    /// numbers, as in `data.0.table.limit=1000`.
    ///
    /// # Errors
    /// The text has no `=`, or a part of the path is a value.
    pub fn set(&mut self, text: &str) -> Result<(), RecipeError> {
        let wrong = |message: &str| RecipeError::Set {
            option: "--set",
            text: text.to_owned(),
            message: message.to_owned(),
        };
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| wrong("expected path.to.key=value"))?;
        let keys: Vec<&str> = path.trim().split('.').collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(wrong("expected names separated by single dots before ="));
        }
        let value = value
            .trim()
            .parse::<Value>()
            .unwrap_or_else(|_| Value::from(value.trim()));
        let mut document: DocumentMut = self
            .text
            .parse()
            .map_err(|e: toml_edit::TomlError| wrong(e.message()))?;
        if insert(document.as_table_mut(), &keys, value).is_none() {
            return Err(wrong("a part of the path is a value, not a table"));
        }
        self.text = document.to_string();
        Ok(())
    }

    /// Turns the document into a recipe.
    ///
    /// # Errors
    /// An unknown key (with the nearest known one), a wrong type, or a number out of range: with
    /// file, line and column.
    pub fn recipe(&self) -> Result<Recipe, RecipeError> {
        self.read_as()
    }

    /// Turns the document into the recipe of a network of pairs.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe).
    pub fn pair_recipe(&self) -> Result<PairRecipe, RecipeError> {
        self.read_as()
    }

    /// Turns the document into a recipe on text.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe).
    pub fn text_recipe(&self) -> Result<TextRecipe, RecipeError> {
        self.read_as()
    }

    /// Turns the document into the recipe of a cross-encoder.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe).
    pub fn cross_encoder_recipe(&self) -> Result<CrossEncoderRecipe, RecipeError> {
        self.read_as()
    }

    /// Turns the document into a recipe of the kind that its tables say: of a sentence encoder with `[encoder]`, of a
    /// cross-encoder with `[cross_encoder]`, of a network of pairs with `[pair_network]`, else of labeled items.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe).
    pub fn any_recipe(&self) -> Result<AnyRecipe, RecipeError> {
        let parsed = Parsed::parse(self.text.as_str()).ok();
        let has = |key| {
            parsed
                .as_ref()
                .is_some_and(|document| document.contains_key(key))
        };
        Ok(if has("cross_encoder") {
            AnyRecipe::CrossEncoder(Box::new(self.cross_encoder_recipe()?))
        } else if has("encoder") {
            AnyRecipe::Text(Box::new(self.text_recipe()?))
        } else if has("pair_network") {
            AnyRecipe::Pairs(Box::new(self.pair_recipe()?))
        } else {
            AnyRecipe::Items(Box::new(self.recipe()?))
        })
    }

    fn read_as<R: DeserializeOwned>(&self) -> Result<R, RecipeError> {
        let parsed: Result<R, toml::de::Error> = toml::from_str(&self.text);
        parsed.map_err(|error| self.at(error.span(), &with_suggestion(error.message())))
    }

    /// An error at a dotted key of the document, or at its start where the key is not written; items of a list go by their
    /// numbers.
    pub fn error_at(&self, key: &str, message: &str) -> RecipeError {
        match &self.after {
            Some(after) if key == AFTER => after.error(message),
            _ => self.at(self.span_of(key), message),
        }
    }

    /// The file it was read from, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of the document.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the longest written beginning of a dotted key.
    fn span_of(&self, key: &str) -> Option<std::ops::Range<usize>> {
        let document = Parsed::parse(self.text.as_str()).ok()?;
        let mut item = document.as_item();
        let mut span = None;
        for part in key.split('.') {
            let next = match part.parse::<usize>() {
                Ok(place) => item.get(place),
                Err(_) => item.get(part),
            };
            let Some(next) = next else { break };
            item = next;
            span = item.span().or(span);
        }
        // A table of which only the variant is written, such as [sampler.pk], stands where the variant does.
        let variant = item.as_table_like().and_then(|table| table.iter().next());
        span.or_else(|| variant.and_then(|(_, item)| item.span()))
    }

    fn at(&self, span: Option<std::ops::Range<usize>>, message: &str) -> RecipeError {
        RecipeError::At {
            place: self.place(span.map_or(0, |s| s.start)),
            message: message.trim_end().to_owned(),
        }
    }

    /// `file:line:column` of a byte.
    pub(super) fn place(&self, byte: usize) -> String {
        let before = &self.text[..byte.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.name)
    }
}

/// Tables of which a recipe holds one variant: `[loss.x]`, …
const VARIANTS: [&str; 13] = [
    "loss",
    "distance",
    "miner",
    "reducer",
    "network",
    "pair_network",
    "optimizer",
    "sampler",
    "data.source",
    "data.split",
    "data.rows",
    "data.loss",
    "evaluate.rows",
];

fn insert(table: &mut Table, keys: &[&str], value: Value) -> Option<()> {
    let (last, parents) = keys.split_last()?;
    let mut table = table;
    let mut path = String::new();
    let mut parents = parents.iter().peekable();
    while let Some(key) = parents.next() {
        if VARIANTS.contains(&path.as_str()) && !table.contains_key(key) {
            table.clear();
        }
        path = if path.is_empty() {
            (*key).to_owned()
        } else {
            format!("{path}.{key}")
        };
        // A variant without settings may stand as `miner = "all"`; it gives way to a table.
        if VARIANTS.contains(&path.as_str()) && table.get(key).is_some_and(Item::is_str) {
            table.remove(key);
        }
        let item = table.entry(key).or_insert_with(|| {
            let mut new = Table::new();
            new.set_implicit(true);
            Item::Table(new)
        });
        if let Item::ArrayOfTables(list) = item {
            table = list.get_mut(parents.next()?.parse().ok()?)?;
            continue;
        }
        if let Item::Value(Value::InlineTable(inline)) = item {
            *item = Item::Table(inline.clone().into_table());
        }
        table = item.as_table_mut()?;
    }
    if VARIANTS.contains(&path.as_str()) && !table.contains_key(last) {
        table.clear();
    }
    table.insert(last, Item::Value(value));
    Some(())
}

/// Adds the nearest known name to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_suggestion(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.contains("unit variant, expected newtype variant") {
        return "expected a table of settings, as in [loss.NAME], found a name alone".to_owned();
    }
    match names.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => {
            match nearest(unknown, known.iter().copied()) {
                Some(name) => format!("{}; did you mean `{name}`?", message.trim_end()),
                None => message.to_owned(),
            }
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "seed = 3\n[data.source.bundled]\nname = \"digits\"\n[network.mlp]\nhidden = [8]\n[loss.triplet_margin]\nmargin = 0.2\n";

    fn error(text: &str) -> String {
        Document::parse("r.toml", text)
            .and_then(|d| d.recipe())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_key_is_placed_and_the_nearest_is_named() {
        let text = RECIPE.replace("margin = 0.2", "  margni = 0.2");
        let message = error(&text);
        assert!(
            message.starts_with("r.toml:7:3: unknown field `margni`"),
            "{message}"
        );
        assert!(message.contains("did you mean `margin`?"), "{message}");
    }

    #[test]
    fn an_unknown_loss_is_placed_and_the_nearest_is_named() {
        let message = error(&RECIPE.replace("loss.triplet_margin", "loss.triplet_margn"));
        assert!(
            message.starts_with("r.toml:6:") && message.contains("did you mean `triplet_margin`?"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_type_and_a_number_out_of_range_are_placed() {
        let message = error(&RECIPE.replace("[8]", "\"x\""));
        assert!(
            message.starts_with("r.toml:5:10: invalid type: string \"x\", expected a sequence"),
            "{message}"
        );
        let message = error(&RECIPE.replace("0.2", "-0.2"));
        assert!(
            message.starts_with("r.toml:7:10: -0.2 is out of range"),
            "{message}"
        );
        let message = error(&format!("{RECIPE}[train]\nsteps = 0\n"));
        assert!(
            message.starts_with("r.toml:9:9: invalid value: integer `0`, expected a nonzero"),
            "{message}"
        );
    }

    #[test]
    fn broken_toml_is_placed() {
        let message = error("seed = \n");
        assert!(message.starts_with("r.toml:1:"), "{message}");
    }

    #[test]
    fn set_changes_a_number_and_replaces_a_variant() {
        let mut document = Document::parse("r.toml", RECIPE).unwrap();
        document.set("loss.triplet_margin.margin=0.7").unwrap();
        document.set("network.convnet.widths=[4, 4]").unwrap();
        document.set("train.select=last").unwrap();
        let text = document.recipe().unwrap().to_toml().unwrap();
        assert!(
            text.contains("margin = 0.7") && text.contains("[network.convnet]"),
            "{text}"
        );
        assert!(
            !text.contains("[network.mlp]") && text.contains("select = \"last\""),
            "{text}"
        );
    }

    #[test]
    fn a_malformed_set_is_explained() {
        let mut document = Document::parse("r.toml", RECIPE).unwrap();
        for (text, part) in [
            ("seed", "expected path"),
            ("seed.x=1", "a value, not a table"),
            ("a..b=1", "single dots"),
        ] {
            let message = document.set(text).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.contains(text),
                "{message}"
            );
        }
    }

    #[test]
    fn the_resolved_recipe_reads_back_as_itself() {
        let recipe = Document::parse("r.toml", RECIPE).unwrap().recipe().unwrap();
        let text = recipe.to_toml().unwrap();
        let again = Document::parse("r.toml", &text)
            .unwrap()
            .recipe()
            .unwrap()
            .to_toml()
            .unwrap();
        assert_eq!(text, again);
    }
}
