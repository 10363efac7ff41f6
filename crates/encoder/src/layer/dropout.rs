//! Dropout layer.

use super::Mode;
use crate::error::Result;
use crate::host::Host;
use crate::op;
use crate::parameters::Scope;
use candle_core::{DType, Tensor};

/// Numbers of a batch that decide its seed.
const LOOKED_AT: usize = 4096;

/// Drops numbers in training.
///
/// The mask is a function of the layer's name and of the batch that the network was given: a batch that is passed again,
/// as gradient caching passes it, is dropped as before, and nothing has to be kept or resumed.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    place: u64,
    rate: f32,
}

impl Dropout {
    /// Makes the layer.
    pub fn new(scope: &Scope, rate: f32) -> Self {
        if rate > 0.0 {
            scope.note_batchwise();
        }
        Self {
            place: fnv(scope.name().bytes()),
            rate,
        }
    }

    /// Drops numbers of `x`; `batch` is the input of the network.
    ///
    /// # Errors
    /// Fails only if memory or the device fails.
    pub fn forward(&self, x: &Tensor, batch: &Tensor, mode: Mode) -> Result<Tensor> {
        if mode == Mode::Eval || self.rate <= 0.0 {
            return Ok(x.clone());
        }
        let dropout = op::Dropout {
            seed: self.place ^ seed(batch)?,
            rate: self.rate,
        };
        Ok(op::dropout(x, dropout)?)
    }
}

fn seed(batch: &Tensor) -> Result<u64> {
    let numbers = batch.detach().to_dtype(DType::F32)?.flatten_all()?;
    let numbers = Host::new(&numbers)?;
    let every = numbers.len().div_ceil(LOOKED_AT).max(1);
    let looked_at = numbers.iter().step_by(every);
    Ok(fnv(looked_at.flat_map(|x| x.to_bits().to_le_bytes())))
}

/// The hash of Fowler, Noll and Vo, FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tensor;
    use candle_core::Device;

    #[test]
    fn a_batch_is_dropped_alike_each_time_and_others_otherwise() {
        let scope = Scope::new(0, DType::F32, &Device::Cpu).child("drop");
        let layer = Dropout::new(&scope, 0.5);
        let x = tensor(vec![1.0; 1000], (10, 100)).unwrap();
        let batch = |first: f32| tensor(vec![first, 2.0, 3.0], (1, 3)).unwrap();
        let numbers = |batch: &Tensor, mode| {
            let y = layer.forward(&x, batch, mode).unwrap();
            y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let first = numbers(&batch(1.0), Mode::Train);
        assert_eq!(first, numbers(&batch(1.0), Mode::Replay));
        assert_ne!(first, numbers(&batch(1.5), Mode::Train));
        assert_eq!(numbers(&batch(1.0), Mode::Eval), vec![1.0; 1000]);
        let dropped = first.iter().filter(|y| **y == 0.0).count();
        assert!((400..600).contains(&dropped), "{dropped}");
    }
}
