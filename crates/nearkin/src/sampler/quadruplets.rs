//! An anchor, a positive, and items of two other identities.

use nearkin_losses::range::Count;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Pool, Purpose, SamplerError, Shape, permutation, stream};
use crate::documented::documented;

documented! {
    /// M quadruplets of three identities each, role by role.
    ///
    /// ```text
    /// [ i₁ … i_M | j₁ … j_M | k₁ … k_M | l₁ … l_M ]     s_i = s_j,  and s_i, s_k, s_l all different
    /// ```
    ///
    /// The identities of the anchors come in turn; the anchor is any item of its identity, the positive any other: of another
    /// camera where cameras are known and the identity was seen by several. `k` and `l` are of identities drawn at random, any item
    /// of them. Each quadruplet is drawn by itself, so that an item may be in several of a batch. A loss over the batch sees all
    /// its quadruplets, the drawn ones among them.
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification, CVPR
    /// 2017, the constraints of Eq. 3 and batches of 128; it does not say how quadruplets are drawn.
    ///
    /// # Example
    /// ```
    /// use nearkin::sampler::{Draw, Pool, Sampler};
    /// let (items, labels) = ([0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]);
    /// let pool = Pool { cameras: Some(&[0, 1, 0, 1, 0, 1]), ..Pool::new(&items, &labels) };
    /// let sampler: Sampler = toml::from_str("[quadruplets]\nquadruplets = 1")?;
    /// let [i, j, k, l] = Draw::new(&sampler, pool, 0)?.batch(0)[..] else { unreachable!() };
    /// assert!(labels[i] == labels[j] && labels[k] != labels[i] && labels[l] != labels[i] && labels[l] != labels[k]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Quadruplets {
        /// M, the number of quadruplets in a batch of 4M items.
        pub quadruplets: Count,
    }
}

impl Default for Quadruplets {
    fn default() -> Self {
        Self {
            quadruplets: Count::literal(128),
        }
    }
}

/// The identities to draw from; items are places in the pool.
#[derive(Debug, Clone)]
pub(super) struct People {
    quadruplets: usize,
    seed: u64,
    items: Vec<usize>,
    cameras: Option<Vec<u32>>,
    /// The places of each identity.
    places_of: Vec<Vec<usize>>,
    /// The identities with two items or more.
    anchors: Vec<usize>,
}

impl People {
    pub(super) fn new(
        settings: Quadruplets,
        pool: Pool<'_>,
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let mut places_of = pool.places_of_classes();
        places_of.retain(|places| !places.is_empty());
        let anchors = (0..places_of.len()).filter(|&identity| places_of[identity].len() >= 2);
        let anchors: Vec<usize> = anchors.collect();
        if places_of.len() < 3 || anchors.is_empty() {
            return Err(SamplerError::Unfit {
                sampler: "quadruplets",
                expected: "three classes, one of them with two items".into(),
                found: format!(
                    "{} classes are to train, {} of them with two items or more",
                    places_of.len(),
                    anchors.len()
                ),
            });
        }
        Ok(Self {
            quadruplets: settings.quadruplets.get(),
            seed,
            items: pool.items.to_vec(),
            cameras: pool.cameras.map(<[u32]>::to_vec),
            places_of,
            anchors,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            batch_size: 4 * self.quadruplets,
            batches_per_epoch: self.anchors.len().div_ceil(self.quadruplets) as u64,
            left_out: 0,
        }
    }

    pub(super) fn batch(&mut self, epoch: u64, place: usize) -> Vec<usize> {
        let count = self.anchors.len();
        let mut rng = stream(self.seed, Purpose::Quadruplets, [epoch, place as u64]);
        let mut kept: (usize, Vec<u32>) = (usize::MAX, Vec::new());
        let mut batch = vec![0; 4 * self.quadruplets];
        for at in 0..self.quadruplets {
            let slot = place * self.quadruplets + at;
            let pass = slot / count;
            if kept.0 != pass {
                let of = [epoch, pass as u64];
                kept = (
                    pass,
                    permutation(count, self.seed, Purpose::ClassesOfPass, of),
                );
            }
            let identity = self.anchors[kept.1[slot % count] as usize];
            for (role, place) in self.draw(identity, &mut rng).into_iter().enumerate() {
                batch[role * self.quadruplets + at] = self.items[place];
            }
        }
        batch
    }

    /// A quadruplet whose anchor is of this identity.
    fn draw(&self, identity: usize, rng: &mut ChaCha8Rng) -> [usize; 4] {
        let any = |identity: usize, rng: &mut ChaCha8Rng| {
            let places = &self.places_of[identity];
            places[rng.random_range(0..places.len())]
        };
        let anchor = any(identity, rng);
        let positive = self.positive(identity, anchor, rng);
        let others = self.places_of.len();
        // Any but the anchor's, then any but these two: draws skip what is taken.
        let second = rng.random_range(0..others - 1);
        let second = second + usize::from(second >= identity);
        let third = rng.random_range(0..others - 2);
        let third = third + usize::from(third >= identity.min(second));
        let third = third + usize::from(third >= identity.max(second));
        [anchor, positive, any(second, rng), any(third, rng)]
    }

    /// Another item of the anchor's identity, of another camera where there is one.
    fn positive(&self, identity: usize, anchor: usize, rng: &mut ChaCha8Rng) -> usize {
        let places = || self.places_of[identity].iter().copied();
        let mut fitting: Vec<usize> = match &self.cameras {
            Some(cameras) => places()
                .filter(|&p| cameras[p] != cameras[anchor])
                .collect(),
            None => Vec::new(),
        };
        if fitting.is_empty() {
            fitting = places().filter(|&place| place != anchor).collect();
        }
        fitting[rng.random_range(0..fitting.len())]
    }
}
