//! What is measured: something that embeds texts, or that scores pairs of them.

use std::collections::HashMap;

use nearkin_encoder::text::{CrossEncoder, Options, SentenceEncoder};
use nearkin_kernels::Mat;

use crate::error::{Error, Result};
use crate::text::TextError;
use crate::text::similarity::pairwise;
use crate::text::tfidf::TfIdf;

/// A model of texts.
#[derive(Clone, Copy)]
pub enum Judge<'m> {
    /// Embeds texts.
    Encoder(&'m SentenceEncoder, &'m Options),
    /// Scores pairs by reading them together.
    CrossEncoder(&'m CrossEncoder),
    /// Scores pairs by the words that they share, weighted by how rare they are in the texts measured.
    TfIdf,
}

/// Vectors of columns of texts, one column after another.
pub struct Columns {
    numbers: Vec<Vec<f32>>,
    rows: usize,
    dim: usize,
}

impl Columns {
    /// `[N, D]` of a column.
    pub fn mat(&self, column: usize) -> Mat<'_> {
        Mat::new(&self.numbers[column], self.rows, self.dim)
    }
}

impl<'m> Judge<'m> {
    /// Whether it has vectors, by which other protocols than those of pairs can be measured.
    pub fn embeds(self) -> bool {
        matches!(self, Self::Encoder(..))
    }

    /// The cross-encoder that tells classes of pairs apart, where it is one.
    pub(super) fn classifier(self) -> Option<&'m CrossEncoder> {
        match self {
            Self::CrossEncoder(judge) if !judge.classes().is_empty() => Some(judge),
            _ => None,
        }
    }

    /// Vectors of texts, each distinct text embedded once; `progress` is told how many are done, of how many.
    ///
    /// # Errors
    /// The model has no vectors.
    pub fn embed(
        self,
        columns: &[&[String]],
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Columns> {
        let Self::Encoder(encoder, options) = self else {
            return Err(Error::Text(TextError::Setting {
                setting: "protocol",
                reason:
                    "a model that scores pairs has no vectors: it can be measured by sts and pairs"
                        .into(),
            }));
        };
        let mut place = HashMap::new();
        let mut distinct: Vec<&str> = Vec::new();
        for text in columns.iter().copied().flatten() {
            place.entry(text.as_str()).or_insert_with(|| {
                distinct.push(text);
                distinct.len() - 1
            });
        }
        let told = &mut |done| progress(done, distinct.len());
        let encoding = encoder.encode(&distinct, options, told)?;
        let dim = encoding.dim;
        let row = |text: &String| &encoding.numbers[place[text.as_str()] * dim..][..dim];
        let numbers = columns
            .iter()
            .map(|texts| texts.iter().flat_map(row).copied().collect());
        Ok(Columns {
            numbers: numbers.collect(),
            rows: columns.first().map_or(0, |texts| texts.len()),
            dim,
        })
    }

    /// How alike text i of `first` and text i of `second` are: cosine where there are vectors.
    ///
    /// # Errors
    /// The texts cannot be embedded.
    pub fn scores(
        self,
        first: &[String],
        second: &[String],
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Vec<f64>> {
        match self {
            Self::Encoder(..) => {
                let columns = self.embed(&[first, second], progress)?;
                let rows = pairwise(columns.mat(0), columns.mat(1))?;
                Ok(rows.into_iter().map(|[cosine, ..]| cosine).collect())
            }
            Self::CrossEncoder(judge) => {
                let pairs = first.iter().zip(second);
                let pairs: Vec<[&str; 2]> = pairs.map(|(a, b)| [a.as_str(), b.as_str()]).collect();
                let scores = judge.score(&pairs, &mut |done| progress(done, pairs.len()))?;
                Ok(scores.into_iter().map(f64::from).collect())
            }
            Self::TfIdf => Ok(TfIdf::fit(first.iter().chain(second)).cosines(first, second)),
        }
    }
}
