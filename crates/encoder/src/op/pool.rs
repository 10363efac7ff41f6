//! Pooling on channels-last maps: maximum, average, L2 and global average.

use super::conv2d::Window;
use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{Pool2d, global_average as kernel_global, global_average_backward, zeros};

/// How the numbers of a window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// `max x`; padding never wins.
    Max,
    /// `Σ x / n`, with `n` the numbers of the window inside the map (padding is not counted).
    Average,
    /// `Σ x / n`, with the padding's zeros counted.
    PaddedAverage,
    /// `√(Σ x²)`, the L2 pooling of FaceNet's networks.
    L2,
}

/// A pooling window and how it goes over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What becomes of a window.
    pub kind: Pooling,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Stride and padding.
    pub window: Window,
    /// Whether a window that is cut by the edge of the map counts where whole ones leave something over.
    pub ceil: bool,
}

impl Pool {
    /// Square windows, whole ones alone.
    pub const fn square(kind: Pooling, side: usize, stride: usize, padding: usize) -> Self {
        Self {
            kind,
            kernel: [side; 2],
            window: Window::square(stride, padding),
            ceil: false,
        }
    }

    /// The same with the windows that the edge cuts.
    #[must_use]
    pub const fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// Its windows over a map.
    pub(crate) fn over(&self, [batch, height, width, channels]: [usize; 4]) -> Pool2d {
        Pool2d {
            batch,
            height,
            width,
            channels,
            kernel: self.kernel,
            stride: self.window.stride,
            padding: self.window.padding,
            ceil: self.ceil,
        }
    }
}

/// Pools windows of a channels-last map.
///
/// # Shapes
/// - `x`: `[N, H, W, C]`
/// - output: `[N, H', W', C]` with `H' = ⌊(H + 2p − k) / s⌋ + 1`, or `⌈…⌉`
///
/// # Errors
/// The padded map is smaller than the window.
pub fn pool2d(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (kernel, [ph, pw]) = (pool.kernel, pool.window.padding);
    if height + 2 * ph < kernel[0]
        || width + 2 * pw < kernel[1]
        || 2 * ph > kernel[0]
        || 2 * pw > kernel[1]
    {
        candle_core::bail!(
            "pool2d: map {height}x{width}, window {kernel:?}, padding {:?}; expected the window within the padded map and padding of at most half the window",
            pool.window.padding
        );
    }
    let geometry = pool.over([batch, height, width, channels]);
    if is_fused(x) {
        return apply1(
            &x.contiguous()?,
            Fused {
                kind: pool.kind,
                geometry,
                argmax: Saved::empty(),
            },
        );
    }
    composed(x, pool.kind, &geometry)
}

/// The same from candle's operations: one row selection per place in the window.
fn composed(x: &Tensor, kind: Pooling, g: &Pool2d) -> Result<Tensor> {
    let flat = x.reshape((g.batch, g.height * g.width, g.channels))?;
    let (out_height, out_width) = (g.output_height(), g.output_width());
    let mut total: Option<Tensor> = None;
    let mut counts = vec![0.0f64; out_height * out_width];
    for place in 0..g.kernel[0] * g.kernel[1] {
        let (ids, inside, counted) = place_ids(g, place, kind);
        for (count, counted) in counts.iter_mut().zip(counted) {
            *count += f64::from(u8::from(counted));
        }
        let ids = Tensor::from_vec(ids, out_height * out_width, x.device())?;
        let rows = flat.index_select(&ids, 1)?;
        let mask = Tensor::from_vec(inside, (1, out_height * out_width, 1), x.device())?
            .to_dtype(x.dtype())?;
        let term = match kind {
            // Outside places repeat a place inside, which changes no maximum.
            Pooling::Max => rows,
            Pooling::Average | Pooling::PaddedAverage => rows.broadcast_mul(&mask)?,
            Pooling::L2 => rows.sqr()?.broadcast_mul(&mask)?,
        };
        total = Some(match (total, kind) {
            (None, _) => term,
            (Some(sum), Pooling::Max) => sum.maximum(&term)?,
            (Some(sum), _) => (sum + term)?,
        });
    }
    let Some(total) = total else {
        candle_core::bail!("pool2d: empty window")
    };
    let pooled = match kind {
        Pooling::Max => total,
        Pooling::Average | Pooling::PaddedAverage => {
            let counts = Tensor::from_vec(counts, (1, out_height * out_width, 1), x.device())?;
            total.broadcast_div(&counts.to_dtype(x.dtype())?)?
        }
        // The root of zero has no derivative: a window of zeros takes part as the smallest normal number would.
        Pooling::L2 => (total + f64::from(f32::MIN_POSITIVE))?.sqrt()?,
    };
    pooled.reshape((g.batch, out_height, out_width, g.channels))
}

/// For one place of the window and each output: the map position it reads, 1 where that lies inside, and whether a mean
/// counts it.
fn place_ids(g: &Pool2d, place: usize, kind: Pooling) -> (Vec<u32>, Vec<f64>, Vec<bool>) {
    let (u, v) = (place / g.kernel[1], place % g.kernel[1]);
    let (mut ids, mut inside, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..g.output_height() {
        for j in 0..g.output_width() {
            let (down, right) = (i * g.stride[0] + u, j * g.stride[1] + v);
            let row = down.wrapping_sub(g.padding[0]);
            let col = right.wrapping_sub(g.padding[1]);
            let is_inside = row < g.height && col < g.width;
            inside.push(f64::from(u8::from(is_inside)));
            let is_padded =
                down < g.height + 2 * g.padding[0] && right < g.width + 2 * g.padding[1];
            counted.push(is_inside || kind == Pooling::PaddedAverage && is_padded);
            let clamp = |at: usize, pad: usize, size: usize| at.saturating_sub(pad).min(size - 1);
            let row = clamp(down, g.padding[0], g.height);
            let col = clamp(right, g.padding[1], g.width);
            ids.push((row * g.width + col) as u32);
        }
    }
    (ids, inside, counted)
}

struct Fused {
    kind: Pooling,
    geometry: Pool2d,
    argmax: Saved<Vec<u32>>,
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("pool forward");
        let g = &self.geometry;
        let x = contiguous(x, layout)?;
        let shape = (g.batch, g.output_height(), g.output_width(), g.channels);
        let mut y = zeros(g.output_len());
        match self.kind {
            Pooling::Max => {
                let mut argmax = vec![0; y.len()];
                g.max_forward(x, &mut y, &mut argmax);
                self.argmax.put(argmax);
            }
            Pooling::Average => g.average_forward(false, x, &mut y),
            Pooling::PaddedAverage => g.average_forward(true, x, &mut y),
            Pooling::L2 => g.l2_forward(x, &mut y),
        }
        Ok(output(y, shape))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("pool backward");
        let dy = dy.contiguous()?;
        let upstream = Host::new(&dy)?;
        let mut dx = zeros(x.elem_count());
        match self.kind {
            Pooling::Max => {
                self.geometry
                    .max_backward(&upstream, &self.argmax.take("pool2d")?, &mut dx);
            }
            Pooling::Average => self.geometry.average_backward(false, &upstream, &mut dx),
            Pooling::PaddedAverage => self.geometry.average_backward(true, &upstream, &mut dx),
            Pooling::L2 => {
                self.geometry
                    .l2_backward(&Host::new(x)?, &Host::new(y)?, &upstream, &mut dx);
            }
        }
        Ok(Some(tensor(dx, x.shape())?))
    }
}

/// Average over all positions of a channels-last map.
///
/// # Shapes
/// - `x`: `[N, H, W, C]`
/// - output: `[N, C]`
///
/// # Errors
/// `x` has not four dimensions.
pub fn global_average(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    if is_fused(x) {
        return apply1(&x.contiguous()?, GlobalAverage);
    }
    x.reshape((batch, height * width, channels))?
        .mean(D::Minus2)
}

struct GlobalAverage;

impl CustomOp1 for GlobalAverage {
    fn name(&self) -> &'static str {
        "global_average"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("pool forward");
        let (batch, height, width, channels) = layout.shape().dims4()?;
        let mut y = vec![0.0; batch * channels];
        kernel_global(
            contiguous(x, layout)?,
            batch,
            height * width,
            channels,
            &mut y,
        );
        Ok(output(y, (batch, channels)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("pool backward");
        let (batch, height, width, channels) = x.dims4()?;
        let dy = dy.contiguous()?;
        let mut dx = zeros(x.elem_count());
        global_average_backward(&Host::new(&dy)?, batch, height * width, channels, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
