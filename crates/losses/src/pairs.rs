//! The batch as a loss sees it: the matrix of distances and who belongs together.

use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

/// Who belongs together: the columns of the pair matrix grouped by label, and the group of each row.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Columns grouped by class, ascending within a class.
    columns: Vec<usize>,
    /// Bounds of each class within `columns`.
    bounds: Vec<Range<usize>>,
    /// Class of each row; `None` if no column has its label.
    class_of: Vec<Option<usize>>,
}

impl Classes {
    /// The batch against itself: rows and columns are the same items.
    ///
    /// Classes keep the order of their first item, so renaming labels changes nothing.
    #[must_use]
    pub fn new(labels: &[u32]) -> Self {
        Self::between(labels, labels)
    }

    /// Rows against other columns: a set of references or class proxies.
    #[must_use]
    pub fn between(rows: &[u32], columns: &[u32]) -> Self {
        let mut grouped: Vec<_> = (0..columns.len()).collect();
        grouped.sort_by_key(|&column| (columns[column], column));
        let mut groups: Vec<&[usize]> = grouped
            .chunk_by(|&a, &b| columns[a] == columns[b])
            .collect();
        groups.sort_by_key(|group| group[0]);
        let mut classes = Self {
            columns: Vec::with_capacity(columns.len()),
            bounds: Vec::with_capacity(groups.len()),
            class_of: Vec::new(),
        };
        let mut class_with = HashMap::with_capacity(groups.len());
        for (class, group) in groups.into_iter().enumerate() {
            let start = classes.columns.len();
            classes.columns.extend_from_slice(group);
            classes.bounds.push(start..classes.columns.len());
            class_with.insert(columns[group[0]], class);
        }
        classes.class_of = rows
            .iter()
            .map(|label| class_with.get(label).copied())
            .collect();
        classes
    }

    /// `B`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.class_of.len()
    }

    /// `C`, the number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.columns.len()
    }

    /// The columns of each class, in the order of the classes' first columns.
    pub fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.bounds
            .iter()
            .map(|bounds| &self.columns[bounds.clone()])
    }

    /// The class of a row, counted in the order of [`iter`](Self::iter); `None` if no column has its label.
    #[must_use]
    pub fn class_of(&self, row: usize) -> Option<usize> {
        self.class_of[row]
    }

    /// The columns with the label of `row`, ascending; the row's own column is among them if it has one.
    #[must_use]
    pub fn members(&self, row: usize) -> &[usize] {
        match self.class_of[row] {
            Some(class) => &self.columns[self.bounds[class].clone()],
            None => &[],
        }
    }

    /// Whether two rows have the same label.
    #[must_use]
    pub fn same(&self, i: usize, j: usize) -> bool {
        self.class_of[i] == self.class_of[j]
    }
}

/// The pair matrix `S` of `B` anchors against `C` columns, with their classes.
///
/// The columns are the batch itself, a set of references, or class proxies. `S[i][j]` is the distance of row `i` and
/// column `j`: smaller is closer, whatever the distance. An item is never its own positive: its own column is left out
/// by index, since two different items can be equal.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    s: &'a [f32],
    classes: &'a Classes,
    /// First row of this block of rows, in the batch.
    first: usize,
    /// Column of row 0 of the batch, if the batch is among the columns.
    own: Option<usize>,
    space: Space,
}

/// The space that the points of a pair matrix lie in, for miners that go by more than the order of the distances and for
/// losses that need to visit each pair only once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// `D`, the width of an embedding.
    pub dim: usize,
    /// The Euclidean distance of two points from their distance, where it follows from that.
    pub euclidean: Option<fn(f32) -> f32>,
    /// Whether rows and columns are the same points and a pair has one distance, so that `S` is its transpose.
    pub symmetric: bool,
}

impl<'a> Pairs<'a> {
    /// A batch against itself: `s` of shape `[B, B]`, row-major, over the `B` rows of `classes`.
    ///
    /// # Panics
    /// When `s` is not `B × B` numbers.
    #[must_use]
    pub fn new(s: &'a [f32], classes: &'a Classes) -> Self {
        assert_eq!(
            s.len(),
            classes.rows() * classes.rows(),
            "S has a row and a column for each label"
        );
        Self::block(s, classes, 0, Some(0))
    }

    /// Rows from `first` on against the columns of `classes`; `own` is the column of row 0 of the batch, if it has one.
    ///
    /// # Panics
    /// When `s` is not whole rows.
    #[must_use]
    pub fn block(s: &'a [f32], classes: &'a Classes, first: usize, own: Option<usize>) -> Self {
        let rows = s.len() / classes.cols().max(1);
        assert_eq!(
            s.len(),
            rows * classes.cols(),
            "S has a column for each label"
        );
        assert!(first + rows <= classes.rows(), "S has a row for each label");
        Self {
            s,
            classes,
            first,
            own,
            space: Space::default(),
        }
    }

    /// The same with what is known of the space.
    #[must_use]
    pub fn within(self, space: Space) -> Self {
        Self { space, ..self }
    }

    /// What is known of the space.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Anchors, the rows of `S`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.s.len() / self.cols().max(1)
    }

    /// Columns of `S`.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.classes.cols()
    }

    /// First row of this block, in the batch.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// Column of anchor `a` itself.
    #[must_use]
    pub fn own(&self, a: usize) -> Option<usize> {
        self.own.map(|own| own + self.first + a)
    }

    /// Whether rows and columns are the same items, so that `S[p][n]` is there too.
    #[must_use]
    pub fn is_square(&self) -> bool {
        self.own == Some(0) && self.first == 0 && self.rows() == self.cols()
    }

    /// The classes of the batch.
    #[must_use]
    pub fn classes(&self) -> &'a Classes {
        self.classes
    }

    /// The class of anchor `a` among the columns' classes.
    #[must_use]
    pub fn class_of(&self, a: usize) -> Option<usize> {
        self.classes.class_of(self.first + a)
    }

    /// Distances of `a` to every column.
    #[must_use]
    pub fn row(&self, a: usize) -> &'a [f32] {
        let cols = self.cols();
        &self.s[a * cols..(a + 1) * cols]
    }

    /// `S[i][j]`.
    #[must_use]
    pub fn at(&self, i: usize, j: usize) -> f32 {
        self.s[i * self.cols() + j]
    }

    /// Positives of anchor `a`: the other columns of its class, ascending.
    pub fn positives(&self, a: usize) -> impl Iterator<Item = usize> + Clone + 'a {
        let own = self.own(a);
        self.classes
            .members(self.first + a)
            .iter()
            .copied()
            .filter(move |&p| Some(p) != own)
    }

    /// Negatives of anchor `a` as the ranges between the columns of its class: inner loops test no labels.
    pub fn negatives(&self, a: usize) -> impl Iterator<Item = Range<usize>> + 'a {
        let members = self.classes.members(self.first + a);
        let starts = std::iter::once(0).chain(members.iter().map(|&member| member + 1));
        let ends = members.iter().copied().chain(std::iter::once(self.cols()));
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
        g.par_chunks_exact_mut(self.cols().max(1))
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

    #[test]
    fn references_are_grouped_by_label_and_own_columns_left_out() {
        let (rows, columns) = ([3, 7, 8], [7, 3, 3, 9, 7]);
        let classes = Classes::between(&rows, &columns);
        let s = [0.0; 15];
        // The batch begins at column 1: its rows 0, 1, 2 are columns 1, 2, 3.
        let pairs = Pairs::block(&s, &classes, 0, Some(1));
        assert_eq!(
            (pairs.rows(), pairs.cols(), pairs.is_square()),
            (3, 5, false)
        );
        let positives = |a| pairs.positives(a).collect::<Vec<_>>();
        assert_eq!(
            [positives(0), positives(1), positives(2)],
            [vec![2], vec![0, 4], vec![]]
        );
        let negatives = |a| pairs.negatives(a).flatten().collect::<Vec<_>>();
        assert_eq!([negatives(0), negatives(1)], [vec![0, 3, 4], vec![1, 2, 3]]);
        assert_eq!(negatives(2), [0, 1, 2, 3, 4]);
        let second = Pairs::block(&s[..5], &classes, 1, None);
        assert_eq!(second.positives(0).collect::<Vec<_>>(), [0, 4]);
    }
}
