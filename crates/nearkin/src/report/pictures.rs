//! Small pictures of items, in the page itself.

use super::html::Html;
use super::items::{Items, Looks};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearkin_encoder::image::{Encoded, Thumbnail, thumbnail};
use rayon::prelude::*;

/// Pictures of items until the room for them is used up.
pub struct Pictures<'a> {
    items: &'a Items,
    /// Bytes of the page that are left.
    left: usize,
    /// Pictures for which there was no room.
    pub without_room: usize,
    /// Pictures whose files could not be read.
    pub unreadable: usize,
}

impl<'a> Pictures<'a> {
    /// Pictures of items, in at most so many bytes of the page.
    pub fn new(items: &'a Items, room: usize) -> Self {
        Self {
            items,
            left: room,
            without_room: 0,
            unreadable: 0,
        }
    }

    /// Whether items have pictures at all.
    pub fn are_there(&self) -> bool {
        !matches!(self.items.looks, Looks::Names)
    }

    /// The addresses of pictures of at most `side` pixels, with the picture in them; none where there is none or no room.
    pub fn of(&mut self, items: &[usize], side: u32) -> Vec<Option<String>> {
        if !self.are_there() {
            return vec![None; items.len()];
        }
        let made: Vec<_> = items
            .par_iter()
            .map(|&item| self.make(item, side))
            .collect();
        let fit = made.into_iter().map(|picture| {
            let Some(address) = picture else {
                self.unreadable += 1;
                return None;
            };
            if address.len() > self.left {
                self.without_room += 1;
                return None;
            }
            self.left -= address.len();
            Some(address)
        });
        fit.collect()
    }

    fn make(&self, item: usize, side: u32) -> Option<String> {
        let Thumbnail { bytes, media_type } = match &self.items.looks {
            Looks::Names => None,
            Looks::Images(feed, numbers) => feed.thumbnail(numbers[item], side).ok(),
            Looks::Files(folder) => {
                let name = &self.items.names[item];
                let bytes = fs_err::read(Looks::file(folder, name)?).ok()?;
                thumbnail(&Encoded::new(&bytes, name), side, true).ok()
            }
        }?;
        Some(format!(
            "data:{media_type};base64,{}",
            STANDARD.encode(bytes)
        ))
    }
}

/// An item with its picture, or its name in place of it, under a caption.
pub fn tile(
    items: &Items,
    item: usize,
    picture: Option<&String>,
    kind: &str,
    caption: &str,
) -> Html {
    let mut html = Html::default();
    html.raw(format_args!("<figure class=\"tile {kind}\">"));
    match picture {
        Some(address) => {
            html.raw("<img alt=\"")
                .text(&items.names[item])
                .raw("\" title=\"")
                .text(&items.names[item])
                .raw(format_args!("\" src=\"{address}\">"));
        }
        None => {
            html.raw("<div class=\"words\">")
                .name(&items.names[item])
                .raw("</div>");
        }
    }
    html.raw("<figcaption>")
        .name(items.class(item))
        .raw("<small>")
        .text(caption)
        .raw("</small></figcaption></figure>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stop_where_the_room_ends() {
        let place = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..64u32).map(|at| (at * 37 % 251) as u8).collect();
        let file = [b"P5 8 8 255 ".as_slice(), &pixels].concat();
        for item in 0..3 {
            fs_err::write(place.path().join(format!("item {item}")), &file).unwrap();
        }
        let mut items = Items::plain(vec![0.0; 4], 1, &[0, 0, 0, 0]);
        items.looks = Looks::Files(place.path().to_owned());
        let size = Pictures::new(&items, usize::MAX).of(&[0], 8)[0]
            .as_ref()
            .unwrap()
            .len();
        let mut pictures = Pictures::new(&items, 2 * size);
        let found = pictures.of(&[0, 3, 1, 2], 8);
        let there: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, false, true, false]);
        assert_eq!((pictures.unreadable, pictures.without_room), (1, 1));
        assert!(found[0].as_ref().unwrap().starts_with("data:image/"));
    }

    #[test]
    fn a_tile_of_a_text_has_no_markup_of_it() {
        let mut items = Items::plain(vec![0.0; 1], 1, &[0]);
        items.names[0] = "<script>alert(1)</script>".into();
        items.classes[0] = "<img src=x>".into();
        let html = tile(&items, 0, None, "right", "");
        assert!(html.as_str().contains("&lt;script&gt;"));
        assert!(!html.as_str().contains("<script>") && !html.as_str().contains("<img"));
    }
}
