//! Numbers that cannot leave their range: the check happens while a recipe is parsed, not while it runs.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A number outside the range of its parameter.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{value} is out of range, expected {expected}")]
pub struct OutOfRange {
    value: f64,
    expected: &'static str,
}

macro_rules! range {
    ($(#[doc = $doc:literal])* $name:ident: $expected:literal, $value:ident => $inside:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// Checks the range.
            ///
            /// # Errors
            /// [`OutOfRange`] names the number and the range it missed.
            pub const fn new($value: f64) -> Result<Self, OutOfRange> {
                if $inside {
                    Ok(Self($value))
                } else {
                    Err(OutOfRange { value: $value, expected: $expected })
                }
            }

            /// A constant of the program, such as a paper's default.
            ///
            /// # Panics
            /// When the constant is out of range; in a `const` that is a compile error.
            pub const fn literal($value: f64) -> Self {
                assert!($inside, $expected);
                Self($value)
            }

            /// The number in the precision of the fused losses.
            pub const fn get(self) -> f32 {
                self.0 as f32
            }

            /// The number as it was written.
            pub const fn exact(self) -> f64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                Self::new(f64::deserialize(deserializer)?).map_err(De::Error::custom)
            }
        }
    };
}

range! {
    /// A finite number above zero, such as a scale or a temperature.
    Positive: "a finite number above 0", value => value > 0.0 && value.is_finite()
}

range! {
    /// A finite number at or above zero, such as a margin or a weight.
    NonNegative: "a finite number at or above 0", value => value >= 0.0 && value.is_finite()
}

range! {
    /// A finite number, such as a margin that may have either sign.
    Finite: "a finite number", value => value.is_finite()
}

range! {
    /// A number from zero to one, both included, such as a share or a momentum.
    Fraction: "a number from 0 to 1", value => value >= 0.0 && value <= 1.0
}

range! {
    /// A number from zero up to but not including one, such as the ratio of a geometric series.
    ProperFraction: "a number at or above 0 and below 1", value => value >= 0.0 && value < 1.0
}

range! {
    /// An angle in degrees, from zero up to but not including 180.
    Degrees: "an angle at or above 0 and below 180 degrees", value => value >= 0.0 && value < 180.0
}

/// A whole number from 1 to 65,536, such as bins or centers: what is made of it fits into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Count(usize);

impl Count {
    const EXPECTED: &str = "a whole number from 1 to 65536";

    /// Checks the range.
    ///
    /// # Errors
    /// [`OutOfRange`] names the number and the range it missed.
    pub const fn new(value: usize) -> Result<Self, OutOfRange> {
        if 1 <= value && value <= 1 << 16 {
            Ok(Self(value))
        } else {
            Err(OutOfRange {
                value: value as f64,
                expected: Self::EXPECTED,
            })
        }
    }

    /// A constant of the program, such as a paper's default.
    ///
    /// # Panics
    /// When the constant is out of range; in a `const` that is a compile error.
    pub const fn literal(value: usize) -> Self {
        assert!(1 <= value && value <= 1 << 16, "out of range");
        Self(value)
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl TryFrom<usize> for Count {
    type Error = OutOfRange;

    fn try_from(value: usize) -> Result<Self, OutOfRange> {
        Self::new(value)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let value = i64::deserialize(deserializer)?;
        let out_of_range = OutOfRange {
            value: value as f64,
            expected: Self::EXPECTED,
        };
        let value = usize::try_from(value).map_err(|_| De::Error::custom(out_of_range))?;
        Self::new(value).map_err(De::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Table {
        margin: NonNegative,
        scale: Positive,
        share: Fraction,
    }

    #[test]
    fn integers_are_numbers_too() {
        let table: Table = toml::from_str("margin = 0\nscale = 3\nshare = 1").unwrap();
        assert_eq!(
            (table.margin.get(), table.scale.get(), table.share.get()),
            (0.0, 3.0, 1.0)
        );
    }

    #[test]
    fn a_bad_value_is_reported_with_its_place_and_its_range() {
        for (text, expected) in [
            (
                "margin = -0.5\nscale = 1\nshare = 1",
                "-0.5 is out of range, expected a finite number at or above 0",
            ),
            (
                "margin = 1\nscale = 0.0\nshare = 1",
                "0 is out of range, expected a finite number above 0",
            ),
            (
                "margin = 1\nscale = inf\nshare = 1",
                "inf is out of range, expected a finite number above 0",
            ),
            (
                "margin = nan\nscale = 1\nshare = 1",
                "NaN is out of range, expected a finite number at or above 0",
            ),
            (
                "margin = 1\nscale = 1\nshare = 1.5",
                "1.5 is out of range, expected a number from 0 to 1",
            ),
        ] {
            let error = toml::from_str::<Table>(text).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            let place = error.span().expect("the error points into the text");
            assert!(text[place].contains(['-', '0', 'i', 'n', '5']), "{error}");
        }
    }

    #[test]
    fn a_count_has_both_ends() {
        #[derive(Debug, Deserialize)]
        struct Bins {
            bins: Count,
        }
        for (text, found) in [
            ("bins = 0", "0"),
            ("bins = -3", "-3"),
            ("bins = 65537", "65537"),
        ] {
            let error = toml::from_str::<Bins>(text).unwrap_err();
            let expected =
                format!("{found} is out of range, expected a whole number from 1 to 65536");
            assert!(error.message().contains(&expected), "{error}");
        }
        let most = toml::from_str::<Bins>("bins = 65536").unwrap();
        assert_eq!(most.bins.get(), 1 << 16);
    }

    #[test]
    fn what_was_written_comes_back_unchanged() {
        assert_eq!(
            serde_json::to_string(&Positive::literal(0.2)).unwrap(),
            "0.2"
        );
    }
}
