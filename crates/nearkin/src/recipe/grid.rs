//! Many recipes from one: every combination of the values that some keys take.

use super::RecipeError;
use std::collections::HashSet;
use toml_edit::Value;

/// Combinations there may be.
const MOST: usize = 10_000;

/// Every combination of values, as changes that [`Document::set`](super::Document::set) and
/// [`Document::chain`](super::Document::chain) take; each list is `path.to.key=[one, another, …]`, and the last changes fastest.
///
/// ```
/// use nearkin::recipe::combinations;
/// let found = combinations(&["seed=[0, 1]".into(), "loss.triplet_margin.margin=[0.1, 0.2]".into()])?;
/// assert_eq!(found.len(), 4);
/// assert_eq!(found[1], ["seed=0", "loss.triplet_margin.margin=0.2"]);
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
///
/// # Errors
/// A text is not of that form, a list is empty or names a value twice, or there are more than 10,000 combinations.
pub fn combinations(lists: &[String]) -> Result<Vec<Vec<String>>, RecipeError> {
    let mut found = vec![Vec::new()];
    for list in lists {
        let changes = changes(list)?;
        if found.len() * changes.len() > MOST {
            return Err(wrong(list, &format!("more than {MOST} combinations")));
        }
        let finer = |coarse: &Vec<String>| {
            let coarse = coarse.clone();
            let one = move |change: &String| [&coarse[..], std::slice::from_ref(change)].concat();
            changes.iter().map(one).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(finer).collect();
    }
    Ok(found)
}

/// `key=[a, b]` as `key=a` and `key=b`.
fn changes(list: &str) -> Result<Vec<String>, RecipeError> {
    let expected = "expected path.to.key=[one, another, …]";
    let (key, values) = list.split_once('=').ok_or_else(|| wrong(list, expected))?;
    match values.trim().parse::<Value>() {
        Ok(Value::Array(values)) if !values.is_empty() => {
            let change = |value: &Value| format!("{}={}", key.trim(), value.to_string().trim());
            let changes: Vec<String> = values.iter().map(change).collect();
            let mut seen = HashSet::new();
            match changes.iter().find(|change| !seen.insert(*change)) {
                Some(twice) => Err(wrong(list, &format!("it has {twice} twice"))),
                None => Ok(changes),
            }
        }
        Ok(_) => Err(wrong(list, expected)),
        Err(error) => Err(wrong(list, &format!("{expected}: {error}"))),
    }
}

fn wrong(list: &str, message: &str) -> RecipeError {
    RecipeError::Set {
        option: "--vary",
        text: list.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Document;

    fn found(lists: &[&str]) -> Result<Vec<Vec<String>>, RecipeError> {
        combinations(&lists.iter().map(|&list| list.into()).collect::<Vec<_>>())
    }

    #[test]
    fn no_list_is_the_recipe_itself() {
        assert_eq!(found(&[]).unwrap(), [Vec::<String>::new()]);
    }

    #[test]
    fn values_may_be_lists_tables_and_texts() {
        let lists = [
            "encoder.pooling=[[\"mean\"], [\"cls\", \"max\"]]",
            "loss.softmax_classification=[{product = true}, {difference = false}]",
            "encoder.model=['a = b']",
        ];
        let found = found(&lists).unwrap();
        assert_eq!(found.len(), 4);
        let mut document = Document::parse("r.toml", "[encoder]\npooling = [\"mean\"]").unwrap();
        for change in &found[3] {
            document.set(change).unwrap();
        }
        let last = document.text();
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
        for text in ["seed", "seed=3", "seed=[]", "seed=[1,"] {
            let error = found(&[text]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("--vary {text}: expected path.to.key=[")),
                "{error}"
            );
        }
        let error = found(&["seed=[1, 2, 1]"]).unwrap_err().to_string();
        assert_eq!(error, "--vary seed=[1, 2, 1]: it has seed=1 twice");
        let many = format!("seed={:?}", (0..200).collect::<Vec<_>>());
        let error = found(&[&many, &many]).unwrap_err().to_string();
        assert!(error.contains("10000 combinations"), "{error}");
    }
}
