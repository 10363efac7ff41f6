//! Decoded images that are kept in memory.

use nearkin_encoder::image::Decoded;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Which image, and whether it is kept as it is cut at random rather than made to fit.
pub type Key = (usize, bool);

/// Keeps decoded images, up to a number of bytes.
///
/// Those that come first stay. An epoch passes over all images: if they do not all fit, one that made room for the
/// images of the day would be gone by its next turn, and so would every other.
#[derive(Debug, Default)]
pub struct Cache {
    limit: usize,
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    images: HashMap<Key, Arc<Decoded>>,
    bytes: usize,
}

impl Cache {
    /// A cache of `mib` MiB of pixels; one of 0 keeps nothing.
    pub fn new(mib: u32) -> Self {
        Self {
            limit: mib as usize * (1 << 20),
            kept: RwLock::default(),
        }
    }

    /// The image that is kept, or else the one that `decode` makes.
    ///
    /// # Errors
    /// That of `decode`; what fails is tried again the next time.
    pub fn get_or<E>(
        &self,
        key: Key,
        decode: impl FnOnce() -> Result<Decoded, E>,
    ) -> Result<Arc<Decoded>, E> {
        if self.limit == 0 {
            return decode().map(Arc::new);
        }
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = kept.images.get(&key) {
            return Ok(Arc::clone(image));
        }
        drop(kept);
        let image = Arc::new(decode()?);
        let bytes = image.bytes() + size_of::<(Key, Arc<Decoded>, Decoded)>();
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been as far with the same image.
        if kept.bytes + bytes <= self.limit && !kept.images.contains_key(&key) {
            kept.bytes += bytes;
            kept.images.insert(key, Arc::clone(&image));
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::ImageInput;
    use nearkin_encoder::image::{Augment, Encoded};

    /// An image of 400 × 400 gray pixels: 160,000 bytes.
    fn decoded() -> Decoded {
        let input = ImageInput {
            height: 400,
            width: 400,
            ..ImageInput::default()
        };
        let file = [b"P5 400 400 255\n".as_slice(), &vec![7; 160_000]].concat();
        let encoded = Encoded::new(&file, "a.pgm");
        input.decode(&encoded, &Augment::default()).unwrap()
    }

    #[test]
    fn what_fits_is_decoded_once_and_the_bound_holds() {
        for (mib, fits) in [(0, 0), (1, 6), (2, 10)] {
            let cache = Cache::new(mib);
            let mut times = 0;
            for turn in 0..2 {
                for item in 0..10 {
                    let image = cache.get_or((item, false), || {
                        times += 1;
                        Ok::<_, ()>(decoded())
                    });
                    assert_eq!(image.unwrap().bytes(), 160_000);
                }
                assert_eq!(times, 10 + turn * (10 - fits), "{mib} MiB");
                assert!(cache.kept.read().unwrap().bytes <= (mib as usize) << 20);
            }
        }
    }

    #[test]
    fn the_two_forms_of_an_image_are_kept_apart_and_failures_are_not_kept() {
        let cache = Cache::new(1);
        assert_eq!(
            cache.get_or((3, false), || Err("gone")).unwrap_err(),
            "gone"
        );
        assert!(cache.get_or((3, false), || Ok::<_, ()>(decoded())).is_ok());
        assert!(cache.get_or((3, false), || Err("not asked")).is_ok());
        assert!(cache.get_or((3, true), || Err("not there")).is_err());
    }
}
