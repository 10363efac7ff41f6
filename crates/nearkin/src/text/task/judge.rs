//! What is measured: something that embeds texts, or that scores pairs of them.

use std::collections::HashMap;

use nearkin_encoder::text::{CrossEncoder, Options, SentenceEncoder};
use nearkin_kernels::Mat;

use crate::error::{Error, Result};
use crate::search::Similarity;
use crate::text::TextError;
use crate::text::head::Head;
use crate::text::similarity::{intended, pairwise};
use crate::text::tfidf::TfIdf;
use crate::vectors::Vectors;

/// A model of texts.
#[derive(Clone, Copy)]
pub enum Judge<'m> {
    /// Embeds texts.
    Encoder(&'m SentenceEncoder, &'m Options),
    /// Embeds texts, and tells classes of pairs apart by the head that was trained with it.
    Head(&'m SentenceEncoder, &'m Options, &'m Head),
    /// Vectors from anywhere, whose ids are the texts, such as a file that `nearkin embed` has written.
    Vectors(&'m Vectors),
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
        matches!(self, Self::Encoder(..) | Self::Head(..) | Self::Vectors(_))
    }

    /// What embeds texts, where it does.
    fn encoder(self) -> Option<(&'m SentenceEncoder, &'m Options)> {
        match self {
            Self::Encoder(encoder, options) | Self::Head(encoder, options, _) => {
                Some((encoder, options))
            }
            _ => None,
        }
    }

    /// The cross-encoder that tells classes of pairs apart, where it is one.
    pub(super) fn classifier(self) -> Option<&'m CrossEncoder> {
        match self {
            Self::CrossEncoder(judge) if !judge.classes().is_empty() => Some(judge),
            _ => None,
        }
    }

    /// The similarity by which vectors are searched: an encoder's own, else cosine.
    ///
    /// # Errors
    /// Search does not know the encoder's.
    pub fn similarity(self) -> Result<Similarity> {
        match self.encoder() {
            Some((encoder, _)) => Ok(intended(&encoder.settings)?),
            None => Ok(Similarity::Cosine),
        }
    }

    /// Vectors of texts, each distinct text embedded once; `progress` is told how many are done, of how many.
    ///
    /// # Errors
    /// The model has no vectors, or none of some text.
    pub fn embed(
        self,
        columns: &[&[String]],
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Columns> {
        if let Self::Vectors(vectors) = self {
            return looked_up(vectors, columns);
        }
        let Some((encoder, options)) = self.encoder() else {
            return Err(Error::Text(TextError::Setting {
                setting: "protocol",
                reason:
                    "a model that scores pairs has no vectors: it can be measured by sts, pairs and classification"
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
            Self::Encoder(..) | Self::Head(..) | Self::Vectors(_) => {
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

/// The vectors that texts have as ids.
fn looked_up(vectors: &Vectors, columns: &[&[String]]) -> Result<Columns> {
    let wrong = |reason: String| {
        Error::Text(TextError::Setting {
            setting: "vectors",
            reason,
        })
    };
    let Some(ids) = &vectors.ids else {
        return Err(wrong(
            "no ids, expected the text of each vector as its id".into(),
        ));
    };
    let dim = vectors.dim;
    let row = |row: usize| &vectors.data[row * dim..(row + 1) * dim];
    let mut rows: HashMap<&str, usize> = HashMap::new();
    for (number, id) in ids.iter().enumerate() {
        let first = *rows.entry(id).or_insert(number);
        if row(first) != row(number) {
            return Err(wrong(format!(
                "{id:?} is the id of unlike vectors, {first} and {number}"
            )));
        }
    }
    let of_text = |text: &String| {
        let number = rows.get(text.as_str()).copied();
        number.map(row).ok_or_else(|| {
            wrong(format!(
                "none has the id {text:?}, a text of the table, among {}",
                ids.len()
            ))
        })
    };
    let of_column = |texts: &&[String]| -> Result<Vec<f32>> {
        let rows = texts.iter().map(of_text).collect::<Result<Vec<_>>>()?;
        Ok(rows.concat())
    };
    Ok(Columns {
        numbers: columns.iter().map(of_column).collect::<Result<_>>()?,
        rows: columns.first().map_or(0, |texts| texts.len()),
        dim,
    })
}
