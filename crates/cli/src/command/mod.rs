//! The commands: each reads its arguments, calls the library, and prints.

mod degraded;
pub mod embed;
pub mod evaluate;
pub mod explain;
mod grouping;
mod identification;
pub mod init;
mod items;
pub mod list;
pub mod mine;
mod opened;
mod pairs;
pub mod quickstart;
pub mod recipe;
pub mod report;
pub mod reproduce;
pub mod search;
mod seeds;
mod stages;
mod subject;
pub mod sweep;
pub mod text;
pub mod train;
mod vectors;
mod verification;
pub mod verify;
pub mod watch;
