//! From the token vectors of packed sentences to one vector a sentence.

use crate::parallel::{Shared, for_each};

/// How the vectors of a sentence's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPooling {
    /// The first token's.
    Cls,
    /// `max_t h_t`, dimension by dimension; ties go to the first.
    Max,
    /// `Σ_t h_t / n`
    Mean,
    /// `Σ_t h_t / √n`
    MeanSqrtLen,
    /// `Σ_t t h_t / Σ_t t`, with t counted from 1 at the sentence's first token.
    WeightedMean,
    /// The last token's.
    Last,
}

/// Pooling of packed sentences.
///
/// # Shapes
/// - tokens: `[tokens, cols]`
/// - sentences: `[sentences, cols]`
#[derive(Clone, Copy, Debug)]
pub struct TokenPool<'a> {
    /// How.
    pub kind: TokenPooling,
    /// Where each sentence starts, and last the number of tokens.
    pub offsets: &'a [usize],
    /// Tokens at the start of each sentence that are left out, a prompt; a sentence without others is a zero vector.
    pub skip: usize,
    /// Width of a vector.
    pub cols: usize,
}

impl TokenPool<'_> {
    /// Overwrites `y`, one row a sentence.
    ///
    /// # Panics
    /// When the shapes do not fit.
    ///
    /// ```
    /// use nearkin_kernels::{TokenPool, TokenPooling};
    /// let pool = TokenPool { kind: TokenPooling::Mean, offsets: &[0, 2, 3], skip: 0, cols: 1 };
    /// let mut y = [0.0; 2];
    /// pool.forward(&[1.0, 3.0, 5.0], &mut y);
    /// assert_eq!(y, [2.0, 5.0]);
    /// ```
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        let sentences = self.check(x, y);
        let out = Shared::new(y);
        for_each(sentences, x.len() > 1 << 16, |i| {
            // SAFETY: each sentence has its own row.
            let y = unsafe { out.slice(i * self.cols, self.cols) };
            y.fill(0.0);
            let rows = self.rows(x, i);
            if self.kind == TokenPooling::Max {
                return maxima(rows, y);
            }
            for (row, weight) in rows.chunks_exact(self.cols.max(1)).zip(self.weights(i)) {
                if weight != 0.0 {
                    y.iter_mut().zip(row).for_each(|(y, x)| *y += weight * x);
                }
            }
        });
    }

    /// The gradient with respect to the tokens, from the input of [`forward`](Self::forward); overwrites `dx`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let sentences = self.check(x, dy);
        assert_eq!(x.len(), dx.len(), "x and dx differ in length");
        dx.fill(0.0);
        let out = Shared::new(dx);
        for_each(sentences, x.len() > 1 << 16, |i| {
            let (start, end) = self.span(i);
            // SAFETY: each sentence has its own tokens.
            let dx = unsafe { out.slice(start * self.cols, (end - start) * self.cols) };
            let dy = &dy[i * self.cols..][..self.cols];
            if self.kind == TokenPooling::Max {
                return maxima_backward(self.rows(x, i), dy, dx);
            }
            for (dx, weight) in dx.chunks_exact_mut(self.cols.max(1)).zip(self.weights(i)) {
                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = weight * dy);
            }
        });
    }

    /// The tokens of sentence `i` that take part.
    fn span(&self, i: usize) -> (usize, usize) {
        let (start, end) = (self.offsets[i], self.offsets[i + 1]);
        ((start + self.skip).min(end), end)
    }

    fn rows<'x>(&self, x: &'x [f32], i: usize) -> &'x [f32] {
        let (start, end) = self.span(i);
        &x[start * self.cols..end * self.cols]
    }

    /// What each token that takes part is multiplied by.
    fn weights(&self, i: usize) -> impl Iterator<Item = f32> + use<> {
        let (start, end) = self.span(i);
        let (n, first) = (end - start, start - self.offsets[i] + 1);
        let kind = self.kind;
        let total = (first..first + n).sum::<usize>() as f32;
        (0..n).map(move |t| match kind {
            TokenPooling::Cls => f32::from(u8::from(t == 0)),
            TokenPooling::Last => f32::from(u8::from(t + 1 == n)),
            TokenPooling::Mean | TokenPooling::Max => 1.0 / n as f32,
            TokenPooling::MeanSqrtLen => 1.0 / (n as f32).sqrt(),
            TokenPooling::WeightedMean => (first + t) as f32 / total,
        })
    }

    fn check(&self, x: &[f32], y: &[f32]) -> usize {
        let sentences = self.offsets.len().saturating_sub(1);
        let tokens = self.offsets.last().copied().unwrap_or(0);
        assert_eq!(
            (x.len(), y.len()),
            (tokens * self.cols, sentences * self.cols),
            "tokens and sentences of {self:?}"
        );
        sentences
    }
}

fn maxima(rows: &[f32], y: &mut [f32]) {
    let mut rows = rows.chunks_exact(y.len().max(1));
    if let Some(first) = rows.next() {
        y.copy_from_slice(first);
    }
    for row in rows {
        for (y, &x) in y.iter_mut().zip(row) {
            // NaN wins, so that a broken network shows.
            *y = if x > *y || x.is_nan() { x } else { *y };
        }
    }
}

fn maxima_backward(rows: &[f32], dy: &[f32], dx: &mut [f32]) {
    let cols = dy.len();
    let tokens = rows.len() / cols.max(1);
    for (c, &dy) in dy
        .iter()
        .enumerate()
        .take(if tokens > 0 { cols } else { 0 })
    {
        let mut best = 0;
        for t in 1..tokens {
            if rows[t * cols + c] > rows[best * cols + c] {
                best = t;
            }
        }
        dx[best * cols + c] = dy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    const ALL: [TokenPooling; 6] = [
        TokenPooling::Cls,
        TokenPooling::Max,
        TokenPooling::Mean,
        TokenPooling::MeanSqrtLen,
        TokenPooling::WeightedMean,
        TokenPooling::Last,
    ];

    /// The definition in f64, dimension by dimension.
    fn reference(pool: &TokenPool, x: &[f64]) -> Vec<f64> {
        let mut y = Vec::new();
        for pair in pool.offsets.windows(2) {
            for c in 0..pool.cols {
                let tokens: Vec<(f64, f64)> = (pair[0] + pool.skip..pair[1])
                    .map(|t| ((t - pair[0] + 1) as f64, x[t * pool.cols + c]))
                    .collect();
                let n = tokens.len() as f64;
                let sum: f64 = tokens.iter().map(|(_, h)| h).sum();
                let value = match (pool.kind, tokens.first(), tokens.last()) {
                    (TokenPooling::Cls, Some((_, h)), _)
                    | (TokenPooling::Last, _, Some((_, h))) => *h,
                    (TokenPooling::Max, ..) => {
                        tokens.iter().fold(f64::NEG_INFINITY, |m, (_, h)| m.max(*h))
                    }
                    (TokenPooling::Mean, ..) => sum / n,
                    (TokenPooling::MeanSqrtLen, ..) => sum / n.sqrt(),
                    (TokenPooling::WeightedMean, ..) => {
                        tokens.iter().map(|(w, h)| w * h).sum::<f64>()
                            / tokens.iter().map(|(w, _)| w).sum::<f64>()
                    }
                    _ => 0.0,
                };
                y.push(if tokens.is_empty() { 0.0 } else { value });
            }
        }
        y
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (kind, skip) in ALL.into_iter().flat_map(|kind| [(kind, 0), (kind, 2)]) {
            let pool = TokenPool {
                kind,
                offsets: &[0, 4, 5, 12, 14],
                skip,
                cols: 3,
            };
            let (x, dy) = (random(14 * 3, 1), random(4 * 3, 2));
            let (mut y, mut dx) = (vec![9.0; 12], vec![9.0; x.len()]);
            pool.forward(&x, &mut y);
            assert_close(&y, &reference(&pool, &to_f64(&x)), 1e-6);
            pool.backward(&x, &dy, &mut dx);
            let want = central_differences(&x, |x| weighted(&reference(&pool, x), &dy));
            assert_close(&dx, &want, 1e-5);
        }
    }

    #[test]
    fn many_sentences_are_pooled_as_one_by_one() {
        let (cols, count) = (64, 700);
        let offsets: Vec<usize> = (0..=count).map(|i| i * 3).collect();
        let x = random(count * 3 * cols, 3);
        let run = |offsets: &[usize], x: &[f32]| {
            let mut y = vec![0.0; (offsets.len() - 1) * cols];
            let kind = TokenPooling::Mean;
            TokenPool {
                kind,
                offsets,
                skip: 0,
                cols,
            }
            .forward(x, &mut y);
            y
        };
        let together = run(&offsets, &x);
        for i in [0, 333, 699] {
            let alone = run(&[0, 3], &x[i * 3 * cols..][..3 * cols]);
            assert_eq!(together[i * cols..][..cols], alone);
        }
    }
}
