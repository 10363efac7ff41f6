//! Sums over triplets of `φ(d(a, p) - d(a, n) + margin)`, with `φ` a hinge or its smooth form.
//!
//! Three ways to the same sum: triplets in a list; triplets visited one by one, when a term depends on more than two
//! distances of one anchor; and all triplets of an anchor at once, when it is a plain hinge. For one negative the
//! violated positives are a suffix of the positives sorted by distance, so a prefix sum gives all their terms:
//!
//! ```text
//! Σ_p [ d(a, p) - d(a, n) + m ]₊ = Σ_{p in suffix} d(a, p) + |suffix| (m - d(a, n))
//! ```

use super::{Evaluation, softplus};
use crate::pairs::Pairs;
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
}

/// Over a list of triplets.
pub(super) fn listed(
    pairs: Pairs<'_>,
    triplets: &[[u32; 3]],
    terms: Terms,
    g: &mut [f32],
) -> Evaluation {
    let b = pairs.size();
    let mut sum = Evaluation {
        tuples: triplets.len(),
        ..Evaluation::default()
    };
    for triplet in triplets {
        let [a, p, n] = triplet.map(|index| index as usize);
        let from = if terms.swap && pairs.at(p, n) < pairs.at(a, n) {
            p
        } else {
            a
        };
        let violation = pairs.at(a, p) - pairs.at(from, n) + terms.margin;
        let (value, slope) = terms.term(violation);
        sum.value += f64::from(value);
        sum.active += usize::from(violation > 0.0);
        g[a * b + p] += slope;
        g[from * b + n] -= slope;
    }
    sum
}

/// Over the triplets of every anchor, one by one: `O(B² K)` for classes of `K`.
///
/// With `swap` the entry `(a, n)` also belongs to triplets `(q, a, n)` of the other anchors `q` of the class. Row `a`
/// collects those too, so that each row of `G` has one writer.
pub(super) fn visited(
    pairs: Pairs<'_>,
    tuples: &Tuples,
    terms: Terms,
    g: &mut [f32],
) -> Evaluation {
    let takes_part = |a: usize, p: usize, n: usize| match tuples {
        Tuples::Band { low, high } => {
            let (d_ap, d_an) = (pairs.at(a, p), pairs.at(a, n));
            d_an > d_ap + low && d_an <= d_ap + high
        }
        Tuples::Pairs(mask) => mask.contains(a, p) && mask.contains(a, n),
        Tuples::All | Tuples::Triplets(_) => true,
    };
    let per_anchor = pairs.each_anchor(g, |a, g| {
        let mut sum = Evaluation::default();
        let from_a = pairs.row(a);
        for q in pairs.positives(a) {
            let from_q = pairs.row(q);
            for n in pairs.negatives(a).flatten() {
                if takes_part(a, q, n) {
                    let swapped = terms.swap && from_q[n] < from_a[n];
                    let violation =
                        from_a[q] - if swapped { from_q[n] } else { from_a[n] } + terms.margin;
                    let (value, slope) = terms.term(violation);
                    sum.value += f64::from(value);
                    sum.tuples += 1;
                    sum.active += usize::from(violation > 0.0);
                    g[q] += slope;
                    g[n] -= if swapped { 0.0 } else { slope };
                }
                if terms.swap && from_a[n] < from_q[n] && takes_part(q, a, n) {
                    g[n] -= terms.term(from_q[a] - from_a[n] + terms.margin).1;
                }
            }
        }
        sum
    });
    per_anchor.into_iter().sum()
}

/// Over all triplets of every anchor at once: `O(B² log K)` for classes of `K`.
pub(super) fn summed(pairs: Pairs<'_>, tuples: &Tuples, margin: f32, g: &mut [f32]) -> Evaluation {
    // A band restricts triplets, not pairs: every pair may still form one.
    let (kept, limits) = if let &Tuples::Band { low, high } = tuples {
        (Tuples::All.pairs(pairs), Some([low, high]))
    } else {
        (tuples.pairs(pairs), None)
    };
    let rows = pairs.each_anchor(g, |a, g| {
        let row = pairs.row(a);
        let mut anchor = Anchor::new(row, kept.positives(a), margin);
        kept.negatives(a, |range| {
            if anchor.positives.len() <= FEW {
                return anchor.compare(&row[range.clone()], limits, &mut g[range]);
            }
            for n in range {
                g[n] = -(anchor.meet(row[n], limits) as f32);
            }
        });
        anchor.finish(g)
    });
    rows.into_iter().sum()
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
struct Anchor {
    margin: f32,
    /// Positives with their distances, ascending.
    positives: Vec<(f32, usize)>,
    /// `before[k]`: sum of the `k` smallest distances.
    before: Vec<f64>,
    /// Violated triplets of each positive, as changes from one to the next.
    change: Vec<i32>,
    sum: Evaluation,
}

impl Anchor {
    fn new(row: &[f32], positives: impl Iterator<Item = usize>, margin: f32) -> Self {
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
            sum: Evaluation::default(),
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

    /// Writes the slopes of the positives.
    fn finish(self, g: &mut [f32]) -> Evaluation {
        let mut violated = 0;
        for (&(_, p), change) in self.positives.iter().zip(&self.change) {
            violated += change;
            g[p] = violated as f32;
        }
        self.sum
    }
}
