//! `nearkin embed` with a sentence encoder.

use super::TextSubject;
use crate::arguments::Embed;
use crate::failure::Failure;
use crate::output;
use crate::progress::{activity, items, uncounted};
use nearkin::text::TextTable;
use nearkin::text::embed::{Job, Options, Role, Written, count, embed_file};
use std::path::Path;
use std::time::Instant;

/// Writes a file of vectors of texts.
pub fn run(arguments: &Embed, model: &Path, json: bool) -> Result<(), Failure> {
    let table = arguments
        .text
        .table(&arguments.input, arguments.tolerance.damaged)?;
    let column = arguments.text.column(&table)?;
    let total = total(&table, &column)?;
    let subject = TextSubject::load(model, &arguments.vectors)?;
    let options = Options {
        encoding: subject.options(Role::Text),
        precision: arguments.quantize.map(Into::into),
    };
    let job = Job {
        texts: &table,
        column: &column,
        id: arguments.text.id.as_deref(),
        output: &arguments.output,
    };
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

/// How many texts there are, where that can be known beforehand; also finds what is damaged before the work, not after it.
fn total(table: &TextTable, column: &str) -> Result<Option<usize>, Failure> {
    if table.is_standard_input() {
        return Ok(None);
    }
    let bar = activity("reading the input");
    let total = count(table, column);
    bar.finish_and_clear();
    Ok(Some(total?))
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
