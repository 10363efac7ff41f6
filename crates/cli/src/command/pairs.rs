//! `nearkin evaluate` and `nearkin verify` of a network of pairs.

use super::evaluate::Data;
use super::items;
use super::subject::ModelFolder;
use crate::arguments::{Evaluate, Protocol, Ranked, Verify};
use crate::failure::Failure;
use crate::output;
use nearkin::data::Dataset;
use nearkin::{Input, PairModel, PairOutput};
use std::path::Path;

/// A score up to which two images are the same, where it is a probability of being different.
const EVEN: f64 = 0.5;

/// Measures by scores of pairs, which is what re-identification can be measured by.
pub fn evaluate(arguments: &Evaluate, folder: &Path, json: bool) -> Result<(), Failure> {
    let refused = |what: &str, remedy: &str| {
        let folder = folder.display();
        let text = format!("{folder}: a network of pairs has no vectors to {what}; {remedy}");
        Err(Failure::usage(text))
    };
    if arguments.protocol != Some(Protocol::Reid) {
        return refused("measure otherwise", "measure it with --protocol reid");
    }
    if arguments
        .items
        .ranking
        .is_some_and(|how| how != Ranked::Cosine)
    {
        return refused("rank by", "leave --ranking out: it ranks by its scores");
    }
    let model = PairModel::load(folder)?;
    let folder = ModelFolder::new(folder, &arguments.tolerance);
    let input = Input::Image(model.config.input.clone());
    items::run_pairs(&model, &Data::of(arguments, &folder, &input)?, json)
}

/// Says whether two images are of the same class, by their score.
pub fn verify(arguments: &Verify, folder: &Path, json: bool) -> Result<(), Failure> {
    let model = PairModel::load(folder)?;
    let even = (model.config.pair_network.output() == PairOutput::Softmax).then_some(EVEN);
    let Some(threshold) = arguments.threshold.or(even) else {
        return Err(Failure::usage(format!(
            "{}: its scores may be any numbers: name with --threshold up to which one two images are the same",
            folder.display()
        )));
    };
    let input = Input::Image(model.config.input.clone());
    let folder = ModelFolder::new(folder, &arguments.tolerance);
    let image = |path: &Path| {
        let feed = folder.feed(Dataset::of_image(path)?, &input)?;
        let batch = feed.batch(&[0], None)?;
        if batch.items.is_empty() {
            let text = format!("{}: the image cannot be read", path.display());
            return Err(Failure::run(text));
        }
        Ok(batch.tensor(&input, 0..1)?)
    };
    let (first, second) = (image(&arguments.first)?, image(&arguments.second)?);
    let one = |first, second| -> Result<f64, Failure> {
        Ok(f64::from(model.scorer.matrix(first, second, 1)?[0]))
    };
    // The network sees a first and a second image; which is which is no part of the question.
    let score = one(&first, &second)?.midpoint(one(&second, &first)?);
    let same = score <= threshold;
    if json {
        return output::json(&serde_json::json!({
            "same": same, "distance": score, "threshold": threshold, "calibration": null
        }));
    }
    let (answer, sign) = if same {
        ("same", "≤")
    } else {
        ("different", ">")
    };
    output::line(format_args!(
        "{answer}: score {score:.4} {sign} {threshold:.4}"
    ))
}
