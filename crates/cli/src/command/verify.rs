//! `nearkin verify`

use super::subject::Subject;
use super::text::{is_text_model, resolve};
use super::verification::doubt;
use crate::arguments::{Tolerance, Verify};
use crate::failure::Failure;
use crate::output;
use nearkin::data::Dataset;
use nearkin::embed::embed;
use nearkin::evaluate::{Calibration, FARTHEST, squared_distances};
use nearkin::verify::kept_threshold;
use nearkin::{Error, Mat, PairModel};
use std::path::Path;

/// Says whether two images are of the same class, and how often that answer is wrong.
pub fn run(arguments: &Verify, json: bool) -> Result<(), Failure> {
    let model = resolve(&arguments.model)?;
    if is_text_model(&model) {
        return Err(Failure::usage(
            "verify is for models of images; of texts: nearkin search, or --protocol pairs",
        ));
    }
    if PairModel::is_in(&model) {
        return super::pairs::verify(arguments, &model, json);
    }
    if let Some(threshold) = arguments
        .threshold
        .filter(|t| !(0.0..=FARTHEST).contains(t))
    {
        return Err(Failure::usage(format!(
            "--threshold {threshold}: squared distances of unit vectors are from 0 to 4"
        )));
    }
    let subject = Subject::load(&model, &UNDAMAGED)?;
    let kept = kept_threshold(&model, FARTHEST)?;
    let Some(threshold) = arguments
        .threshold
        .or(kept.as_ref().map(|kept| kept.threshold))
    else {
        return Err(Failure::usage(format!(
            "{}: no threshold is kept there; choose one with `nearkin evaluate MODEL --protocol verification --pairs FILE --keep`, or name it with --threshold",
            model.display()
        )));
    };
    let vector = |path: &Path| -> Result<Vec<f32>, Failure> {
        let feed = subject.feed(Dataset::of_image(path)?)?;
        let embedded = embed(&subject.model, &feed, &[0], &mut |_| {});
        Ok(embedded.map_err(of_one)?.numbers)
    };
    let [first, second] = [vector(&arguments.first)?, vector(&arguments.second)?];
    let width = first.len();
    let distances = squared_distances(Mat::new(&first, 1, width), Mat::new(&second, 1, width))?;
    let distance = f64::from(distances[0]);
    let answer = Answer {
        measure: "distance",
        distance,
        threshold,
        kept,
    };
    answer.print(json)
}

/// Of two images none may be damaged.
pub const UNDAMAGED: Tolerance = Tolerance { damaged: Some(0.0) };

/// What is wrong with the only image.
pub fn of_one(error: Error) -> Failure {
    match error {
        Error::Damaged { last, .. } => Failure::run(last),
        error => error.into(),
    }
}

/// How far apart two images are, and the threshold on that.
pub struct Answer {
    /// What the distance is called.
    pub measure: &'static str,
    /// Smaller for closer.
    pub distance: f64,
    /// Up to which they are the same.
    pub threshold: f64,
    /// What the model folder keeps.
    pub kept: Option<Calibration>,
}

impl Answer {
    /// Prints the answer, below what its threshold was worth where that is known.
    pub fn print(self, json: bool) -> Result<(), Failure> {
        let Self {
            measure,
            distance,
            threshold,
            kept,
        } = self;
        let same = distance <= threshold;
        // What the kept threshold was worth says nothing about another one.
        let worth = kept.filter(|kept| kept.threshold.to_bits() == threshold.to_bits());
        if json {
            let unproven_far = worth.as_ref().and_then(Calibration::unproven_far);
            return output::json(&serde_json::json!({
                "same": same, "distance": distance, "threshold": threshold, "calibration": worth, "unproven_far": unproven_far
            }));
        }
        if let Some(worth) = worth {
            output::line(format_args!(
                "the threshold {threshold:.4} takes {:.2} % of {} different pairs for the same, and {:.2} % of {} pairs of the same for different ({})",
                100.0 * worth.far,
                worth.different,
                100.0 * (1.0 - worth.tar),
                worth.same,
                worth.data
            ))?;
            doubt(&worth).map_or(Ok(()), output::line)?;
        }
        let (answer, sign) = if same {
            ("same", "≤")
        } else {
            ("different", ">")
        };
        output::line(format_args!(
            "{answer}: {measure} {distance:.4} {sign} {threshold:.4}"
        ))
    }
}
