//! Eigenvalues of a symmetric matrix.

/// Steps of the QL iteration for one eigenvalue; two or three are usual.
const STEPS: usize = 60;

/// The eigenvalues of a symmetric matrix `[n, n]`, row-major, in no order: Householder's reduction to three diagonals, then the
/// implicit QL iteration on these. The matrix is overwritten. Time: `4/3 n³`.
///
/// # Reference
/// G. Golub, C. Van Loan, Matrix Computations, 4th edition, 2013, §8.3.
pub(super) fn eigenvalues(matrix: &mut [f64], n: usize) -> Vec<f64> {
    let (mut diagonal, mut beside) = tridiagonal(matrix, n);
    for at in 0..n {
        for _ in 0..STEPS {
            // Up to where a number beside the diagonal is nothing to its neighbors.
            let end = (at..n - 1).find(|&k| {
                let scale = diagonal[k].abs() + diagonal[k + 1].abs();
                beside[k].abs() <= f64::EPSILON * scale
            });
            let end = end.unwrap_or(n - 1);
            if end == at {
                break;
            }
            ql_step(&mut diagonal, &mut beside, at, end);
        }
    }
    diagonal
}

/// `Q' A Q` with numbers on the diagonal and beside it alone: for column after column the vector below the diagonal is
/// reflected onto its first axis.
fn tridiagonal(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut beside = vec![0.0; n.saturating_sub(1)];
    let mut v = vec![0.0; n];
    let mut p = vec![0.0; n];
    for k in 0..n.saturating_sub(2) {
        let below = k + 1..n;
        for i in below.clone() {
            v[i] = a[i * n + k];
        }
        let norm = v[below.clone()].iter().map(|x| x * x).sum::<f64>().sqrt();
        let alpha = if v[k + 1] > 0.0 { -norm } else { norm };
        beside[k] = alpha;
        // ‖v - α e‖² = 2 α (α - v₁).
        let half = alpha * (alpha - v[k + 1]);
        if half == 0.0 {
            continue;
        }
        v[k + 1] -= alpha;
        // A ← A - v w' - w v' with w = p - (v·p / 2 half) v and p = A v / half.
        for i in below.clone() {
            let row = &a[i * n + k + 1..(i + 1) * n];
            let product: f64 = row.iter().zip(&v[k + 1..]).map(|(a, v)| a * v).sum();
            p[i] = product / half;
        }
        let along: f64 = below.clone().map(|i| v[i] * p[i]).sum();
        for i in below.clone() {
            p[i] -= along / (2.0 * half) * v[i];
        }
        for i in below {
            let (vi, wi) = (v[i], p[i]);
            let row = &mut a[i * n + k + 1..(i + 1) * n];
            for (a, (v, w)) in row.iter_mut().zip(v[k + 1..].iter().zip(&p[k + 1..])) {
                *a -= vi * w + wi * v;
            }
        }
    }
    if n > 1 {
        beside[n - 2] = a[(n - 1) * n + n - 2];
    }
    ((0..n).map(|i| a[i * n + i]).collect(), beside)
}

/// One implicit QL step with Wilkinson's shift on the block from `start` to `end`.
fn ql_step(d: &mut [f64], e: &mut [f64], start: usize, end: usize) {
    let slope = (d[start + 1] - d[start]) / (2.0 * e[start]);
    let root = slope.hypot(1.0).copysign(slope);
    let mut g = d[end] - d[start] + e[start] / (slope + root);
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for i in (start..end).rev() {
        let (f, b) = (sine * e[i], cosine * e[i]);
        let r = f.hypot(g);
        if i + 1 < end {
            e[i + 1] = r;
        }
        if r == 0.0 {
            d[i + 1] -= shift;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        let turned = d[i + 1] - shift;
        let t = (d[i] - turned) * sine + 2.0 * cosine * b;
        shift = sine * t;
        d[i + 1] = turned + shift;
        g = cosine * t - b;
    }
    d[start] -= shift;
    e[start] = g;
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn sorted(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
        let mut found = eigenvalues(&mut matrix, n);
        found.sort_by(f64::total_cmp);
        found
    }

    fn assert_near(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (f, w) in found.iter().zip(wanted) {
            assert!(
                (f - w).abs() < 1e-9 * (1.0 + w.abs()),
                "{found:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn known_matrices_have_their_eigenvalues() {
        assert_near(&sorted(vec![], 0), &[]);
        assert_near(&sorted(vec![3.0], 1), &[3.0]);
        assert_near(&sorted(vec![2.0, 1.0, 1.0, 2.0], 2), &[1.0, 3.0]);
        assert_near(&sorted(vec![0.0; 16], 4), &[0.0; 4]);
        // Of one direction only.
        let v = [1.0, -2.0, 3.0, 0.5, 4.0];
        let outer: Vec<f64> = v.iter().flat_map(|a| v.map(|b| a * b)).collect();
        assert_near(&sorted(outer, 5), &[0.0, 0.0, 0.0, 0.0, 30.25]);
        // The second difference: 2 - 2 cos(k π / (n + 1)).
        let n = 9;
        let entry = |i: usize, j: usize| match i.abs_diff(j) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let matrix = (0..n * n).map(|at| entry(at / n, at % n)).collect();
        let angle = std::f64::consts::PI / (n as f64 + 1.0);
        let wanted: Vec<f64> = (1..=n)
            .map(|k| 2.0 - 2.0 * (k as f64 * angle).cos())
            .collect();
        assert_near(&sorted(matrix, n), &wanted);
    }

    #[test]
    fn turned_diagonals_keep_their_numbers() {
        let mut rng = named_rng(7, "eigenvalues");
        for n in [3, 20, 61] {
            let wanted: Vec<f64> = (0..n).map(|i| (i * i) as f64 / 7.0 - 3.0).collect();
            let mut matrix = vec![0.0; n * n];
            for (i, value) in wanted.iter().enumerate() {
                matrix[i * n + i] = *value;
            }
            // H A H with H = I - 2 u u', for several u.
            for _ in 0..4 {
                let u: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
                let norm = u.iter().map(|x| x * x).sum::<f64>();
                let reflect = |m: &[f64]| -> Vec<f64> {
                    let dots: Vec<f64> = (0..n)
                        .map(|j| (0..n).map(|i| u[i] * m[i * n + j]).sum())
                        .collect();
                    let entry = |at: usize| m[at] - 2.0 / norm * u[at / n] * dots[at % n];
                    let m: Vec<f64> = (0..n * n).map(entry).collect();
                    (0..n * n).map(|at| m[at % n * n + at / n]).collect()
                };
                matrix = reflect(&reflect(&matrix));
            }
            assert_near(&sorted(matrix, n), &wanted);
        }
    }
}
