//! Losses that images are put through, `--degrade`.

use nearkin::image::Degradation;
use std::str::FromStr;

/// Losses of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degrade(pub Vec<Degradation>);

impl FromStr for Degrade {
    type Err = String;

    /// Reads `jpeg=10,20` or `pixels=1600,6400`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "\"{text}\" is neither jpeg=QUALITY,… with qualities from 1 to 100 nor pixels=COUNT,…"
            )
        };
        let (kind, numbers) = text.split_once('=').ok_or_else(expected)?;
        let one = |number: &str| -> Option<Degradation> {
            let number: u32 = number.trim().parse().ok().filter(|&number| number > 0)?;
            match kind {
                "jpeg" if number <= 100 => Some(Degradation::Jpeg(number as u8)),
                "pixels" => Some(Degradation::Pixels(number)),
                _ => None,
            }
        };
        let all = numbers.split(',').map(one).collect::<Option<_>>();
        all.map(Self).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_a_kind_and_its_numbers() {
        let read = |text: &str| text.parse::<Degrade>().map(|all| all.0);
        let jpeg = [10, 100].map(Degradation::Jpeg).to_vec();
        assert_eq!(read("jpeg=10, 100"), Ok(jpeg));
        assert_eq!(read("pixels=65536"), Ok(vec![Degradation::Pixels(65_536)]));
        for wrong in [
            "",
            "jpeg",
            "jpeg=",
            "jpeg=0",
            "jpeg=101",
            "jpeg=1,,2",
            "blur=3",
            "pixels=-1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
