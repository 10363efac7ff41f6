//! `nearkin evaluate --protocol verification`

use super::asked::Asked;
use super::evaluate::Data;
use super::subject::{Subject, left_out, with_remedy};
use super::text::{is_text_model, resolve};
use crate::arguments::{Evaluate, VerificationPairs};
use crate::failure::Failure;
use crate::progress::activity;
use crate::{output, table};
use nearkin::embed::pixels;
use nearkin::evaluate::{
    Calibration, Estimate, FoldScores, OverFolds, Verification, VerificationOptions, calibrate,
    verification,
};
use nearkin::feed::Feed;
use nearkin::text::Bootstrap;
use nearkin::text::pairs::{PairScores, threshold_scores};
use nearkin::verify::{Paired, keep_threshold};
use std::path::Path;

/// Measures pairs beside the raw input and as bytes, and keeps a threshold where asked.
pub fn run(
    arguments: &Evaluate,
    subject: &Subject,
    data: &Data,
    json: bool,
) -> Result<(), Failure> {
    let (wanted, feed) = (&arguments.verification, &data.feed);
    refuse_videos(wanted)?;
    let options = options(arguments);
    let asked = Asked::read(arguments, data)?;
    let compared = compared(&asked, arguments, subject, feed)?;
    let bar = activity("measuring");
    let measured = compared
        .iter()
        .map(|compared| asked.measure(&compared.paired, &options));
    let found: Vec<Verification> = measured.collect::<Result<_, Failure>>()?;
    let best = compared.iter().map(|compared| thresholds(&compared.paired));
    let best: Vec<PairScores> = best.collect::<Result<_, Failure>>()?;
    bar.finish_and_clear();
    let paired = &compared[MODEL].paired;
    let folder = wanted.keep.then(|| subject.folder.path());
    let kept = folder.map(|folder| keep(paired, &asked.path, &options, folder));
    let kept = kept.transpose()?;
    if let Some(kept) = &kept {
        say_kept("squared distances", kept);
    }
    if json {
        let mut value = asked.facts(paired);
        value.insert("damaged".into(), serde_json::json!(feed.damaged()));
        value.extend(kept.map(|kept| ("kept".into(), json_of_kept(&kept))));
        for (compared, (found, best)) in compared.iter().zip(found.iter().zip(&best)) {
            value.insert(compared.key.into(), json_of(found, best)?);
        }
        return output::json(&value);
    }
    output::line(format_args!("{}, in percent:", asked.path.display()))?;
    let names = || compared.iter().map(|compared| compared.name);
    show(&names().zip(&found).collect::<Vec<_>>(), UNIT_VECTORS)?;
    show_thresholds(&names().zip(&best).collect::<Vec<_>>())?;
    output::line(in_bytes(&found, subject.model.embedder.dim()))?;
    if let Some(most) = wanted.frames {
        output::line(format_args!(
            "videos: means over all pairs of their frames, of the first {most} of each"
        ))?;
    }
    asked.remarks(paired).iter().try_for_each(output::line)?;
    left_out(&feed.damaged()).map_or(Ok(()), output::line)
}

/// A threshold is kept of single images.
fn refuse_videos(wanted: &VerificationPairs) -> Result<(), Failure> {
    if wanted.frames.is_some() && wanted.keep {
        return Err(Failure::usage(
            "--keep goes without --frames: `nearkin verify` answers by pairs of single images",
        ));
    }
    Ok(())
}

/// What a threshold is on, for those that read.
pub const UNIT_VECTORS: &str = "‖u − v‖² of unit vectors";

/// The share of one kind of pairs beyond which accuracies are not what they are of even numbers.
const UNEVEN: f64 = 0.6;

/// The places of the model and of its bytes among what is compared.
const MODEL: usize = 1;
const BYTES: usize = 2;

/// How pairs are measured.
pub fn options(arguments: &Evaluate) -> VerificationOptions {
    VerificationOptions {
        fars: arguments.verification.far.clone(),
        ..VerificationOptions::default()
    }
}

/// Measures pairs.
pub fn measure(paired: &Paired, options: &VerificationOptions) -> Result<Verification, Failure> {
    let found = verification(&paired.distances, &paired.same, &paired.fold_of, options);
    Ok(found?)
}

/// The best that a threshold on the cosine does on these very pairs.
pub fn thresholds(paired: &Paired) -> Result<PairScores, Failure> {
    // ‖u − v‖² = 2 (1 − cos) of unit vectors.
    let cosines = paired.distances.iter().map(|d| 1.0 - f64::from(*d) / 2.0);
    let cosines: Vec<f64> = cosines.collect();
    Ok(threshold_scores(
        &cosines,
        &paired.same,
        Bootstrap::default(),
    )?)
}

/// Both for machines.
pub fn json_of(found: &Verification, best: &PairScores) -> Result<serde_json::Value, Failure> {
    let mut value = serde_json::to_value(found)?;
    value["thresholds"] = serde_json::to_value(best)?;
    Ok(value)
}

/// Prints what thresholds reach that are chosen on the pairs themselves.
pub fn show_thresholds(rows: &[(&str, &PairScores)]) -> Result<(), Failure> {
    let mut shown = table::new(&[
        "",
        "AP",
        "best F1",
        "from cosine",
        "best accuracy",
        "from cosine",
    ]);
    for (name, best) in rows {
        shown.add_row([
            (*name).to_owned(),
            table::percent(&best.average_precision),
            table::percent(&best.f1),
            format!("{:.4}", best.f1_threshold),
            table::percent(&best.accuracy),
            format!("{:.4}", best.accuracy_threshold),
        ]);
    }
    table::numbers_right(&mut shown);
    output::line(shown)?;
    output::line(
        "AP over thresholds on the cosine; best F1 and accuracy by thresholds chosen on these very pairs",
    )
}

/// Pairs as some vectors have them.
struct Compared {
    /// In JSON.
    key: &'static str,
    /// In the table.
    name: &'static str,
    paired: Paired,
}

/// The raw input, the model, its bytes, and where there is an old model that one and the two together.
fn compared(
    asked: &Asked,
    arguments: &Evaluate,
    subject: &Subject,
    feed: &Feed,
) -> Result<Vec<Compared>, Failure> {
    let new = |key, name, paired| Compared { key, name, paired };
    let raw = pixels(feed, &asked.items).map_err(with_remedy)?;
    let model = subject.embed(feed, &asked.items)?;
    let bytes = model.in_bytes()?;
    let mut compared = vec![
        new("raw", "raw input", asked.paired(&raw)?),
        new("model", "model", asked.paired(&model)?),
        new("int8", "model, in bytes", asked.paired(&bytes)?),
    ];
    if let Some(path) = &arguments.verification.gallery_model {
        let folder = resolve(path)?;
        if is_text_model(&folder) {
            let path = path.display();
            return Err(Failure::usage(format!(
                "--gallery-model {path}: a sentence encoder, expected a model of images or features"
            )));
        }
        let gallery = Subject::load(&folder, &arguments.tolerance)?;
        let (new_dim, old_dim) = (model.dim, gallery.model.embedder.dim());
        if new_dim != old_dim {
            return Err(Failure::usage(format!(
                "--gallery-model {}: its vectors have {old_dim} numbers, those of {} {new_dim}",
                path.display(),
                arguments.model.display()
            )));
        }
        let feed = feed.reading(gallery.model.config.input.clone())?;
        let old = gallery.embed(&feed, &asked.items)?;
        let mixed = Paired::between(&model, &old, &asked.pairs)?;
        compared.push(new("gallery", "gallery model", asked.paired(&old)?));
        compared.push(new("mixed", "model to gallery model", mixed));
    }
    Ok(compared)
}

/// What a byte a number costs.
fn in_bytes(found: &[Verification], dim: usize) -> String {
    let [floats, bytes] = [MODEL, BYTES].map(|row| &found[row].folds);
    let points = |of: fn(&FoldScores) -> OverFolds| 100.0 * (of(bytes).mean - of(floats).mean);
    format!(
        "in bytes: vectors of {dim} bytes in place of {}, accuracy {:+.2} and VAL {:+.2} points",
        4 * dim,
        points(|folds| folds.accuracy),
        points(|folds| folds.accepted)
    )
}

/// Keeps the threshold of the first rate in a model folder.
pub fn keep(
    paired: &Paired,
    path: &Path,
    options: &VerificationOptions,
    model: &Path,
) -> Result<Calibration, Failure> {
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
    Ok(found)
}

/// Says up to which distances or scores pairs are the same from now on.
pub fn say_kept(measure: &str, kept: &Calibration) {
    output::note(format_args!(
        "kept: {measure} up to {:.4} are the same",
        kept.threshold
    ));
    if let Some(doubt) = doubt(kept) {
        output::note(doubt);
    }
}

/// A kept threshold for machines.
pub fn json_of_kept(kept: &Calibration) -> serde_json::Value {
    serde_json::json!({ "calibration": kept, "unproven_far": kept.unproven_far() })
}

/// Whether a threshold is behind its rate at all, where the pairs are too few for that.
pub fn doubt(kept: &Calibration) -> Option<String> {
    let (bound, far) = (kept.unproven_far()?, kept.far_asked?);
    Some(format!(
        "{} different pairs are too few to tell a rate of {far} from zero: with 95 % confidence it is below {:.2} %",
        kept.different,
        100.0 * bound
    ))
}

/// What the numbers of pairs say of the figures: a rate that no pair can show, and what is right without looking.
fn cautions(found: &Verification) -> Vec<String> {
    let Verification {
        same, different, ..
    } = *found;
    let mut cautions = Vec::new();
    let often = same.max(different) as f64 / (same + different) as f64;
    if often > UNEVEN {
        let answer = if same > different {
            "same"
        } else {
            "different"
        };
        cautions.push(format!(
            "accuracy: to call all pairs {answer} is right for {:.1} % of them",
            100.0 * often
        ));
    }
    let rates = found.accepted.iter().map(|accepted| accepted.far);
    let untold = rates.filter(|far| far * (different as f64) < 1.0);
    let untold: Vec<String> = untold.map(|far| far.to_string()).collect();
    if !untold.is_empty() {
        cautions.push(format!(
            "FAR {}: of {different} different pairs none may be accepted then, so that these rates are not told from zero",
            untold.join(", ")
        ));
    }
    cautions
}

/// Prints what was found, with the conventions; thresholds are on `distance`.
pub fn show(rows: &[(&str, &Verification)], distance: &str) -> Result<(), Failure> {
    let Some((_, model)) = rows.last() else {
        return Ok(());
    };
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
        let folds = |over: OverFolds| format!("{:.1} ±{:.1}", 100.0 * over.mean, 100.0 * over.std);
        let percent = |estimate: &Estimate| {
            let half = (estimate.high - estimate.low) * 50.0;
            format!("{:.1} ±{half:.1}", 100.0 * estimate.value)
        };
        let mut cells = vec![
            (*name).to_owned(),
            folds(found.folds.accuracy),
            folds(found.folds.accepted),
        ];
        cells.extend([percent(&found.auc), percent(&found.equal_error)]);
        cells.extend(found.accepted.iter().map(|a| percent(&a.tar)));
        shown.add_row(cells);
    }
    table::numbers_right(&mut shown);
    output::line(shown)?;
    cautions(model).iter().try_for_each(output::line)?;
    output::line(format_args!(
        "{} pairs of the same, {} of different ones;\naccuracy and VAL: mean ± deviation over {} folds, thresholds on {distance} chosen on the other folds (LFW);\nAUC, EER and TAR: over all pairs, with half the 95% bootstrap interval; FNMR@FMR is 100 − TAR@FAR",
        model.same, model.different, model.folds.folds
    ))
}
