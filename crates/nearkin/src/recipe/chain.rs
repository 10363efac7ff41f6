//! Recipes that go on from the model of another, `after = "first.toml"`.

use super::{Document, RecipeError};
use std::path::{Path, PathBuf};
use toml_edit::{Document as Parsed, Item};

/// The key that names the recipe before.
pub(super) const AFTER: &str = "after";

/// What the key said, which is taken out of a document that is read in a chain.
#[derive(Clone, Debug)]
pub(super) struct After {
    recipe: PathBuf,
    place: String,
}

impl After {
    /// An error at the key.
    pub(super) fn error(&self, message: &str) -> RecipeError {
        RecipeError::At {
            place: self.place.clone(),
            message: message.to_owned(),
        }
    }
}

impl Document {
    /// Reads a recipe and those before it: one with `after = "first.toml"` goes on from the model that `first.toml` trains,
    /// which is looked for beside the recipe. The first to train comes first. Changes are as in [`set`](Self::set); those of
    /// the recipe before begin with `after.`, as in `after.train.steps=100`.
    ///
    /// # Errors
    /// A file cannot be read or is not TOML, `after` is no path or leads round in a circle, or a change cannot be made.
    pub fn chain(path: &Path, changes: &[String]) -> Result<Vec<Self>, RecipeError> {
        let mut chain = Vec::new();
        let mut seen = Vec::new();
        let mut next = Some((path.to_owned(), changes.to_vec()));
        while let Some((path, changes)) = next.take() {
            seen.push(path.canonicalize().unwrap_or_else(|_| path.clone()));
            let mut document = Self::read(&path)?;
            let (before, own): (Vec<_>, Vec<_>) =
                changes.into_iter().partition(|c| of_before(c).is_some());
            own.iter().try_for_each(|change| document.set(change))?;
            if let Some(named) = document.take_after(&path)? {
                if seen.contains(&named.canonicalize().unwrap_or_else(|_| named.clone())) {
                    let message = format!("{} goes on from itself", named.display());
                    return Err(document.error_at(AFTER, &message));
                }
                let changes = before.iter().filter_map(|c| of_before(c)).map(String::from);
                next = Some((named, changes.collect()));
            } else if let Some(change) = before.into_iter().next() {
                let message = "the recipe goes on from no other, it has no key `after`".to_owned();
                let text = change;
                let option = "--set";
                return Err(RecipeError::Set {
                    option,
                    text,
                    message,
                });
            }
            chain.push(document);
        }
        chain.reverse();
        Ok(chain)
    }

    /// The recipe that this one goes on from, as [`chain`](Self::chain) found it.
    pub fn after(&self) -> Option<&Path> {
        self.after.as_ref().map(|after| after.recipe.as_path())
    }

    /// Begins training with a model: `encoder.model`, `cross_encoder.model` or `pretrained.weights`, as the recipe is.
    ///
    /// # Errors
    /// The recipe names another.
    pub fn begin_with(&mut self, model: &Path) -> Result<(), RecipeError> {
        let written = |key: &str| self.item(key).is_some();
        let key = match (written("cross_encoder"), written("encoder")) {
            (true, _) => "cross_encoder.model",
            (_, true) => "encoder.model",
            _ => "pretrained.weights",
        };
        if written(key) {
            let message =
                "the model is that of the recipe that `after` names: leave one of them out";
            return Err(self.error_at(key, message));
        }
        let model = toml_edit::Value::from(model.display().to_string());
        self.set(&format!("{key}={model}"))
    }

    /// Takes the key `after` out of the document, which is that of `path`; all else keeps its line and column.
    fn take_after(&mut self, path: &Path) -> Result<Option<PathBuf>, RecipeError> {
        let Some(item) = self.item(AFTER) else {
            return Ok(None);
        };
        let Some(named) = item.as_str() else {
            return Err(self.error_at(AFTER, "expected the path of a recipe"));
        };
        let recipe = path.parent().unwrap_or(Path::new("")).join(named);
        let place = self.place(item.span().map_or(0, |span| span.start));
        let parsed = Parsed::parse(self.text()).ok();
        let key = parsed.as_ref().and_then(|p| p.as_table().key(AFTER));
        if let Some(span) = key.and_then(toml_edit::Key::span) {
            self.text.insert(span.start, '#');
        }
        let after = After { recipe, place };
        Ok(Some(self.after.insert(after).recipe.clone()))
    }

    fn item(&self, key: &str) -> Option<Item> {
        let document = Parsed::parse(self.text()).ok()?;
        let mut item = document.as_item();
        for part in key.split('.') {
            item = item.get(part)?;
        }
        Some(item.clone())
    }
}

/// The change of the recipe before.
fn of_before(change: &str) -> Option<&str> {
    change.trim_start().strip_prefix(AFTER)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with recipes of these texts, `0.toml` on.
    fn recipes(texts: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, text) in texts.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number}.toml")), text).unwrap();
        }
        folder
    }

    fn chain(folder: &tempfile::TempDir, changes: &[&str]) -> Result<Vec<Document>, RecipeError> {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        Document::chain(&folder.path().join("0.toml"), &changes)
    }

    #[test]
    fn the_first_to_train_comes_first_and_each_has_its_changes() {
        let folder = recipes(&[
            "after = \"1.toml\"\nseed = 5\n[encoder]\n",
            "seed = 1\nafter = \"2.toml\" # before\n[encoder]\n",
            "seed = 2\n[encoder]\nmodel = \"bert\"\n",
        ]);
        let found = chain(&folder, &["after.seed=11", "after.after.seed=12"]).unwrap();
        let seeds: Vec<_> = found.iter().map(|d| d.item("seed").unwrap()).collect();
        let seeds: Vec<_> = seeds
            .iter()
            .map(|seed| seed.as_integer().unwrap())
            .collect();
        assert_eq!(seeds, [12, 11, 5]);
        assert!(found.iter().all(|document| document.item(AFTER).is_none()));
    }

    #[test]
    fn errors_keep_their_line() {
        let folder = recipes(&["after = \"1.toml\"\nsede = 5\n[encoder]\n", "seed = 2\n"]);
        let mut document = chain(&folder, &[]).unwrap().remove(1);
        document.begin_with(Path::new("m")).unwrap();
        let message = document.text_recipe().unwrap_err().to_string();
        assert!(
            message.contains("0.toml:2:1: unknown field `sede`"),
            "{message}"
        );
    }

    #[test]
    fn a_model_goes_where_the_kind_of_recipe_has_it() {
        for (table, key) in [
            ("[encoder]", "encoder.model"),
            ("[cross_encoder]", "cross_encoder.model"),
            ("[network.convnet]", "pretrained.weights"),
        ] {
            let mut document = Document::parse("r.toml", table).unwrap();
            document
                .begin_with(Path::new("runs/a \"b\"/model"))
                .unwrap();
            let found = document.item(key).unwrap();
            assert_eq!(found.as_str(), Some("runs/a \"b\"/model"));
            let message = document.begin_with(Path::new("m")).unwrap_err().to_string();
            assert!(message.contains("leave one of them out"), "{message}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_said() {
        for (texts, changes, part) in [
            (vec!["after = \"0.toml\""], vec![], "goes on from itself"),
            (
                vec!["after = 3"],
                vec![],
                "0.toml:1:9: expected the path of a recipe",
            ),
            (vec!["after = \"9.toml\""], vec![], "9.toml"),
            (vec!["seed = 1"], vec!["after.seed=2"], "no key `after`"),
        ] {
            let message = chain(&recipes(&texts), &changes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
