//! How many steps fit a time budget.

use super::{Learner, Task};
use crate::error::Result;
use crate::optimize::Optimize;
use crate::prefetch::Prefetch;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How many steps of the recipe fit a time budget, measured on a few steps that are thrown away.
///
/// What evaluations and the final report will take is set aside, and a tenth of the budget for what they do beside. The
/// recipe's own count is the upper bound, one step the lower.
///
/// # Errors
/// As training.
pub fn plan_steps(task: &impl Task, budget: Duration) -> Result<NonZeroU64> {
    let started = Instant::now();
    let train = task.course().train;
    let step = step_time(task)?;
    let costs = task.costs()?;
    let watched = costs.watch / train.evaluate_every.get() as f64;
    let left = budget.as_secs_f64() * 0.9 - started.elapsed().as_secs_f64() - costs.report;
    let fitting = (left / (step + watched).max(1e-9)).max(0.0) as u64;
    Ok(NonZeroU64::new(fitting.min(train.steps.get())).unwrap_or(NonZeroU64::MIN))
}

/// Seconds of one step: its batches read and passed, and its share of a look at the weights that decide them.
fn step_time(task: &impl Task) -> Result<f64> {
    const PROBES: u32 = 5;
    let course = task.course();
    let mut learner = Learner::new(task)?;
    let mut optimizer = Optimize::new(course, learner.parameters())?;
    let started = Instant::now();
    let round = task.round(&learner.model, 0)?;
    let accumulate = f64::from(course.train.accumulate.get());
    let steps_of_round = round
        .as_ref()
        .map_or(1.0, |r| r.batches.len() as f64 / accumulate);
    let mined = started.elapsed().as_secs_f64() / steps_of_round;
    let probes = 0..u64::from(PROBES) + 1;
    let batches = Prefetch::start(task.batches(round)?, probes.clone());
    let mut timed = Duration::ZERO;
    for probe in probes {
        let started = Instant::now();
        let measured = task.gradient(&mut learner, &batches.next()?, probe)?;
        optimizer.step(course, probe, learner.parameters(), &measured.gradients)?;
        // The first step pays for memory and threads.
        timed += if probe == 0 {
            Duration::ZERO
        } else {
            started.elapsed()
        };
    }
    Ok((timed / PROBES).as_secs_f64() * accumulate + mined)
}
