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
use crate::tuples::{KeptPairs, Tuples, band};

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
pub(super) fn listed(pairs: Pairs<'_>, triplets: &[[u32; 3]], terms: Terms, g: &mut [f32]) -> Evaluation {
    let b = pairs.size();
    let mut sum = Evaluation { tuples: triplets.len(), ..Evaluation::default() };
    for triplet in triplets {
        let [a, p, n] = triplet.map(|index| index as usize);
        let from = if terms.swap && pairs.at(p, n) < pairs.at(a, n) { p } else { a };
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
pub(super) fn visited(pairs: Pairs<'_>, tuples: &Tuples, terms: Terms, g: &mut [f32]) -> Evaluation {
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
                    let violation = from_a[q] - if swapped { from_q[n] } else { from_a[n] } + terms.margin;
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
    match *tuples {
        // A band restricts triplets, not pairs: every pair may still form one.
        Tuples::Band { low, high } => {
            let every = Tuples::All.pairs(pairs);
            let rows = pairs.each_anchor(g, |a, g| anchor(pairs, &every, a, (low, high, margin), g));
            rows.into_iter().sum()
        }
        _ => {
            let kept = tuples.pairs(pairs);
            let all = (f32::NEG_INFINITY, f32::INFINITY, margin);
            let rows = pairs.each_anchor(g, |a, g| anchor(pairs, &kept, a, all, g));
            rows.into_iter().sum()
        }
    }
}

/// Positives of one anchor, ascending by distance.
struct Positives {
    sorted: Vec<(f32, usize)>,
    /// `before[k]`: sum of the `k` smallest distances.
    before: Vec<f64>,
    /// Violated triplets of each positive, as changes from one to the next.
    change: Vec<i32>,
}

impl Positives {
    fn new(pairs: Pairs<'_>, kept: &KeptPairs<'_>, a: usize) -> Self {
        let row = pairs.row(a);
        let mut sorted: Vec<_> = kept.positives(a).map(|p| (row[p], p)).collect();
        sorted.sort_by(|x, y| x.0.total_cmp(&y.0));
        let mut before = vec![0.0; sorted.len() + 1];
        for (k, (d, _)) in sorted.iter().enumerate() {
            before[k + 1] = before[k] + f64::from(*d);
        }
        let change = vec![0; sorted.len() + 1];
        Self { sorted, before, change }
    }
}

fn anchor(
    pairs: Pairs<'_>,
    kept: &KeptPairs<'_>,
    a: usize,
    (low, high, margin): (f32, f32, f32),
    g: &mut [f32],
) -> Evaluation {
    let mut positives = Positives::new(pairs, kept, a);
    let Some(&(farthest, _)) = positives.sorted.last() else {
        return Evaluation::default();
    };
    let row = pairs.row(a);
    let whole_band = low == f32::NEG_INFINITY && high == f32::INFINITY;
    let count = positives.sorted.len();
    let mut sum = Evaluation::default();
    kept.negatives(a, |range| {
        if whole_band {
            sum.tuples += range.len() * count;
        }
        for n in range {
            let d = row[n];
            let far = farthest + margin <= d;
            if far && whole_band {
                continue;
            }
            let in_band =
                if whole_band { 0..count } else { band(&positives.sorted, |positive| positive.0, d, low, high) };
            if !whole_band {
                sum.tuples += in_band.len();
            }
            let first = positives.sorted.partition_point(|positive| positive.0 + margin <= d).max(in_band.start);
            if first < in_band.end {
                let violated = in_band.end - first;
                let distances = positives.before[in_band.end] - positives.before[first];
                sum.value += distances + violated as f64 * (f64::from(margin) - f64::from(d));
                sum.active += violated;
                g[n] = -(violated as f32);
                positives.change[first] += 1;
                positives.change[in_band.end] -= 1;
            }
        }
    });
    let mut violated = 0;
    for (&(_, p), change) in positives.sorted.iter().zip(&positives.change) {
        violated += change;
        g[p] = violated as f32;
    }
    sum
}
