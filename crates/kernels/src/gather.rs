//! Looking rows up in a table, and the gradient of it.

use crate::linear::add_assign;
use crate::parallel::rows_per_piece;
use rayon::prelude::*;

/// Pieces the table is cut in by [`scatter_add_rows`]: each is owned by one task, which reads all ids.
const TABLE_PIECES: usize = 32;

/// Row i of `y` becomes row `ids[i]` of `table`.
///
/// # Shapes
/// - `table`: `[entries, cols]`, `ids`: `[n]`, `y`: `[n, cols]`
///
/// # Panics
/// When `y` does not fit or an id is not below the number of entries.
pub fn gather_rows(table: &[f32], cols: usize, ids: &[u32], y: &mut [f32]) {
    assert_eq!(
        y.len(),
        ids.len() * cols,
        "y is not [{}, {cols}]",
        ids.len()
    );
    let piece = rows_per_piece(cols);
    let copy = |(y, ids): (&mut [f32], &[u32])| {
        for (y, &id) in y.chunks_exact_mut(cols.max(1)).zip(ids) {
            y.copy_from_slice(&table[id as usize * cols..][..cols]);
        }
    };
    if ids.len() <= piece {
        copy((y, ids));
    } else if cols > 0 {
        y.par_chunks_mut(piece * cols)
            .zip(ids.par_chunks(piece))
            .for_each(copy);
    }
}

/// Row i of `dy` is added to row `ids[i]` of `dtable`, in the order of i for every entry.
///
/// # Shapes
/// - `dy`: `[n, cols]`, `ids`: `[n]`, `dtable`: `[entries, cols]` (added to)
///
/// # Panics
/// When `dy` does not fit or an id is not below the number of entries.
///
/// ```
/// let mut table = [0.0; 4]; // [2, 2]
/// nearkin_kernels::scatter_add_rows(&[1.0, 2.0, 10.0, 20.0], 2, &[1, 1], &mut table);
/// assert_eq!(table, [0.0, 0.0, 11.0, 22.0]);
/// ```
pub fn scatter_add_rows(dy: &[f32], cols: usize, ids: &[u32], dtable: &mut [f32]) {
    assert_eq!(
        dy.len(),
        ids.len() * cols,
        "dy is not [{}, {cols}]",
        ids.len()
    );
    if cols == 0 {
        return;
    }
    let entries = dtable.len() / cols;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= entries) {
        panic!("id {id} in a table of {entries}");
    }
    let piece = entries.div_ceil(TABLE_PIECES).max(1);
    let add = |(p, dtable): (usize, &mut [f32])| {
        for (dy, &id) in dy.chunks_exact(cols).zip(ids) {
            let local = (id as usize).wrapping_sub(p * piece);
            if local < piece {
                add_assign(dy, &mut dtable[local * cols..][..cols]);
            }
        }
    };
    if ids.len() <= rows_per_piece(cols) {
        dtable.chunks_mut(piece * cols).enumerate().for_each(add);
    } else {
        dtable
            .par_chunks_mut(piece * cols)
            .enumerate()
            .for_each(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    #[test]
    fn rows_are_copied_and_their_gradients_added_up() {
        for (entries, cols, n) in [(5, 3, 0), (1, 1, 7), (70, 33, 100), (40, 64, 3000)] {
            let (table, dy, start) = (
                random(entries * cols, 1),
                random(n * cols, 2),
                random(entries * cols, 3),
            );
            let ids: Vec<u32> = (0..n).map(|i| ((i * i + 5 * i) % entries) as u32).collect();
            let (mut y, mut dtable) = (vec![9.0; n * cols], start.clone());
            gather_rows(&table, cols, &ids, &mut y);
            scatter_add_rows(&dy, cols, &ids, &mut dtable);

            let mut want = to_f64(&start);
            for (i, &id) in ids.iter().enumerate() {
                for c in 0..cols {
                    assert_eq!(y[i * cols + c], table[id as usize * cols + c]);
                    want[id as usize * cols + c] += f64::from(dy[i * cols + c]);
                }
            }
            assert_close(&dtable, &want, 1e-5);
        }
    }
}
