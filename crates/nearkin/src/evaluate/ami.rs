//! Agreement of a clustering with classes in information, beyond that of chance.

use super::contingency::Contingency;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Adjusted mutual information: 1 for the same groups, 0 on average for groups of the same sizes drawn at random; it may be
/// below. With many small clusters, where the plain normalized one is high by chance, this is the one to read.
///
/// ```text
/// AMI = (I - E[I]) / ((H(Ω) + H(C)) / 2 - E[I])
/// E[I] = Σ_a Σ_b Σ_n n/N log(N n / (a b)) P(n)        P(n) = a! b! (N-a)! (N-b)! / (N! n! (a-n)! (b-n)! (N-a-b+n)!)
/// ```
///
/// `a` and `b` are the sizes of clusters and of classes; groups of one size are worked on once.
///
/// # Reference
/// N. X. Vinh, J. Epps, J. Bailey, Information Theoretic Measures for Clusterings Comparison, JMLR 11, 2010, equation 24 and
/// table 2; arithmetic mean, as in scikit-learn.
///
/// ```
/// use nearkin::evaluate::adjusted_mutual_information;
/// assert_eq!(adjusted_mutual_information(&[0, 0, 1, 1], &[5, 5, 3, 3]), 1.0);
/// // All alone: what the clusters say of the classes is chance.
/// assert!(adjusted_mutual_information(&[0, 1, 2, 3], &[0, 0, 1, 1]).abs() < 1e-12);
/// ```
pub fn adjusted_mutual_information(clusters: &[u32], classes: &[u32]) -> f64 {
    let counts = Contingency::new(clusters, classes);
    if counts.is_perfect() {
        return 1.0;
    }
    let expected = expected_information(&counts);
    let [of_clusters, of_classes] = counts.entropies();
    let room = f64::midpoint(of_clusters, of_classes) - expected;
    let above = counts.information() - expected;
    // Where chance explains all there is, both are zero but for rounding.
    if room.abs() < 1e-12 || above.abs() < 1e-15 {
        0.0
    } else {
        above / room
    }
}

/// `E[I]` over all groupings of the same sizes.
fn expected_information(counts: &Contingency) -> f64 {
    let factorials = log_factorials(counts.items);
    let [of_clusters, of_classes] = [&counts.of_cluster, &counts.of_class].map(sizes);
    let terms: Vec<f64> = of_clusters
        .par_iter()
        .map(|&(a, clusters)| {
            let of = |&(b, classes): &(u64, u64)| {
                (clusters * classes) as f64 * expected_of([a, b, counts.items], &factorials)
            };
            of_classes.iter().map(of).sum()
        })
        .collect();
    terms.iter().sum()
}

/// How many groups there are of each size.
fn sizes(groups: &BTreeMap<u32, u64>) -> Vec<(u64, u64)> {
    let mut sizes = BTreeMap::new();
    for &size in groups.values() {
        *sizes.entry(size).or_insert(0) += 1;
    }
    sizes.into_iter().collect()
}

/// The expected share of a cluster of `a` and a class of `b` of `n` items in the information.
fn expected_of([a, b, all]: [u64; 3], factorials: &[f64]) -> f64 {
    let log = |n: u64| factorials[n as usize];
    let fixed = log(a) + log(b) + log(all - a) + log(all - b) - log(all);
    let term = |n: u64| {
        let logarithm = (all as f64 * n as f64 / (a as f64 * b as f64)).ln();
        let chance = fixed - log(n) - log(a - n) - log(b - n) - log(all + n - a - b);
        n as f64 / all as f64 * logarithm * chance.exp()
    };
    ((a + b).saturating_sub(all).max(1)..=a.min(b))
        .map(term)
        .sum()
}

/// `log n!` up to `n`.
fn log_factorials(n: u64) -> Vec<f64> {
    let mut sum = 0.0;
    let next = (1..=n).map(|k| {
        sum += (k as f64).ln();
        sum
    });
    std::iter::once(0.0).chain(next).collect()
}

#[cfg(test)]
mod tests {
    use super::super::contingency::assert_values;
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // adjusted_mutual_info_score
        assert_values(adjusted_mutual_information, GOLDEN);
        let turned =
            |clusters: &[u32], classes: &[u32]| adjusted_mutual_information(classes, clusters);
        assert_values(turned, GOLDEN);
    }

    const GOLDEN: [f64; 3] = [
        -0.125_477_887_081_189_07,
        -0.167_435_392_459_339_03,
        0.638_963_146_976_974,
    ];

    #[test]
    fn the_expectation_is_the_mean_over_all_permutations() {
        let (clusters, classes) = ([0, 0, 0, 1, 2], [0, 0, 1, 1, 1]);
        let mut orders = vec![vec![]];
        for item in 0..5 {
            let longer = |order: &Vec<usize>| {
                let order = order.clone();
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, item);
                    longer
                })
            };
            orders = orders.iter().flat_map(longer).collect();
        }
        let information = |order: &Vec<usize>| {
            let permuted: Vec<u32> = order.iter().map(|&item| classes[item]).collect();
            Contingency::new(&clusters, &permuted).information()
        };
        let mean = orders.iter().map(information).sum::<f64>() / orders.len() as f64;
        let found = expected_information(&Contingency::new(&clusters, &classes));
        assert!((found - mean).abs() < 1e-12, "{found} {mean}");
    }

    #[test]
    fn a_single_group_says_nothing() {
        assert_eq!(adjusted_mutual_information(&[0; 4], &[0, 0, 1, 1]), 0.0);
        assert_eq!(adjusted_mutual_information(&[0; 4], &[1; 4]), 1.0);
        assert_eq!(adjusted_mutual_information(&[], &[]), 1.0);
    }
}
