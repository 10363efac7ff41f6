//! Many recipes from one: every combination of the values that some keys take.

use super::{Document, RecipeError};
use toml_edit::Value;

/// Recipes a grid may have.
const MOST: usize = 10_000;

/// One recipe of a grid.
#[derive(Clone, Debug)]
pub struct Point {
    /// What is changed, as `--set` takes it: `path.to.key=value`.
    pub changes: Vec<String>,
    /// The recipe so changed.
    pub document: Document,
}

impl Document {
    /// Every combination of values: each list is `path.to.key=[one, another, …]`; the last list changes fastest.
    ///
    /// ```
    /// use nearkin::recipe::Document;
    /// let recipe = Document::parse("r.toml", "[loss.triplet_margin]")?;
    /// let grid = recipe.grid(&["seed=[0, 1]".into(), "loss.triplet_margin.margin=[0.1, 0.2]".into()])?;
    /// assert_eq!(grid.len(), 4);
    /// assert_eq!(grid[1].changes, ["seed=0", "loss.triplet_margin.margin=0.2"]);
    /// # Ok::<(), nearkin::recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// A text is not of that form, a list is empty, there are more than 10,000 combinations, or a value cannot stand at its key.
    /// Whether the recipes can run is not looked at.
    pub fn grid(&self, lists: &[String]) -> Result<Vec<Point>, RecipeError> {
        let mut points = vec![Point {
            changes: Vec::new(),
            document: self.clone(),
        }];
        for list in lists {
            let changes = changes(list)?;
            if points.len() * changes.len() > MOST {
                return Err(wrong(list, &format!("more than {MOST} combinations")));
            }
            let mut finer = Vec::new();
            for point in &points {
                for change in &changes {
                    let mut point = point.clone();
                    point.document.set(change)?;
                    point.changes.push(change.clone());
                    finer.push(point);
                }
            }
            points = finer;
        }
        Ok(points)
    }
}

/// `key=[a, b]` as `key=a` and `key=b`.
fn changes(list: &str) -> Result<Vec<String>, RecipeError> {
    let expected = "expected path.to.key=[one, another, …]";
    let (key, values) = list.split_once('=').ok_or_else(|| wrong(list, expected))?;
    match values.trim().parse::<Value>() {
        Ok(Value::Array(values)) if !values.is_empty() => {
            let change = |value: &Value| format!("{}={}", key.trim(), value.to_string().trim());
            Ok(values.iter().map(change).collect())
        }
        Ok(_) => Err(wrong(list, expected)),
        Err(error) => Err(wrong(list, &format!("{expected}: {error}"))),
    }
}

fn wrong(list: &str, message: &str) -> RecipeError {
    RecipeError::Set {
        text: list.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(lists: &[&str]) -> Result<Vec<Point>, RecipeError> {
        let document = Document::parse("r.toml", "[encoder]\npooling = [\"mean\"]").unwrap();
        document.grid(&lists.iter().map(|&list| list.into()).collect::<Vec<_>>())
    }

    #[test]
    fn no_list_is_the_recipe_itself() {
        let grid = grid(&[]).unwrap();
        assert_eq!((grid.len(), grid[0].changes.len()), (1, 0));
    }

    #[test]
    fn values_may_be_lists_tables_and_texts() {
        let lists = [
            "encoder.pooling=[[\"mean\"], [\"cls\", \"max\"]]",
            "loss.softmax_classification=[{product = true}, {difference = false}]",
            "encoder.model=['a = b']",
        ];
        let grid = grid(&lists).unwrap();
        assert_eq!(grid.len(), 4);
        let last = grid[3].document.text();
        for part in [
            "[\"cls\", \"max\"]",
            "difference = false",
            "model = 'a = b'",
        ] {
            assert!(last.contains(part), "{part} in {last}");
        }
        assert!(!last.contains("product"), "{last}");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, part) in [
            ("seed", "expected path.to.key=["),
            ("seed=3", "expected path.to.key=["),
            ("seed=[]", "expected path.to.key=["),
            ("seed=[1,", "expected path.to.key=["),
            ("encoder.pooling.x=[1]", "a part of the path is a value"),
        ] {
            let error = grid(&[text]).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let many = format!("seed={:?}", (0..200).collect::<Vec<_>>());
        let error = grid(&[&many, &many]).unwrap_err().to_string();
        assert!(error.contains("10000 combinations"), "{error}");
    }
}
