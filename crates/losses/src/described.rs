//! One source for code, recipe and reference page: a struct whose doc comments the program can read.

/// A parameter of a recipe table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Parameter {
    /// Recipe key.
    pub name: &'static str,
    /// What it means.
    pub doc: String,
    /// Value when the recipe leaves it out.
    pub default: String,
}

/// What a loss, a miner or a distance says about itself; implemented by the macro that declares it.
pub trait Described {
    /// The doc comment of the struct.
    fn text(&self) -> String;

    /// The fields of the struct, each with its doc comment and default.
    fn parameters(&self) -> Vec<Parameter>;
}

/// The lines of a doc comment without the space that follows `///`.
pub(crate) fn unindent(lines: &[&str]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n")
}

/// Declares a recipe table: each field is written with its default, `pub margin: Positive = Positive::literal(0.2)`.
///
/// The struct gets `Default`, serde (missing keys take the default, unknown keys are errors) and [`Described`].
macro_rules! described {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $($(#[doc = $field_doc:literal])* pub $field:ident: $kind:ty = $default:expr),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $kind),*
        }

        #[allow(clippy::derivable_impls, reason = "a table without fields, or whose defaults are the types' own")]
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        impl $crate::described::Described for $name {
            fn text(&self) -> String {
                $crate::described::unindent(&[$($doc),*])
            }

            fn parameters(&self) -> Vec<$crate::described::Parameter> {
                vec![$($crate::described::Parameter {
                    name: stringify!($field),
                    doc: $crate::described::unindent(&[$($field_doc),*]),
                    default: Self::default().$field.to_string(),
                }),*]
            }
        }
    };
}

/// Declares an enum of recipe words; the first is the default.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $(#[doc = $first_doc:literal])* $first:ident = $first_word:literal,
            $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[doc = $first_doc])*
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $($(#[doc = $word_doc])*
            #[serde(rename = $word)]
            $variant),*
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word),*
                })
            }
        }
    };
}

pub(crate) use {described, words};
