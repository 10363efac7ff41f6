//! From label texts to class numbers.

use std::collections::BTreeSet;

/// Numbers the distinct labels: `(classes in order, class of each item)`.
///
/// The order is numeric if every label is a whole number (so that class 10 follows class 9), otherwise alphabetical.
pub(crate) fn label_index(labels: &[String]) -> (Vec<String>, Vec<u32>) {
    let mut classes: Vec<&str> = labels
        .iter()
        .map(String::as_str)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if classes.iter().all(|label| label.parse::<i64>().is_ok()) {
        classes.sort_by_key(|label| label.parse::<i64>().unwrap_or(i64::MAX));
    }
    let number: std::collections::HashMap<&str, u32> = classes
        .iter()
        .enumerate()
        .map(|(class, &label)| (label, class as u32))
        .collect();
    let numbered = labels.iter().map(|label| number[label.as_str()]).collect();
    (classes.into_iter().map(str::to_owned).collect(), numbered)
}

#[cfg(test)]
mod tests {
    use super::label_index;

    fn classes_of(labels: &[&str]) -> (Vec<String>, Vec<u32>) {
        label_index(&labels.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn whole_numbers_are_ordered_as_numbers_and_words_as_words() {
        assert_eq!(
            classes_of(&["10", "9", "10"]),
            (vec!["9".into(), "10".into()], vec![1, 0, 1])
        );
        assert_eq!(
            classes_of(&["b", "10", "9"]),
            (vec!["10".into(), "9".into(), "b".into()], vec![2, 0, 1])
        );
    }
}
