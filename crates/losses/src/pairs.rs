//! The batch as a loss sees it: the matrix of distances and who belongs together.

use rayon::prelude::*;
use std::ops::Range;

/// Who belongs together: the rows of the batch, grouped by label.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Rows grouped by class, ascending within a class.
    rows: Vec<usize>,
    /// Bounds of each class within `rows`.
    bounds: Vec<Range<usize>>,
    /// Class of each row.
    class_of: Vec<usize>,
}

impl Classes {
    /// Groups the rows; classes keep the order of their first row, so renaming labels changes nothing.
    pub fn new(labels: &[u32]) -> Self {
        let mut rows: Vec<_> = (0..labels.len()).collect();
        rows.sort_by_key(|&row| (labels[row], row));
        let mut groups: Vec<&[usize]> = rows.chunk_by(|&a, &b| labels[a] == labels[b]).collect();
        groups.sort_by_key(|group| group[0]);
        let mut classes = Self {
            rows: Vec::with_capacity(labels.len()),
            bounds: Vec::new(),
            class_of: vec![0; labels.len()],
        };
        for (class, group) in groups.into_iter().enumerate() {
            let start = classes.rows.len();
            classes.rows.extend_from_slice(group);
            classes.bounds.push(start..classes.rows.len());
            for &row in group {
                classes.class_of[row] = class;
            }
        }
        classes
    }

    /// `B`.
    pub fn rows(&self) -> usize {
        self.class_of.len()
    }

    /// The rows of each class, in the order of the classes' first rows.
    pub fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.bounds.iter().map(|bounds| &self.rows[bounds.clone()])
    }

    /// The rows with the label of `row`, itself among them, ascending.
    pub fn members(&self, row: usize) -> &[usize] {
        &self.rows[self.bounds[self.class_of[row]].clone()]
    }

    /// Whether two rows have the same label.
    pub fn same(&self, i: usize, j: usize) -> bool {
        self.class_of[i] == self.class_of[j]
    }
}

/// The pair matrix `S` of a batch of `B` with its classes.
///
/// `S[i][j]` is the distance of rows `i` and `j`: smaller is closer, whatever the distance. An item is never its own
/// positive: it is left out by index, since two different items can be equal.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    s: &'a [f32],
    classes: &'a Classes,
}

impl<'a> Pairs<'a> {
    /// A matrix `s` of shape `[B, B]`, row-major, over the `B` rows of `classes`.
    ///
    /// # Panics
    /// When `s` is not `B × B` numbers.
    pub fn new(s: &'a [f32], classes: &'a Classes) -> Self {
        let b = classes.rows();
        assert_eq!(s.len(), b * b, "S has a row and a column for each label");
        Self { s, classes }
    }

    /// `B`.
    pub fn size(&self) -> usize {
        self.classes.rows()
    }

    /// The classes of the batch.
    pub fn classes(&self) -> &'a Classes {
        self.classes
    }

    /// Distances of `a` to every row.
    pub fn row(&self, a: usize) -> &'a [f32] {
        let b = self.size();
        &self.s[a * b..(a + 1) * b]
    }

    /// `S[i][j]`.
    pub fn at(&self, i: usize, j: usize) -> f32 {
        self.s[i * self.size() + j]
    }

    /// Positives of anchor `a`: the other rows of its class, ascending.
    pub fn positives(&self, a: usize) -> impl Iterator<Item = usize> + 'a {
        self.classes
            .members(a)
            .iter()
            .copied()
            .filter(move |&p| p != a)
    }

    /// Negatives of anchor `a` as the ranges between the rows of its class: inner loops test no labels.
    pub fn negatives(&self, a: usize) -> impl Iterator<Item = Range<usize>> + 'a {
        let members = self.classes.members(a);
        let starts = std::iter::once(0).chain(members.iter().map(|&member| member + 1));
        let ends = members.iter().copied().chain(std::iter::once(self.size()));
        starts
            .zip(ends)
            .map(|(start, end)| start..end)
            .filter(|range| !range.is_empty())
    }

    /// Runs `anchor(a, row a of g)` for every anchor in parallel; results come back in the order of the anchors, so that
    /// sums over them have the same bits on any number of threads.
    pub fn each_anchor<T: Send>(
        &self,
        g: &mut [f32],
        anchor: impl Fn(usize, &mut [f32]) -> T + Sync,
    ) -> Vec<T> {
        g.par_chunks_exact_mut(self.size().max(1))
            .with_min_len(8)
            .enumerate()
            .map(|(a, row)| anchor(a, row))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_everything_outside_the_class() {
        let labels = [7, 3, 7, 7, 9, 3];
        let classes = Classes::new(&labels);
        let s = [0.0; 36];
        let pairs = Pairs::new(&s, &classes);
        for a in 0..6 {
            let expected: Vec<_> = (0..6).filter(|&n| labels[n] != labels[a]).collect();
            assert_eq!(pairs.negatives(a).flatten().collect::<Vec<_>>(), expected);
            let expected: Vec<_> = (0..6)
                .filter(|&p| labels[p] == labels[a] && p != a)
                .collect();
            assert_eq!(pairs.positives(a).collect::<Vec<_>>(), expected);
        }
        assert_eq!(
            classes.iter().collect::<Vec<_>>(),
            [&[0, 2, 3][..], &[1, 5], &[4]]
        );
    }
}
