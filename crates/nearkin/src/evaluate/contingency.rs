//! How many items each cluster and each class have in common.

use std::collections::BTreeMap;

/// The counts of items by cluster and class, and by each alone.
///
/// Ordered maps: the same groups in another order of items give the same bits.
pub(super) struct Contingency {
    pub items: u64,
    /// Items of a cluster and a class, where there are any.
    pub joint: BTreeMap<(u32, u32), u64>,
    pub of_cluster: BTreeMap<u32, u64>,
    pub of_class: BTreeMap<u32, u64>,
}

impl Contingency {
    /// Of the cluster and the class of each item; what is longer than the other is cut.
    pub fn new(clusters: &[u32], classes: &[u32]) -> Self {
        let mut joint = BTreeMap::new();
        let (mut of_cluster, mut of_class) = (BTreeMap::new(), BTreeMap::new());
        for (&cluster, &class) in clusters.iter().zip(classes) {
            *joint.entry((cluster, class)).or_insert(0) += 1;
            *of_cluster.entry(cluster).or_insert(0) += 1;
            *of_class.entry(class).or_insert(0) += 1;
        }
        Self {
            items: of_class.values().sum(),
            joint,
            of_cluster,
            of_class,
        }
    }

    /// Whether clusters and classes are the same groups.
    pub fn is_perfect(&self) -> bool {
        self.joint.len() == self.of_cluster.len() && self.joint.len() == self.of_class.len()
    }

    /// `I(clusters; classes)` in nats.
    pub fn information(&self) -> f64 {
        let count = self.items as f64;
        let term = |(&(cluster, class), &n): (&(u32, u32), &u64)| {
            let alone = self.of_cluster[&cluster] as f64 * self.of_class[&class] as f64;
            n as f64 / count * (n as f64 * count / alone).ln()
        };
        self.joint.iter().map(term).sum()
    }

    /// `H(clusters)` and `H(classes)` in nats.
    pub fn entropies(&self) -> [f64; 2] {
        let share = |n: &u64| *n as f64 / self.items as f64;
        let entropy = |groups: &BTreeMap<u32, u64>| {
            -groups
                .values()
                .map(|n| share(n) * share(n).ln())
                .sum::<f64>()
        };
        [&self.of_cluster, &self.of_class].map(entropy)
    }

    /// Pairs of items of one cluster and one class, of one cluster, of one class, and all.
    pub fn pairs(&self) -> [u64; 4] {
        let pairs = |count: &u64| count * count.saturating_sub(1) / 2;
        [
            self.joint.values().map(pairs).sum(),
            self.of_cluster.values().map(pairs).sum(),
            self.of_class.values().map(pairs).sum(),
            pairs(&self.items),
        ]
    }
}

/// Clusterings of forty items, for the tests of what agrees with what.
#[cfg(test)]
pub(super) fn examples() -> [Vec<u32>; 4] {
    let make = |f: &dyn Fn(u32) -> u32| (0..40).map(f).collect();
    [
        make(&|i| i * i % 5),
        make(&|i| i % 7),
        make(&|i| i / 10),
        make(&|i| i / 8),
    ]
}

/// Compares a measure of clusters and classes with another's values for three pairs of the examples, in Python
///
/// ```text
/// a = [i * i % 5 for i in range(40)]; b = [i % 7 for i in range(40)]; c = [i // 10 for i in range(40)]
/// d = [i // 8 for i in range(40)]; print(f(b, a), f(c, b), f(d, c))       classes come first there
/// ```
#[cfg(test)]
#[track_caller]
pub(super) fn assert_values(measure: impl Fn(&[u32], &[u32]) -> f64, golden: [f64; 3]) {
    let [a, b, c, d] = examples();
    for ((clusters, classes), expected) in [(&a, &b), (&b, &c), (&c, &d)].into_iter().zip(golden) {
        let found = measure(clusters, classes);
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}
