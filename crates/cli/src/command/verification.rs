//! `nearkin evaluate --protocol verification`

use super::subject::{Subject, left_out, with_remedy};
use crate::arguments::Evaluate;
use crate::failure::Failure;
use crate::progress::activity;
use crate::{output, table};
use nearkin::data::read_pairs;
use nearkin::embed::{Embedded, pixels};
use nearkin::evaluate::{Estimate, Verification, VerificationOptions, calibrate, verification};
use nearkin::feed::Feed;
use nearkin::verify::{Paired, Videos, keep_threshold};
use std::num::NonZeroUsize;
use std::path::Path;

/// Measures pairs beside the raw input, and keeps a threshold where asked.
pub fn run(
    arguments: &Evaluate,
    subject: &Subject,
    feed: &Feed,
    json: bool,
) -> Result<(), Failure> {
    let Some(path) = &arguments.verification.pairs else {
        return Err(Failure::usage("--protocol verification needs --pairs FILE"));
    };
    let pairs = read_pairs(path, feed.dataset())?;
    let frames = arguments.verification.frames.map(NonZeroUsize::get);
    let videos = frames.map(|most| Videos::new(&feed.dataset().names, most));
    let both = pairs.iter().flat_map(|p| [p.first, p.second]);
    if frames.is_some() && arguments.verification.keep {
        return Err(Failure::usage(
            "--keep goes without --frames: `nearkin verify` answers by pairs of single images",
        ));
    }
    let mut items: Vec<usize> = match &videos {
        None => both.collect(),
        Some(videos) => both.flat_map(|item| videos.frames(item)).copied().collect(),
    };
    items.sort_unstable();
    items.dedup();
    let options = VerificationOptions {
        fars: arguments.verification.far.clone(),
        ..VerificationOptions::default()
    };
    let paired = |embedded: &Embedded| {
        let paired = match &videos {
            None => Paired::new(embedded, &pairs),
            Some(videos) => Paired::of_videos(embedded, &pairs, videos),
        };
        paired.map_err(with_remedy)
    };
    let raw = paired(&pixels(feed, &items).map_err(with_remedy)?)?;
    let paired = paired(&subject.embed(feed, &items)?)?;
    let bar = activity("measuring");
    let model = measure(&paired, &options)?;
    let raw = measure(&raw, &options)?;
    bar.finish_and_clear();
    if arguments.verification.keep {
        keep(&paired, path, &options, subject.folder.path())?;
    }
    if json {
        let damaged = feed.damaged();
        output::json(&serde_json::json!({
            "pairs": path, "left_out": paired.left_out, "damaged": damaged, "raw": raw, "model": model
        }))?;
        return Ok(());
    }
    show(path, [("raw input", &raw), ("model", &model)])?;
    if let Some(most) = frames {
        output::line(format_args!(
            "videos: means over all pairs of their frames, of the first {most} of each"
        ))?;
    }
    left_out(&feed.damaged()).map_or(Ok(()), output::line)
}

fn measure(paired: &Paired, options: &VerificationOptions) -> Result<Verification, Failure> {
    let found = verification(&paired.distances, &paired.same, &paired.fold_of, options);
    Ok(found?)
}

fn keep(
    paired: &Paired,
    path: &Path,
    options: &VerificationOptions,
    model: &Path,
) -> Result<(), Failure> {
    let far = options.fars[0];
    let data = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let Some(found) = calibrate(&paired.distances, &paired.same, far, &data)? else {
        return Err(Failure::run(format!(
            "no threshold accepts at most {far} of the different pairs: the nearest pair of all is one of them"
        )));
    };
    keep_threshold(model, &found)?;
    output::note(format_args!(
        "kept: squared distances up to {:.4} are the same",
        found.threshold
    ));
    Ok(())
}

fn show(path: &Path, rows: [(&str, &Verification); 2]) -> Result<(), Failure> {
    let (_, model) = rows[1];
    let header = [
        String::new(),
        "accuracy".into(),
        format!("VAL@FAR={}", model.folds.far),
    ];
    let tars = model.accepted.iter().map(|a| format!("TAR@FAR={}", a.far));
    let header: Vec<String> = header
        .into_iter()
        .chain(["AUC".into(), "EER".into()])
        .chain(tars)
        .collect();
    let mut shown = table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, found) in rows {
        let folds = |over: nearkin::evaluate::OverFolds| {
            format!("{:.1} ±{:.1}", 100.0 * over.mean, 100.0 * over.std)
        };
        let percent = |estimate: &Estimate| {
            let half = (estimate.high - estimate.low) * 50.0;
            format!("{:.1} ±{half:.1}", 100.0 * estimate.value)
        };
        let mut cells = vec![
            name.to_owned(),
            folds(found.folds.accuracy),
            folds(found.folds.accepted),
        ];
        cells.extend([percent(&found.auc), percent(&found.equal_error)]);
        cells.extend(found.accepted.iter().map(|a| percent(&a.tar)));
        shown.add_row(cells);
    }
    table::numbers_right(&mut shown);
    output::line(format_args!(
        "{}: {} pairs of the same, {} of different ones, in percent:",
        path.display(),
        model.same,
        model.different
    ))?;
    output::line(shown)?;
    output::line(format_args!(
        "accuracy and VAL: mean ± deviation over {} folds, thresholds on ‖u − v‖² of unit vectors chosen on the other folds (LFW);\nAUC, EER and TAR: over all pairs, with half the 95% bootstrap interval",
        model.folds.folds
    ))
}
