//! How a command fails: a message for people or machines, and an exit code.

use crate::output;
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
    /// Training ended in numbers that are not finite: exit code 1.
    Diverged,
    /// Stopped on request: exit code 130, as a shell reports Ctrl-C.
    Stopped,
    /// The reader of standard output went away with what it wanted: no failure.
    Unread,
}

impl Failure {
    /// The arguments or the recipe are wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            message: message.into(),
        }
    }

    /// Something failed while running.
    pub fn run(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Run,
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

    /// Standard output cannot be written.
    pub fn output(error: &std::io::Error) -> Self {
        Self {
            kind: if error.kind() == std::io::ErrorKind::BrokenPipe {
                Kind::Unread
            } else {
                Kind::Run
            },
            message: format!("standard output cannot be written: {error}"),
        }
    }

    /// What became of a training run that ended in numbers that are not finite.
    pub fn divergence(&self) -> Option<&str> {
        (self.kind == Kind::Diverged).then_some(self.message.as_str())
    }

    /// The same, of a run that a command of many runs began: stopped, that command goes on.
    pub fn of_many(mut self) -> Self {
        if self.kind == Kind::Stopped {
            let what = self.message.split(';').next().unwrap_or_default();
            self.message = format!("{what}; the same command goes on from there");
        }
        self
    }

    /// The same failure of one thing among several.
    pub fn about(self, what: &str) -> Self {
        let message = format!("{what}: {}", self.message);
        Self { message, ..self }
    }

    /// The process's exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Unread => 0,
            Kind::Run | Kind::Diverged => 1,
            Kind::Usage => 2,
            Kind::Stopped => 130,
        })
    }

    /// Prints the failure: to standard error for people, as an object on standard output for machines.
    pub fn report(&self, json: bool) {
        let kind = match self.kind {
            Kind::Run | Kind::Diverged => "error",
            Kind::Usage => "usage",
            Kind::Stopped => "stopped",
            Kind::Unread => return,
        };
        let object = serde_json::json!({ kind: self.message });
        if !json || output::line(object).is_err() {
            match self.kind {
                Kind::Stopped => output::note(&self.message),
                _ => output::note(format_args!("error: {}", self.message)),
            }
        }
    }
}

impl From<nearkin::Error> for Failure {
    fn from(error: nearkin::Error) -> Self {
        let kind = if error.is_divergence() {
            Kind::Diverged
        } else if error.recipe_key().is_some() || matches!(error, nearkin::Error::Recipe(_)) {
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
    nearkin::cluster::ClusterError,
    nearkin::evaluate::EvaluateError,
    nearkin::hub::HubError,
    nearkin::text::TextError,
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
