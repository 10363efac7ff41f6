//! A margin that is added to an angle.

use crate::described::words;
use crate::range::Degrees;

words! {
    /// What the gradient of an angular margin is.
    pub enum Slope {
        /// The derivative of the value.
        Exact = "exact",
        /// One, as if the margin were added to the cosine.
        Detached = "detached",
    }
}

/// The margin `m(d)`.
#[derive(Clone, Copy)]
pub(super) struct AngularMargin {
    radians: f32,
    sin: f32,
    cos: f32,
    slope: Slope,
}

impl AngularMargin {
    /// Below this the sine of an angle is lost in the rounding of its cosine.
    const SMALLEST_SIN: f32 = 1e-3;

    pub fn new(margin: Degrees, slope: Slope) -> Self {
        let radians = margin.exact().to_radians();
        Self {
            radians: radians as f32,
            sin: radians.sin() as f32,
            cos: radians.cos() as f32,
            slope,
        }
    }

    /// `m(d)` with its slope.
    pub fn shifted(self, d: f32) -> (f32, f32) {
        let inside = (0.0..=2.0).contains(&d);
        let d = d.clamp(0.0, 2.0);
        // cos(θ + m) = cos θ cos m - sin θ sin m, where sin² θ = 1 - (1 - d)².
        let (cos_theta, sin_theta) = (1.0 - d, (d * (2.0 - d)).sqrt());
        let (shifted, slope) = if cos_theta >= -self.cos {
            let ratio = cos_theta / sin_theta.max(Self::SMALLEST_SIN);
            (
                1.0 - cos_theta * self.cos + sin_theta * self.sin,
                self.cos + self.sin * ratio,
            )
        } else {
            (d + self.radians * self.sin, 1.0)
        };
        match self.slope {
            Slope::Detached => (shifted, 1.0),
            Slope::Exact if inside => (shifted, slope),
            Slope::Exact => (shifted, 0.0),
        }
    }
}

/// The cosine of the right class with the margin, by its definition.
fn cos_with_margin(cos: f64, margin: Degrees) -> f64 {
    let m = margin.exact().to_radians();
    let theta = cos.clamp(-1.0, 1.0).acos();
    if theta <= std::f64::consts::PI - m {
        (theta + m).cos()
    } else {
        theta.cos() - m * m.sin()
    }
}

/// The same as the gradient sees it: with a detached slope, the margin is a constant, that of the held cosine.
pub(super) fn cos_of_target([cos, held]: [f64; 2], margin: Degrees, slope: Slope) -> f64 {
    match slope {
        Slope::Exact => cos_with_margin(cos, margin),
        Slope::Detached => cos + (cos_with_margin(held, margin) - held),
    }
}
