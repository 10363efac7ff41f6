//! What a data set looks like, in a few numbers.

use std::fmt;

use serde::Serialize;

use super::{Dataset, Skipped};

/// The size of a data set and of its classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The set's name.
    pub name: String,
    /// Items in it.
    pub items: usize,
    /// Classes in it.
    pub classes: usize,
    /// Items of the smallest class.
    pub min: usize,
    /// Items of the median class (the lower one of two).
    pub median: usize,
    /// Items of the largest class.
    pub max: usize,
    /// Classes with a single item: nothing of their class can be found, and no positive pair can be made.
    pub singletons: usize,
    /// The length of a row where the items are features.
    pub features: Option<usize>,
    /// What was seen and left out.
    pub skipped: Skipped,
}

/// Counts the items and classes of `data`.
pub fn summary(data: &Dataset) -> Summary {
    let mut sizes = vec![0_usize; data.classes.len()];
    for &label in &data.labels {
        sizes[label as usize] += 1;
    }
    sizes.sort_unstable();
    let at = |index: usize| sizes.get(index).copied().unwrap_or(0);
    Summary {
        name: data.name.clone(),
        items: data.len(),
        classes: sizes.len(),
        min: at(0),
        median: at(sizes.len().saturating_sub(1) / 2),
        max: at(sizes.len().saturating_sub(1)),
        singletons: sizes.iter().filter(|&&size| size == 1).count(),
        features: data.is_features(),
        skipped: data.skipped.clone(),
    }
}

impl fmt::Display for Summary {
    /// One line, such as `digits: 1797 rows of 64 features, 10 classes of 174–183 items (median 179)`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {} ", self.name, self.items)?;
        match self.features {
            Some(dim) => write!(f, "rows of {dim} features")?,
            None => f.write_str("images")?,
        }
        write!(f, ", {} classes of ", self.classes)?;
        if self.min == self.max {
            write!(f, "{} items", self.min)?;
        } else {
            write!(
                f,
                "{}–{} items (median {})",
                self.min, self.max, self.median
            )?;
        }
        if self.singletons > 0 {
            write!(f, "; classes with a single item: {}", self.singletons)?;
        }
        if self.skipped.rows > 0 {
            write!(
                f,
                "; rows left out for a missing value: {}",
                self.skipped.rows
            )?;
        }
        if self.skipped.images > 0 {
            write!(
                f,
                "; images left out by the layout: {}",
                self.skipped.images
            )?;
        }
        let other: usize = self.skipped.other_files.values().sum();
        if other > 0 {
            write!(f, "; files left out, being no images: {other}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Items;
    use std::collections::BTreeMap;

    #[test]
    fn class_sizes_and_single_items_are_counted() {
        let data = Dataset {
            name: "set".to_owned(),
            classes: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            labels: vec![0, 1, 1, 3, 3, 3, 3, 2, 2],
            names: Vec::new(),
            given_split: None,
            cameras: None,
            roles: None,
            regions: None,
            landmarks: None,
            absent: BTreeMap::new(),
            skipped: Skipped {
                rows: 2,
                images: 3,
                ..Skipped::default()
            },
            items: Items::Files(Vec::new()),
        };
        let summary = summary(&data);
        assert_eq!(
            (summary.min, summary.median, summary.max, summary.singletons),
            (1, 2, 4, 1)
        );
        assert_eq!(
            summary.to_string(),
            "set: 9 images, 4 classes of 1–4 items (median 2); classes with a single item: 1; \
             rows left out for a missing value: 2; images left out by the layout: 3"
        );
    }
}
