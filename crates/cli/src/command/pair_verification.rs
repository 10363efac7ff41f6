//! `nearkin evaluate --protocol verification` of a network of pairs.

use super::asked::Asked;
use super::evaluate::Data;
use super::subject::{left_out, with_remedy};
use super::verification;
use crate::arguments::Evaluate;
use crate::failure::Failure;
use crate::output;
use crate::progress::items as items_bar;
use nearkin::PairModel;
use nearkin::embed::pixels;
use nearkin::evaluate::VerificationOptions;
use nearkin::feed::Feed;
use nearkin::pair_network::PairSearch;
use nearkin::verify::Paired;
use serde_json::json;
use std::path::Path;

/// What thresholds are on.
const DISTANCES: &str = "‖u − v‖² of unit vectors (raw input) and on scores (model)";

/// Measures pairs by their scores beside the raw input, and keeps a threshold where asked.
pub fn run(
    arguments: &Evaluate,
    (model, folder): (&PairModel, &Path),
    data: &Data,
    json: bool,
) -> Result<(), Failure> {
    refuse_vectors(arguments)?;
    let (feed, of_raw) = (&data.feed, verification::options(arguments));
    let asked = Asked::read(arguments, data)?;
    let raw = asked.paired(&pixels(feed, &asked.items).map_err(with_remedy)?)?;
    let paired = scored(model, feed, &asked)?;
    let options = VerificationOptions {
        farthest: farthest(model, &paired),
        ..of_raw.clone()
    };
    let found = [
        asked.measure(&raw, &of_raw)?,
        asked.measure(&paired, &options)?,
    ];
    let folder = arguments.verification.keep.then_some(folder);
    let kept = folder.map(|folder| verification::keep(&paired, &asked.path, &options, folder));
    let kept = kept.transpose()?;
    if let Some(kept) = &kept {
        verification::say_kept("scores", kept);
    }
    if json {
        let mut value = asked.facts(&paired);
        value.insert("damaged".into(), json!(feed.damaged()));
        value.extend(kept.map(|kept| ("kept".into(), verification::json_of_kept(&kept))));
        value.insert("raw".into(), json!(found[0]));
        value.insert("model".into(), json!(found[1]));
        return output::json(&value);
    }
    output::line(format_args!("{}, in percent:", asked.path.display()))?;
    let [raw, model] = &found;
    verification::show(&[("raw input", raw), ("model", model)], DISTANCES)?;
    output::line("scores: means over both orders of the two images")?;
    asked.remarks(&paired).iter().try_for_each(output::line)?;
    left_out(&feed.damaged()).map_or(Ok(()), output::line)
}

/// Options that need vectors.
fn refuse_vectors(arguments: &Evaluate) -> Result<(), Failure> {
    let given = [
        (arguments.verification.frames.is_some(), "--frames"),
        (
            arguments.verification.gallery_model.is_some(),
            "--gallery-model",
        ),
        (!arguments.items.degrade.is_empty(), "--degrade"),
    ];
    let option = given.iter().find(|(is_given, _)| *is_given);
    option.map_or(Ok(()), |(_, option)| {
        Err(Failure::usage(format!(
            "{option} goes with a model that embeds: a network of pairs has no vectors"
        )))
    })
}

/// The pairs with their scores.
fn scored(model: &PairModel, feed: &Feed, asked: &Asked) -> Result<Paired, Failure> {
    let bar = items_bar(asked.items.len(), "reading");
    let search = PairSearch::new(model, feed, &asked.items, &mut |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let search = search.map_err(with_remedy)?;
    let bar = items_bar(asked.pairs.len(), "scoring pairs");
    let paired = Paired::of_scores(&search, &asked.pairs, &mut |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    paired.map_err(with_remedy)
}

/// Up to where thresholds are sought: the largest score that there can be, or where there is none the largest found.
fn farthest(model: &PairModel, paired: &Paired) -> f64 {
    let most = model.config.pair_network.output().farthest();
    if most.is_finite() {
        return most;
    }
    f64::from(paired.distances.iter().copied().fold(0.0, f32::max))
}
