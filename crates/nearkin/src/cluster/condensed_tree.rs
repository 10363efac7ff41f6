//! HDBSCAN's condensed tree, and the clusters with the largest excess of mass in it.

use super::dendrogram::{Dendrogram, in_order_of_items};

/// The cluster of each item, or none for noise, from the tree of single linkage.
pub(super) fn clusters(tree: &Dendrogram, min_size: usize) -> Vec<Option<u32>> {
    if tree.items < min_size {
        return vec![None; tree.items];
    }
    let condensed = Condensed::new(tree, min_size);
    let chosen = condensed.choose();
    in_order_of_items(condensed.left.iter().map(|&cluster| chosen[cluster]))
}

/// A cluster of the condensed tree. Density is `λ = 1 / distance`.
struct Cluster {
    parent: usize,
    /// The density at which it parted from others.
    birth: f64,
    /// `Σ (λ_leave − λ_birth)` over its items.
    stability: f64,
}

/// The tree of clusters of `min_size` items or more; parents come before children, the cluster of all items is the first.
struct Condensed {
    clusters: Vec<Cluster>,
    /// The last cluster that each item was in.
    left: Vec<usize>,
}

impl Condensed {
    fn new(tree: &Dendrogram, min_size: usize) -> Self {
        let root = Cluster {
            parent: 0,
            birth: 0.0,
            stability: 0.0,
        };
        let mut condensed = Self {
            clusters: vec![root],
            left: vec![0; tree.items],
        };
        let mut open = vec![(tree.items + tree.merges.len() - 1, 0)];
        while let Some((node, cluster)) = open.pop() {
            let (density, parts) = come_apart(tree, node);
            let (large, small): (Vec<usize>, Vec<usize>) = parts
                .iter()
                .partition(|&&part| size(tree, part) >= min_size);
            for &part in &small {
                condensed.leave(tree, part, cluster);
            }
            let parent = &mut condensed.clusters[cluster];
            let gained = density - parent.birth;
            if let [part] = large[..] {
                let gone = size(tree, node) - size(tree, part);
                parent.stability += gone as f64 * gained;
                open.push((part, cluster));
                continue;
            }
            parent.stability += size(tree, node) as f64 * gained;
            for part in large {
                open.push((part, condensed.clusters.len()));
                condensed.clusters.push(Cluster {
                    parent: cluster,
                    birth: density,
                    stability: 0.0,
                });
            }
        }
        condensed
    }

    /// The items of a part leave a cluster.
    fn leave(&mut self, tree: &Dendrogram, part: usize, cluster: usize) {
        let mut open = vec![part];
        while let Some(node) = open.pop() {
            match node.checked_sub(tree.items) {
                None => self.left[node] = cluster,
                Some(merge) => {
                    let merge = tree.merges[merge];
                    open.extend([merge.first, merge.second]);
                }
            }
        }
    }

    /// The chosen cluster that each cluster is in, itself or one above (algorithm 3 of the paper).
    fn choose(&self) -> Vec<Option<usize>> {
        // The best sum of stabilities among those below each.
        let mut below = vec![0.0; self.clusters.len()];
        let mut is_best = vec![false; self.clusters.len()];
        for (at, cluster) in self.clusters.iter().enumerate().skip(1).rev() {
            is_best[at] = cluster.stability >= below[at];
            below[cluster.parent] += cluster.stability.max(below[at]);
        }
        let mut chosen: Vec<Option<usize>> = vec![None; self.clusters.len()];
        for (at, cluster) in self.clusters.iter().enumerate().skip(1) {
            chosen[at] = chosen[cluster.parent].or(is_best[at].then_some(at));
        }
        chosen
    }
}

fn size(tree: &Dendrogram, node: usize) -> usize {
    let merge = node.checked_sub(tree.items);
    merge.map_or(1, |merge| tree.merges[merge].size)
}

/// The density at which a cluster comes apart, and into which parts: all merges at that distance are taken back at once.
fn come_apart(tree: &Dendrogram, node: usize) -> (f64, Vec<usize>) {
    let distance = tree.merges[node - tree.items].distance;
    let (mut open, mut parts) = (vec![node], Vec::new());
    while let Some(node) = open.pop() {
        let merge = node.checked_sub(tree.items).map(|merge| tree.merges[merge]);
        match merge {
            Some(merge) if merge.distance >= distance => open.extend([merge.second, merge.first]),
            _ => parts.push(node),
        }
    }
    (1.0 / f64::from(distance), parts)
}
