//! A batch of texts: tokens in view-major order, and what is known of the items.

use super::set::{Known, Set};
use crate::error::Result;
use nearkin_encoder::Tensor;
use nearkin_encoder::host::Host;
use nearkin_encoder::text::{Packed, Pass, SentenceEncoder, Tokenizer, Tokens};
use nearkin_kernels::Mat;
use nearkin_losses::{Aligned, Targets};

/// Tokens of a forward pass of the teacher.
const TAUGHT: usize = 4096;

/// A batch of one data set.
pub struct TextBatch {
    /// The data set's number.
    pub(super) set: usize,
    /// Texts of an item; 1 for labeled texts.
    views: usize,
    /// Tokens of row `view · n + item`.
    pub(super) tokens: Vec<Tokens>,
    /// The same as the teacher's tokenizer has them.
    taught: Option<Vec<Tokens>>,
    classes: Option<Vec<u32>>,
    scores: Option<Vec<f32>>,
}

/// A tokenizer as the first module of its encoder takes its tokens.
#[derive(Clone)]
pub(super) struct Reader {
    pub tokenizer: Tokenizer,
    /// Without special tokens.
    pub plain: bool,
}

impl Reader {
    pub fn of(encoder: &SentenceEncoder) -> Self {
        use nearkin_encoder::text::Module;
        let first = encoder.modules().first().map(|placed| &placed.module);
        Self {
            tokenizer: encoder.tokenizer.clone(),
            plain: matches!(first, Some(Module::Static(_))),
        }
    }

    pub fn tokens(&self, texts: &[&str]) -> Result<Vec<Tokens>> {
        Ok(if self.plain {
            self.tokenizer.encode_plain(texts)?
        } else {
            self.tokenizer.encode(texts)?
        })
    }
}

impl TextBatch {
    /// Tokenizes items of a data set.
    pub(super) fn read(
        (number, set): (usize, &Set),
        items: &[usize],
        reader: &Reader,
        teacher: Option<&Reader>,
    ) -> Result<Self> {
        let of_view = |view| items.iter().map(move |&item| set.text(view, item));
        let texts: Vec<&str> = (0..set.views).flat_map(of_view).collect();
        let pick = |of: &[u32]| items.iter().map(|&item| of[item]).collect();
        let (mut classes, mut scores) = (None, None);
        match &set.known {
            Known::Nothing => {}
            Known::Scores(of) => scores = Some(items.iter().map(|&item| of[item]).collect()),
            Known::Classes { of, .. } | Known::Labels { of, .. } => classes = Some(pick(of)),
        }
        Ok(Self {
            set: number,
            views: set.views,
            tokens: reader.tokens(&texts)?,
            taught: teacher.map(|teacher| teacher.tokens(&texts)).transpose()?,
            classes,
            scores,
        })
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// What the loss is told.
    pub(super) fn targets<'a>(&'a self, taught: &'a Taught) -> Targets<'a> {
        if self.views == 1 {
            return Targets::Labels(self.classes.as_deref().unwrap_or(&[]));
        }
        let rows = self.rows();
        let teacher = (taught.dim > 0).then(|| Mat::new(&taught.vectors, rows, taught.dim));
        Targets::Aligned(Aligned {
            views: self.views,
            labels: self.classes.as_deref(),
            scores: self.scores.as_deref().or(taught.scores.as_deref()),
            teacher,
        })
    }

    /// What the teacher makes of the batch; `scores` are how many of each item the loss needs, `dot` whether they are dot
    /// products in place of cosines.
    pub(super) fn ask(
        &self,
        teacher: Option<&SentenceEncoder>,
        scores: usize,
        dot: bool,
    ) -> Result<Taught> {
        let (Some(teacher), Some(tokens)) = (teacher, &self.taught) else {
            return Ok(Taught::default());
        };
        let dim = teacher.dim();
        let mut vectors = vec![0.0; tokens.len() * dim];
        for part in parts(tokens, Some(TAUGHT)) {
            let packed = Packed::new(part.iter().map(|&row| &tokens[row]));
            let embedded: Tensor = teacher.forward(&packed, Pass::eval())?;
            let numbers = Host::new(&embedded)?;
            for (&row, numbers) in part.iter().zip(numbers.chunks_exact(dim)) {
                vectors[row * dim..][..dim].copy_from_slice(numbers);
            }
        }
        let taught = Taught {
            scores: None,
            dim,
            vectors,
        };
        let scores = self
            .scores
            .is_none()
            .then(|| taught.scores(self.views, scores, dot));
        Ok(Taught {
            scores: scores.flatten(),
            ..taught
        })
    }
}

/// What a teacher makes of a batch.
#[derive(Default)]
pub(super) struct Taught {
    /// `[rows, dim]`
    vectors: Vec<f32>,
    dim: usize,
    /// Scores of each item.
    scores: Option<Vec<f32>>,
}

impl Taught {
    /// Scores that a loss needs, so many of each item: of the anchor with each further view, or by how much the positive's is
    /// above that of each negative.
    fn scores(&self, views: usize, needed: usize, dot: bool) -> Option<Vec<f32>> {
        let n = self.vectors.len() / self.dim.max(1) / views;
        let row =
            |view: usize, item: usize| &self.vectors[(view * n + item) * self.dim..][..self.dim];
        let score = |item: usize, view: usize| likeness(row(0, item), row(view, item), dot);
        let of_item = |item: usize| -> Option<Vec<f32>> {
            if needed == 0 || views < 2 {
                None
            } else if needed == views - 1 {
                Some((1..views).map(|view| score(item, view)).collect())
            } else if needed == views - 2 {
                let gap = |view| score(item, 1) - score(item, view);
                Some((2..views).map(gap).collect())
            } else {
                None
            }
        };
        let of_items: Option<Vec<Vec<f32>>> = (0..n).map(of_item).collect();
        of_items.map(|of_items| of_items.concat())
    }
}

/// Dot product or cosine, which is 0 with a zero vector.
fn likeness(u: &[f32], v: &[f32], dot: bool) -> f32 {
    let product = |u: &[f32], v: &[f32]| -> f64 {
        let products = u.iter().zip(v);
        products.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    if dot {
        return product(u, v) as f32;
    }
    let norms = (product(u, u) * product(v, v)).sqrt();
    if norms > 0.0 {
        (product(u, v) / norms) as f32
    } else {
        0.0
    }
}

/// Rows in parts of like length and at most so many tokens, the longest first; one part, in order, where all is passed at
/// once.
pub(super) fn parts(tokens: &[Tokens], most: Option<usize>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    let all: usize = tokens.iter().map(|t| t.ids.len()).sum();
    let Some(most) = most.filter(|&most| most < all) else {
        return vec![order];
    };
    order.sort_by_key(|&row| std::cmp::Reverse(tokens[row].ids.len()));
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for row in order {
        let len = tokens[row].ids.len();
        match parts.last_mut() {
            Some(part) if len <= room => part.push(row),
            _ => {
                parts.push(vec![row]);
                room = most.max(len);
            }
        }
        room -= len;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_scores_the_positive_and_the_gaps_to_negatives() {
        // One item of three views: cosines 1 and 0, dot products 2 and 0.
        let taught = Taught {
            vectors: vec![1.0, 0.0, 2.0, 0.0, 0.0, 3.0],
            dim: 2,
            scores: None,
        };
        assert_eq!(taught.scores(3, 2, true), Some(vec![2.0, 0.0]));
        assert_eq!(taught.scores(3, 1, true), Some(vec![2.0]));
        assert_eq!(taught.scores(3, 2, false), Some(vec![1.0, 0.0]));
        assert_eq!(taught.scores(3, 0, true), None);
    }

    #[test]
    fn parts_hold_every_row_once_within_their_tokens() {
        let tokens: Vec<Tokens> = [3, 9, 4, 20, 1]
            .map(|n| Tokens {
                ids: vec![1; n],
                segments: vec![0; n],
            })
            .into();
        assert_eq!(parts(&tokens, Some(10)), [vec![3], vec![1], vec![2, 0, 4]]);
        assert_eq!(parts(&tokens, Some(37)), [vec![0, 1, 2, 3, 4]]);
        assert_eq!(parts(&tokens, None), [vec![0, 1, 2, 3, 4]]);
    }
}
