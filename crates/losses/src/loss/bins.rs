//! Histograms of distances with triangular bins: each distance is shared by the two nodes around it.

/// Distances whose places are found side by side.
const BLOCK: usize = 256;

/// Tables that neighboring distances are counted in by turns, so that none waits for the one before it.
const TABLES: usize = 4;

/// `bins + 1` nodes at equal steps from zero to `span`.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    steps: usize,
    span: f32,
    /// Steps in a distance of one.
    scale: f32,
}

/// Distances counted by the node below them.
pub(super) struct Tallies {
    /// Of each node, how many, and the sum of their shares of the node above.
    tables: Vec<[[f64; 2]; TABLES]>,
    nodes: [u32; BLOCK],
    shares: [f32; BLOCK],
}

impl Bins {
    pub fn new(bins: usize, span: f32) -> Self {
        let scale = (bins as f64 / f64::from(span)) as f32;
        Self {
            steps: bins,
            span,
            scale,
        }
    }

    pub fn tallies(self) -> Tallies {
        Tallies {
            tables: vec![[[0.0; 2]; TABLES]; self.steps],
            nodes: [0; BLOCK],
            shares: [0.0; BLOCK],
        }
    }

    /// The node below a distance, clamped to the range, and the share of the node above.
    fn place(self, d: f32) -> (i32, f32) {
        let at = (d * self.scale).max(0.0).min(self.steps as f32);
        let node = (at as i32).min(self.steps as i32 - 1);
        (node, at - node as f32)
    }

    pub fn count(self, d: &[f32], tallies: &mut Tallies) {
        let Tallies {
            tables,
            nodes,
            shares,
        } = tallies;
        for d in d.chunks(BLOCK) {
            for ((node, share), &d) in nodes.iter_mut().zip(&mut *shares).zip(d) {
                let (below, of_next) = self.place(d);
                (*node, *share) = (below as u32, of_next);
            }
            let each = nodes.iter().zip(&*shares).take(d.len());
            for (k, (&node, &share)) in each.enumerate() {
                let tally = &mut tables[node as usize][k % TABLES];
                *tally = [tally[0] + 1.0, tally[1] + f64::from(share)];
            }
        }
    }

    /// Writes the slopes of distances, from those of the nodes; none outside the range.
    pub fn slopes(self, nodes: &[f64]) -> impl Fn(&[f32], &mut [f32]) + use<> {
        let scale = self.steps as f64 / f64::from(self.span);
        // What is outside comes first.
        let mut slopes = vec![0.0];
        slopes.extend(
            nodes
                .windows(2)
                .map(|pair| ((pair[1] - pair[0]) * scale) as f32),
        );
        move |d, out| {
            let mut places = [0_u32; BLOCK];
            for (d, out) in d.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
                for (place, &d) in places.iter_mut().zip(d) {
                    let inside = d > 0.0 && d < self.span;
                    *place = if inside {
                        self.place(d).0 as u32 + 1
                    } else {
                        0
                    };
                }
                for (out, &place) in out.iter_mut().zip(&places) {
                    *out = slopes[place as usize];
                }
            }
        }
    }
}

impl Tallies {
    /// How much of the distances each node has.
    pub fn histogram(&self) -> Vec<f64> {
        let mut histogram = vec![0.0; self.tables.len() + 1];
        for (node, tables) in self.tables.iter().enumerate() {
            let [count, shares] = [0, 1].map(|k| tables.iter().map(|t| t[k]).sum::<f64>());
            histogram[node] += count - shares;
            histogram[node + 1] += shares;
        }
        histogram
    }
}

/// The share of a distance that node `l` gets, by its definition.
pub(super) fn exact_share(d: f64, l: usize, [bins, span]: [f64; 2]) -> f64 {
    let step = span / bins;
    (1.0 - (d.clamp(0.0, span) - l as f64 * step).abs() / step).max(0.0)
}

/// Sums from each node to the last.
pub(super) fn sums_from(nodes: impl DoubleEndedIterator<Item = f64>) -> Vec<f64> {
    let mut sums: Vec<_> = sums_to(nodes.rev());
    sums.reverse();
    sums
}

/// Sums from the first node to each.
pub(super) fn sums_to(nodes: impl Iterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, node: f64| {
        *sum += node;
        Some(*sum)
    };
    nodes.scan(0.0, add).collect()
}
