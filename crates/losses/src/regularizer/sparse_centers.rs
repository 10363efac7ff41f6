//! Centers of a class drawn together.

use super::{RowRegularizer, through_unit, unit_rows};
use crate::described::described;
use crate::range::Count;

described! {
    /// Draws the centers of each class together in direction, so that a class keeps no more of them than it needs.
    ///
    /// ```text
    /// R = 1/(C K (K - 1)) Σ_c Σ_{k<l} sqrt( 2 - 2 cos(w_ck, w_cl) )
    /// ```
    ///
    /// The rows are `K` centers of each of `C` classes, those of a class one after another. The root is the distance of
    /// two directions: zero, with no slope, where they are the same; a center at zero has none, and stays there. One
    /// center for each class costs nothing.
    ///
    /// # Reference
    /// Q. Qian, L. Shang, B. Sun, J. Hu, H. Li, R. Jin, `SoftTriple` Loss, ICCV 2019, §3.3, where its weight is 0.2.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{RowRegularizer, SparseCenters};
    /// // One class of two opposite centers: √4, over 2.
    /// let two = SparseCenters { centers: nearkin_losses::range::Count::literal(2) };
    /// assert_eq!(two.reference(&[3.0, -1.0], 1), 1.0);
    /// ```
    pub struct SparseCenters {
        /// Centers of each class, `K`.
        pub centers: Count = Count::literal(10),
    }
}

impl SparseCenters {
    /// `1 / (C K (K - 1))`, where there are pairs.
    fn weight(&self, rows: usize) -> f64 {
        let k = self.centers.get();
        let pairs = rows / k * k * (k - 1);
        1.0 / pairs.max(1) as f64
    }
}

impl RowRegularizer for SparseCenters {
    fn per_class(&self) -> Option<usize> {
        Some(self.centers.get())
    }

    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        let dim = dim.max(1);
        let k = self.centers.get();
        let weight = self.weight(rows.len() / dim);
        let (unit, norms) = unit_rows(rows, dim);
        let (mut value, mut slopes) = (0.0, vec![0.0; rows.len()]);
        let classes = unit
            .chunks_exact(k * dim)
            .zip(slopes.chunks_exact_mut(k * dim));
        for (w, slopes) in classes {
            for a in 0..k {
                for b in a + 1..k {
                    let difference = |c: usize| f64::from(w[a * dim + c] - w[b * dim + c]);
                    let square: f64 = (0..dim).map(|c| difference(c).powi(2)).sum();
                    let d = square.sqrt();
                    value += weight * d;
                    for c in 0..dim {
                        let slope = (weight * difference(c) / d.max(f64::MIN_POSITIVE)) as f32;
                        slopes[a * dim + c] += slope;
                        slopes[b * dim + c] -= slope;
                    }
                }
            }
        }
        (value, through_unit(&unit, &norms, dim, &slopes))
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        let dim = dim.max(1);
        let unit = |w: &[f64]| {
            let norm = w.iter().map(|w| w * w).sum::<f64>().sqrt();
            let of = |w: &f64| if norm > 0.0 { w / norm } else { 0.0 };
            w.iter().map(of).collect::<Vec<_>>()
        };
        let directions: Vec<_> = rows.chunks_exact(dim).map(unit).collect();
        let mut sum = 0.0;
        for class in directions.chunks_exact(self.centers.get()) {
            for (k, w) in class.iter().enumerate() {
                for v in &class[k + 1..] {
                    let square: f64 = w.iter().zip(v).map(|(w, v)| (w - v).powi(2)).sum();
                    sum += square.sqrt();
                }
            }
        }
        sum * self.weight(directions.len())
    }
}
