//! `nearkin evaluate` and `nearkin verify` of a network of pairs.

use super::evaluate::Data;
use super::subject::ModelFolder;
use super::verify::{Answer, UNDAMAGED, of_one};
use super::{items, pair_verification};
use crate::arguments::{Evaluate, Protocol, Ranked, Verify};
use crate::failure::Failure;
use nearkin::data::Dataset;
use nearkin::feed::Batch;
use nearkin::verify::kept_threshold;
use nearkin::{Input, PairModel, PairOutput};
use std::path::Path;

/// A score up to which two images are the same, where it is a probability of being different.
const EVEN: f64 = 0.5;

/// Measures by scores of pairs, which is what re-identification and verification can be measured by.
pub fn evaluate(arguments: &Evaluate, folder: &Path, json: bool) -> Result<(), Failure> {
    let refused = |what: &str, remedy: &str| {
        let folder = folder.display();
        let text = format!("{folder}: a network of pairs has no vectors to {what}; {remedy}");
        Err(Failure::usage(text))
    };
    let (protocol, verification) = (arguments.protocol, Some(Protocol::Verification));
    if protocol != Some(Protocol::Reid) && protocol != verification {
        return refused(
            "measure otherwise",
            "measure it with --protocol reid or verification",
        );
    }
    if arguments
        .items
        .ranking
        .is_some_and(|how| how != Ranked::Cosine)
    {
        return refused("rank by", "leave --ranking out: it ranks by its scores");
    }
    let model = PairModel::load(folder)?;
    let input = Input::Image(model.config.input.clone());
    let opened = ModelFolder::new(folder, &arguments.tolerance);
    let data = Data::of(arguments, &opened, &input)?;
    if protocol == verification {
        return pair_verification::run(arguments, (&model, folder), &data, json);
    }
    items::run_pairs(&model, &data, json)
}

/// Says whether two images are of the same class, by their score.
pub fn verify(arguments: &Verify, folder: &Path, json: bool) -> Result<(), Failure> {
    let model = PairModel::load(folder)?;
    let output = model.config.pair_network.output();
    let kept = kept_threshold(folder, output.farthest())?;
    let even = (output == PairOutput::Softmax).then_some(EVEN);
    let chosen = arguments
        .threshold
        .or(kept.as_ref().map(|kept| kept.threshold));
    if let Some(threshold) = arguments.threshold
        && output.farthest().is_finite()
        && !(0.0..=output.farthest()).contains(&threshold)
    {
        let farthest = output.farthest();
        let message =
            format!("--threshold {threshold}: scores of this model are from 0 to {farthest}");
        return Err(Failure::usage(message));
    }
    let Some(threshold) = chosen.or(even) else {
        return Err(Failure::usage(format!(
            "{}: its scores may be any numbers, and no threshold is kept there; choose one with `nearkin evaluate MODEL --protocol verification --pairs FILE --keep`, or name it with --threshold",
            folder.display()
        )));
    };
    let input = Input::Image(model.config.input.clone());
    let folder = ModelFolder::new(folder, &UNDAMAGED);
    let image = |path: &Path| -> Result<Batch, Failure> {
        let feed = folder.feed(Dataset::of_image(path)?, &input)?;
        feed.batch(&[0], None).map_err(of_one)
    };
    let (first, second) = (image(&arguments.first)?, image(&arguments.second)?);
    let (first, second) = (first.tensor(&input, 0..1)?, second.tensor(&input, 0..1)?);
    let one =
        |first, second| -> Result<f32, Failure> { Ok(model.scorer.matrix(first, second, 1)?[0]) };
    // The network sees a first and a second image; which is which is no part of the question.
    let score = one(&first, &second)?.midpoint(one(&second, &first)?);
    let answer = Answer {
        measure: "score",
        distance: f64::from(score),
        threshold,
        kept,
    };
    answer.print(json)
}
