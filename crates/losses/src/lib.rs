//! Part of nearkin.
