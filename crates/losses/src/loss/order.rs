//! The order of pairs by their scores, as a log-sum-exp over pairs of pairs.

use super::{Evaluation, Views};

/// A running `log Σ exp`.
#[derive(Clone, Copy)]
struct LogSum {
    largest: f64,
    sum: f64,
}

impl LogSum {
    const NOTHING: Self = Self {
        largest: f64::NEG_INFINITY,
        sum: 0.0,
    };

    fn add(&mut self, x: f64) {
        if x > self.largest {
            self.sum *= (self.largest - x).exp();
            self.largest = x;
        }
        self.sum += (x - self.largest).exp();
    }

    fn log(self) -> f64 {
        self.largest + self.sum.ln()
    }
}

/// For each item of `order`, `log Σ exp(x)` over the items before it with another score.
fn before(order: &[usize], scores: impl Fn(usize) -> f32, x: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut logs = vec![f64::NEG_INFINITY; order.len()];
    let (mut seen, mut next) = (LogSum::NOTHING, 0);
    for &i in order {
        while scores(order[next]) != scores(i) {
            seen.add(x(order[next]));
            next += 1;
        }
        if next > 0 {
            logs[i] = seen.log();
        }
    }
    logs
}

/// The loss of distances with scores, and `∂L/∂d`.
pub(super) fn ordered(scale: f64, d: &[f32], views: &Views<'_, f32>) -> (Evaluation, Vec<f32>) {
    let score = |i: usize| views.scores_of(i)[0];
    let mut order: Vec<_> = (0..d.len()).collect();
    order.sort_by(|&i, &j| score(i).total_cmp(&score(j)));
    let x = |i: usize| scale * f64::from(d[i]);
    let lower = before(&order, score, |j| -x(j));
    order.reverse();
    let higher = before(&order, score, x);
    let mut total = LogSum::NOTHING;
    total.add(0.0);
    for &i in &order {
        if lower[i] > f64::NEG_INFINITY {
            total.add(x(i) + lower[i]);
        }
    }
    // As a sum of the rest where that is small, so that it keeps its digits.
    let value = total.log();
    let slope =
        |i: usize| scale * ((x(i) + lower[i] - value).exp() - (higher[i] - x(i) - value).exp());
    let slopes = (0..d.len()).map(|i| slope(i) as f32).collect();
    let mut nearest = (f32::INFINITY, f32::INFINITY);
    let mut active = 0;
    let mut last = f32::NEG_INFINITY;
    for &i in order.iter().rev() {
        // The nearest of lower score, and the nearest so far.
        if score(i) != last {
            nearest.0 = nearest.1;
            last = score(i);
        }
        active += usize::from(nearest.0 <= d[i]);
        nearest.1 = nearest.1.min(d[i]);
    }
    let evaluation = Evaluation {
        value,
        tuples: d.len(),
        active,
    };
    (evaluation, slopes)
}

/// The same by the definition.
pub(super) fn ordered_reference(scale: f64, d: &[f64], views: &Views<'_, f64>) -> f64 {
    let mut sum = 0.0;
    for i in 0..d.len() {
        for j in 0..d.len() {
            if views.scores_of(i)[0] > views.scores_of(j)[0] {
                sum += (scale * (d[i] - d[j])).exp();
            }
        }
    }
    sum.ln_1p()
}
