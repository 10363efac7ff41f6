//! `nearkin list`

use crate::arguments::{List, Listed};
use crate::failure::Failure;
use crate::output;
use crate::table;
use nearkin_losses::catalogue::{self, Entry};
use serde::Serialize;

#[derive(Serialize)]
struct Line {
    name: &'static str,
    about: String,
    settings: String,
}

/// Prints a catalogue.
pub fn run(arguments: &List, json: bool) -> Result<(), Failure> {
    if arguments.markdown {
        if arguments.what != Listed::Losses {
            return Err(Failure::usage(
                "--markdown goes with `list losses`: its page holds miners, distances, reducers and regularizers too",
            ));
        }
        output::write(catalogue::markdown())?;
        return Ok(());
    }
    match arguments.what {
        Listed::Losses => entries(&catalogue::all_losses(), json),
        Listed::Miners => entries(catalogue::miners(), json),
        Listed::Distances => entries(catalogue::distances(), json),
        Listed::Reducers => entries(catalogue::reducers(), json),
        Listed::Regularizers => entries(catalogue::regularizers(), json),
        Listed::Samplers => {
            let samplers = nearkin::sampler::Sampler::catalogue().into_iter();
            lines(
                &samplers
                    .map(|(name, about, default)| line(name, about, &default))
                    .collect::<Vec<_>>(),
                json,
            )
        }
        Listed::Networks => {
            let networks = nearkin::Network::catalogue().into_iter();
            let networks = networks.map(|(name, about, default)| line(name, about, &default));
            let of_pairs = nearkin::PairNetwork::catalogue().into_iter();
            let of_pairs = of_pairs.map(|(name, about, default)| line(name, about, &default));
            lines(&networks.chain(of_pairs).collect::<Vec<_>>(), json)
        }
        Listed::Optimizers => {
            let optimizers = nearkin::recipe::Optimizer::catalogue().into_iter();
            lines(
                &optimizers
                    .map(|(name, about, default)| line(name, about, &default))
                    .collect::<Vec<_>>(),
                json,
            )
        }
        Listed::Metrics => metrics(json),
    }
}

fn entries(entries: &[Entry], json: bool) -> Result<(), Failure> {
    if json {
        output::json(entries)?;
        return Ok(());
    }
    let mut table = table::new(&["name", "", "settings"]);
    for entry in entries {
        let settings: Vec<String> = entry
            .parameters
            .iter()
            .map(|p| format!("{} = {}", p.name, p.default))
            .collect();
        table.add_row([entry.name, &entry.summary, &settings.join("\n")]);
    }
    output::line(&table)?;
    Ok(())
}

/// A catalogue line from a settings enum: the variant's own table holds the defaults.
fn line(name: &'static str, about: &str, default: &impl Serialize) -> Line {
    // By way of text, where numbers of 32 bits are as short as they were written.
    let text = serde_json::to_string(default).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let settings = value
        .as_object()
        .and_then(|variant| variant.values().next())
        .and_then(|v| v.as_object());
    let settings = settings.map(|s| {
        s.iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect::<Vec<_>>()
    });
    Line {
        name,
        about: about.to_owned(),
        settings: settings.unwrap_or_default().join("\n"),
    }
}

fn lines(lines: &[Line], json: bool) -> Result<(), Failure> {
    if json {
        output::json(lines)?;
        return Ok(());
    }
    let mut table = table::new(&["name", "", "settings"]);
    for line in lines {
        table.add_row([line.name, &line.about, &line.settings]);
    }
    output::line(&table)?;
    Ok(())
}

fn metrics(json: bool) -> Result<(), Failure> {
    let metrics = nearkin::evaluate::metrics();
    if json {
        output::json(metrics)?;
        return Ok(());
    }
    let mut table = table::new(&["name", "definition", "convention"]);
    for metric in metrics {
        table.add_row([metric.name, metric.definition, metric.convention]);
    }
    output::line(&table)?;
    Ok(())
}
