//! Where the time of training goes, by operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whether a profile is asked for, and whether a step is under way.
static ASKED: AtomicBool = AtomicBool::new(false);
static COUNTING: AtomicBool = AtomicBool::new(false);
static SPENT: Mutex<BTreeMap<&str, Duration>> = Mutex::new(BTreeMap::new());

/// The name under which whole steps are counted.
const STEP: &str = "step";

/// The operations that are matrix products or convolutions: what a network must spend its time in.
const PRODUCTS: [&str; 3] = ["conv2d", "linear", "attention"];

/// Where the time of the steps since [`start`] went.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// All of it.
    pub total: Duration,
    /// The part in matrix products and convolutions.
    pub products: Duration,
    /// Each operation, the largest first.
    pub operations: Vec<(&'static str, Duration)>,
}

/// Starts to count, from zero.
pub fn start() {
    lock().clear();
    ASKED.store(true, Ordering::Relaxed);
}

/// Counts the operations until the returned guard is dropped: one step of training. Outside of steps nothing counts.
#[must_use = "the step ends when the guard is dropped"]
pub fn step() -> Step {
    COUNTING.store(ASKED.load(Ordering::Relaxed), Ordering::Relaxed);
    Step(span(STEP))
}

/// What was counted since [`start`].
pub fn spent() -> Profile {
    let mut operations: Vec<_> = lock().iter().map(|(&name, &time)| (name, time)).collect();
    operations.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let sum = |counts: &dyn Fn(&str) -> bool| {
        let times = operations.iter().filter(|(name, _)| counts(name));
        times.map(|(_, time)| *time).sum()
    };
    let (total, products) = (
        sum(&|name| name == STEP),
        sum(&|name| PRODUCTS.iter().any(|product| name.starts_with(product))),
    );
    operations.retain(|(name, _)| *name != STEP);
    Profile {
        total,
        products,
        operations,
    }
}

/// Counts the time until the returned guard is dropped; costs next to nothing while off.
///
/// Spans of one thread must not nest: the inner time would count twice.
#[must_use = "the time is counted when the guard is dropped"]
pub fn span(name: &'static str) -> Span {
    let started = COUNTING.load(Ordering::Relaxed).then(Instant::now);
    Span { name, started }
}

/// A step under way.
pub struct Step(#[expect(dead_code, reason = "it counts when dropped")] Span);

/// Counts the time of its life.
pub struct Span {
    name: &'static str,
    started: Option<Instant>,
}

impl Drop for Step {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::Relaxed);
    }
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
