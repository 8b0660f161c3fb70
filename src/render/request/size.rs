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

/// The sides must be whole numbers of pixels, and even where two pixels share their colour.
pub(super) fn check_size(
    composition: &Composition,
    scale: f64,
    pixel_format: PixelFormat,
) -> Result<(), RequestError> {
    let width = f64::from(composition.width) * scale;
    let height = f64::from(composition.height) * scale;
    let divisible = |side: f64, by: f64| (side / by - (side / by).round()).abs() < 1e-6;
    let in_range = |side: f64| (1.0..=f64::from(SIDE_MAX)).contains(&side);
    let rule = if !in_range(width) || !in_range(height) {
        "each side must be between 1 and 16384 pixels"
    } else if !divisible(width, 1.0) || !divisible(height, 1.0) {
        "both must be whole numbers: choose another scale"
    } else {
        match pixel_format.shared() {
            (2, 2) if !divisible(width, 2.0) || !divisible(height, 2.0) => {
                "yuv420p needs an even width and height"
            }
            (2, _) if !divisible(width, 2.0) => "yuv422p needs an even width",
            _ => return Ok(()),
        }
    };
    let shown = |side: f64| (side * 100.0).round() / 100.0;
    Err(RequestError::Size {
        width: shown(width),
        height: shown(height),
        base_width: composition.width,
        base_height: composition.height,
        scale,
        rule,
    })
}
