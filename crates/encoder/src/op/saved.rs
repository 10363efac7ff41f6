//! What a forward pass keeps for its backward pass.

use candle_core::Result;
use std::sync::{Mutex, PoisonError};

/// A value stored by the forward pass and taken, once, by the backward pass.
///
/// Taking frees the memory as the backward pass proceeds. A second backward pass through the same
/// forward pass finds nothing and is an error.
#[derive(Debug)]
pub(crate) struct Saved<T>(Mutex<Option<T>>);

impl<T> Saved<T> {
    pub fn empty() -> Self {
        Self(Mutex::new(None))
    }

    pub fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    pub fn take(&self, op: &str) -> Result<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| {
            candle_core::Error::Msg(format!("{op}: backward ran twice through one forward pass"))
        })
    }
}
