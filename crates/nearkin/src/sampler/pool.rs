//! What batches are drawn from.

/// Items with what is known of each; all lists have one entry for each of `items`.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'a> {
    /// The items, by their numbers in the data set.
    pub items: &'a [usize],
    /// The class of each.
    pub labels: &'a [u32],
    /// The camera of each, where known.
    pub cameras: Option<&'a [u32]>,
    /// The super-class of each, where known.
    pub super_classes: Option<&'a [u32]>,
}

impl<'a> Pool<'a> {
    /// Items of which nothing but the class is known.
    pub fn new(items: &'a [usize], labels: &'a [u32]) -> Self {
        Self {
            items,
            labels,
            cameras: None,
            super_classes: None,
        }
    }

    /// The places in the pool of the items of each class, by label; empty for labels that no item has.
    pub(super) fn places_of_classes(self) -> Vec<Vec<usize>> {
        let classes = self.labels.iter().max().map_or(0, |&top| top as usize + 1);
        let mut places_of = vec![Vec::new(); classes];
        for (place, &label) in self.labels.iter().enumerate() {
            places_of[label as usize].push(place);
        }
        places_of
    }
}
