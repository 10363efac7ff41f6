//! Agreement of a clustering with classes, by pairs.

use super::contingency::Contingency;

/// The F1 of the decision that two items belong together.
///
/// ```text
/// TP: pairs of one cluster and one class, FP: of one cluster alone, FN: of one class alone
/// P = TP / (TP + FP),   R = TP / (TP + FN),   F1 = 2 P R / (P + R)          0 if TP is 0
/// ```
///
/// # Reference
/// H. O. Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016, §6; Manning, Raghavan and Schütze
/// 2008, §16.3.
///
/// ```
/// use nearkin::evaluate::pairwise_f1;
/// assert_eq!(pairwise_f1(&[0, 0, 1, 1], &[5, 5, 3, 3]), 1.0);
/// // One pair of three is right, and of two that belong together one is found.
/// assert_eq!(pairwise_f1(&[0, 0, 0, 1], &[0, 0, 1, 1]), 0.4);
/// ```
pub fn pairwise_f1(clusters: &[u32], classes: &[u32]) -> f64 {
    let [right, together, same, _] = Contingency::new(clusters, classes).pairs();
    // 2 P R / (P + R) with P = TP / together and R = TP / same.
    if right > 0 {
        2.0 * right as f64 / (together + same) as f64
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_all_pairs() {
        for seed in 1..20u32 {
            let clusters: Vec<u32> = (0..70).map(|i| i * i * seed % 11).collect();
            let classes: Vec<u32> = (0..70).map(|i| i * seed % 13 / 2).collect();
            let [mut tp, mut fp, mut fal_n] = [0.0; 3];
            for i in 0..70 {
                for j in 0..i {
                    match (clusters[i] == clusters[j], classes[i] == classes[j]) {
                        (true, true) => tp += 1.0,
                        (true, false) => fp += 1.0,
                        (false, true) => fal_n += 1.0,
                        (false, false) => {}
                    }
                }
            }
            let (p, r): (f64, f64) = (tp / (tp + fp), tp / (tp + fal_n));
            let expected = 2.0 * p * r / (p + r);
            assert!((pairwise_f1(&clusters, &classes) - expected).abs() < 1e-12);
        }
        assert_eq!(pairwise_f1(&[0, 1], &[0, 0]), 0.0);
    }
}
