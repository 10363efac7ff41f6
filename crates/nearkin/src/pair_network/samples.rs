//! The triplets or quadruplets of a batch: only their pairs are scored.

use crate::data::Dataset;
use crate::error::Result;
use crate::feed;
use nearkin_encoder::host::tensor;
use nearkin_encoder::model::Input;
use nearkin_encoder::parameters::named_rng;
use nearkin_encoder::{Error as EncoderError, Tensor};
use rand::RngExt;

/// Anchor, positive, negative of the anchor, negative of that one: places in a batch.
pub(super) type Sample = [u32; 4];

/// A batch of images with the triplets or quadruplets that the loss compares.
pub struct PairBatch {
    pub(super) images: feed::Batch,
    pub(super) samples: Vec<Sample>,
}

impl PairBatch {
    /// The two images of a pair by its row: kind by kind, (i, j), then (i, k), then (l, k).
    pub(super) fn pair(&self, row: usize) -> [u32; 2] {
        let count = self.samples.len();
        let [i, j, k, l] = self.samples[row % count];
        match row / count {
            0 => [i, j],
            1 => [i, k],
            _ => [l, k],
        }
    }

    /// Some of the images as the network's input.
    pub(super) fn tensor(&self, input: &Input, images: &[u32]) -> Result<Tensor> {
        let shape = input.shape();
        let size = shape.numbers();
        let image = |image: &u32| &self.images.numbers[*image as usize * size..][..size];
        let numbers: Vec<f32> = images.iter().flat_map(image).copied().collect();
        Ok(tensor(numbers, shape.batch(images.len()))?)
    }
}

/// What is known of the images of a batch that were not damaged.
pub(super) struct Kept<'a> {
    pub items: &'a [usize],
    pub labels: &'a [u32],
    /// The camera of each, where known.
    pub cameras: Option<Vec<u32>>,
}

impl<'a> Kept<'a> {
    pub fn new(dataset: &Dataset, items: &'a [usize], labels: &'a [u32]) -> Self {
        let cameras = dataset.cameras.as_ref();
        let cameras = cameras.map(|of| items.iter().map(|&item| of[item]).collect());
        Self {
            items,
            labels,
            cameras,
        }
    }
}

/// How a run comes to its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Whether batches are drawn role by role.
    pub by_role: bool,
    /// Pairs of a sample that the loss asks for.
    pub kinds: usize,
    pub seed: u64,
}

impl Sampling {
    /// The samples of batch number `number`, of which these items were drawn and those kept.
    ///
    /// # Errors
    /// There are none.
    pub fn of(self, number: u64, drawn: &[usize], kept: &Kept<'_>) -> Result<Vec<Sample>> {
        let samples = if self.by_role {
            by_role(drawn, kept.items)
        } else {
            self.by_label(kept, number)
        };
        if !samples.is_empty() {
            return Ok(samples);
        }
        let labels = kept.labels;
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let others = if self.kinds < 3 {
            "another class"
        } else {
            "two other classes"
        };
        let (images, classes) = (labels.len(), classes.len());
        Err(EncoderError::Setting {
            key: "sampler".to_owned(),
            expected: format!("batches with two images of a class and images of {others}"),
            found: format!("a batch of {images} images of {classes} classes"),
        }
        .into())
    }

    /// A sample for each image that has a positive in the batch and negatives of two classes, the images drawn at random;
    /// where triplets are enough, of one class. A positive of another camera comes first.
    fn by_label(self, kept: &Kept<'_>, number: u64) -> Vec<Sample> {
        let (labels, cameras) = (kept.labels, &kept.cameras);
        let mut rng = named_rng(self.seed, &format!("pairs/{number}"));
        let mut any = |is: &dyn Fn(usize) -> bool| {
            let fitting: Vec<usize> = (0..labels.len()).filter(|&place| is(place)).collect();
            (!fitting.is_empty()).then(|| fitting[rng.random_range(0..fitting.len())])
        };
        let mut sample = |i: usize| {
            let same = |place| place != i && labels[place] == labels[i];
            let apart = cameras
                .as_ref()
                .and_then(|cameras| any(&|place| same(place) && cameras[place] != cameras[i]));
            let j = apart.or_else(|| any(&same))?;
            let k = any(&|place| labels[place] != labels[i])?;
            let third = any(&|place| labels[place] != labels[i] && labels[place] != labels[k]);
            // A triplet has no use for it.
            let l = third.or((self.kinds < 3).then_some(k))?;
            Some([i, j, k, l].map(|place| place as u32))
        };
        (0..labels.len()).filter_map(&mut sample).collect()
    }
}

/// The samples of a batch that was drawn role by role, `[i … | j … | k … | l …]`; those with an image that was damaged, and is
/// not among the `kept`, are left out.
fn by_role(drawn: &[usize], kept: &[usize]) -> Vec<Sample> {
    // Whether an image is damaged is the same wherever it stands, so that what is kept follows in the order drawn.
    let mut next = 0;
    let places = drawn.iter().map(|item| {
        let is_kept = kept.get(next) == Some(item);
        next += usize::from(is_kept);
        is_kept.then(|| next as u32 - 1)
    });
    let places: Vec<Option<u32>> = places.collect();
    let count = drawn.len() / 4;
    let sample = |at: usize| {
        let place = |role: usize| places[role * count + at];
        Some([place(0)?, place(1)?, place(2)?, place(3)?])
    };
    (0..count).filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_images_take_their_samples_with_them() {
        // Item 5 is damaged wherever it stands.
        let drawn = [1, 5, 3, 2, 2, 4, 7, 8, 5, 6, 9, 1];
        let kept: Vec<usize> = drawn.iter().copied().filter(|&item| item != 5).collect();
        let samples = by_role(&drawn, &kept);
        let items = samples.iter().map(|s| s.map(|place| kept[place as usize]));
        assert_eq!(items.collect::<Vec<_>>(), [[1, 2, 7, 6]]);
        assert_eq!(by_role(&drawn, &drawn).len(), 3);
        assert!(by_role(&drawn, &[]).is_empty());
    }

    #[test]
    fn samples_of_labels_hold_the_papers_constraints() {
        let labels = [0, 0, 1, 1, 2, 2, 3];
        let of = |labels: &[u32], kinds, number| {
            let sampling = Sampling {
                by_role: false,
                kinds,
                seed: 7,
            };
            let items: Vec<usize> = (0..labels.len()).collect();
            let kept = Kept {
                items: &items,
                labels,
                cameras: None,
            };
            sampling.of(number, &items, &kept)
        };
        let samples = of(&labels, 3, 0).unwrap();
        assert_eq!(samples.len(), 6, "the last has no positive");
        for sample in &samples {
            let [i, j, k, l] = sample.map(|place| labels[place as usize]);
            assert!(i == j && sample[0] != sample[1] && k != i && l != i && l != k);
        }
        assert_eq!(of(&labels, 3, 0).unwrap(), samples);
        assert_ne!(of(&labels, 3, 1).unwrap(), samples);
        // Two classes are enough for triplets alone.
        assert_eq!(of(&labels[..4], 2, 0).unwrap().len(), 4);
        let error = of(&labels[..4], 3, 0).unwrap_err().to_string();
        assert!(
            error.contains("found a batch of 4 images of 2 classes"),
            "{error}"
        );
        let error = of(&[4, 4, 4], 2, 0).unwrap_err().to_string();
        assert!(error.starts_with("sampler: expected"), "{error}");
    }

    #[test]
    fn positives_of_another_camera_come_first() {
        let kept = Kept {
            items: &[0, 1, 2, 3, 4, 5],
            labels: &[0, 0, 0, 1, 1, 2],
            cameras: Some(vec![0, 0, 1, 0, 0, 0]),
        };
        let sampling = Sampling {
            by_role: false,
            kinds: 3,
            seed: 1,
        };
        let samples = sampling.of(0, kept.items, &kept).unwrap();
        let positives: Vec<[u32; 2]> = samples.iter().map(|&[i, j, ..]| [i, j]).collect();
        assert_eq!(positives[..2], [[0, 2], [1, 2]]);
        assert_eq!(
            positives[3..],
            [[3, 4], [4, 3]],
            "one camera alone saw class 1"
        );
    }

    #[test]
    fn pairs_come_kind_by_kind() {
        let images = feed::Batch {
            items: Vec::new(),
            labels: Vec::new(),
            numbers: Vec::new(),
        };
        let samples = vec![[0, 1, 2, 3], [4, 5, 6, 7]];
        let batch = PairBatch { images, samples };
        let pairs: Vec<_> = (0..6).map(|row| batch.pair(row)).collect();
        assert_eq!(pairs, [[0, 1], [4, 5], [0, 2], [4, 6], [3, 2], [7, 6]]);
    }
}
