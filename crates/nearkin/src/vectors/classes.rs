//! Labels as classes.

use std::collections::HashMap;

/// The class of each label, numbered in the order in which they come, and the classes' names.
///
/// ```
/// use nearkin::vectors::classes;
/// let labels = ["b", "a", "b"].map(String::from);
/// assert_eq!(classes(&labels), (vec![0, 1, 0], vec!["b".to_owned(), "a".to_owned()]));
/// ```
pub fn classes(labels: &[String]) -> (Vec<u32>, Vec<String>) {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let (mut numbers, mut names) = (Vec::with_capacity(labels.len()), Vec::new());
    for label in labels {
        let number = *known.entry(label).or_insert_with(|| {
            names.push(label.clone());
            names.len() as u32 - 1
        });
        numbers.push(number);
    }
    (numbers, names)
}
