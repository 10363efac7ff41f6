//! Doc comments that the program can show.

/// What a table of a recipe says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documented {
    /// The lines of its doc comment.
    pub text: &'static [&'static str],
    /// Its keys with the lines of their doc comments.
    pub keys: &'static [(&'static str, &'static [&'static str])],
}

/// The lines of a doc comment without the space that follows `///`.
pub(crate) fn unindented(lines: &[&str]) -> String {
    let lines = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Declares a recipe table as it is written, and keeps its doc comments in `DOCUMENTATION`.
macro_rules! documented {
    (
        $(#[doc = $doc:literal])*
        #[derive($($derive:ident),*)]
        $(#[serde($($serde:tt)*)])*
        pub struct $name:ident {
            $($(#[doc = $key_doc:literal])* pub $key:ident: $kind:ty),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive($($derive),*)]
        $(#[serde($($serde)*)])*
        pub struct $name {
            $($(#[doc = $key_doc])* pub $key: $kind),*
        }

        impl $name {
            pub(super) const DOCUMENTATION: $crate::documented::Documented = $crate::documented::Documented {
                text: &[$($doc),*],
                keys: &[$((stringify!($key), &[$($key_doc),*])),*],
            };
        }
    };
}

pub(crate) use documented;
