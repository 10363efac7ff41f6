//! Histograms of distances with triangular bins: each distance is shared by the two nodes around it.

/// `bins + 1` nodes at equal steps from zero to `span`.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    bins: usize,
    span: f32,
}

impl Bins {
    pub fn new(bins: usize, span: f32) -> Self {
        Self { bins, span }
    }

    pub fn empty(self) -> Vec<f64> {
        vec![0.0; self.bins + 1]
    }

    /// The node below a distance, clamped to the range, and the share of the node above.
    fn place(self, d: f32) -> (usize, f32) {
        let at = d.clamp(0.0, self.span) / self.span * self.bins as f32;
        let node = (at as usize).min(self.bins - 1);
        (node, at - node as f32)
    }

    pub fn add(self, d: f32, histogram: &mut [f64]) {
        let (node, share) = self.place(d);
        histogram[node] += 1.0 - f64::from(share);
        histogram[node + 1] += f64::from(share);
    }

    /// The slope of a distance, from those of the nodes; none outside the range.
    pub fn slope(self, d: f32, nodes: &[f64]) -> f32 {
        if d <= 0.0 || d >= self.span {
            return 0.0;
        }
        let (node, _) = self.place(d);
        ((nodes[node + 1] - nodes[node]) * self.bins as f64 / f64::from(self.span)) as f32
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
