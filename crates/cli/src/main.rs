//! The `nearkin` command line: arguments in, library calls, tables or JSON out.

mod arguments;
mod command;
mod failure;
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
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(arguments.json);
            failure.code()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(threads) = arguments.threads {
        nearkin::set_threads(threads.get())
            .map_err(|e| Failure::usage(format!("--threads {threads}: {e}")))?;
    }
    let json = arguments.json;
    match &arguments.command {
        Command::Quickstart(command) => command::quickstart::run(command, json),
        Command::Init(command) => command::init::run(command),
        Command::Train(command) => command::train::run(command, json),
        Command::Evaluate(command) => command::evaluate::run(command, json),
        Command::Embed(command) => command::embed::run(command, json),
        Command::Search(command) => command::search::run(command, json),
        Command::List(command) => command::list::run(command, json),
        Command::Recipe(command) => command::recipe::run(command, json),
    }
}
