//! Square roots and reciprocals, which vector registers of the baseline take several times longer for.

use crate::dispatch::dispatch;

dispatch! {
    /// `xᵢ ← √xᵢ`, correctly rounded; on the calling thread.
    pub fn square_roots(x: &mut [f32]) = square_roots_body;

    /// `xᵢ ← 1 / xᵢ`, correctly rounded, and 0 where `xᵢ` is not above 0; on the calling thread.
    pub fn reciprocals(x: &mut [f32]) = reciprocals_body;
}

#[inline(always)]
fn square_roots_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x = x.sqrt();
    }
}

#[inline(always)]
fn reciprocals_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x = if *x > 0.0 { 1.0 / *x } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_that_of_the_definition() {
        let x: Vec<f32> = (0..1003)
            .map(|k| k as f32 * 0.37)
            .chain([-1.0, 1e-40, f32::INFINITY])
            .collect();
        let (mut roots, mut inverses) = (x.clone(), x.clone());
        square_roots(&mut roots);
        reciprocals(&mut inverses);
        for ((x, root), inverse) in x.into_iter().zip(roots).zip(inverses) {
            assert_eq!(root.to_bits() << 1, x.sqrt().to_bits() << 1, "√{x}");
            assert_eq!(inverse, if x > 0.0 { 1.0 / x } else { 0.0 }, "1 / {x}");
        }
    }
}
