//! Agreement of a clustering with classes, in information.

use super::contingency::Contingency;

/// Normalized mutual information, arithmetic mean of the entropies: also the V-measure, the harmonic mean of
/// [homogeneity and completeness](super::homogeneity_completeness).
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
    let counts = Contingency::new(clusters, classes);
    let entropies: f64 = counts.entropies().iter().sum();
    if entropies > 0.0 {
        (2.0 * counts.information() / entropies).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::contingency::assert_values;
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // normalized_mutual_info_score
        assert_values(normalized_mutual_information, GOLDEN);
    }

    const GOLDEN: [f64; 3] = [
        0.013_047_497_900_767,
        0.033_645_946_527_972,
        0.682_791_901_124_769,
    ];
}
