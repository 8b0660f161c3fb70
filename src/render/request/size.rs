//! The sides of a picture: what an encoder takes, and what the official renderer makes of the rest.

use super::RequestError;
use crate::media::{Pictures, PixelFormat, device_pixels};
use crate::protocol::Composition;

/// The largest picture libx264 takes is 16384 pixels a side; Chromium's software surface ends there as well.
const SIDE_MAX: u32 = 16_384;

/// Whether the encoder refuses pictures with a row or column too many.
pub(super) fn takes_even_sides(pictures: Pictures) -> bool {
    matches!(pictures.encoder, "libx264" | "libx265")
}

/// Leaves the last column and row out if there is one too many, as the official renderer does: the page is laid out in the
/// smaller size.
pub(super) fn make_even(composition: &mut Composition, scale: f64) {
    for side in [&mut composition.width, &mut composition.height] {
        while *side > 1 && !device_pixels(*side, scale).is_multiple_of(2) {
            *side -= 1;
        }
    }
}

/// The sides must be such that browser and encoder take them, and even where two pixels share their colour. One that is
/// not whole is rounded, as the official renderer rounds it.
pub(super) fn check_size(
    composition: &Composition,
    scale: f64,
    pixel_format: PixelFormat,
) -> Result<(), RequestError> {
    let [width, height] =
        [composition.width, composition.height].map(|side| device_pixels(side, scale));
    let rule = match pixel_format.shared() {
        _ if !in_range(width) || !in_range(height) => SIDES,
        (2, 2) if !width.is_multiple_of(2) || !height.is_multiple_of(2) => {
            "yuv420p needs an even width and height"
        }
        (2, _) if !width.is_multiple_of(2) => "yuv422p needs an even width",
        _ => return Ok(()),
    };
    Err(RequestError::Size {
        width,
        height,
        base_width: composition.width,
        base_height: composition.height,
        scale,
        rule,
    })
}

const SIDES: &str = "each side must be between 1 and 16384 pixels";

fn in_range(side: u32) -> bool {
    (1..=SIDE_MAX).contains(&side)
}
