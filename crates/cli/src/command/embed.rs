//! `nearkin embed`

use super::subject::{Subject, left_out};
use super::text::{self, is_text_model, resolve};
use crate::arguments::{Embed, only_for_text};
use crate::failure::Failure;
use crate::output;
use nearkin::vectors;
use std::path::Path;

/// Writes a file of vectors.
pub fn run(arguments: &Embed, json: bool) -> Result<(), Failure> {
    let known = vectors::check_extension(&arguments.output);
    known.map_err(|error| Failure::usage(error.to_string()))?;
    // Before the work, not after it.
    let folder = arguments.output.parent().unwrap_or(Path::new(""));
    if !Path::new(".").join(folder).is_dir() {
        return Err(Failure::usage(format!(
            "{}: no such folder to write into",
            folder.display()
        )));
    }
    if arguments.output.is_dir() {
        let output = arguments.output.display();
        return Err(Failure::usage(format!(
            "{output}: is a folder, not a file to write"
        )));
    }
    let model = resolve(&arguments.model)?;
    if is_text_model(&model) {
        return text::embed::run(arguments, &model, json);
    }
    let option = only_for_text(Some(&arguments.text), &arguments.vectors)
        .or(arguments.quantize.is_some().then_some("--quantize"));
    text::refuse_option(option, &model)?;
    let subject = Subject::load(&model, &arguments.tolerance)?;
    let (vectors, damaged) = subject.vectors(&arguments.input)?;
    vectors::write(&arguments.output, &vectors)?;
    let (rows, dim) = (vectors.rows, vectors.dim);
    if json {
        output::line(
            serde_json::json!({ "rows": rows, "dim": dim, "file": arguments.output, "damaged": damaged }),
        )?;
    } else {
        if let Some(text) = left_out(&damaged) {
            output::note(format_args!("warning: {text}"));
        }
        output::note(format_args!(
            "wrote {rows} vectors of {dim} numbers to {}",
            arguments.output.display()
        ));
    }
    Ok(())
}
