//! Products of one vector with chosen rows of a table, of `f32` or of bytes.

use crate::dispatch::{dispatch, fma};
use crate::reduce::{self, LANES, add_lanes};

/// yᵢ = x · row `ids[i]` of `table`.
///
/// # Shapes
/// - `x`: `[cols]`, `table`: `[entries, cols]`, `ids`, `y`: `[n]`
///
/// # Panics
/// When `y` does not fit or an id is not below the number of entries.
///
/// ```
/// let mut y = [0.0; 2];
/// nearkin_kernels::dot_rows(&[1.0, 2.0], &[3.0, 4.0, 5.0, 6.0], &[1, 0], &mut y);
/// assert_eq!(y, [17.0, 11.0]);
/// ```
pub fn dot_rows(x: &[f32], table: &[f32], ids: &[u32], y: &mut [f32]) {
    assert_eq!(y.len(), ids.len(), "a place for each id");
    dots(x, table, ids, y);
}

/// As [`dot_rows`], of a table of bytes.
///
/// # Panics
/// As [`dot_rows`].
///
/// ```
/// let mut y = [0.0];
/// nearkin_kernels::dot_byte_rows(&[1.0, 0.5], &[3, -128], &[0], &mut y);
/// assert_eq!(y, [-61.0]);
/// ```
pub fn dot_byte_rows(x: &[f32], table: &[i8], ids: &[u32], y: &mut [f32]) {
    assert_eq!(y.len(), ids.len(), "a place for each id");
    byte_dots(x, table, ids, y);
}

/// Whether `x · row` is at least `bar` for any of the rows `ids` of `table`; those after the first are not looked at.
///
/// # Panics
/// When an id is not below the number of entries.
///
/// ```
/// let table = [1.0, 0.0, 0.0, 1.0]; // [2, 2]
/// assert!(nearkin_kernels::any_dot_reaches(&[0.6, 0.8], &table, &[0, 1], 0.7));
/// assert!(!nearkin_kernels::any_dot_reaches(&[0.6, 0.8], &table, &[0], 0.7));
/// ```
pub fn any_dot_reaches(x: &[f32], table: &[f32], ids: &[u32], bar: f32) -> bool {
    any_dot(x, table, ids, bar)
}

/// yᵢ = xᵢ, as a number.
///
/// # Panics
/// When the lengths differ.
pub fn widen_bytes(x: &[i8], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "input and output lengths differ");
    widen(x, y);
}

dispatch! {
    fn dots(x: &[f32], table: &[f32], ids: &[u32], y: &mut [f32]) = dots_body;
    fn byte_dots(x: &[f32], table: &[i8], ids: &[u32], y: &mut [f32]) = byte_dots_body;
    fn any_dot(x: &[f32], table: &[f32], ids: &[u32], bar: f32) -> bool = any_dot_body;
    fn widen(x: &[i8], y: &mut [f32]) = widen_body;
}

#[inline(always)]
fn dots_body<const FMA: bool>(x: &[f32], table: &[f32], ids: &[u32], y: &mut [f32]) {
    for (y, &id) in y.iter_mut().zip(ids) {
        *y = reduce::dot::<FMA>(x, &table[id as usize * x.len()..][..x.len()]);
    }
}

#[inline(always)]
fn byte_dots_body<const FMA: bool>(x: &[f32], table: &[i8], ids: &[u32], y: &mut [f32]) {
    let (numbers, rest) = x.as_chunks::<LANES>();
    for (y, &id) in y.iter_mut().zip(ids) {
        let row = &table[id as usize * x.len()..][..x.len()];
        let (bytes, rest_of_row) = row.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (x, b) in numbers.iter().zip(bytes) {
            for l in 0..LANES {
                lanes[l] = fma::<FMA>(x[l], f32::from(b[l]), lanes[l]);
            }
        }
        for (l, (&x, &b)) in rest.iter().zip(rest_of_row).enumerate() {
            lanes[l] = fma::<FMA>(x, f32::from(b), lanes[l]);
        }
        *y = add_lanes(lanes);
    }
}

#[inline(always)]
fn any_dot_body<const FMA: bool>(x: &[f32], table: &[f32], ids: &[u32], bar: f32) -> bool {
    for &id in ids {
        if reduce::dot::<FMA>(x, &table[id as usize * x.len()..][..x.len()]) >= bar {
            return true;
        }
    }
    false
}

#[inline(always)]
fn widen_body<const FMA: bool>(x: &[i8], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f32::from(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    /// Each row of the table by a vector, in f64.
    fn reference(x: &[f32], table: &[f64], ids: &[u32]) -> Vec<f64> {
        let row = |&id: &u32| &table[id as usize * x.len()..][..x.len()];
        let dot = |row: &[f64]| row.iter().zip(x).map(|(t, &x)| t * f64::from(x)).sum();
        ids.iter().map(row).map(dot).collect()
    }

    #[test]
    fn products_with_chosen_rows_are_plain_sums() {
        for cols in [0, 1, 7, 31, 32, 33, 128, 300] {
            let (x, table) = (random(cols, 1), random(5 * cols, 2));
            let bytes: Vec<i8> = table.iter().map(|t| (t * 127.9) as i8).collect();
            for ids in [&[][..], &[3], &[4, 0, 0, 2]] {
                let mut y = vec![9.0; ids.len()];
                dot_rows(&x, &table, ids, &mut y);
                let expected = reference(&x, &to_f64(&table), ids);
                assert_close(&y, &expected, 1e-5);
                for bar in [-0.3, 0.1, 2.0] {
                    let any = any_dot_reaches(&x, &table, ids, bar);
                    assert_eq!(any, y.iter().any(|&y| y >= bar), "{cols} {ids:?} {bar}");
                }
                dot_byte_rows(&x, &bytes, ids, &mut y);
                let numbers: Vec<f64> = bytes.iter().map(|&b| f64::from(b)).collect();
                assert_close(&y, &reference(&x, &numbers, ids), 1e-4);
            }
            let mut wide = vec![9.0; bytes.len()];
            widen_bytes(&bytes, &mut wide);
            let same = bytes.iter().zip(&wide).all(|(&b, &w)| f32::from(b) == w);
            assert!(same, "{bytes:?} {wide:?}");
        }
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn an_id_beyond_the_table_is_refused() {
        dot_rows(&[1.0, 1.0], &[1.0; 4], &[2], &mut [0.0]);
    }
}
