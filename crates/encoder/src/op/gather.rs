//! Embedding gather: rows of a table by index.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nearkin_kernels::{gather_rows, scatter_add_rows, zeros};
use std::sync::Arc;

/// Picks rows of a table.
///
/// ```text
/// y_i = table[ids_i]
/// ```
///
/// # Shapes
/// - `table`: `[V, C]`
/// - `ids`: `N` indices below `V`
/// - output: `[N, C]`
///
/// # Errors
/// An index is `V` or more.
pub fn gather(table: &Tensor, ids: &Arc<[u32]>) -> Result<Tensor> {
    let (rows, _) = table.dims2()?;
    if let Some(at) = ids.iter().position(|&id| id as usize >= rows) {
        candle_core::bail!(
            "gather: index {} at position {at} is not below the table's {rows} rows",
            ids[at]
        );
    }
    if is_fused(table) {
        return apply1(&table.contiguous()?, Gather { ids: ids.clone() });
    }
    table.index_select(&Tensor::from_slice(ids, ids.len(), table.device())?, 0)
}

struct Gather {
    ids: Arc<[u32]>,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("gather forward");
        let (_, cols) = layout.shape().dims2()?;
        let mut y = vec![0.0; self.ids.len() * cols];
        gather_rows(contiguous(table, layout)?, cols, &self.ids, &mut y);
        Ok(output(y, (self.ids.len(), cols)))
    }

    fn bwd(&self, table: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("gather backward");
        let (_, cols) = table.dims2()?;
        let dy = dy.contiguous()?;
        let mut dtable = zeros(table.elem_count());
        scatter_add_rows(&Host::new(&dy)?, cols, &self.ids, &mut dtable);
        Ok(Some(tensor(dtable, table.shape())?))
    }
}
