//! A mean over few runs with its interval.

use serde::Serialize;

/// The 97.5 % quantile of Student's t distribution for 1 to 30 degrees of freedom; beyond, that of the normal distribution is
/// near enough.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half of the interval's width, `t s / √n`; none of a single number.
    pub half: Option<f64>,
}

impl Interval {
    /// Of numbers that are alike and independent, such as those of several seeds.
    ///
    /// # Reference
    /// Student, The Probable Error of a Mean, Biometrika 6, 1908.
    pub fn of(numbers: &[f64]) -> Self {
        let count = numbers.len();
        let mean = numbers.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
        let freedom = count.saturating_sub(1);
        let half = (freedom > 0).then(|| {
            let t = T.get(freedom - 1).copied().unwrap_or(1.96);
            t * (squares / freedom as f64 / count as f64).sqrt()
        });
        Self { mean, half }
    }

    /// In percent, as tables show it.
    pub fn percent(&self) -> String {
        match self.half {
            Some(half) => format!("{:.2} ± {:.2}", 100.0 * self.mean, 100.0 * half),
            None => format!("{:.2}", 100.0 * self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /* Equivalent python code:
    from scipy import stats
    x = [.5, .52, .57]
    print(stats.t.interval(.95, 2, loc=sum(x)/3, scale=stats.sem(x)))
    */
    #[test]
    fn the_interval_is_that_of_scipy() {
        let found = Interval::of(&[0.5, 0.52, 0.57]);
        let half = found.half.unwrap();
        assert!((found.mean - half - 0.440_434).abs() < 1e-5, "{found:?}");
        assert!((found.mean + half - 0.619_566).abs() < 1e-5, "{found:?}");
        assert_eq!(Interval::of(&[0.5]).half, None);
        assert_eq!(Interval::of(&[0.25, 0.25]).percent(), "25.00 ± 0.00");
    }
}
