//! `nearkin convert`

use crate::arguments::Convert;
use crate::failure::Failure;
use crate::output;
use nearkin::text::convert::{Kind, convert};

/// Writes a model folder in the form that every program reads.
pub fn run(arguments: &Convert, json: bool) -> Result<(), Failure> {
    let input = super::resolve(&arguments.input)?;
    let kind = convert(&input, &arguments.output)?;
    let what = match kind {
        Kind::SentenceEncoder => "sentence encoder",
        Kind::CrossEncoder => "cross-encoder",
    };
    if json {
        return output::line(serde_json::json!({ "folder": arguments.output, "kind": what }));
    }
    output::note(format_args!(
        "wrote the {what} to {}",
        arguments.output.display()
    ));
    Ok(())
}
