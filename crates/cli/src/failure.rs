//! How a command fails: a message for people or machines, and an exit code.

use std::process::ExitCode;

/// Why a command ended without its result.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something failed while running: exit code 1.
    Run,
    /// The arguments or the recipe are wrong: exit code 2, as clap's.
    Usage,
    /// Stopped on request: exit code 130, as a shell reports Ctrl-C.
    Stopped,
}

impl Failure {
    /// The arguments or the recipe are wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            message: message.into(),
        }
    }

    /// Stopped on request.
    pub fn stopped(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Stopped,
            message: message.into(),
        }
    }

    /// The process's exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Run => 1,
            Kind::Usage => 2,
            Kind::Stopped => 130,
        })
    }

    /// Prints the failure: to standard error for people, as an object on standard output for machines.
    pub fn report(&self, json: bool) {
        if json {
            let kind = match self.kind {
                Kind::Run => "error",
                Kind::Usage => "usage",
                Kind::Stopped => "stopped",
            };
            println!("{}", serde_json::json!({ kind: self.message }));
        } else if self.kind == Kind::Stopped {
            eprintln!("{}", self.message);
        } else {
            eprintln!("error: {}", self.message);
        }
    }
}

impl From<nearkin::Error> for Failure {
    fn from(error: nearkin::Error) -> Self {
        let kind = if matches!(error, nearkin::Error::Recipe(_)) {
            Kind::Usage
        } else {
            Kind::Run
        };
        Self {
            kind,
            message: error.to_string(),
        }
    }
}

/// Errors of the library's parts go through its one error type.
macro_rules! through_nearkin {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                nearkin::Error::from(error).into()
            }
        })*
    };
}

through_nearkin!(
    std::io::Error,
    nearkin::recipe::RecipeError,
    nearkin::data::DataError,
    nearkin::vectors::VectorsError,
    nearkin::evaluate::EvaluateError,
    nearkin::EncoderError
);

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self {
            kind: Kind::Run,
            message: error.to_string(),
        }
    }
}
