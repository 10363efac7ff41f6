//! Multi-head self-attention over packed sentences.

use crate::dropout::Dropout;
use crate::gemm::{Beta, RawMat, gemm_raw, gemm_sequential};
use crate::parallel::{Shared, for_each, with_scratch};
use crate::reduce;
use crate::softmax::{GROUP, softmax_groups};
use crate::view::{Mat, MatMut};

/// Scaled dot-product attention of each sentence with itself, for sentences packed one after another without padding:
///
/// ```text
/// Pᵢⱼ = softmaxⱼ(scale Qᵢ · Kⱼ + bias(j − i))        Y = dropout(P) V        for every sentence and head
/// ```
///
/// # Shapes
/// - `qkv`: `[tokens, 3 · heads · head_dim]`: all queries, then all keys, then all values of a token
/// - `y`: `[tokens, heads · head_dim]`
/// - probabilities: for each sentence in order, `[heads, length, length]`, before dropout
/// - bias: `[2 · longest − 1, heads]`, for j − i from 1 − longest to longest − 1
///
/// # Reference
/// Vaswani et al., *Attention Is All You Need*, 2017, equation 1; `scale` is 1 / √head_dim there. Bias of relative
/// positions: Raffel et al., *T5*, 2020, section 2.1.
///
/// ```
/// use nearkin_kernels::Attention;
/// // Two sentences of one token: each can only look at itself.
/// let attention = Attention { heads: 1, head_dim: 1, offsets: &[0, 1, 2], scale: 1.0, bias: None, dropout: None };
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
    /// What is added to the scores by relative position.
    pub bias: Option<&'a [f32]>,
    /// Dropout of the probabilities.
    pub dropout: Option<Dropout>,
}

/// One head of one sentence.
#[derive(Clone, Copy)]
struct Task {
    head: usize,
    start: usize,
    len: usize,
    /// Where its probabilities lie.
    probabilities: usize,
    /// Where its part of the bias's gradient lies.
    diagonals: usize,
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
            // With dropout, the probabilities densely and what is left of them beside the scores.
            let dense = if self.dropout.is_some() { square } else { 0 };
            with_scratch(task.len * padded(task.len) + 2 * dense, |scratch| {
                let (scores, dense) = scratch.split_at_mut(task.len * padded(task.len));
                let (own, dropped) = dense.split_at_mut(dense.len() / 2);
                // SAFETY: each task has its own probabilities.
                let kept = kept.map(|kept| unsafe { kept.slice(task.probabilities, square) });
                let p = kept.or(self.dropout.is_some().then_some(own));
                self.forward_task(task, qkv, (scores, p, dropped), out);
            });
        });
    }

    /// dqkv and, with a bias, its gradient, from the input of [`forward`](Self::forward), its probabilities and the
    /// gradient of its output; overwrites `dqkv` and `dbias`.
    ///
    /// # Panics
    /// When the shapes do not fit or the offsets descend.
    pub fn backward(
        &self,
        qkv: &[f32],
        probabilities: &[f32],
        dy: &[f32],
        dqkv: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let tasks = self.tasks();
        self.check(qkv, dy);
        assert_eq!(dqkv.len(), qkv.len(), "dqkv and qkv differ in length");
        assert_eq!(
            probabilities.len(),
            self.probabilities_len(),
            "probabilities of other sentences"
        );
        let last = tasks.last();
        let reach = last.map_or(0, |task| task.diagonals + 2 * task.len - 1);
        let mut diagonals = vec![0.0; if dbias.is_some() { reach } else { 0 }];
        let (out, sums) = (Shared::new(dqkv), Shared::new(&mut diagonals));
        let wanted = dbias.is_some();
        for_each(tasks.len(), true, |i| {
            let task = tasks[i];
            let square = task.len * task.len;
            let p = &probabilities[task.probabilities..][..square];
            with_scratch(2 * square, |scratch| {
                let (ds, dropped) = scratch.split_at_mut(square);
                self.backward_task(task, [qkv, dy, p], [ds, dropped], out);
                if wanted {
                    // SAFETY: each task has its own diagonals.
                    let sums = unsafe { sums.slice(task.diagonals, 2 * task.len - 1) };
                    add_diagonals(ds, task.len, sums);
                }
            });
        });
        if let Some(dbias) = dbias {
            self.sum_diagonals(&tasks, &diagonals, dbias);
        }
    }

    /// Adds up what the sentences say of each relative position, in their order.
    fn sum_diagonals(&self, tasks: &[Task], diagonals: &[f32], dbias: &mut [f32]) {
        dbias.fill(0.0);
        for task in tasks {
            let first = self.first_offset(dbias.len(), task.len);
            let sums = &diagonals[task.diagonals..][..2 * task.len - 1];
            for (offset, sum) in sums.iter().enumerate() {
                dbias[(first + offset) * self.heads + task.head] += sum;
            }
        }
    }

    /// The row of a bias of `len` numbers at which the relative positions of a sentence begin.
    fn first_offset(&self, len: usize, sentence: usize) -> usize {
        let longest = (len / self.heads.max(1)).div_ceil(2);
        longest - sentence
    }

    /// The output of one head of one sentence, with buffers for its scores, its probabilities where they are wanted and what
    /// dropout leaves of these.
    fn forward_task(
        &self,
        task: Task,
        qkv: &[f32],
        (scores, p, dropped): (&mut [f32], Option<&mut [f32]>, &mut [f32]),
        y: Shared,
    ) {
        let (n, stride) = (task.len, padded(task.len));
        self.score(task, qkv, scores);
        softmax_groups(scores, stride / GROUP);
        let mut weights = Mat {
            data: scores,
            rows: n,
            cols: n,
            row_stride: stride,
            col_stride: 1,
        };
        if let Some(p) = p {
            for (p, row) in p.chunks_exact_mut(n).zip(scores.chunks_exact(stride)) {
                p.copy_from_slice(&row[..n]);
            }
            if let Some(dropout) = self.dropout {
                dropout.apply_from(task.probabilities, p, dropped);
                weights = Mat::new(dropped, n, n);
            }
        }
        let (out, v) = (self.output(y, task, 0, 1), self.part(qkv, task, 2));
        // SAFETY: this task alone writes the columns of its head in the rows of its sentence.
        unsafe { gemm_raw(out, Beta::Overwrite, 1.0, weights, v) };
    }

    /// scale Q Kᵀ + bias, rows filled up with −∞.
    fn score(&self, task: Task, qkv: &[f32], scores: &mut [f32]) {
        let (n, stride) = (task.len, padded(task.len));
        let [q, k] = [0, 1].map(|part| self.part(qkv, task, part));
        let square = MatMut {
            data: scores,
            rows: n,
            cols: n,
            row_stride: stride,
            col_stride: 1,
        };
        gemm_sequential(square, Beta::Overwrite, self.scale, q, k.t());
        for (i, row) in scores.chunks_exact_mut(stride).enumerate() {
            let (row, rest) = row.split_at_mut(n);
            rest.fill(f32::NEG_INFINITY);
            if let Some(bias) = self.bias {
                // j − i runs from −i on: row n − 1 − i of the sentence's part of the bias.
                let first = self.first_offset(bias.len(), n);
                let from = (first + n - 1 - i) * self.heads + task.head;
                let bias = bias[from..].iter().step_by(self.heads);
                row.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
            }
        }
    }

    /// Leaves ∂L/∂scores (before `scale`) in `ds`.
    fn backward_task(
        &self,
        task: Task,
        [qkv, dy, p]: [&[f32]; 3],
        [ds, dropped]: [&mut [f32]; 2],
        dqkv: Shared,
    ) {
        let n = task.len;
        let [q, k, v] = [0, 1, 2].map(|part| self.part(qkv, task, part));
        let [dq, dk, dv] = [0, 1, 2].map(|part| self.output(dqkv, task, part, 3));
        let dy = self.columns(dy, task, 0, 1);
        gemm_sequential(MatMut::new(ds, n, n), Beta::Overwrite, 1.0, dy, v.t());
        let weights = match self.dropout {
            Some(dropout) => {
                dropout.apply_from(task.probabilities, ds, dropped);
                ds.copy_from_slice(dropped);
                dropout.apply_from(task.probabilities, p, dropped);
                &*dropped
            }
            None => p,
        };
        // The softmax's gradient: dS = P ∘ (dP − Σⱼ P dP).
        for (ds, p) in ds.chunks_exact_mut(n).zip(p.chunks_exact(n)) {
            let along = reduce::dot::<false>(ds, p);
            ds.iter_mut()
                .zip(p)
                .for_each(|(ds, p)| *ds = p * (*ds - along));
        }
        let (ds, weights) = (Mat::new(ds, n, n), Mat::new(weights, n, n));
        // SAFETY: this task alone writes its head's columns of dQ, dK and dV in the rows of its sentence.
        unsafe {
            gemm_raw(dv, Beta::Overwrite, 1.0, weights.t(), dy);
            gemm_raw(dq, Beta::Overwrite, self.scale, ds, k);
            gemm_raw(dk, Beta::Overwrite, self.scale, ds.t(), q);
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let (mut probabilities, mut diagonals) = (0, 0);
        for (start, len) in self.sentences().filter(|&(_, len)| len > 0) {
            for head in 0..self.heads {
                tasks.push(Task {
                    head,
                    start,
                    len,
                    probabilities,
                    diagonals,
                });
                probabilities += len * len;
                diagonals += 2 * len - 1;
            }
        }
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
        let longest = self.sentences().map(|(_, len)| len).max().unwrap_or(0);
        assert!(
            self.bias
                .is_none_or(|bias| bias.len() + self.heads >= 2 * longest * self.heads),
            "a bias for shorter sentences than of {longest} tokens"
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

/// The length of a row of scores, whole groups.
fn padded(len: usize) -> usize {
    len.next_multiple_of(GROUP)
}

/// sumsₖ += Σ of the entries of a square matrix with j − i = k − (n − 1).
fn add_diagonals(square: &[f32], n: usize, sums: &mut [f32]) {
    for (i, row) in square.chunks_exact(n).enumerate() {
        let sums = &mut sums[n - 1 - i..][..n];
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    /// The definition in f64, token by token: qkv and bias, and what dropout makes of each probability.
    fn reference(a: &Attention, [qkv, bias]: [&[f64]; 2], mask: &[f32]) -> Vec<f64> {
        let width = a.heads * a.head_dim;
        let longest = (bias.len() / a.heads).div_ceil(2);
        let mut mask = mask.iter().map(|&m| f64::from(m));
        let mut y = vec![0.0; qkv.len() / 3];
        for pair in a.offsets.windows(2) {
            for (head, i) in (0..a.heads).flat_map(|h| (pair[0]..pair[1]).map(move |i| (h, i))) {
                let at = |token: usize, part: usize, d: usize| {
                    qkv[token * 3 * width + part * width + head * a.head_dim + d]
                };
                let score = |j: usize| {
                    let products = (0..a.head_dim).map(|d| at(i, 0, d) * at(j, 1, d));
                    let place = (longest + j).wrapping_sub(i + 1) * a.heads + head;
                    let bias = if bias.is_empty() { 0.0 } else { bias[place] };
                    f64::from(a.scale) * products.sum::<f64>() + bias
                };
                let weight: Vec<f64> = (pair[0]..pair[1]).map(|j| score(j).exp()).collect();
                let total: f64 = weight.iter().sum();
                for w in weight.iter().zip(pair[0]..pair[1]) {
                    let kept = w.0 / total * mask.next().unwrap();
                    for d in 0..a.head_dim {
                        y[i * width + head * a.head_dim + d] += kept * at(w.1, 2, d);
                    }
                }
            }
        }
        y
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        let shapes = [
            (1, 1, vec![0, 1]),
            (2, 3, vec![0, 4, 4, 5, 12]),
            (3, 5, vec![0, 7]),
            (2, 4, vec![0]),
            (2, 4, vec![]),
        ];
        let dropout = Dropout { seed: 3, rate: 0.4 };
        for (heads, head_dim, offsets) in shapes {
            for (biased, dropout) in [(false, None), (true, None), (true, Some(dropout))] {
                // One more than the longest sentence needs.
                let bias = random(if biased { 2 * 8 * heads - heads } else { 0 }, 3);
                check(
                    &Attention {
                        heads,
                        head_dim,
                        offsets: &offsets,
                        scale: 0.7,
                        bias: biased.then_some(&bias),
                        dropout,
                    },
                    &bias,
                );
            }
        }
    }

    fn check(attention: &Attention, bias: &[f32]) {
        let len =
            attention.offsets.last().copied().unwrap_or(0) * attention.heads * attention.head_dim;
        let (qkv, dy) = (random(3 * len, 1), random(len, 2));
        let mut mask = vec![1.0; attention.probabilities_len()];
        if let Some(dropout) = attention.dropout {
            dropout.apply(&mask.clone(), &mut mask);
        }
        let (exact, exact_bias) = (to_f64(&qkv), to_f64(bias));
        let (mut y, mut p) = (vec![9.0; len], vec![9.0; 3]);
        attention.forward(&qkv, &mut y, Some(&mut p));
        assert_close(
            &y,
            &reference(attention, [&exact, &exact_bias], &mask),
            1e-5,
        );
        let mut inferred = vec![9.0; len];
        attention.forward(&qkv, &mut inferred, None);
        assert_eq!(inferred, y);

        let (mut dqkv, mut dbias) = (vec![9.0; qkv.len()], vec![9.0; bias.len()]);
        let wanted = attention.bias.is_some().then_some(&mut dbias[..]);
        attention.backward(&qkv, &p, &dy, &mut dqkv, wanted);
        let of_qkv = |x: &[f64]| weighted(&reference(attention, [x, &exact_bias], &mask), &dy);
        assert_close(&dqkv, &central_differences(&qkv, of_qkv), 1e-5);
        let of_bias = |b: &[f64]| weighted(&reference(attention, [&exact, b], &mask), &dy);
        assert_close(&dbias, &central_differences(bias, of_bias), 1e-5);
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
                bias: None,
                dropout: None,
            }
            .forward(qkv, &mut y, None);
            y
        };
        let together = run(&[0, 20, 50], &qkv);
        let alone = run(&[0, 30], &qkv[20 * 3 * width..]);
        assert_eq!(together[20 * width..], alone);
    }
}
