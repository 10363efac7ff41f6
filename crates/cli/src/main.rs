//! The `nearkin` command line: arguments in, library calls, tables or JSON out.

mod arguments;
mod command;
mod failure;
mod output;
mod progress;
mod table;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// Large buffers come and go with every step; the system's allocator gives them back to the kernel
/// each time and pays for the pages again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(arguments.json);
            failure.code()
        }
    }
}

/// Ends the process over arguments that cannot be read, or with the help that was asked for.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args().any(|argument| argument == "--json") {
        let text = error.to_string();
        let message = text.trim_start_matches("error: ").trim_end();
        Failure::usage(message).report(true);
        std::process::exit(error.exit_code());
    }
    error.exit()
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(threads) = arguments.threads {
        nearkin::set_threads(usize::from(threads))
            .map_err(|e| Failure::usage(format!("--threads {threads}: {e}")))?;
    }
    let json = arguments.json;
    match &arguments.command {
        Command::Quickstart(command) => command::quickstart::run(command, json),
        Command::Init(command) => command::init::run(command, json),
        Command::Train(command) => command::train::run(command, json),
        Command::Sweep(command) => command::sweep::run(command, json),
        Command::Compare(command) => command::compare::run(command, json),
        Command::Reproduce(command) => command::reproduce::run(command, json),
        Command::Evaluate(command) => command::evaluate::run(command, json),
        Command::Report(command) => command::report::run(command, json),
        Command::Watch(command) => command::watch::run(command, json),
        Command::Verify(command) => command::verify::run(command, json),
        Command::Embed(command) => command::embed::run(command, json),
        Command::Search(command) => command::search::run(command, json),
        Command::Cluster(command) => command::cluster::run(command, json),
        Command::Mine(command) => command::mine::run(command, json),
        Command::Convert(command) => command::text::convert::run(command, json),
        Command::Explain(command) => command::explain::run(command, json),
        Command::List(command) => command::list::run(command, json),
        Command::Recipe(command) => command::recipe::run(command, json),
    }
}
