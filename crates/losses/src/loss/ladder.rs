//! Hinges over all pairs of two sets at once: the thresholds of the few positives sorted, and each of the many negatives
//! counted at the place where it falls among them.

use super::{Evaluation, Matrix};
use crate::reducer::{Keep, Terms};
use rayon::prelude::*;

/// Thresholds up to which comparing with each, in vector instructions, beats looking up a cell.
pub(super) const FEW: usize = 48;

/// Thresholds of a cell up to which trying one after another beats halving.
const SHORT: u32 = 16;

/// Cells for each threshold: most then hold one or none.
const CELLS: usize = 4;

/// Distances whose cells are found side by side.
const BLOCK: usize = 256;

/// Thresholds in ascending order, each once.
///
/// A grid over their range says how many lie in the cells before that of a distance. Cells never decrease with the
/// distance, however they are rounded, so that those thresholds are smaller and only those of the same cell are compared.
pub(super) struct Steps {
    /// The thresholds, and a NaN, which is up to nothing.
    at: Vec<f32>,
    /// Thresholds before each cell, and all of them.
    start: Vec<u32>,
    low: f32,
    scale: f32,
    /// Whether some cell holds so many thresholds that they are searched.
    long: bool,
}

impl Steps {
    pub fn new(mut at: Vec<f32>) -> Self {
        at.par_sort_unstable_by(f32::total_cmp);
        at.dedup();
        let cells = if at.len() <= FEW { 1 } else { CELLS * at.len() };
        let mut finite = at.iter().copied().filter(|t| t.is_finite());
        let low = finite.next().unwrap_or_default();
        let high = finite.next_back().unwrap_or(low);
        let count = at.len();
        at.push(f32::NAN);
        let mut steps = Self {
            scale: cells as f32 / (high - low),
            start: vec![0; cells + 1],
            low,
            at,
            long: false,
        };
        for k in 0..count {
            let cell = steps.cell(steps.at[k]);
            steps.start[cell + 1] += 1;
        }
        steps.long = steps.start.iter().any(|&count| count > SHORT);
        let mut before = 0;
        for start in &mut steps.start {
            before += *start;
            *start = before;
        }
        steps
    }

    /// The thresholds.
    pub fn thresholds(&self) -> &[f32] {
        &self.at[..self.at.len() - 1]
    }

    /// Places of a distance: one more than the thresholds.
    pub fn places(&self) -> usize {
        self.at.len()
    }

    /// Grows with `d`; what is beyond the grid, or on none, is in the first or in the last cell.
    fn cell(&self, d: f32) -> usize {
        let last = (self.start.len() - 2) as f32;
        ((d - self.low) * self.scale).max(0.0).min(last) as i32 as usize
    }

    /// How many thresholds are up to `d`, given its cell.
    fn place(&self, d: f32, cell: usize) -> usize {
        let mut place = self.start[cell] as usize;
        if self.long {
            let end = self.start[cell + 1] as usize;
            return place + self.at[place..end].partition_point(|&t| t <= d);
        }
        // Those of later cells are beyond `d`. Most cells hold none or one, which costs no branch.
        place += usize::from(self.at[place] <= d);
        while self.at[place] <= d {
            place += 1;
        }
        place
    }

    /// For each of some distances how many thresholds are up to it.
    pub fn find(&self, d: &[f32], places: &mut [u32]) {
        if self.thresholds().len() <= FEW {
            return nearkin_kernels::places(self.thresholds(), d, places);
        }
        for (places, d) in places.chunks_mut(BLOCK).zip(d.chunks(BLOCK)) {
            let each = places.iter_mut().zip(d);
            each.for_each(|(place, &d)| *place = self.cell(d) as u32);
            let each = places.iter_mut().zip(d);
            each.for_each(|(place, &d)| *place = self.place(d, *place as usize) as u32);
        }
    }

    /// The same for one of them.
    pub fn find_one(&self, d: f32) -> usize {
        self.place(d, self.cell(d))
    }

    /// The place of a threshold among them.
    fn rank(&self, threshold: f32) -> usize {
        self.thresholds().partition_point(|&t| t < threshold)
    }

    /// For each place the sum of the weights of the thresholds above it.
    pub fn above(&self, weights: impl Iterator<Item = (f32, f64)>) -> Vec<f64> {
        let mut above = vec![0.0; self.places()];
        for (threshold, weight) in weights {
            above[self.rank(threshold)] += weight;
        }
        let mut sum = 0.0;
        for above in above.iter_mut().rev() {
            sum += *above;
            *above = sum;
        }
        above
    }
}

/// How many distances are at a place, and their sum.
pub(super) type Tally = [f64; 2];

/// Adds distances to the tallies of their places.
pub(super) fn count(tallies: &mut [Tally], d: &[f32], places: &[u32]) {
    for (&d, &place) in d.iter().zip(places) {
        let tally = &mut tallies[place as usize];
        tally[0] += 1.0;
        tally[1] += f64::from(d);
    }
}

/// Distances known by how many, and which sum, are below each of some thresholds.
pub(super) struct Ladder<'a> {
    steps: &'a Steps,
    /// The tallies up to each place.
    up_to: Vec<Tally>,
}

impl<'a> Ladder<'a> {
    /// From the tallies of the places.
    pub fn new(steps: &'a Steps, tallies: &[Tally]) -> Self {
        let mut sum = [0.0; 2];
        let up_to = tallies.iter().map(|tally| {
            sum = [sum[0] + tally[0], sum[1] + tally[1]];
            sum
        });
        let up_to = up_to.collect();
        Self { steps, up_to }
    }

    fn len(&self) -> usize {
        self.up_to[self.steps.places() - 1][0] as usize
    }

    /// How many are below one of the thresholds, or below infinity, and their sum.
    pub fn below(&self, threshold: f32) -> (usize, f64) {
        let [count, sum] = self.up_to[self.steps.rank(threshold)];
        (count as usize, sum)
    }
}

/// The smallest number that is not below a bound: what is below the one is below the other.
fn ceiling(bound: f64) -> f32 {
    let near = bound as f32;
    if f64::from(near) < bound {
        near.next_up()
    } else {
        near
    }
}

/// The smallest number above a bound: what is up to the bound is below it. Nothing is up to `-∞`, nor below it.
pub(super) fn above(bound: f64) -> f32 {
    let near = bound as f32;
    if f64::from(near) <= bound && near > f32::NEG_INFINITY {
        near.next_up()
    } else {
        near
    }
}

/// Hinges `[d_p - d_n + margin]₊`, of which those count that a reducer keeps.
#[derive(Clone, Copy)]
pub(super) struct Hinges {
    pub margin: f64,
    pub keep: Keep,
}

/// The hinges of one positive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Met {
    pub all: usize,
    pub violated: usize,
    /// Those that count, at zero or above.
    pub kept: usize,
    /// Those that count and have a slope.
    pub pulling: usize,
    /// The sum of those that count.
    pub value: f64,
}

impl Met {
    /// Without the hinges of a part of the negatives.
    pub fn without(self, part: Self) -> Self {
        Self {
            all: self.all - part.all,
            violated: self.violated - part.violated,
            kept: self.kept - part.kept,
            pulling: self.pulling - part.pulling,
            value: self.value - part.value,
        }
    }
}

impl Hinges {
    fn reach(self, d_p: f32) -> f64 {
        f64::from(d_p) + self.margin
    }

    /// What a negative of a positive is below: when its hinge pulls or is too large to, when it is too large, and when it is
    /// above zero.
    pub fn thresholds(self, d_p: f32) -> [f32; 3] {
        let reach = self.reach(d_p);
        let [low, high] = [f64::from(self.keep.low).max(0.0), f64::from(self.keep.high)];
        [ceiling(reach - low), above(reach - high), ceiling(reach)]
    }

    /// The hinges of a positive with all negatives, whose ladder has its thresholds.
    pub fn of_positive(self, d_p: f32, negatives: &Ladder<'_>) -> Met {
        let [(inside, sum), (beyond, too_much), (violated, _)] =
            self.thresholds(d_p).map(|t| negatives.below(t));
        let pulling = inside.saturating_sub(beyond);
        Met {
            all: negatives.len(),
            violated,
            kept: if self.keep.low < 0.0 {
                negatives.len() - beyond
            } else {
                pulling
            },
            pulling,
            value: pulling as f64 * self.reach(d_p) - (sum - too_much),
        }
    }

    /// What a positive adds to the slopes of the negatives below thresholds, given what its terms are multiplied by.
    pub fn pushes(self, d_p: f32, weight: f64) -> [(f32, f64); 2] {
        let [inside, beyond, _] = self.thresholds(d_p);
        [(inside, weight), (beyond, -weight)]
    }
}

/// The terms that an anchor's hinges are.
pub(super) fn terms(met: impl Iterator<Item = Met>) -> Terms {
    let mut terms = met.fold(Terms::default(), |terms, met| Terms {
        value: terms.value + met.value,
        kept: terms.kept + met.kept,
        tuples: terms.tuples + met.all,
        active: terms.active + met.violated,
        ..terms
    });
    terms.terms = terms.tuples;
    terms
}

/// The terms of two kinds of each anchor reduced, each kind apart, and what those of each anchor are multiplied by.
pub(super) fn reduced(matrix: &Matrix<'_>, terms: &[[Terms; 2]]) -> (Evaluation, [Vec<f64>; 2]) {
    let mut evaluation = Evaluation::default();
    let weights = [0, 1].map(|kind| {
        let terms: Vec<_> = terms.iter().map(|terms| terms[kind]).collect();
        let weights = matrix.reducer.weights(&terms, matrix.labels, None);
        for (terms, weight) in terms.iter().zip(&weights) {
            evaluation.value += terms.value * weight;
            evaluation.tuples += terms.tuples;
            evaluation.active += terms.active;
        }
        weights
    });
    (evaluation, weights)
}
