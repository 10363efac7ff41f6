//! How many dimensions embeddings use, by the entropy of their spectrum.

use super::eigenvalues::eigenvalues;

/// Dimensions beyond which the spectrum would take a minute.
const MOST: usize = 2048;

/// The effective rank of vectors, from the covariance `[D, D]` of them; it is overwritten. None beyond 2,048 dimensions.
///
/// ```text
/// exp( - Σ_k p_k log p_k )        p_k = σ_k / Σ_j σ_j
/// ```
///
/// with the singular values σ of the centered vectors, the roots of the eigenvalues; those below the rounding of sums are
/// nothing. It is 1 where the vectors do not vary or vary along a line, and D where they vary alike in all directions.
///
/// # Reference
/// O. Roy, M. Vetterli, The Effective Rank: A Measure of Effective Dimensionality, EUSIPCO 2007, §2; of vectors that are centered.
pub(super) fn effective_rank(covariance: &mut [f64], dim: usize) -> Option<f64> {
    if dim > MOST {
        return None;
    }
    let eigenvalues = eigenvalues(covariance, dim);
    let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
    let least = largest * dim as f64 * f64::EPSILON;
    let roots = eigenvalues.iter().filter(|&&value| value > least);
    let roots: Vec<f64> = roots.map(|value| value.sqrt()).collect();
    let sum: f64 = roots.iter().sum();
    let entropy: f64 = roots
        .iter()
        .map(|root| -(root / sum) * (root / sum).ln())
        .sum();
    Some(entropy.exp())
}

#[cfg(test)]
mod tests {
    use super::effective_rank;

    fn diagonal(values: &[f64]) -> Option<f64> {
        let n = values.len();
        let mut matrix = vec![0.0; n * n];
        for (i, value) in values.iter().enumerate() {
            matrix[i * n + i] = *value;
        }
        effective_rank(&mut matrix, n)
    }

    #[test]
    fn it_is_the_exponential_of_the_entropy_of_singular_values() {
        let near = |values: &[f64], wanted: f64| {
            let found = diagonal(values).unwrap();
            assert!((found - wanted).abs() < 1e-9, "{values:?}: {found}");
        };
        near(&[2.0, 2.0, 2.0], 3.0);
        near(&[5.0, 0.0, 0.0], 1.0);
        near(&[0.0, 0.0], 1.0);
        // Singular values 3 and 1: shares 3/4 and 1/4. What rounding leaves is nothing.
        let entropy: f64 = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        near(&[9.0, 1.0, 1e-16], entropy.exp());
        assert_eq!(effective_rank(&mut [], 4096), None);
    }
}
