//! Sums over triplets of `φ(d(a, p) - d(a, n) + margin)`, with `φ` a hinge or its smooth form.
//!
//! Three ways to the same sum: triplets in a list; triplets visited one by one, when a term depends on more than two
//! distances of one anchor; and all triplets of an anchor at once, when it is a plain hinge. For one negative the
//! violated positives are a suffix of the positives sorted by distance, so a prefix sum gives all their terms:
//!
//! ```text
//! Σ_p [ d(a, p) - d(a, n) + m ]₊ = Σ_{p in suffix} d(a, p) + |suffix| (m - d(a, n))
//! ```

use super::{Row, softplus};
use crate::lanes::total;
use crate::reducer;
use crate::tuples::{Tuples, band};

/// One term.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub margin: f32,
    /// Softplus in place of the hinge.
    pub smooth: bool,
    /// `min(d(a, n), d(p, n))` in place of `d(a, n)`.
    pub swap: bool,
}

impl Terms {
    /// `φ` and `φ'` of a violation.
    fn term(self, violation: f32) -> (f32, f32) {
        match (self.smooth, violation > 0.0) {
            (true, _) => softplus(violation),
            (false, true) => (violation, 1.0),
            (false, false) => (0.0, 0.0),
        }
    }

    /// Adds the term of a violation to `sum`; the slope that counts.
    fn add(self, violation: f32, row: &Row<'_>, sum: &mut reducer::Terms) -> f32 {
        let (value, slope) = self.term(violation);
        let weight = if self.swap { row.weight(row.a) } else { 1.0 };
        weight * slope * sum.add(value, violation > 0.0, row.keep)
    }

    /// The slope that counts of a term of another anchor `q`, whose own row adds up its value.
    fn slope(self, violation: f32, row: &Row<'_>, q: usize) -> f32 {
        let (value, slope) = self.term(violation);
        if row.keep.holds(value) {
            row.weight(q) * slope
        } else {
            0.0
        }
    }
}

/// Over the listed triplets of an anchor.
///
/// With `swap` a triplet `(q, a, n)` of another anchor `q` of the class may have taken `d(a, n)`: row `a` collects those
/// slopes too, so that each row of `G` has one writer.
pub(super) fn listed(row: &Row<'_>, terms: Terms, g: &mut [f32]) -> reducer::Terms {
    let (pairs, a) = (row.pairs, row.a);
    let mut sum = reducer::Terms::default();
    for tuplet in row.kept.tuplets(a) {
        let p = tuplet[1] as usize;
        for n in tuplet[2..].iter().map(|&n| n as usize) {
            let swapped = terms.swap && pairs.at(p, n) < pairs.at(a, n);
            let from = if swapped { p } else { a };
            let slope = terms.add(
                pairs.at(a, p) - pairs.at(from, n) + terms.margin,
                row,
                &mut sum,
            );
            g[p] += slope;
            g[n] -= if swapped { 0.0 } else { slope };
        }
    }
    if terms.swap {
        for q in pairs.positives(a) {
            let of_a = |tuplet: &&[u32]| tuplet[1] as usize == a;
            for tuplet in row.kept.tuplets(q).filter(of_a) {
                for n in tuplet[2..].iter().map(|&n| n as usize) {
                    if pairs.at(a, n) < pairs.at(q, n) {
                        g[n] -= terms.slope(pairs.at(q, a) - pairs.at(a, n) + terms.margin, row, q);
                    }
                }
            }
        }
    }
    sum
}

/// Over the triplets of an anchor, one by one: `O(B K)` for classes of `K`, with `swap` as in [`listed`].
pub(super) fn visited(row: &Row<'_>, terms: Terms, g: &mut [f32]) -> reducer::Terms {
    let (pairs, a) = (row.pairs, row.a);
    let takes_part = |a: usize, p: usize, n: usize| match row.tuples {
        Tuples::Band { low, high } => {
            let (d_ap, d_an) = (pairs.at(a, p), pairs.at(a, n));
            d_an > d_ap + low && d_an <= d_ap + high
        }
        Tuples::Pairs(mask) => mask.contains(a, p) && mask.contains(a, n),
        _ => true,
    };
    let mut sum = reducer::Terms::default();
    let from_a = row.d();
    for q in pairs.positives(a) {
        for n in pairs.negatives(a).flatten() {
            let from_q = if terms.swap {
                pairs.at(q, n)
            } else {
                f32::INFINITY
            };
            if takes_part(a, q, n) {
                let swapped = terms.swap && from_q < from_a[n];
                let d_n = if swapped { from_q } else { from_a[n] };
                let slope = terms.add(from_a[q] - d_n + terms.margin, row, &mut sum);
                g[q] += slope;
                g[n] -= if swapped { 0.0 } else { slope };
            }
            if terms.swap && from_a[n] < from_q && takes_part(q, a, n) {
                g[n] -= terms.slope(pairs.at(q, a) - from_a[n] + terms.margin, row, q);
            }
        }
    }
    sum
}

/// Over all triplets of an anchor as in [`visited`], with swapped hinges, for reducers that keep what is above zero: `O(B K)`,
/// in vector instructions.
pub(super) fn swapped(row: &Row<'_>, margin: f32, g: &mut [f32]) -> reducer::Terms {
    let (pairs, a) = (row.pairs, row.a);
    let mut sum = reducer::Terms::default();
    for q in pairs.positives(a) {
        let both = Swapped {
            d: [pairs.at(a, q), pairs.at(q, a)],
            weights: [row.weight(a), row.weight(q)],
            margin,
        };
        let mut violated = 0;
        for range in pairs.negatives(a) {
            let from_a = row.d()[range.clone()].chunks(SWAPPED);
            let from_q = pairs.row(q)[range.clone()].chunks(SWAPPED);
            sum.tuples += range.len();
            for ((from_a, from_q), g) in from_a.zip(from_q).zip(g[range].chunks_mut(SWAPPED)) {
                let (value, count) = both.add([from_a, from_q], g);
                sum.value += value;
                violated += count;
            }
        }
        sum.active += violated;
        g[q] += both.weights[0] * violated as f32;
    }
    sum.terms = sum.tuples;
    sum.kept = sum.active;
    sum
}

/// Negatives whose terms are added in `f32` before they join the sum in `f64`.
const SWAPPED: usize = 256;

/// The pairs `(a, q)` and `(q, a)`.
struct Swapped {
    d: [f32; 2],
    weights: [f32; 2],
    margin: f32,
}

impl Swapped {
    /// The sum and the number of the violated triplets `(a, q, n)` of some negatives at distances from `a` and from `q`. The
    /// slopes in the former go to `g`, also those of the triplets `(q, a, n)`.
    fn add(&self, [from_a, from_q]: [&[f32]; 2], g: &mut [f32]) -> (f64, usize) {
        let Self { d, weights, margin } = *self;
        let (mut values, mut violated) = ([0.0; SWAPPED], 0_u32);
        let pairs = from_a.iter().zip(from_q).zip(g);
        for (value, ((&a, &q), g)) in values.iter_mut().zip(pairs) {
            let violation = d[0] - if q < a { q } else { a } + margin;
            *value = if violation > 0.0 { violation } else { 0.0 };
            violated += u32::from(violation > 0.0);
            let own = if violation > 0.0 { weights[0] } else { 0.0 };
            let lent = if d[1] - a + margin > 0.0 {
                weights[1]
            } else {
                0.0
            };
            *g -= if q < a { 0.0 } else { own } + if a < q { lent } else { 0.0 };
        }
        (total(&values[..from_a.len()]), violated as usize)
    }
}

/// Over all triplets of an anchor at once: `O(B log K)` for classes of `K`; for reducers that keep what is above zero.
pub(super) fn summed(row: &Row<'_>, margin: f32, g: &mut [f32]) -> reducer::Terms {
    let d = row.d();
    // A band restricts triplets, not pairs: every pair may still form one.
    if let &Tuples::Band { low, high } = row.tuples {
        let mut anchor = Anchor::new(d, row.pairs.positives(row.a), margin);
        row.pairs
            .negatives(row.a)
            .for_each(|range| anchor.add(d, range, Some([low, high]), g));
        return anchor.finish(g);
    }
    let mut anchor = Anchor::new(d, row.positives(), margin);
    row.negatives(|range| anchor.add(d, range, None, g));
    anchor.finish(g)
}

/// Negatives whose factors `1 + e^x` are multiplied before one logarithm: each is at most 2, so that the product stays far
/// below the range of `f64`.
const FACTORS: usize = 256;

/// Over all triplets of an anchor with softplus, for reducers that keep every term: `O(B K)`, as a softplus of a difference
/// is no sum of a part of the positive and a part of the negative, but in blocks of vector instructions. The logarithms of a
/// block are one:
///
/// ```text
/// Σ_n log(1 + e^x_n) = Σ_n [ x_n ]₊ + log Π_n ( 1 + e^-|x_n| )
/// ```
pub(super) fn summed_softly(row: &Row<'_>, margin: f32, g: &mut [f32]) -> reducer::Terms {
    let d = row.d();
    let mut sum = reducer::Terms::default();
    for p in row.positives() {
        let own = d[p] + margin;
        let mut pull = 0.0;
        row.negatives(|range| {
            let d = d[range.clone()].chunks(FACTORS);
            for (d, g) in d.zip(g[range].chunks_mut(FACTORS)) {
                pull += soft_block(own, d, g, &mut sum);
            }
        });
        g[p] = pull as f32;
    }
    sum.kept = sum.terms;
    sum
}

/// The triplets of a positive with a block of negatives at distances `d`, whose slopes are added to `g`; the sum of theirs.
fn soft_block(own: f32, d: &[f32], g: &mut [f32], sum: &mut reducer::Terms) -> f64 {
    let (mut exponents, mut e) = ([0.0; FACTORS], [0.0; FACTORS]);
    let len = d.len();
    for (exponent, d) in exponents.iter_mut().zip(d) {
        *exponent = -(own - d).abs();
    }
    nearkin_kernels::exp(&exponents[..len], &mut e[..len]);
    let (mut hinges, mut product, mut slopes, mut violated) = (0.0, 1.0, 0.0, 0);
    for ((&d, &e), g) in d.iter().zip(&e).zip(g) {
        let x = own - d;
        let above = x > 0.0;
        hinges += f64::from(if above { x } else { 0.0 });
        product *= 1.0 + f64::from(e);
        let slope = if above { 1.0 } else { e } / (1.0 + e);
        slopes += f64::from(slope);
        violated += usize::from(above);
        *g -= slope;
    }
    sum.value += hinges + product.ln();
    sum.terms += len;
    sum.tuples += len;
    sum.active += violated;
    slopes
}

/// Positives up to which comparing each with each negative, in vector instructions, beats searching among them.
const FEW: usize = 12;

/// Negatives compared at once.
const LANES: usize = 16;

/// Sums over the triplets of one positive, each negative in the lane it falls into; counts are exact below 2²⁴.
#[derive(Default)]
struct Lanes {
    value: [f32; LANES],
    tuples: [f32; LANES],
    violated: [f32; LANES],
}

impl Lanes {
    /// Negatives at distances `d`: those in `(low, high]` take part, those nearer than `reach` are violated.
    #[inline]
    fn add(&mut self, d: &[f32; LANES], [low, high, reach]: [f32; 3], g: &mut [f32; LANES]) {
        for lane in 0..LANES {
            let d = d[lane];
            let takes_part = if d > low && d <= high { 1.0 } else { 0.0 };
            let excess = if d < reach { reach - d } else { 0.0 } * takes_part;
            let violated = if excess > 0.0 { 1.0 } else { 0.0 };
            self.value[lane] += excess;
            self.tuples[lane] += takes_part;
            self.violated[lane] += violated;
            g[lane] -= violated;
        }
    }

    /// Negatives that do not fill the lanes.
    fn add_rest(&mut self, d: &[f32], bounds: [f32; 3], g: &mut [f32]) {
        // A NaN takes no part.
        let (mut all_d, mut all_g) = ([f32::NAN; LANES], [0.0; LANES]);
        all_d[..d.len()].copy_from_slice(d);
        all_g[..d.len()].copy_from_slice(g);
        self.add(&all_d, bounds, &mut all_g);
        g.copy_from_slice(&all_g[..d.len()]);
    }
}

/// The triplets of one anchor, collected negative by negative.
pub(super) struct Anchor {
    margin: f32,
    /// Positives with their distances, ascending.
    positives: Vec<(f32, usize)>,
    /// `before[k]`: sum of the `k` smallest distances.
    before: Vec<f64>,
    /// Violated triplets of each positive, as changes from one to the next.
    change: Vec<i32>,
    sum: reducer::Terms,
}

impl Anchor {
    pub fn new(row: &[f32], positives: impl Iterator<Item = usize>, margin: f32) -> Self {
        let mut positives: Vec<_> = positives.map(|p| (row[p], p)).collect();
        positives.sort_by(|x, y| x.0.total_cmp(&y.0));
        let mut before = vec![0.0; positives.len() + 1];
        for (k, (d, _)) in positives.iter().enumerate() {
            before[k + 1] = before[k] + f64::from(*d);
        }
        let change = vec![0; positives.len() + 1];
        Self {
            margin,
            positives,
            before,
            change,
            sum: reducer::Terms::default(),
        }
    }

    /// Adds the triplets of a range of negatives, all or those between the limits; their slopes go to `g`.
    pub fn add(
        &mut self,
        d: &[f32],
        range: std::ops::Range<usize>,
        limits: Option<[f32; 2]>,
        g: &mut [f32],
    ) {
        if self.positives.len() <= FEW {
            return self.compare(&d[range.clone()], limits, &mut g[range]);
        }
        for n in range {
            g[n] = -(self.meet(d[n], limits) as f32);
        }
    }

    /// Adds the triplets of negatives at distances `d`, all or those between the limits, by comparing each with each
    /// positive; the slopes of the negatives go to `g`.
    fn compare(&mut self, d: &[f32], limits: Option<[f32; 2]>, g: &mut [f32]) {
        let [low, high] = limits.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        for (k, &(d_ap, _)) in self.positives.iter().enumerate() {
            let bounds = [d_ap + low, d_ap + high, d_ap + self.margin];
            let mut lanes = Lanes::default();
            let ((full, rest), (full_g, rest_g)) = (d.as_chunks(), g.as_chunks_mut());
            for (d, g) in full.iter().zip(full_g) {
                lanes.add(d, bounds, g);
            }
            lanes.add_rest(rest, bounds, rest_g);
            let violated = lanes.violated.iter().sum::<f32>();
            self.sum.value += lanes
                .value
                .iter()
                .map(|&value| f64::from(value))
                .sum::<f64>();
            self.sum.tuples += lanes.tuples.iter().sum::<f32>() as usize;
            self.sum.active += violated as usize;
            self.change[k] += violated as i32;
            self.change[k + 1] -= violated as i32;
        }
    }

    /// Adds the triplets of a negative at distance `d`, all or those between the limits; the number violated.
    fn meet(&mut self, d: f32, limits: Option<[f32; 2]>) -> usize {
        let part = match limits {
            None => 0..self.positives.len(),
            Some([low, high]) => band(&self.positives, |positive| positive.0, d, low, high),
        };
        self.sum.tuples += part.len();
        let nearer = self
            .positives
            .partition_point(|positive| positive.0 + self.margin <= d);
        let first = nearer.max(part.start);
        if first >= part.end {
            return 0;
        }
        let violated = part.end - first;
        let distances = self.before[part.end] - self.before[first];
        self.sum.value += distances + violated as f64 * (f64::from(self.margin) - f64::from(d));
        self.sum.active += violated;
        self.change[first] += 1;
        self.change[part.end] -= 1;
        violated
    }

    /// Adds the slopes of the positives.
    pub fn finish(mut self, g: &mut [f32]) -> reducer::Terms {
        let mut violated = 0;
        for (&(_, p), change) in self.positives.iter().zip(&self.change) {
            violated += change;
            g[p] += violated as f32;
        }
        self.sum.terms = self.sum.tuples;
        self.sum.kept = self.sum.active;
        self.sum
    }
}
