//! The window that a page is shown in, such that a picture of it has the size that the official renderer's has: each side
//! of the page times the scale, rounded.
//!
//! A browser draws at its own scale, whatever a page emulates, and 0.5 is its least; a page can be shown smaller in it. The
//! window has whole CSS pixels, and its picture ends at the next whole device pixel.

use crate::media::device_pixels;

/// The least scale of a browser.
const BROWSER_SCALE_MIN: f64 = 0.5;
/// What floating point may have added or taken away.
const LITTLE: f64 = 1e-6;

/// A window, and how the page is shown in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// In CSS pixels of the browser.
    pub(super) width: u32,
    pub(super) height: u32,
    /// Device pixels to a CSS pixel of the browser.
    pub(super) browser_scale: f64,
    /// CSS pixels of the browser to one of the page.
    pub(super) page_scale: f64,
    /// Whether its pictures are just as large as they should be, and not a device pixel larger.
    pub(super) is_exact: bool,
}

impl Window {
    /// For a page of this width, height and scale.
    pub(super) fn of((width, height, scale): (u32, u32, f64)) -> Self {
        let browser_scale = scale.max(BROWSER_SCALE_MIN);
        let side = |side| {
            if browser_scale > 1.0 {
                return side;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and at most twice a checked side"
            )]
            let shown = (f64::from(device_pixels(side, scale)) / browser_scale + LITTLE) as u32;
            shown.max(1)
        };
        Self {
            width: side(width),
            height: side(height),
            browser_scale,
            page_scale: scale / browser_scale,
            is_exact: [width, height]
                .into_iter()
                .all(|side| is_exact(side, scale)),
        }
    }
}

/// A CSS pixel less of the window is too much only where it has more than one device pixel.
fn is_exact(side: u32, scale: f64) -> bool {
    let shown = (f64::from(side) * scale - LITTLE).ceil();
    scale <= 1.0 || shown <= f64::from(device_pixels(side, scale)) + LITTLE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_nothing_is_rounded_the_window_is_the_page() {
        for scale in [0.5, 1.0, 1.5, 2.0, 16.0] {
            let window = Window::of((1280, 720, scale));
            assert_eq!((window.width, window.height), (1280, 720), "{scale}");
            assert_eq!((window.browser_scale, window.page_scale), (scale, 1.0));
            assert!(window.is_exact);
        }
        assert!(!Window::of((192, 108, 1.37)).is_exact, "263.04 pixels");
        assert!(Window::of((1280, 720, 1.2498)).is_exact, "1599.74 x 899.86");
    }

    proptest! {
        #[test]
        fn a_picture_of_an_exact_window_has_just_its_device_pixels(
            side in 1_u32..4_000,
            scale in 0.001_f64..4.0,
        ) {
            let window = Window::of((side, side, scale));
            prop_assume!(device_pixels(side, scale) >= 1 && window.is_exact);
            let drawn = (f64::from(window.width) * window.browser_scale - LITTLE).ceil();
            prop_assert!((drawn - f64::from(device_pixels(side, scale))).abs() < 0.5);
            prop_assert!((window.browser_scale * window.page_scale - scale).abs() < 1e-9);
        }
    }
}
