//! Agreement of a clustering with classes by pairs, beyond that of chance.

use super::contingency::Contingency;

/// Adjusted Rand index: 1 for the same groups, 0 on average for groups of the same sizes drawn at random; it may be below.
///
/// ```text
/// ARI = (S - E) / ((A + B) / 2 - E)        E = A B / P
/// ```
///
/// `S` are the pairs of one cluster and one class, `A` those of one cluster, `B` of one class, `P` all pairs.
///
/// # Reference
/// L. Hubert, P. Arabie, Comparing partitions, Journal of Classification 2, 1985, equation 5.
///
/// ```
/// use nearkin::evaluate::adjusted_rand_index;
/// assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[5, 5, 3, 3]), 1.0);
/// // Worse than chance: no pair of one class is together.
/// assert!((adjusted_rand_index(&[0, 1, 0, 1], &[0, 0, 1, 1]) + 0.5).abs() < 1e-12);
/// ```
pub fn adjusted_rand_index(clusters: &[u32], classes: &[u32]) -> f64 {
    let counts = Contingency::new(clusters, classes);
    if counts.is_perfect() {
        return 1.0;
    }
    let [both, of_clusters, of_classes, all] = counts.pairs().map(|pairs| pairs as f64);
    let expected = of_clusters * of_classes / all;
    let largest = f64::midpoint(of_clusters, of_classes);
    (both - expected) / (largest - expected)
}

#[cfg(test)]
mod tests {
    use super::super::contingency::assert_values;
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // adjusted_rand_score
        assert_values(adjusted_rand_index, GOLDEN);
        assert_values(
            |clusters, classes| adjusted_rand_index(classes, clusters),
            GOLDEN,
        );
    }

    const GOLDEN: [f64; 3] = [
        -0.064_766_170_011_196_29,
        -0.085_856_905_158_069_89,
        0.530_120_481_927_710_9,
    ];

    #[test]
    fn groups_without_pairs_are_no_division_by_zero() {
        assert_eq!(adjusted_rand_index(&[0, 1, 2], &[2, 1, 0]), 1.0);
        assert_eq!(adjusted_rand_index(&[0, 0, 0], &[2, 1, 0]), 0.0);
        assert_eq!(adjusted_rand_index(&[0], &[7]), 1.0);
        assert_eq!(adjusted_rand_index(&[], &[]), 1.0);
    }
}
