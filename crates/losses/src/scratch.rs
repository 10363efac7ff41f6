//! Memory of pair matrices, kept from one batch to the next: fresh pages would cost more than the passes over them.

use std::cell::RefCell;

/// `S` and `G`.
const KEPT: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// `len` numbers of any value.
pub(crate) fn take(len: usize) -> Vec<f32> {
    let mut buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.capacity() < len {
        // Not `resize`, which would copy what nobody needs.
        buffer = vec![0.0; len];
    }
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
