//! Readers of well-known data sets in the layouts that they are published in, from a folder or a zip archive of it.
//!
//! Each gives the classes, and where the layout says so the part that an image belongs to, the camera that took it and
//! whether it is searched for or searched through. Folders above those of the layout do not matter.

mod cars196;
mod cub200;
mod cuhk01;
mod cuhk03;
mod lfw;
mod market1501;
mod omniglot;
mod recognized;
mod sop;
#[cfg(test)]
mod tests;
mod viper;

pub use cars196::Cars196;
pub use cub200::Cub200;
pub use cuhk01::Cuhk01;
pub use cuhk03::{Boxes, Cuhk03};
pub use lfw::Lfw;
pub use market1501::Market1501;
pub use omniglot::Omniglot;
pub(crate) use recognized::recognized;
pub use sop::Sop;
pub use viper::Viper;

use std::path::Path;

use super::DataError;

/// The last `N` parts of a path, the file's own last; `None` if it has fewer.
fn last_parts<const N: usize>(file: &str) -> Option<[&str; N]> {
    let mut parts: Vec<&str> = file.rsplit('/').take(N).collect();
    parts.reverse();
    parts.try_into().ok()
}

/// A file's name without its extension.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The error for an image of the set at `path` that is not called as its layout says.
fn wrong_form(path: &Path, file: &str, form: &'static str) -> DataError {
    DataError::Form {
        path: path.to_owned(),
        file: file.to_owned(),
        form,
    }
}
