//! The known name that a misspelled one was meant to be.

/// The known name nearest to `name`, or `None` if nothing is near enough to be worth suggesting.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this Jaro-Winkler similarity a suggestion confuses more than it helps.
    const NEAR: f64 = 0.8;
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelled_name_finds_its_neighbor_and_a_foreign_one_finds_none() {
        let known = ["path", "label", "split"];
        assert_eq!(nearest("lable", known), Some("label"));
        assert_eq!(nearest("PATH", known), Some("path"));
        assert_eq!(nearest("xyzzy", known), None);
        // One letter in common is no likeness.
        assert_eq!(nearest("label", ["a", "b", "c"]), None);
    }
}
