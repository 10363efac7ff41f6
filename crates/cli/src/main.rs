//! The nearkin command line.
fn main() {}
