//! Minimizing a smooth convex function by L-BFGS.

use std::collections::VecDeque;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// The largest part of the gradient that counts as zero.
    pub gradient: f64,
    /// Iterations at most.
    pub iterations: usize,
}

/// A step and the change of the gradient along it.
struct Correction {
    step: Vec<f64>,
    change: Vec<f64>,
    /// Their product, which is above 0.
    product: f64,
}

/// Corrections that are remembered.
const MEMORY: usize = 10;
/// Halvings of a step before it is taken that rounding hides any further descent.
const HALVINGS: usize = 30;

/// Moves `x` to the minimum of `f`, which returns its value and writes its gradient.
///
/// Limited-memory BFGS with the two-loop recursion (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5)
/// and a backtracking line search. It ends at a small gradient, after the given iterations, or where no step along the
/// direction makes `f` smaller: the precision of `f` is then used up.
pub(super) fn minimize(x: &mut Vec<f64>, stop: Stop, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) {
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(x, &mut gradient);
    let mut memory = VecDeque::<Correction>::new();
    let (mut next, mut next_gradient) = (x.clone(), gradient.clone());
    for _ in 0..stop.iterations {
        if gradient.iter().all(|g| g.abs() <= stop.gradient) {
            return;
        }
        let direction = descent(&gradient, &memory);
        let slope = dot(&direction, &gradient);
        // Without curvature known the first step is of length one.
        let mut size = if memory.is_empty() {
            1.0 / dot(&gradient, &gradient).sqrt()
        } else {
            1.0
        };
        let mut descended = false;
        for _ in 0..HALVINGS {
            for ((next, x), d) in next.iter_mut().zip(&*x).zip(&direction) {
                *next = x + size * d;
            }
            let next_value = f(&next, &mut next_gradient);
            // The usual demand for a share of the descent that the slope promises.
            descended = next_value <= value + 1e-4 * size * slope && next_value < value;
            if descended {
                value = next_value;
                break;
            }
            size /= 2.0;
        }
        if !descended {
            return;
        }
        remember(
            &mut memory,
            difference(&next, x),
            difference(&next_gradient, &gradient),
        );
        std::mem::swap(x, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
    }
}

/// The negative gradient times the approximate inverse Hessian of the corrections.
fn descent(gradient: &[f64], memory: &VecDeque<Correction>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for c in memory.iter().rev() {
        let share = dot(&c.step, &direction) / c.product;
        add(&mut direction, -share, &c.change);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.change, &last.change);
        for d in &mut direction {
            *d *= scale;
        }
    }
    for (c, share) in memory.iter().zip(shares.into_iter().rev()) {
        let other = dot(&c.change, &direction) / c.product;
        add(&mut direction, share - other, &c.step);
    }
    direction
}

fn remember(memory: &mut VecDeque<Correction>, step: Vec<f64>, change: Vec<f64>) {
    let product = dot(&step, &change);
    // Rounding can turn the curvature of a flat stretch negative; such a correction would point uphill.
    if product <= 1e-10 * (dot(&step, &step) * dot(&change, &change)).sqrt() {
        return;
    }
    if memory.len() == MEMORY {
        memory.pop_front();
    }
    memory.push_back(Correction {
        step,
        change,
        product,
    });
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(a: &mut [f64], scale: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += scale * b);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop {
        gradient: 1e-9,
        iterations: 1000,
    };

    #[test]
    fn a_stretched_bowl_ends_at_its_bottom() {
        let scales: Vec<f64> = (0..20).map(|i| 10f64.powf(f64::from(i) / 5.0)).collect();
        let mut x = vec![1.0; 20];
        let mut calls = 0;
        minimize(&mut x, STOP, |x, gradient| {
            calls += 1;
            let mut value = 0.0;
            for ((x, scale), (i, g)) in x.iter().zip(&scales).zip(gradient.iter_mut().enumerate()) {
                let off = x - i as f64;
                value += 0.5 * scale * off * off;
                *g = scale * off;
            }
            value
        });
        // scipy.optimize.minimize with method L-BFGS-B and ten corrections calls it 624 times.
        assert!(calls < 700, "{calls} calls");
        for (i, x) in x.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-6, "{i}: {x}");
        }
    }

    #[test]
    fn a_start_at_the_minimum_stays() {
        let mut x = vec![0.0];
        let mut calls = 0;
        minimize(&mut x, STOP, |x, gradient| {
            calls += 1;
            gradient[0] = 2.0 * x[0];
            x[0] * x[0]
        });
        assert_eq!((x, calls), (vec![0.0], 1));
    }
}
