//! Threads: rayon's global pool, and how work is cut for it.
//!
//! Pieces depend on sizes only, never on timing or on the number of threads, so that sums over pieces are the same
//! bits in every run.

use rayon::prelude::*;
use std::cell::{Cell, RefCell};

/// Numbers a piece of work holds: small enough for a core's second-level cache, large enough to hide the hand-over.
pub(crate) const GRAIN: usize = 1 << 14;

/// Partial sums a reduction keeps at most.
const MAX_PARTS: usize = 64;

/// [`set_threads`] came too late: the pool was already running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadsAlreadySet;

impl std::fmt::Display for ThreadsAlreadySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the thread pool already runs with {} threads", threads())
    }
}

impl std::error::Error for ThreadsAlreadySet {}

/// Starts the global pool with `n` threads (`0`: one per core).
///
/// # Errors
/// [`ThreadsAlreadySet`] when the pool already runs, because it was set before or because a kernel has used it.
pub fn set_threads(n: usize) -> Result<(), ThreadsAlreadySet> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build_global()
        .map_err(|_| ThreadsAlreadySet)
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the kernels that it calls on this thread alone, for callers that share out work among threads themselves:
/// whole batches wait for one another less often than pieces of every operation do.
///
/// ```
/// let (mut y, x) = ([0.0; 2], [1.0, -1.0]);
/// nearkin_kernels::alone(|| nearkin_kernels::activate(nearkin_kernels::Activation::Relu, &x, &mut y));
/// assert_eq!(y, [1.0, 0.0]);
/// ```
pub fn alone<T>(f: impl FnOnce() -> T) -> T {
    /// Puts the flag back, also when `f` panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Restore(ALONE.replace(true));
    f()
}

/// Runs `f` on a thread of the pool, for callers outside it that call many kernels: from elsewhere each of them would hand its
/// work over and sleep until it is done.
///
/// ```
/// let x = [1.0, 2.0];
/// let sum = nearkin_kernels::within_pool(|| nearkin_kernels::squared_norm(&x));
/// assert_eq!(sum, 5.0);
/// ```
pub fn within_pool<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| f())
}

/// Threads the kernels use: those of the pool, or one within [`alone`].
pub fn threads() -> usize {
    if ALONE.get() {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// Rows of `cols` numbers that make one piece.
pub(crate) fn rows_per_piece(cols: usize) -> usize {
    (GRAIN / cols.max(1)).max(1)
}

/// Rows in each of the at most [`MAX_PARTS`] parts of a reduction over `rows`.
pub(crate) fn rows_per_part(rows: usize, cols: usize) -> usize {
    rows_per_piece(cols).max(rows.div_ceil(MAX_PARTS))
}

/// `f(x, y)` on matching pieces of `piece` numbers of two slices of one length.
pub(crate) fn for_pieces(
    x: &[f32],
    y: &mut [f32],
    piece: usize,
    f: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    assert_eq!(x.len(), y.len(), "input and output lengths differ");
    if x.len() <= piece {
        f(x, y);
    } else if threads() == 1 {
        y.chunks_mut(piece)
            .zip(x.chunks(piece))
            .for_each(|(y, x)| f(x, y));
    } else {
        y.par_chunks_mut(piece)
            .zip(x.par_chunks(piece))
            .for_each(|(y, x)| f(x, y));
    }
}

/// `f(y)` on pieces of `piece` numbers.
pub(crate) fn for_pieces_in_place(
    y: &mut [f32],
    piece: usize,
    f: impl Fn(&mut [f32]) + Sync + Send,
) {
    if y.len() <= piece {
        f(y);
    } else if threads() == 1 {
        y.chunks_mut(piece).for_each(f);
    } else {
        y.par_chunks_mut(piece).for_each(f);
    }
}

/// `f(i)` for every `i < n`, in parallel when `parallel` says the work is worth it.
pub(crate) fn for_each(n: usize, parallel: bool, f: impl Fn(usize) + Sync + Send) {
    if parallel && n > 1 && threads() > 1 {
        (0..n).into_par_iter().for_each(f);
    } else {
        (0..n).for_each(f);
    }
}

/// `f(part)` for `n` parts of a reduction; the results come in the parts' order.
pub(crate) fn map_parts<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    if n > 1 && threads() > 1 {
        (0..n).into_par_iter().map(f).collect()
    } else {
        (0..n).map(f).collect()
    }
}

/// A mutable slice that several threads write at places that never overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T = f32> {
    pointer: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `slice` and `pointer`, whose caller promises that places handed out at one time are disjoint.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// Of memory that need not be initialized, for those who write before they read.
    ///
    /// # Safety
    /// `len` places from `pointer` on must be valid to write for as long as this is used.
    pub(crate) unsafe fn raw(pointer: *mut T, len: usize) -> Self {
        Self {
            pointer,
            len,
            slice: std::marker::PhantomData,
        }
    }

    /// The places `start..start + len`.
    ///
    /// # Safety
    /// No two slices that live at one time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(
            start + len <= self.len,
            "{start}..{} of {}",
            start + len,
            self.len
        );
        // SAFETY: within the slice this was made from; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), len) }
    }

    /// The address of place `start`, of which `reach` numbers will be used.
    pub(crate) fn pointer(&self, start: usize, reach: usize) -> *mut T {
        assert!(
            start + reach <= self.len,
            "{start}..{} of {}",
            start + reach,
            self.len
        );
        // SAFETY: within the slice this was made from.
        unsafe { self.pointer.add(start) }
    }
}

/// Bytes of a cache line: where scratch buffers begin, so that a full vector never lies across two lines.
const LINE: usize = 64;

/// `f` with a per-thread buffer of `len` numbers of unknown value, kept for the next call.
pub(crate) fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        // One buffer for each depth of nesting; the last one given back is the first one taken.
        static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    let room = len + LINE / size_of::<f32>();
    if buffer.len() < room {
        buffer = vec![0.0; room];
    }
    let start = buffer.as_ptr().align_offset(LINE);
    let out = f(&mut buffer[start..][..len]);
    SCRATCH.with_borrow_mut(|stack| stack.push(buffer));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_set_once() {
        let first = set_threads(2);
        assert!(first == Err(ThreadsAlreadySet) || threads() == 2);
        assert_eq!(set_threads(3), Err(ThreadsAlreadySet));
    }

    #[test]
    fn nested_scratch_buffers_are_separate_and_kept() {
        let addresses = || {
            with_scratch(100, |outer| {
                outer.fill(1.0);
                let inner = with_scratch(200, |inner| {
                    inner.fill(2.0);
                    inner.as_ptr()
                });
                assert!(outer.iter().all(|&x| x == 1.0));
                (outer.as_ptr(), inner)
            })
        };
        assert_eq!(addresses(), addresses());
    }
}
