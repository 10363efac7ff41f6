//! Agreement of a clustering with classes.

use std::collections::BTreeMap;

/// Normalized mutual information, arithmetic mean of the entropies.
///
/// ```text
/// NMI = 2 I(Ω; C) / (H(Ω) + H(C))        1 if both are one single group
/// ```
///
/// # Reference
/// Manning, Raghavan and Schütze 2008, equation 16.2.
///
/// ```
/// use nearkin::evaluate::normalized_mutual_information;
/// assert_eq!(normalized_mutual_information(&[0, 0, 1, 1], &[5, 5, 3, 3]), 1.0);
/// assert_eq!(normalized_mutual_information(&[0, 1, 0, 1], &[0, 0, 1, 1]), 0.0);
/// ```
pub fn normalized_mutual_information(clusters: &[u32], classes: &[u32]) -> f64 {
    let count = clusters.len() as f64;
    // Ordered maps: the same groups in another order of items give the same bits.
    let mut joint: BTreeMap<(u32, u32), f64> = BTreeMap::new();
    let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
    for (&a, &b) in clusters.iter().zip(classes) {
        *joint.entry((a, b)).or_default() += 1.0;
        *left.entry(a).or_insert(0.0) += 1.0;
        *right.entry(b).or_insert(0.0) += 1.0;
    }
    let entropy = |groups: &BTreeMap<u32, f64>| {
        -groups
            .values()
            .map(|n| n / count * (n / count).ln())
            .sum::<f64>()
    };
    let information: f64 = joint
        .iter()
        .map(|((a, b), n)| n / count * (n * count / (left[a] * right[b])).ln())
        .sum();
    let entropies = entropy(&left) + entropy(&right);
    if entropies > 0.0 {
        (2.0 * information / entropies).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // from sklearn.metrics import normalized_mutual_info_score as f
        // a = [i * i % 5 for i in range(40)]; b = [i % 7 for i in range(40)]; c = [i // 10 for i in range(40)]
        // d = [i // 8 for i in range(40)]; print(f(a, b), f(b, c), f(c, d))
        let make = |f: &dyn Fn(u32) -> u32| (0..40).map(f).collect::<Vec<_>>();
        let (a, b, c) = (make(&|i| i * i % 5), make(&|i| i % 7), make(&|i| i / 10));
        let d = make(&|i| i / 8);
        for (x, y, expected) in [
            (&a, &b, GOLDEN[0]),
            (&b, &c, GOLDEN[1]),
            (&c, &d, GOLDEN[2]),
        ] {
            assert!(
                (normalized_mutual_information(x, y) - expected).abs() < 1e-9,
                "{expected}"
            );
        }
    }

    const GOLDEN: [f64; 3] = [
        0.013_047_497_900_767,
        0.033_645_946_527_972,
        0.682_791_901_124_769,
    ];
}
