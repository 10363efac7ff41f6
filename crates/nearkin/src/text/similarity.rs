//! How alike the two rows of a pair are, by four measures.

use nearkin_encoder::text::Settings;
use nearkin_kernels::Mat;
use rayon::prelude::*;
use serde::Serialize;

use super::error::{TextError, check_count};
use crate::evaluate::check_finite;
use crate::search::Similarity;

/// A measure of likeness; larger is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// `u·v / (‖u‖ ‖v‖)`; 0 with a zero vector.
    Cosine,
    /// `u·v`.
    Dot,
    /// `−Σ |uᵢ − vᵢ|`.
    Manhattan,
    /// `−‖u − v‖`.
    Euclidean,
}

impl Measure {
    /// Every measure, in the order of [`pairwise`].
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Dot, Self::Manhattan, Self::Euclidean];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Manhattan => "manhattan",
            Self::Euclidean => "euclidean",
        }
    }
}

/// Something for each [`Measure`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByMeasure<T> {
    /// By cosine similarity.
    pub cosine: T,
    /// By dot product.
    pub dot: T,
    /// By negative Manhattan distance.
    pub manhattan: T,
    /// By negative Euclidean distance.
    pub euclidean: T,
}

impl<T> ByMeasure<T> {
    /// From the order of [`Measure::ALL`].
    pub(super) fn from_array([cosine, dot, manhattan, euclidean]: [T; 4]) -> Self {
        Self {
            cosine,
            dot,
            manhattan,
            euclidean,
        }
    }

    /// Each measure with what belongs to it.
    pub fn iter(&self) -> impl Iterator<Item = (Measure, &T)> {
        let all = [&self.cosine, &self.dot, &self.manhattan, &self.euclidean];
        Measure::ALL.into_iter().zip(all)
    }
}

/// The similarity that a model's vectors are meant to be searched by (`similarity_fn_name`): cosine where it names none.
///
/// # Errors
/// Search does not know it.
///
/// ```
/// use nearkin::{search::Similarity, text::{encoder::Settings, similarity::intended}};
/// let settings = Settings { similarity: Some("dot".into()), ..Settings::default() };
/// assert_eq!(intended(&settings)?, Similarity::Dot);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn intended(settings: &Settings) -> Result<Similarity, TextError> {
    let known = [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean];
    let Some(name) = settings.similarity.as_deref() else {
        return Ok(Similarity::Cosine);
    };
    let found = known
        .into_iter()
        .find(|similarity| similarity.name() == name);
    found.ok_or_else(|| TextError::Setting {
        setting: "similarity",
        reason: format!(
            "the model's vectors are meant for \"{name}\"; search knows {}",
            known.map(Similarity::name).join(", ")
        ),
    })
}

/// The likeness of row i of `first` and row i of `second` by every measure, summed in `f64`.
///
/// # Shapes
/// - `first`, `second`: `[N, D]`; result: `N` rows in the order of [`Measure::ALL`]
///
/// # Errors
/// The shapes differ, or a number is not finite.
///
/// ```
/// use nearkin::{Mat, text::similarity::pairwise};
/// let (u, v) = ([3.0, 4.0], [3.0, 0.0]);
/// assert_eq!(pairwise(Mat::new(&u, 1, 2), Mat::new(&v, 1, 2))?, [[0.6, 9.0, -4.0, -4.0]]);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn pairwise(first: Mat, second: Mat) -> Result<Vec<[f64; 4]>, TextError> {
    check_count("second embeddings", "first", first.rows, second.rows)?;
    check_count(
        "numbers in a second embedding",
        "number in a first",
        first.cols,
        second.cols,
    )?;
    check_finite(first)?;
    check_finite(second)?;
    let dim = first.cols.max(1);
    let pairs = first
        .data
        .par_chunks_exact(dim)
        .zip(second.data.par_chunks_exact(dim));
    Ok(pairs.map(|(u, v)| measures(u, v)).collect())
}

fn measures(u: &[f32], v: &[f32]) -> [f64; 4] {
    let (mut uv, mut uu, mut vv, mut manhattan, mut squares) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (&u, &v) in u.iter().zip(v) {
        let (u, v) = (f64::from(u), f64::from(v));
        uv += u * v;
        uu += u * u;
        vv += v * v;
        manhattan += (u - v).abs();
        squares += (u - v).powi(2);
    }
    let norms: f64 = uu.sqrt() * vv.sqrt();
    let cosine = if norms > 0.0 { uv / norms } else { 0.0 };
    [cosine, uv, -manhattan, -f64::sqrt(squares)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_vector_has_cosine_zero_and_shapes_are_checked() {
        let (zero, one) = ([0.0, 0.0], [1.0, 0.0]);
        let pair = |a, b| pairwise(a, b);
        let found = pair(Mat::new(&zero, 1, 2), Mat::new(&one, 1, 2)).unwrap();
        assert_eq!(found, [[0.0, 0.0, -1.0, -1.0]]);
        assert!(pair(Mat::new(&zero, 1, 2), Mat::new(&one, 2, 1)).is_err());
        let error = pair(Mat::new(&[f32::NAN], 1, 1), Mat::new(&[0.0], 1, 1)).unwrap_err();
        assert!(error.to_string().contains("row 0, column 0"), "{error}");
    }
}
