//! Student's test of paired differences.

/// How often numbers with mean zero, normal and independent, have a mean as far from it as these, on either side; 1 of fewer than
/// two.
///
/// ```text
/// p = P( |T| ≥ |mean| √n / s )        T: Student's t with n - 1 degrees of freedom
/// ```
///
/// # Reference
/// Student, The Probable Error of a Mean, Biometrika 6, 1908.
pub(super) fn paired_p(differences: &[f64]) -> f64 {
    let count = differences.len();
    if count < 2 {
        return 1.0;
    }
    let mean = differences.iter().sum::<f64>() / count as f64;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let error = (squares / (count - 1) as f64 / count as f64).sqrt();
    match (mean == 0.0, error == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => two_sided((mean / error).abs(), count - 1),
    }
}

/// `P( |T| ≥ t )`, by the finite sums for whole degrees of freedom.
///
/// # Reference
/// M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 1964, 26.7.3 and 26.7.4.
fn two_sided(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // 1 + 1/2 c² + 1·3 / 2·4 c⁴ + …, or c + 2/3 c³ + 2·4 / 3·5 c⁵ + …
    let (mut term, mut power) = if odd { (cosine, 3) } else { (1.0, 2) };
    let mut sum = 0.0;
    while power <= freedom {
        sum += term;
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
        power += 2;
    }
    let within = match (odd, freedom) {
        (true, 1) => angle * std::f64::consts::FRAC_2_PI,
        (true, _) => (angle + sine * sum) * std::f64::consts::FRAC_2_PI,
        (false, _) => sine * sum,
    };
    (1.0 - within).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [(f64, usize, f64); 7] = [
        (2.0, 1, 0.295_167_235_301),
        (2.0, 2, 0.183_503_419_072),
        (2.0, 5, 0.101_939_478_830),
        (2.0, 6, 0.092_426_311_532),
        (0.5, 3, 0.651_447_964_848),
        (1.3, 12, 0.218_017_171_084),
        (2.5, 29, 0.018_325_344_338),
    ];
    const GOLDEN_PAIRED: f64 = 0.003_316_758_722;

    /* Equivalent python code:
    from scipy import stats
    for t, n in [(2, 1), (2, 2), (2, 5), (2, 6), (0.5, 3), (1.3, 12), (2.5, 29)]: print(2 * stats.t.sf(t, n))
    print(stats.ttest_1samp([.18, .2, .22], 0).pvalue)
    */
    #[test]
    fn shares_are_those_of_scipy() {
        for (t, freedom, wanted) in GOLDEN {
            let found = two_sided(t, freedom);
            assert!((found - wanted).abs() < 1e-9, "{t} {freedom}: {found}");
        }
        let found = paired_p(&[0.18, 0.2, 0.22]);
        assert!((found - GOLDEN_PAIRED).abs() < 1e-9, "{found}");
        assert_eq!(
            [paired_p(&[]), paired_p(&[0.3]), paired_p(&[0.0; 3])],
            [1.0; 3]
        );
        assert_eq!(paired_p(&[0.5; 4]), 0.0);
    }
}
