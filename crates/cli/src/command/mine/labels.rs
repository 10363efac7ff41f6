//! `nearkin mine labels`

use crate::arguments::Labels;
use crate::command::found::{Input, Table, check_output, load, working};
use crate::failure::Failure;
use crate::output;
use nearkin::evaluate::{LabelNoise, Planted, label_noise};
use nearkin::vectors;
use serde_json::Value;

/// Writes the items whose neighbors say that their label is wrong, the most suspect first.
pub fn run(arguments: &Labels, json: bool) -> Result<(), Failure> {
    check_output(&arguments.items.out)?;
    let Input { corpus, noun } = load(&arguments.items, &arguments.items.input)?;
    let Some(classes) = &corpus.classes else {
        return Err(Failure::usage(format!(
            "{}: the {noun}s have no labels that could be wrong",
            arguments.items.input.display()
        )));
    };
    if let Some(row) = classes.iter().position(|class| class.trim().is_empty()) {
        return Err(Failure::usage(format!(
            "{}: the label of {noun} {} of {} is empty",
            arguments.items.input.display(),
            row + 1,
            classes.len()
        )));
    }
    let (labels, names) = vectors::classes(classes);
    let planted = arguments.plant.map(|share| Planted::new(&labels, share, 0));
    let planted = planted.transpose()?;
    let given = planted.as_ref().map_or(&labels, |planted| &planted.labels);
    let found = working("comparing neighbors", || {
        label_noise(corpus.mat(), given, arguments.neighbors.get())
    })?;
    let mut facts: Vec<(&'static str, Value)> = vec![("alone", found.alone.into())];
    if found.alone > 0 {
        output::note(format_args!(
            "{} {noun}s are alone in their class: nothing says whether their label is right",
            found.alone
        ));
    }
    if let Some(planted) = &planted {
        let recovered = planted.recovered(&found, &labels);
        output::note(format_args!(
            "planted {} wrong labels: {:.1} percent of as many most suspect {noun}s are those, and {:.1} percent of these have their \
             own label suggested",
            recovered.planted,
            100.0 * recovered.precision,
            100.0 * recovered.right_suggestions
        ));
        facts.push(("planted", recovered.planted.into()));
        facts.push(("precision", recovered.precision.into()));
        facts.push(("right_suggestions", recovered.right_suggestions.into()));
    }
    let rows = rows(&found, arguments, |suspect| {
        [&names[given[suspect] as usize], &corpus.names[suspect]]
    });
    let rows = rows.into_iter().map(|(suspect, [label, name])| {
        let suspicion = (f64::from(suspect.suspicion) * 1e6).round() / 1e6;
        vec![
            suspicion.into(),
            suspect.item.into(),
            name.into(),
            label.into(),
            names[suspect.suggested as usize].as_str().into(),
            suspect.agree.into(),
        ]
    });
    let rows: Vec<Vec<Value>> = rows.collect();
    Table {
        columns: vec!["suspicion", "row", noun, "label", "suggested", "agree"],
        what: format!("{} suspects of {} {noun}s", rows.len(), labels.len()),
        rows,
        facts,
    }
    .write(&arguments.items.out, json)
}

/// Those that are written, each with its label and name.
fn rows<'a>(
    found: &'a LabelNoise,
    arguments: &Labels,
    of: impl Fn(usize) -> [&'a str; 2],
) -> Vec<(nearkin::evaluate::Suspect, [&'a str; 2])> {
    let suspects = found.suspects.iter().take(arguments.most.get());
    let suspects = suspects.filter(|s| f64::from(s.suspicion) >= arguments.min_suspicion);
    suspects
        .map(|&suspect| (suspect, of(suspect.item)))
        .collect()
}
