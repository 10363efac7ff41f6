//! Where the time of a run goes, by operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ENABLED: AtomicBool = AtomicBool::new(false);
static SPENT: Mutex<BTreeMap<&str, Duration>> = Mutex::new(BTreeMap::new());

/// Starts to count, from zero.
pub fn start() {
    lock().clear();
    ENABLED.store(true, Ordering::Relaxed);
}

/// The time spent in each operation since [`start`], the largest first.
pub fn spent() -> Vec<(&'static str, Duration)> {
    let mut spent: Vec<_> = lock().iter().map(|(&name, &time)| (name, time)).collect();
    spent.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    spent
}

/// Counts the time until the returned guard is dropped; costs next to nothing while off.
///
/// Spans of one thread must not nest: the inner time would count twice.
#[must_use = "the time is counted when the guard is dropped"]
pub fn span(name: &'static str) -> Span {
    let started = ENABLED.load(Ordering::Relaxed).then(Instant::now);
    Span { name, started }
}

/// Counts the time of its life.
pub struct Span {
    name: &'static str,
    started: Option<Instant>,
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(started) = self.started {
            *lock().entry(self.name).or_default() += started.elapsed();
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<&'static str, Duration>> {
    SPENT.lock().unwrap_or_else(PoisonError::into_inner)
}
