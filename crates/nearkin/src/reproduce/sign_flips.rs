//! The paired test: would differences as large come about if neither side were better?

/// Differences whose signs are all tried.
const MOST: usize = 20;

/// The one-sided exact sign-flip test of paired differences: the share of the 2ⁿ choices of signs with a sum at least as large.
///
/// ```text
/// p = #{ s ∈ {-1, 1}ⁿ : Σ s_i d_i ≥ Σ d_i } / 2ⁿ
/// ```
///
/// With n seeds p is at least 2⁻ⁿ: three seeds that agree say 0.125. Differences beyond the first twenty are left out: that is the most the program takes.
///
/// # Reference
/// R. A. Fisher, The Design of Experiments, 1935, §21.
pub(super) fn sign_flips(differences: &[f64]) -> f64 {
    let differences = &differences[..differences.len().min(MOST)];
    let observed: f64 = differences.iter().sum();
    // Sums of the same numbers in another order differ by rounding.
    let slack = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let choices = 1_u32 << differences.len();
    let as_large = (0..choices).filter(|choice| {
        let signed = differences.iter().enumerate();
        let sum: f64 = signed
            .map(|(i, d)| if choice >> i & 1 == 1 { -d } else { *d })
            .sum();
        sum >= observed - slack
    });
    as_large.count() as f64 / f64::from(choices)
}

#[cfg(test)]
mod tests {
    use super::sign_flips;

    #[test]
    fn shares_are_those_counted_by_hand() {
        assert_eq!(sign_flips(&[1.0, 2.0, 3.0]), 1.0 / 8.0);
        // Sums of ±1 ±2 ±3 of at least 0 = 1 + 2 - 3: 6, 4, 2, 0 and 0.
        assert_eq!(sign_flips(&[1.0, 2.0, -3.0]), 5.0 / 8.0);
        assert_eq!(sign_flips(&[-1.0, -2.0]), 1.0);
        assert_eq!(sign_flips(&[0.0, 0.0]), 1.0);
        assert_eq!(sign_flips(&[]), 1.0);
    }
}
