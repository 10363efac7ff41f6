//! The paired test: would differences as large come about if neither side were better?

use nearkin_encoder::parameters::named_rng;
use rand::RngExt;

/// Differences whose signs are all tried.
const ALL: usize = 20;

/// Choices of signs that are drawn of more differences.
const DRAWS: u32 = 100_000;

/// The one-sided sign-flip test of paired differences: the share of the 2ⁿ choices of signs with a sum at least as large.
///
/// ```text
/// p = #{ s ∈ {-1, 1}ⁿ : Σ s_i d_i ≥ Σ d_i } / 2ⁿ
/// ```
///
/// With n seeds p is at least 2⁻ⁿ: three seeds that agree say 0.125. Of more than twenty differences 100,000 choices are
/// drawn, always the same, and the observed one is counted with them.
///
/// # Reference
/// R. A. Fisher, The Design of Experiments, 1935, §21.
///
/// # Example
/// ```
/// assert_eq!(nearkin::evaluate::sign_flips(&[0.1, 0.3, 0.2]), 0.125);
/// ```
pub fn sign_flips(differences: &[f64]) -> f64 {
    let observed: f64 = differences.iter().sum();
    // Sums of the same numbers in another order differ by rounding.
    let slack = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let is_as_large = |negative: &mut dyn FnMut(usize) -> bool| {
        let signed = differences.iter().enumerate();
        let sum: f64 = signed.map(|(i, d)| if negative(i) { -d } else { *d }).sum();
        sum >= observed - slack
    };
    if differences.len() <= ALL {
        let choices = 1_u32 << differences.len();
        let as_large = (0..choices).filter(|choice| is_as_large(&mut |i| choice >> i & 1 == 1));
        return as_large.count() as f64 / f64::from(choices);
    }
    let mut rng = named_rng(0, "sign flips");
    let drawn = (0..DRAWS).filter(|_| is_as_large(&mut |_| rng.random()));
    (1 + drawn.count()) as f64 / f64::from(1 + DRAWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_counted_by_hand() {
        assert_eq!(sign_flips(&[1.0, 2.0, 3.0]), 1.0 / 8.0);
        // Sums of ±1 ±2 ±3 of at least 0 = 1 + 2 - 3: 6, 4, 2, 0 and 0.
        assert_eq!(sign_flips(&[1.0, 2.0, -3.0]), 5.0 / 8.0);
        assert_eq!(sign_flips(&[-1.0, -2.0]), 1.0);
        assert_eq!(sign_flips(&[0.0, 0.0]), 1.0);
        assert_eq!(sign_flips(&[]), 1.0);
    }

    #[test]
    fn drawn_signs_are_near_the_exact_share() {
        // Twenty differences exactly, and the same with one more that weighs nothing.
        let few: Vec<f64> = (0..20).map(|i| f64::from(i % 5) - 1.2).collect();
        let many: Vec<f64> = few.iter().copied().chain([0.0]).collect();
        let (exact, drawn) = (sign_flips(&few), sign_flips(&many));
        assert!(
            (exact - drawn).abs() < 0.005 && exact > 0.01,
            "{exact} {drawn}"
        );
        assert!(sign_flips(&[1.0; 30]) < 2e-5);
    }
}
