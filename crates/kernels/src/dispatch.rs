//! Runtime choice of the SIMD instructions a kernel is compiled for.
//!
//! A kernel's loop is written once as an `#[inline(always)]` function generic over `FMA`. [`dispatch!`] compiles it
//! with AVX-512, with AVX2 + FMA and for the baseline, and calls the version this processor can run; LLVM vectorizes
//! the loop for each.

use std::sync::OnceLock;

/// The instruction sets the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// The target's baseline: SSE2 on `x86_64`, NEON on aarch64.
    Portable,
    /// AVX2, fused multiply-add and counting of bits.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
}

/// Whether the baseline has a fused multiply-add of its own.
pub(crate) const PORTABLE_FMA: bool = cfg!(target_arch = "aarch64");

/// The instruction set in use, chosen at the first call: the widest this processor has, or a narrower one named by
/// the environment variable `NEARKIN_CPU` (`portable`, `avx2` or `avx512`).
pub fn cpu() -> Cpu {
    static CHOSEN: OnceLock<Cpu> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let best = detect();
        let wanted = match std::env::var("NEARKIN_CPU").as_deref() {
            Ok("portable") => Cpu::Portable,
            Ok("avx2") => Cpu::Avx2,
            _ => best,
        };
        if wanted as u8 <= best as u8 {
            wanted
        } else {
            best
        }
    })
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Cpu {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("popcnt");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq");
    match (avx2, avx512) {
        (true, true) => Cpu::Avx512,
        (true, false) => Cpu::Avx2,
        _ => Cpu::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Cpu {
    Cpu::Portable
}

/// `a * b + c`, fused where the hardware fuses (elsewhere a fused product would be a slow library call).
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `dispatch! { fn name(arg: Type) -> Out = body; }` defines `name`, which runs `body::<FMA>` compiled for [`cpu`].
macro_rules! dispatch {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? = $body:ident;)+) => {$(
        $(#[$meta])*
        #[allow(clippy::inline_always)]
        $vis fn $name($($arg: $ty),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,popcnt")]
                fn avx512($($arg: $ty),*) $(-> $out)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,popcnt")]
                fn avx2($($arg: $ty),*) $(-> $out)? {
                    $body::<true>($($arg),*)
                }
                match $crate::dispatch::cpu() {
                    // SAFETY: `cpu` names an instruction set only when this processor has it.
                    $crate::dispatch::Cpu::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::dispatch::Cpu::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::dispatch::Cpu::Portable => {}
                }
            }
            $body::<{ $crate::dispatch::PORTABLE_FMA }>($($arg),*)
        }
    )+};
}
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The choice is made once per process, so the other paths are tested by other processes.
    #[test]
    fn every_other_path_passes_the_same_tests() {
        for path in ["portable", "avx2"] {
            let tests = Command::new(std::env::current_exe().unwrap())
                .args(["--skip", "every_other_path", "--quiet"])
                .env("NEARKIN_CPU", path)
                .output()
                .unwrap();
            assert!(
                tests.status.success(),
                "{path}: {}",
                String::from_utf8_lossy(&tests.stdout)
            );
        }
    }

    #[test]
    fn the_environment_narrows_the_choice() {
        match std::env::var("NEARKIN_CPU").as_deref() {
            Ok("portable") => assert_eq!(cpu(), Cpu::Portable),
            Ok("avx2") => assert_ne!(cpu(), Cpu::Avx512),
            _ => assert_eq!(cpu(), detect()),
        }
    }
}
