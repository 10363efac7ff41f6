//! Memory of pair matrices and points, kept from one batch to the next: fresh pages would cost more than the passes over
//! them.

use std::cell::RefCell;

/// `S`, `G` and points of rows and columns with their gradients; of losses over views, those of several pairs of views.
const KEPT: usize = 12;

thread_local! {
    static SPARE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// `len` numbers of any value.
pub(crate) fn take(len: usize) -> Vec<f32> {
    let fitting = SPARE.with_borrow_mut(|spare| {
        let fitting = (0..spare.len()).filter(|&k| spare[k].capacity() >= len);
        let smallest = fitting.min_by_key(|&k| spare[k].capacity());
        if smallest.is_none() && spare.len() == KEPT {
            // The one that has been missed the least makes room.
            spare.remove(0);
        }
        smallest.map(|k| spare.remove(k))
    });
    let mut buffer = fitting.unwrap_or_else(|| vec![0.0; len]);
    buffer.resize(len, 0.0);
    buffer
}

/// Gives a buffer back for the next [`take`] of this thread.
pub(crate) fn keep(buffer: Vec<f32>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}
