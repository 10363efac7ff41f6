//! `nearkin explain`

use crate::arguments::{Explain, Explained};
use crate::failure::Failure;
use crate::output;
use crate::table;
use nearkin::sampler::Sampler;
use nearkin_losses::catalogue::{self, Entry};
use nearkin_losses::loss::Loss;
use nearkin_losses::{Worked, worked};
use serde::Serialize;

/// What is said about one entry.
#[derive(Serialize)]
struct Explanation<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// The loss at work on a tiny batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    worked: Option<Worked>,
}

/// Prints an entry of a catalogue with, for a loss, a worked example.
pub fn run(arguments: &Explain, json: bool) -> Result<(), Failure> {
    let entries = match arguments.what {
        Explained::Loss => &catalogue::all_losses(),
        Explained::Miner => catalogue::miners(),
        Explained::Distance => catalogue::distances(),
        Explained::Reducer => catalogue::reducers(),
        Explained::Regularizer => catalogue::regularizers(),
        Explained::Sampler => &Sampler::entries(),
    };
    let Some(entry) = entries.iter().find(|entry| entry.name == arguments.name) else {
        return Err(unknown(arguments, entries));
    };
    let worked = match arguments.what {
        Explained::Loss => worked_example(entry.name)?,
        _ => None,
    };
    if json {
        output::json(&Explanation { entry, worked })?;
        return Ok(());
    }
    output::write(catalogue::page(entry))?;
    if let Some(worked) = worked {
        print_worked(&worked)?;
    }
    Ok(())
}

fn unknown(arguments: &Explain, entries: &[Entry]) -> Failure {
    let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
    let (what, name) = (arguments.what.name(), &arguments.name);
    let nearest = match nearkin::nearest(name, names.iter().copied()) {
        Some(nearest) => format!("; did you mean '{nearest}'?"),
        None => String::new(),
    };
    Failure::usage(format!(
        "no {what} is called '{name}'{nearest} There are: {}",
        names.join(", ")
    ))
}

fn worked_example(name: &str) -> Result<Option<Worked>, Failure> {
    let Some(loss) = Loss::defaults()
        .into_iter()
        .find(|loss| loss.name() == name)
    else {
        return Ok(None);
    };
    worked(loss.into()).map_err(|error| Failure::usage(error.to_string()))
}

fn print_worked(worked: &Worked) -> Result<(), Failure> {
    output::line(format_args!(
        "\nOn six points of the unit circle, two of each class, with its default parts:\n"
    ))?;
    let names: Vec<_> = worked
        .angles
        .iter()
        .map(|angle| format!("{angle}°"))
        .collect();
    let mut header = vec!["point", "class"];
    let with_distances = !worked.distances.is_empty();
    if with_distances {
        header.extend(names.iter().map(String::as_str));
    }
    header.push("turns by");
    let mut table = table::new(&header);
    for (i, name) in names.iter().enumerate() {
        let mut row = vec![name.clone(), worked.labels[i].to_string()];
        if with_distances {
            row.extend(worked.distances[i].iter().map(|d| format!("{d:.3}")));
        }
        row.push(format!("{:+.2}°", worked.turns[i]));
        table.add_row(row);
    }
    table::numbers_right(&mut table);
    output::line(table)?;
    output::line(format_args!(
        "L = {:.4} over {} tuples, {:.0} % of them violated. The columns are distances; a point turns by that much for a \
         gradient step of length one, positive is counterclockwise.",
        worked.value,
        worked.tuples,
        100.0 * worked.active
    ))?;
    Ok(())
}
