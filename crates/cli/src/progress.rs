//! Progress bars on standard error.

use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use nearkin::Event;
use nearkin::train::EvaluationRecord;

/// A bar that follows a training run.
pub struct TrainingBar {
    bar: ProgressBar,
}

impl TrainingBar {
    /// A bar at step zero; hidden where standard error is no terminal.
    pub fn new() -> Self {
        let bar = ProgressBar::new(1);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:24.cyan/blue} {pos}/{len} steps  {msg}  ETA {eta}")
        {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Shows an event.
    pub fn show(&self, event: &Event) {
        match event {
            Event::Step(record, steps) => {
                if self.bar.length() != Some(*steps) {
                    // A resumed run starts in the middle; its rate is that of this process.
                    self.bar.set_length(*steps);
                    self.bar.set_position(record.step - 1);
                    self.bar.reset_eta();
                }
                self.bar.set_position(record.step);
                self.bar.set_message(format!(
                    "loss {:.4}  kept {:.0} %  active {:.0} %  {:.0} items/s",
                    record.loss,
                    record.kept * 100.0,
                    record.active * 100.0,
                    record.items_per_second
                ));
            }
            Event::Evaluated(record) => self.line(&format!(
                "step {:>6}  {}  {}{}",
                record.step,
                record.part,
                scores(record),
                if record.best { "  best" } else { "" }
            )),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Checkpoint(_) => {}
            Event::Measuring(what) => self.bar.set_message(format!("measuring the {what}")),
        }
    }

    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            output::note(text);
        } else {
            self.bar.println(text);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The scores of an evaluation in one line.
fn scores(record: &EvaluationRecord) -> String {
    let scores = record.scores.iter();
    let scores: Vec<String> = scores.map(|(name, x)| format!("{name} {x:.3}")).collect();
    scores.join("  ")
}

/// A sign of life with the time that passes, for work whose length is not known.
pub fn activity(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// A bar that counts items, with rate and time left.
pub fn items(count: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{what} {{bar:24.cyan/blue}} {{pos}}/{{len}}  {{per_sec}}  ETA {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// A count with its rate, for items that nobody has counted before.
pub fn uncounted(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let template = format!("{{spinner}} {what} {{pos}}  {{per_sec}}  {{elapsed}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
