//! `nearkin embed` with a sentence encoder.

use super::TextSubject;
use crate::arguments::{Embed, Quantize};
use crate::failure::Failure;
use crate::output;
use crate::progress::{activity, items, uncounted};
use nearkin::Mat;
use nearkin::quantize::Ranges;
use nearkin::text::embed::{Job, Options, Role, Written, count, embed_file};
use nearkin::vectors::{self, Spool};
use std::path::Path;
use std::time::Instant;

/// Writes a file of vectors of texts.
pub fn run(arguments: &Embed, model: &Path, json: bool) -> Result<(), Failure> {
    let table = arguments
        .text
        .table(&arguments.input, arguments.tolerance.damaged)?;
    let column = arguments.text.column(&table)?;
    let job = Job {
        texts: &table,
        column: &column,
        id: arguments.text.id.as_deref(),
        output: &arguments.output,
    };
    let total = total(job)?;
    let subject = TextSubject::load(model, &arguments.vectors)?;
    let options = Options {
        encoding: subject.options(Role::Text),
        precision: arguments.quantize.map(Into::into),
        ranges: calibration(arguments)?,
    };
    end_on_ctrl_c(&arguments.output, json);
    let bar = total.map_or_else(|| uncounted("embedding"), |total| items(total, "embedding"));
    let mut first = None;
    let start = Instant::now();
    let written = embed_file(&subject.encoder, job, &options, &mut |done| {
        // The rate is that of this run.
        if *first.get_or_insert(done) == done {
            bar.reset_eta();
        }
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let rate = |written: &Written| {
        (written.rows - written.resumed) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    };
    let written = written?;
    report(&written, rate(&written), arguments, json)
}

/// The ranges of bytes that are given.
fn calibration(arguments: &Embed) -> Result<Option<Ranges>, Failure> {
    let Some(path) = &arguments.calibration else {
        return Ok(None);
    };
    if let Some(Quantize::Binary | Quantize::Ubinary) = arguments.quantize {
        return Err(Failure::usage(
            "--calibration goes with --quantize int8 or uint8: bits have no ranges",
        ));
    }
    let vectors = vectors::read(path)?;
    let of = Mat::new(&vectors.data, vectors.rows, vectors.dim);
    let wrong =
        |reason: String| Failure::usage(format!("--calibration {}: {reason}", path.display()));
    // Two rows may be ranges, which are as they are wanted.
    let is_whole = of.data.iter().all(|x| x.fract() == 0.0);
    if of.rows > 2 && is_whole && of.data.iter().any(|x| x.abs() > 1.0) {
        return Err(wrong(
            "whole numbers, as --quantize writes them; expected the model's floats".into(),
        ));
    }
    let ranges = Ranges::of(of).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(ranges))
}

/// How many texts there are, where that can be known beforehand; also finds what is damaged before the work, not after it.
fn total(job: Job) -> Result<Option<usize>, Failure> {
    if job.texts.is_standard_input() {
        return Ok(None);
    }
    let bar = activity("reading the input");
    let total = count(job);
    bar.finish_and_clear();
    Ok(Some(total?))
}

/// On Ctrl-C, says what is kept of the work and ends the process: what lies beside the output is whole at any moment.
fn end_on_ctrl_c(output: &Path, json: bool) {
    let output = output.to_owned();
    let installed = ctrlc::set_handler(move || {
        let stopped = match Spool::leave(&output) {
            Ok(0) => {
                "stopped before any vectors were kept; the same command starts anew".to_owned()
            }
            Ok(kept) => {
                let output = output.display();
                format!(
                    "stopped; the vectors of {kept} texts are kept in {output}.partial, the same command goes on from there"
                )
            }
            Err(error) => format!("stopped; {error}"),
        };
        Failure::stopped(stopped).report(json);
        std::process::exit(130);
    });
    if installed.is_err() {
        output::note("warning: Ctrl-C will end the run without a word of what is kept");
    }
}

fn report(written: &Written, rate: f64, arguments: &Embed, json: bool) -> Result<(), Failure> {
    let Written {
        rows,
        dim,
        resumed,
        tokens,
        damage,
    } = written;
    if json {
        return output::line(serde_json::json!({
            "rows": rows, "dim": dim, "file": arguments.output, "resumed": resumed, "tokens": tokens,
            "texts_per_second": rate, "damaged": damage.rows,
        }));
    }
    if damage.rows > 0 {
        output::note(format_args!("warning: left out {damage}"));
    }
    if *resumed > 0 {
        output::note(format_args!(
            "went on after {resumed} texts of an earlier run"
        ));
    }
    output::note(format_args!(
        "wrote {rows} vectors of {dim} numbers to {} ({rate:.0} texts/s)",
        arguments.output.display()
    ));
    Ok(())
}
