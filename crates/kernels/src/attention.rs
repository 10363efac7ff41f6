//! Multi-head self-attention over packed sentences.

use crate::gemm::{Beta, RawMat, gemm_raw, gemm_sequential};
use crate::parallel::{Shared, for_each, with_scratch};
use crate::reduce;
use crate::softmax::softmax_piece;
use crate::view::{Mat, MatMut};

/// Scaled dot-product attention of each sentence with itself, for sentences packed one after another without padding:
///
/// ```text
/// P = softmax(scale Q Kᵀ)        Y = P V        for every sentence and head
/// ```
///
/// # Shapes
/// - `qkv`: `[tokens, 3 · heads · head_dim]`: all queries, then all keys, then all values of a token
/// - `y`: `[tokens, heads · head_dim]`
/// - probabilities: for each sentence in order, `[heads, length, length]`
///
/// # Reference
/// Vaswani et al., *Attention Is All You Need*, 2017, equation 1; `scale` is 1 / √head_dim there.
///
/// ```
/// use nearkin_kernels::Attention;
/// // Two sentences of one token: each can only look at itself.
/// let attention = Attention { heads: 1, head_dim: 1, offsets: &[0, 1, 2], scale: 1.0 };
/// let mut y = [0.0; 2];
/// attention.forward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut y, None);
/// assert_eq!(y, [3.0, 6.0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Number of heads.
    pub heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Where each sentence starts, and last the number of tokens.
    pub offsets: &'a [usize],
    /// Factor of the scores.
    pub scale: f32,
}

/// One head of one sentence.
#[derive(Clone, Copy)]
struct Task {
    head: usize,
    start: usize,
    len: usize,
    /// Where its probabilities lie.
    probabilities: usize,
}

impl Attention<'_> {
    /// Overwrites `y`; `probabilities`, when given, is resized and filled for [`backward`](Self::backward).
    ///
    /// # Panics
    /// When the shapes do not fit or the offsets descend.
    pub fn forward(&self, qkv: &[f32], y: &mut [f32], probabilities: Option<&mut Vec<f32>>) {
        let tasks = self.tasks();
        self.check(qkv, y);
        let kept = probabilities.map(|p| {
            p.resize(self.probabilities_len(), 0.0);
            Shared::new(p)
        });
        let out = Shared::new(y);
        for_each(tasks.len(), true, |i| {
            let task = tasks[i];
            let square = task.len * task.len;
            with_scratch(2 * square, |scratch| {
                let (scores, own) = scratch.split_at_mut(square);
                // SAFETY: each task has its own probabilities.
                let p = kept.map_or(own, |kept| unsafe {
                    kept.slice(task.probabilities, square)
                });
                self.forward_task(task, qkv, scores, p, out);
            });
        });
    }

    /// dqkv, from the input of [`forward`](Self::forward), its probabilities and the gradient of its output;
    /// overwrites `dqkv`.
    ///
    /// # Panics
    /// When the shapes do not fit or the offsets descend.
    pub fn backward(&self, qkv: &[f32], probabilities: &[f32], dy: &[f32], dqkv: &mut [f32]) {
        let tasks = self.tasks();
        self.check(qkv, dy);
        assert_eq!(dqkv.len(), qkv.len(), "dqkv and qkv differ in length");
        assert_eq!(
            probabilities.len(),
            self.probabilities_len(),
            "probabilities of other sentences"
        );
        let out = Shared::new(dqkv);
        for_each(tasks.len(), true, |i| {
            let task = tasks[i];
            let square = task.len * task.len;
            let p = &probabilities[task.probabilities..][..square];
            with_scratch(square, |ds| self.backward_task(task, [qkv, dy], p, ds, out));
        });
    }

    fn forward_task(&self, task: Task, qkv: &[f32], scores: &mut [f32], p: &mut [f32], y: Shared) {
        let n = task.len;
        let [q, k, v] = [0, 1, 2].map(|part| self.part(qkv, task, part));
        gemm_sequential(
            MatMut::new(scores, n, n),
            Beta::Overwrite,
            self.scale,
            q,
            k.t(),
        );
        softmax_piece(scores, n, 1.0, p);
        // SAFETY: this task alone writes the columns of its head in the rows of its sentence.
        unsafe {
            gemm_raw(
                self.output(y, task, 0, 1),
                Beta::Overwrite,
                1.0,
                Mat::new(p, n, n),
                v,
            );
        }
    }

    fn backward_task(
        &self,
        task: Task,
        [qkv, dy]: [&[f32]; 2],
        p: &[f32],
        ds: &mut [f32],
        dqkv: Shared,
    ) {
        let n = task.len;
        let [q, k, v] = [0, 1, 2].map(|part| self.part(qkv, task, part));
        let [dq, dk, dv] = [0, 1, 2].map(|part| self.output(dqkv, task, part, 3));
        let dy = self.columns(dy, task, 0, 1);
        gemm_sequential(MatMut::new(ds, n, n), Beta::Overwrite, 1.0, dy, v.t());
        // The softmax's gradient: dS = P ∘ (dP − Σⱼ P dP).
        for (ds, p) in ds.chunks_exact_mut(n).zip(p.chunks_exact(n)) {
            let along = reduce::dot::<false>(ds, p);
            ds.iter_mut()
                .zip(p)
                .for_each(|(ds, p)| *ds = p * (*ds - along));
        }
        let (ds, p) = (Mat::new(ds, n, n), Mat::new(p, n, n));
        // SAFETY: this task alone writes its head's columns of dQ, dK and dV in the rows of its sentence.
        unsafe {
            gemm_raw(dv, Beta::Overwrite, 1.0, p.t(), dy);
            gemm_raw(dq, Beta::Overwrite, self.scale, ds, k);
            gemm_raw(dk, Beta::Overwrite, self.scale, ds.t(), q);
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut probabilities = 0;
        for (start, len) in self.sentences() {
            for head in 0..self.heads {
                tasks.push(Task {
                    head,
                    start,
                    len,
                    probabilities,
                });
                probabilities += len * len;
            }
        }
        tasks.retain(|task| task.len > 0);
        tasks
    }

    fn sentences(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.offsets.windows(2).map(|pair| {
            let len = pair[1]
                .checked_sub(pair[0])
                .expect("offsets ascend, as documented");
            (pair[0], len)
        })
    }

    fn probabilities_len(&self) -> usize {
        self.sentences()
            .map(|(_, len)| self.heads * len * len)
            .sum()
    }

    fn check(&self, qkv: &[f32], y: &[f32]) {
        let len = self.offsets.last().copied().unwrap_or(0) * self.heads * self.head_dim;
        assert_eq!(
            (qkv.len(), y.len()),
            (3 * len, len),
            "qkv and y of {self:?}"
        );
    }

    fn part<'a>(&self, qkv: &'a [f32], task: Task, part: usize) -> Mat<'a> {
        self.columns(qkv, task, part, 3)
    }

    /// The task's rows and columns of part `part` of `data`, whose rows hold `parts` times all heads.
    fn columns<'a>(&self, data: &'a [f32], task: Task, part: usize, parts: usize) -> Mat<'a> {
        let width = self.heads * self.head_dim;
        let first = task.start * parts * width + part * width + task.head * self.head_dim;
        let (rows, cols) = (task.len, self.head_dim);
        Mat {
            data: &data[first..],
            rows,
            cols,
            row_stride: parts * width,
            col_stride: 1,
        }
    }

    /// As [`columns`](Self::columns), to be written.
    fn output(&self, data: Shared, task: Task, part: usize, parts: usize) -> RawMat {
        let width = self.heads * self.head_dim;
        let first = task.start * parts * width + part * width + task.head * self.head_dim;
        let reach = (task.len - 1) * parts * width + self.head_dim;
        RawMat {
            pointer: data.pointer(first, reach),
            strides: [parts * width, 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    /// The definition in f64, token by token.
    fn reference(a: &Attention, qkv: &[f64]) -> Vec<f64> {
        let width = a.heads * a.head_dim;
        let mut y = vec![0.0; qkv.len() / 3];
        for pair in a.offsets.windows(2) {
            for (head, i) in (0..a.heads).flat_map(|h| (pair[0]..pair[1]).map(move |i| (h, i))) {
                let at = |token: usize, part: usize, d: usize| {
                    qkv[token * 3 * width + part * width + head * a.head_dim + d]
                };
                let score = |j: usize| {
                    (0..a.head_dim)
                        .map(|d| at(i, 0, d) * at(j, 1, d))
                        .sum::<f64>()
                };
                let weight: Vec<f64> = (pair[0]..pair[1])
                    .map(|j| (f64::from(a.scale) * score(j)).exp())
                    .collect();
                let total: f64 = weight.iter().sum();
                for d in 0..a.head_dim {
                    let value = |(j, w): (usize, &f64)| w / total * at(pair[0] + j, 2, d);
                    y[i * width + head * a.head_dim + d] =
                        weight.iter().enumerate().map(value).sum();
                }
            }
        }
        y
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (heads, head_dim, offsets) in [
            (1, 1, vec![0, 1]),
            (2, 3, vec![0, 4, 4, 5, 12]),
            (3, 5, vec![0, 7]),
            (2, 4, vec![0]),
            (2, 4, vec![]),
        ] {
            let attention = Attention {
                heads,
                head_dim,
                offsets: &offsets,
                scale: 0.7,
            };
            let len = offsets.last().copied().unwrap_or(0) * heads * head_dim;
            let (qkv, dy) = (random(3 * len, 1), random(len, 2));
            let (mut y, mut p) = (vec![9.0; len], vec![9.0; 3]);
            attention.forward(&qkv, &mut y, Some(&mut p));
            assert_close(&y, &reference(&attention, &to_f64(&qkv)), 1e-5);
            let mut inferred = vec![9.0; len];
            attention.forward(&qkv, &mut inferred, None);
            assert_eq!(inferred, y);

            let mut dqkv = vec![9.0; qkv.len()];
            attention.backward(&qkv, &p, &dy, &mut dqkv);
            assert_close(
                &dqkv,
                &central_differences(&qkv, |x| weighted(&reference(&attention, x), &dy)),
                1e-5,
            );
        }
    }

    #[test]
    fn a_sentence_in_a_batch_equals_the_sentence_alone() {
        let (heads, head_dim) = (2, 16);
        let width = heads * head_dim;
        let qkv = random(50 * 3 * width, 1);
        let run = |offsets: &[usize], qkv: &[f32]| {
            let mut y = vec![0.0; qkv.len() / 3];
            Attention {
                heads,
                head_dim,
                offsets,
                scale: 0.25,
            }
            .forward(qkv, &mut y, None);
            y
        };
        let together = run(&[0, 20, 50], &qkv);
        let alone = run(&[0, 30], &qkv[20 * 3 * width..]);
        assert_eq!(together[20 * width..], alone);
    }
}
