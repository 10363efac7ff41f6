//! Part of nearkin.

pub mod data;
pub mod sampler;
pub mod split;
pub mod vectors;
