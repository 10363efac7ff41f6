//! The item that stands for a cluster.

use super::ClusterError;
use crate::evaluate::check_finite;
use nearkin_kernels::{Mat, normalize_rows};

/// The medoid of each cluster: the member with the smallest summed distance `1 − cos` to the others.
///
/// ```text
/// medoid(C) = argmin_{i ∈ C} Σ_{j ∈ C} (1 − cos(e_i, e_j)) = argmax_{i ∈ C} ⟨u_i, Σ_{j ∈ C} u_j⟩        u = e / ‖e‖
/// ```
///
/// By its second form it takes O(N D) time. Ties go to the first item.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `clusters`: N numbers from 0 on, or none for items of no cluster; result: an item for each number
///
/// # Errors
/// The counts differ or a number is not finite.
///
/// ```
/// use nearkin::{Mat, cluster::medoids};
/// let points = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0, -1.0, 0.0];
/// // The second lies between the first and the third.
/// assert_eq!(medoids(Mat::new(&points, 4, 2), &[Some(0), Some(0), Some(0), Some(1)])?, [1, 3]);
/// # Ok::<(), nearkin::cluster::ClusterError>(())
/// ```
pub fn medoids(embeddings: Mat, clusters: &[Option<u32>]) -> Result<Vec<usize>, ClusterError> {
    let (rows, dim) = (embeddings.rows, embeddings.cols.max(1));
    if clusters.len() != rows {
        let clusters = clusters.len();
        return Err(ClusterError::Assignments { rows, clusters });
    }
    check_finite(embeddings)?;
    let mut unit = embeddings.data.to_vec();
    normalize_rows(
        embeddings.data,
        embeddings.cols,
        &mut unit,
        &mut vec![0.0; rows],
    );
    let last = clusters.iter().flatten().max();
    let count = last.map_or(0, |&last| last as usize + 1);
    let mut sums = vec![0.0f64; count * dim];
    let of = |cluster: u32| cluster as usize * dim..(cluster as usize + 1) * dim;
    let members = || {
        let rows = unit.chunks_exact(dim).zip(clusters).enumerate();
        rows.filter_map(|(item, (row, cluster))| Some((item, row, (*cluster)?)))
    };
    for (_, row, cluster) in members() {
        let sum = sums[of(cluster)].iter_mut();
        sum.zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mut best = vec![(0, f64::NEG_INFINITY); count];
    for (item, row, cluster) in members() {
        let pairs = sums[of(cluster)].iter().zip(row);
        let likeness = pairs.map(|(sum, &x)| sum * f64::from(x)).sum();
        if likeness > best[cluster as usize].1 {
            best[cluster as usize] = (item, likeness);
        }
    }
    Ok(best.into_iter().map(|(item, _)| item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn a_medoid_has_the_smallest_sum_of_distances() {
        let (count, dim) = (90, 4);
        let mut rng = named_rng(2, "medoids");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let number = |i: u32| (i % 10 != 3).then_some(i * i % 7);
        let clusters: Vec<Option<u32>> = (0..count as u32).map(number).collect();
        let found = medoids(Mat::new(&data, count, dim), &clusters).unwrap();
        let row = |i: usize| data[i * dim..][..dim].iter().map(|&x| f64::from(x));
        let dot = |i: usize, j: usize| row(i).zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        let apart = |i: usize, j: usize| 1.0 - dot(i, j) / (dot(i, i) * dot(j, j)).sqrt();
        for cluster in 0..7 {
            let members: Vec<usize> = (0..count)
                .filter(|&i| clusters[i] == Some(cluster))
                .collect();
            let sum = |i: usize| members.iter().map(|&j| apart(i, j)).sum::<f64>();
            let smallest = members
                .iter()
                .map(|&i| sum(i))
                .fold(f64::INFINITY, f64::min);
            // A number that no item has stands for nothing.
            if let Some(&first) = members.first() {
                let medoid = found[cluster as usize];
                assert_eq!(clusters[medoid], clusters[first]);
                assert!(sum(medoid) < smallest + 1e-5, "{cluster}");
            }
        }
        assert!(medoids(Mat::new(&data, count, dim), &clusters[1..]).is_err());
    }
}
