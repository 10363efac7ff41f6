//! Agreement of a clustering with classes, item by item.

use super::contingency::Contingency;
use serde::Serialize;

/// What an item finds in its cluster, on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BCubed {
    /// Share of an item's cluster that has its class.
    pub precision: f64,
    /// Share of an item's class that is in its cluster.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// B-cubed precision, recall and F1 of a clustering; the item itself counts. Unlike pairs, large groups do not outweigh others.
///
/// ```text
/// P = 1/N Σ_i |Ω(i) ∩ C(i)| / |Ω(i)|        R = 1/N Σ_i |Ω(i) ∩ C(i)| / |C(i)|        F1 = 2 P R / (P + R)
/// ```
///
/// # Reference
/// A. Bagga, B. Baldwin, Entity-based cross-document coreferencing using the vector space model, COLING-ACL 1998, §5.
///
/// ```
/// use nearkin::evaluate::b_cubed;
/// // All together: every item finds all of its class, and as much of the other.
/// let found = b_cubed(&[0; 4], &[0, 0, 1, 1]);
/// assert_eq!((found.precision, found.recall), (0.5, 1.0));
/// ```
pub fn b_cubed(clusters: &[u32], classes: &[u32]) -> BCubed {
    let counts = Contingency::new(clusters, classes);
    if counts.items == 0 {
        return BCubed {
            precision: 1.0,
            recall: 1.0,
            f1: 1.0,
        };
    }
    let [mut precision, mut recall] = [0.0; 2];
    for ((cluster, class), &both) in &counts.joint {
        let squares = (both as f64).powi(2) / counts.items as f64;
        precision += squares / counts.of_cluster[cluster] as f64;
        recall += squares / counts.of_class[class] as f64;
    }
    BCubed {
        precision,
        recall,
        f1: 2.0 * precision * recall / (precision + recall),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contingency::examples;
    use super::*;

    #[test]
    fn shares_are_those_of_each_item() {
        let [a, b, c, d] = examples();
        for (clusters, classes) in [(&a, &b), (&c, &d), (&d, &d)] {
            let share = |alike: &dyn Fn(usize, usize) -> bool| {
                let of = |i: usize| {
                    let group: Vec<usize> = (0..40).filter(|&j| alike(i, j)).collect();
                    let both =
                        |&&j: &&usize| clusters[i] == clusters[j] && classes[i] == classes[j];
                    group.iter().filter(both).count() as f64 / group.len() as f64
                };
                (0..40).map(of).sum::<f64>() / 40.0
            };
            let found = b_cubed(clusters, classes);
            assert!((found.precision - share(&|i, j| clusters[i] == clusters[j])).abs() < 1e-12);
            assert!((found.recall - share(&|i, j| classes[i] == classes[j])).abs() < 1e-12);
        }
        assert_eq!(b_cubed(&d, &d).f1, 1.0);
    }
}
