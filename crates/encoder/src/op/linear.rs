//! The linear layer, with its bias and activation in one tape node.

use super::activation;
use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply3, tracked};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use nearkin_kernels::{
    Activation, LinearGradients, Mat, activate, activate_backward, linear_backward, linear_new,
};

/// Linear map of the rows.
///
/// ```text
/// y = act(x wᵀ + b)
/// ```
///
/// # Shapes
/// - `x`: `[N, in]`
/// - `w`: `[out, in]`
/// - `b`: `[out]`
/// - output: `[N, out]`
///
/// # Errors
/// The shapes do not fit.
pub fn linear(x: &Tensor, w: &Tensor, b: &Tensor, act: Activation) -> Result<Tensor> {
    let (_, inputs) = x.dims2()?;
    let (outputs, w_inputs) = w.dims2()?;
    if inputs != w_inputs || b.dims() != [outputs] {
        candle_core::bail!(
            "linear: x is {:?}, w {:?}, b {:?}; expected [N, in], [out, in], [out]",
            x.dims(),
            w.dims(),
            b.dims()
        );
    }
    if !is_fused(x) {
        return activation::composed(&x.matmul(&w.t()?)?.broadcast_add(b)?, act);
    }
    let op = Linear {
        act,
        pre_activation: Saved::empty(),
        wanted: [x, w, b].map(|input| tracked(&[input])),
    };
    apply3(&x.contiguous()?, &w.contiguous()?, &b.contiguous()?, op)
}

struct Linear {
    act: Activation,
    pre_activation: Saved<Vec<f32>>,
    /// Whether anyone asks for the gradient of x, w and b.
    wanted: [bool; 3],
}

fn mat<'a>(data: &'a [f32], shape: &Shape) -> Result<Mat<'a>> {
    let (rows, cols) = shape.dims2()?;
    Ok(Mat::new(data, rows, cols))
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("linear forward");
        let x = mat(contiguous(x, xl)?, xl.shape())?;
        let w = mat(contiguous(w, wl)?, wl.shape())?;
        let (b, shape) = (contiguous(b, bl)?, (x.rows, w.rows));
        if self.act == Activation::None || !self.wanted.contains(&true) {
            return Ok(output(linear_new(x, w, b, self.act), shape));
        }
        let y = linear_new(x, w, b, Activation::None);
        let mut activated = vec![0.0; y.len()];
        activate(self.act, &y, &mut activated);
        self.pre_activation.put(y);
        Ok(output(activated, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let _span = span("linear backward");
        let dy = dy.contiguous()?;
        let upstream = Host::new(&dy)?;
        let through_activation = if self.act == Activation::None {
            None
        } else {
            let z = self.pre_activation.take("linear")?;
            let mut dz = vec![0.0; z.len()];
            activate_backward(self.act, &z, &upstream, &mut dz);
            Some(dz)
        };
        let dz = mat(
            through_activation.as_deref().unwrap_or(&upstream),
            dy.shape(),
        )?;
        let (xs, ws) = (Host::new(x)?, Host::new(w)?);
        let [mut dx, mut dw, mut db] = [(0, x), (1, w), (2, b)]
            .map(|(i, input)| self.wanted[i].then(|| vec![0.0; input.elem_count()]));
        linear_backward(
            mat(&xs, x.shape())?,
            mat(&ws, w.shape())?,
            dz,
            LinearGradients {
                dx: dx.as_deref_mut(),
                dw: dw.as_deref_mut(),
                db: db.as_deref_mut(),
            },
        );
        let of =
            |d: Option<Vec<f32>>, input: &Tensor| d.map(|d| tensor(d, input.shape())).transpose();
        Ok((of(dx, x)?, of(dw, w)?, of(db, b)?))
    }
}
