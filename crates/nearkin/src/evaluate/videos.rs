//! Videos as the means of their frames.

use super::{EvaluateError, check_finite};
use nearkin_kernels::{Mat, normalize_rows};

/// The squared distance of each pair of videos: the mean over all pairs of a frame of the one and a frame of the other.
///
/// ```text
/// D(A, B) = 1/(|A| |B|) Σ_{a ∈ A} Σ_{b ∈ B} ‖u_a − u_b‖² = 2 − 2 ū_A · ū_B,        ū: the mean of the unit vectors
/// ```
///
/// So the pairs of frames need not be visited. Only the first `most` frames of a video count. The distances go into
/// [`verification`](super::verification) like those of images.
///
/// # Shapes
/// - `frames`: `[N, D]`, `video_of`: the video of each row, numbered from 0, in the order of its frames
/// - `pairs`: two videos each
///
/// # Errors
/// A number is not finite, counts differ, or a pair names a video without a frame.
///
/// # Reference
/// L. Wolf, T. Hassner, I. Maoz, YouTube Faces, CVPR 2011; F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, §5.7:
/// "the average similarity of all pairs of the first one hundred frames".
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::video_distances;
/// let frames = [1.0, 0.0, 0.0, 2.0, 3.0, 0.0];
/// let found = video_distances(Mat::new(&frames, 3, 2), &[0, 0, 1], &[[0, 1]], 100)?;
/// assert_eq!(found, [1.0]); // 0 to the one frame and 2 to the other
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn video_distances(
    frames: Mat<'_>,
    video_of: &[usize],
    pairs: &[[usize; 2]],
    most: usize,
) -> Result<Vec<f32>, EvaluateError> {
    if video_of.len() != frames.rows {
        return Err(EvaluateError::Labels {
            rows: frames.rows,
            labels: video_of.len(),
        });
    }
    check_finite(frames)?;
    let mut unit = frames.data.to_vec();
    normalize_rows(
        frames.data,
        frames.cols,
        &mut unit,
        &mut vec![0.0; frames.rows],
    );
    // Numbers of videos are kept as they come: one that is large needs no room.
    let mut means = std::collections::HashMap::<usize, (Vec<f64>, usize)>::new();
    for (row, &video) in unit.chunks_exact(frames.cols.max(1)).zip(video_of) {
        let (sum, count) = means
            .entry(video)
            .or_insert_with(|| (vec![0.0; frames.cols], 0));
        if *count < most {
            *count += 1;
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, &x)| *sum += f64::from(x));
        }
    }
    let distance = |pair: &[usize; 2]| {
        let find = |video: usize| {
            let found = means.get(&video).filter(|(_, count)| *count > 0);
            found.ok_or(EvaluateError::NoSuchItem {
                item: video,
                items: means.len(),
            })
        };
        let [(a, of_a), (b, of_b)] = [find(pair[0])?, find(pair[1])?];
        let product: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
        Ok((2.0 - 2.0 * product / (of_a * of_b) as f64).max(0.0) as f32)
    };
    pairs.iter().map(distance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn distances_are_the_means_over_all_pairs_of_frames() {
        let (count, dim, most) = (40, 4, 6);
        let mut rng = named_rng(5, "videos");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let video_of: Vec<usize> = (0..count).map(|i| i * i % 5).collect();
        let unit = |i: usize| {
            let row: Vec<f64> = data[i * dim..][..dim].iter().map(|&x| x.into()).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        let pairs = [[0, 1], [1, 4], [4, 4], [0, 0]];
        let found = video_distances(Mat::new(&data, count, dim), &video_of, &pairs, most).unwrap();
        for ([first, second], found) in pairs.into_iter().zip(found) {
            let frames = |video: usize| (0..count).filter(move |&i| i * i % 5 == video).take(most);
            let (mut sum, mut number) = (0.0, 0.0);
            for a in frames(first) {
                for b in frames(second) {
                    sum += unit(a)
                        .iter()
                        .zip(unit(b))
                        .map(|(x, y)| (x - y).powi(2))
                        .sum::<f64>();
                    number += 1.0;
                }
            }
            assert!((f64::from(found) - sum / number).abs() < 1e-6);
        }
        let error = video_distances(Mat::new(&data, count, dim), &video_of, &[[0, 3]], most);
        assert_eq!(
            error.unwrap_err(),
            EvaluateError::NoSuchItem { item: 3, items: 3 }
        );
    }
}
