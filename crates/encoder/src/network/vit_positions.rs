//! Positions of a Vision Transformer for another grid of patches than its weights were trained on.

use crate::error::Result;
use crate::parameters::Scope;
use candle_core::Tensor;

/// The name of the tensor.
const NAME: &str = "pos_embed";

/// The stored positions, resampled to a grid of `[height, width]` patches; none where they are of it already, or of no
/// square grid of this width.
pub(super) fn resampled(scope: &Scope, grid: [usize; 2], width: usize) -> Result<Option<Tensor>> {
    let Some(stored) = scope
        .weights()
        .filter(|stored| stored.has(NAME) && !stored.is_fresh(NAME))
    else {
        return Ok(None);
    };
    let (shape, numbers) = stored.tensor(NAME)?;
    let [1, tokens, stored_width] = shape[..] else {
        return Ok(None);
    };
    let side = tokens.saturating_sub(1).isqrt();
    let is_other = tokens != grid[0] * grid[1] + 1;
    if !is_other || stored_width != width || side == 0 || side * side + 1 != tokens {
        return Ok(None);
    }
    let (class, patches) = numbers.split_at(width);
    let columns = along_columns(patches, [side, width], grid[1]);
    let rows = along_rows(&columns, grid[1] * width, grid[0]);
    let all = [class, &rows].concat();
    Ok(Some(scope.given(
        NAME,
        all,
        &[1, grid[0] * grid[1] + 1, width],
    )?))
}

/// `[rows, from, width]` to `[rows, to, width]`.
fn along_columns(x: &[f32], [from, width]: [usize; 2], to: usize) -> Vec<f32> {
    let lines = x.chunks_exact(from * width);
    lines.flat_map(|line| along_rows(line, width, to)).collect()
}

/// `[from, width]` to `[to, width]`, by the cubic filter of Keys 1981 with a = −1/2, widened where there is less to show:
/// PyTorch's `interpolate(mode="bicubic", antialias=True)`, which `timm` uses.
fn along_rows(x: &[f32], width: usize, to: usize) -> Vec<f32> {
    let from = x.len() / width;
    let step = from as f64 / to as f64;
    let widened = step.max(1.0);
    let mut y = vec![0.0; to * width];
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        let center = step * (i as f64 + 0.5);
        let weight = |j: usize| cubic((j as f64 + 0.5 - center) / widened);
        let total: f64 = (0..from).map(weight).sum();
        for (j, x) in x.chunks_exact(width).enumerate() {
            let share = (weight(j) / total) as f32;
            y.iter_mut().zip(x).for_each(|(y, x)| *y += share * x);
        }
    }
    y
}

fn cubic(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tensor;
    use crate::stored::Stored;
    use crate::weights::{Tensors, write};

    /// `timm.layers.resample_abs_pos_embed(x, [height, width], num_prefix_tokens=1)` of a class token and 3 × 3 patches.
    #[test]
    fn other_grids_are_those_of_timm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vit.safetensors");
        let stored = [9.0, 0.0, 7.0, 6.0, 8.0, 2.0, 10.0, 10.0, 2.0, 8.0];
        let tensors = Tensors::from([(
            NAME.to_owned(),
            tensor(stored.to_vec(), (1, 10, 1)).unwrap(),
        )]);
        write(&tensors, &path).unwrap();
        let resample = |grid| {
            let scope = Scope::stored(Stored::open(&path).unwrap(), 0);
            resampled(&scope, grid, 1).unwrap()
        };
        let wide = [
            9.0, 2.586_868, 4.149_181, 6.260_16, 7.596_404, 10.029_791, 4.223_432, 3.886_074,
            9.229_211,
        ];
        let tall = [
            9.0, 2.256_367, 6.605_985, 3.511_523, 6.808_043, 5.579_454, 6.959_871, 6.614_048,
            6.078_363, 7.064_054, 5.475_271,
        ];
        for (grid, want) in [([2, 4], &wide[..]), ([5, 2], &tall[..])] {
            let found = resample(grid)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            assert_eq!(found.len(), want.len());
            for (found, want) in found.iter().zip(want) {
                assert!(
                    (found - want).abs() < 1e-5,
                    "{grid:?}: {found} against {want}"
                );
            }
        }
        assert!(resample([3, 3]).is_none());
    }
}
