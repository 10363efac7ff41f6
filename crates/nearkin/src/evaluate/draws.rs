//! What repeated random draws give.

use serde::Serialize;
use std::fmt;

/// A mean over repeated random draws with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverDraws {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of a sample: the sum of squares over one less than the draws.
    pub std: f64,
    /// Draws.
    pub draws: usize,
}

impl OverDraws {
    /// The mean and deviation of one number a draw.
    pub fn of(values: &[f64]) -> Self {
        let draws = values.len();
        let mean = values.iter().sum::<f64>() / draws.max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            std: (squares / draws.saturating_sub(1).max(1) as f64).sqrt(),
            draws,
        }
    }
}

impl fmt::Display for OverDraws {
    /// `0.512 ±0.014`, or the mean alone of a single draw.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.3}", self.mean)?;
        if self.draws > 1 {
            write!(f, " ±{:.3}", self.std)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let found = OverDraws::of(&[1.0, 2.0, 3.0, 6.0]);
        // Squares 4, 1, 0 and 9 over three.
        assert!((found.std - (14.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((found.mean, found.draws), (3.0, 4));
        assert_eq!(OverDraws::of(&[0.5]).to_string(), "0.500");
        assert_eq!(OverDraws::of(&[0.5, 0.7]).to_string(), "0.600 ±0.141");
    }
}
