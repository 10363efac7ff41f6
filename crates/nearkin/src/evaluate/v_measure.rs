//! Whether clusters hold one class, and whether classes are in one cluster.

use super::contingency::Contingency;

/// Homogeneity and completeness of a clustering, from 0 to 1.
///
/// ```text
/// h = I(Ω; C) / H(C)        1 if each cluster holds items of one class alone
/// c = I(Ω; C) / H(Ω)        1 if all items of a class are in one cluster
/// ```
///
/// Both are 1 where what they are divided by is 0. Their harmonic mean, the V-measure, is the
/// [normalized mutual information](super::normalized_mutual_information).
///
/// # Reference
/// A. Rosenberg, J. Hirschberg, V-Measure: A conditional entropy-based external cluster evaluation measure, EMNLP 2007, §2.
///
/// ```
/// use nearkin::evaluate::homogeneity_completeness;
/// // Four clusters of one class each, but classes are split.
/// let [homogeneity, completeness] = homogeneity_completeness(&[0, 1, 2, 3], &[0, 0, 1, 1]);
/// assert_eq!((homogeneity, completeness), (1.0, 0.5));
/// ```
pub fn homogeneity_completeness(clusters: &[u32], classes: &[u32]) -> [f64; 2] {
    let counts = Contingency::new(clusters, classes);
    let information = counts.information();
    let [of_clusters, of_classes] = counts.entropies();
    [of_classes, of_clusters].map(|entropy| {
        if entropy > 0.0 {
            (information / entropy).clamp(0.0, 1.0)
        } else {
            1.0
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::contingency::{assert_values, examples};
    use super::super::normalized_mutual_information;
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // homogeneity_completeness_v_measure
        assert_values(|x, y| homogeneity_completeness(x, y)[0], HOMOGENEITY);
        assert_values(|x, y| homogeneity_completeness(x, y)[1], COMPLETENESS);
    }

    const HOMOGENEITY: [f64; 3] = [
        0.010_066_258_351_444_27,
        0.040_398_050_368_646_49,
        0.635_458_416_418_488_5,
    ];
    const COMPLETENESS: [f64; 3] = [
        0.018_537_633_897_276_62,
        0.028_827_703_012_456_286,
        0.737_744_375_108_173_6,
    ];

    #[test]
    fn the_harmonic_mean_is_the_normalized_information() {
        let [_, _, c, d] = examples();
        let [homogeneity, completeness] = homogeneity_completeness(&c, &d);
        let v = 2.0 * homogeneity * completeness / (homogeneity + completeness);
        assert!((v - normalized_mutual_information(&c, &d)).abs() < 1e-12);
    }

    #[test]
    fn one_group_is_complete() {
        assert_eq!(homogeneity_completeness(&[0; 4], &[0, 0, 1, 1]), [0.0, 1.0]);
        assert_eq!(homogeneity_completeness(&[0; 4], &[1; 4]), [1.0, 1.0]);
    }
}
