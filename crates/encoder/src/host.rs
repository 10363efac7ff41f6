//! The numbers of a tensor on the host, borrowed.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, Layout, Result, Shape, Storage, StorageRef, Tensor,
};
use std::cell::RefCell;
use std::ops::Deref;

/// What candle reports when a tensor operation fails.
pub use candle_core::Error as TensorError;

/// Borrowed `f32` numbers of a contiguous tensor in host memory.
///
/// A tensor's storage stands behind a lock; this guard keeps it read-locked and reads as a slice.
pub struct Host<'a> {
    storage: StorageRef<'a>,
    start: usize,
    len: usize,
}

impl<'a> Host<'a> {
    /// Borrows the numbers of `tensor`.
    ///
    /// # Errors
    /// The tensor is not `f32`, not contiguous, or on another device.
    pub fn new(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let (start, len) = match &*storage {
            Storage::Cpu(cpu) => {
                let span = contiguous(cpu, layout)?;
                (layout.start_offset(), span.len())
            }
            _ => candle_core::bail!("expected a tensor in host memory"),
        };
        Ok(Self {
            storage,
            start,
            len,
        })
    }
}

impl Deref for Host<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.start..self.start + self.len],
            // `new` has let nothing else in.
            _ => &[],
        }
    }
}

/// The `f32` numbers behind a storage and its layout.
///
/// # Errors
/// The storage is not `f32` or the layout is not contiguous.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => candle_core::bail!(
            "expected a contiguous tensor, found strides {:?}",
            layout.stride()
        ),
    }
}

/// Whether the fused host kernels serve this tensor; otherwise candle's own operations are composed.
pub fn is_fused(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu) && tensor.dtype() == DType::F32
}

/// A tensor in host memory from its numbers.
///
/// # Errors
/// The count of numbers does not fit the shape.
pub fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(data, shape.into(), &Device::Cpu)
}

/// Wraps a kernel's output for candle.
pub(crate) fn output(data: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape.into())
}

/// Lets `work` change the numbers of a host tensor in place.
///
/// # Errors
/// The tensor is not `f32`, not contiguous, or on another device.
pub fn with_mut<R>(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let visit = Visit {
        work: RefCell::new(Some(work)),
        result: RefCell::new(None),
    };
    tensor.inplace_op1(&visit)?;
    let result = visit.result.into_inner();
    result.ok_or_else(|| candle_core::Error::Msg("in-place work did not run".into()))
}

struct Visit<F, R> {
    work: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Visit<F, R> {
    fn name(&self) -> &'static str {
        "with_mut"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(data) = storage else {
            candle_core::bail!("expected f32 numbers, found {:?}", storage.dtype())
        };
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!(
                "expected a contiguous tensor, found strides {:?}",
                layout.stride()
            )
        };
        if let Some(work) = self.work.take() {
            self.result.replace(Some(work(&mut data[start..end])));
        }
        Ok(())
    }
}
