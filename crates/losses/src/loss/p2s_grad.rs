//! The `P2SGrad` loss.

use super::class_softmax::class_definition;
use super::{Row, RowLoss};
use crate::described::described;
use crate::distance::Cosine;
use crate::exact::Exact;
use crate::lanes::total;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Draws the cosine to the proxy of the right class to one and those to all others to zero, without scale or margin.
    ///
    /// ```text
    /// L = 1/B Σ_i Σ_c (cos θ_ic - [c = y_i])²         cos θ_ic = 1 - d(x_i, p_c)
    /// ```
    ///
    /// Cosines are clamped to `[-1, 1]`, with no slope outside. An anchor is active while some other proxy is at least as
    /// near as its own.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// X. Zhang, R. Zhao, J. Yan, M. Gao, Y. Qiao, X. Wang, H. Li, `P2SGrad`: Refined Gradients for Optimizing Deep Face
    /// Models, CVPR 2019, Eq. 11, which is a gradient; this is the value that has its direction.
    ///
    /// # Differences
    /// pytorch-metric-learning averages over the classes as well, so its value is this one divided by their number.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{P2sGrad, Shape}};
    /// let mut criterion = Criterion::new(P2sGrad {}.into(), Shape { dim: 2, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, 0.0, 0.0, 1.0];
    /// // Cosines 1 and 0 where 0 and 1 are wanted.
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0], 1, 2), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct P2sGrad {}
}

/// Squares that are added up at a time.
const BLOCK: usize = 256;

class_definition!(P2sGrad, Cosine {}, |_| 1, |_| 1.0);

impl RowLoss for P2sGrad {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let Some(y) = row.pairs.positives(row.a).next() else {
            return Row::nothing();
        };
        let d = row.d();
        let inside = |d: f32| if (0.0..=2.0).contains(&d) { 1.0 } else { 0.0 };
        let (mut value, mut nearer, own) = (0.0, 0_u32, d[y]);
        let mut squares = [0.0; BLOCK];
        for (block, (g, d)) in g.chunks_mut(BLOCK).zip(d.chunks(BLOCK)).enumerate() {
            for ((g, square), &d_c) in g.iter_mut().zip(&mut squares).zip(d) {
                let cos = (1.0 - d_c).clamp(-1.0, 1.0);
                *square = cos * cos;
                *g = -2.0 * cos * inside(d_c);
                nearer += u32::from(d_c <= own);
            }
            // The target's square is (cos - 1)², and 1 - cos is its clamped distance.
            if let Some(square) = squares[..d.len()].get_mut(y.wrapping_sub(block * BLOCK)) {
                *square = own.clamp(0.0, 2.0).powi(2);
            }
            value += total(&squares[..d.len()]);
        }
        g[y] = 2.0 * own.clamp(0.0, 2.0) * inside(own);
        row.whole(value, [1, usize::from(nearer > 1)], g)
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let square = |i: usize, c: usize| {
            let delta = f64::from(u8::from(batch.label_of_column(c) == batch.label(i)));
            ((1.0 - batch.d(i, c)).clamp(-1.0, 1.0) - delta).powi(2)
        };
        let term = |i: usize| Term {
            anchor: i,
            group: 0,
            value: (0..batch.columns()).map(|c| square(i, c)).sum(),
        };
        (0..batch.rows()).map(term).collect()
    }
}
