//! `nearkin watch`

use crate::arguments;
use crate::failure::Failure;
use crate::output;
use nearkin::report::Watch;
use std::sync::atomic::AtomicBool;

/// Serves the curves of a run until Ctrl-C.
pub fn run(arguments: &arguments::Watch, json: bool) -> Result<(), Failure> {
    let mut watch = Watch::new(&arguments.run, arguments.port)?;
    let address = format!("http://{}/", watch.address());
    if json {
        output::json(&serde_json::json!({ "address": address }))?;
    } else {
        output::line(format_args!("{address}  Ctrl-C ends it, the run goes on"))?;
    }
    // Ctrl-C ends the process: there is nothing to save.
    Ok(watch.serve(&AtomicBool::new(false))?)
}
