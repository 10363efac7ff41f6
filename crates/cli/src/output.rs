//! Writing to standard output and standard error: a closed pipe or a full disk is no panic.

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// Writes a line to standard output.
pub fn line(text: impl Display) -> Result<(), Failure> {
    write(format_args!("{text}\n"))
}

/// Writes a value to standard output as indented JSON.
pub fn json(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value)?)
}

/// Writes text to standard output as it is.
pub fn write(text: impl Display) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}

/// Writes a line to standard error; where that fails, nobody is there to read it.
pub fn note(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}
