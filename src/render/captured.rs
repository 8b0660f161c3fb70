//! How the frames of a render were captured, for its report.

use crate::media::{CaptureMethod, ImageFormat, PixelFormat};
use crate::protocol::{Captured, FRAMEBUFFER_PIXELS_MIN};

/// A browser's own least scale: below it, pages are shown smaller than the browser draws them.
const BROWSER_SCALE_MIN: f64 = 0.5;

/// Settles the method of a whole render, and why it is not the fast one.
pub(super) fn method(
    asked: Option<CaptureMethod>,
    image_format: ImageFormat,
    pixel_format: Option<PixelFormat>,
    sides: [f64; 2],
    scale: f64,
) -> (CaptureMethod, Option<&'static str>) {
    let why_not = match (asked, image_format, pixel_format) {
        (Some(CaptureMethod::Screenshot), _, _) => "screenshots were asked for",
        (_, ImageFormat::Png, _) => "PNG frames were asked for",
        (_, ImageFormat::Jpeg, Some(PixelFormat::Yuv420p)) => {
            // What a test picture looks like at another scale is not known pixel by pixel.
            let is_even = |side: &f64| (side / 2.0 - (side / 2.0).round()).abs() < 1e-6;
            let is_small = sides[0] * sides[1] < f64::from(FRAMEBUFFER_PIXELS_MIN);
            if !sides.iter().all(is_even) {
                "frames of the framebuffer need an even width and height"
            } else if is_small {
                "the frames are too small to be found in the browser's memory"
            } else if scale < BROWSER_SCALE_MIN {
                "frames of the framebuffer need a scale of 0.5 or more"
            } else {
                return (CaptureMethod::Framebuffer, None);
            }
        }
        (_, ImageFormat::Jpeg, None) => "a GIF is made of screenshots",
        (_, ImageFormat::Jpeg, Some(_)) => {
            "frames of the framebuffer are made yuv420p, which is not the video's pixel format"
        }
    };
    (CaptureMethod::Screenshot, Some(why_not))
}

/// Which method the chunks of a render used. Chunks of an earlier run are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureReport {
    /// Chunks whose frames were read from the framebuffer.
    pub framebuffer_chunks: u32,
    /// Chunks whose frames are screenshots.
    pub screenshot_chunks: u32,
    /// Why there are screenshots.
    pub reason: Option<String>,
}

impl CaptureReport {
    pub(super) fn new(why_not: Option<&str>) -> Self {
        Self {
            reason: why_not.map(str::to_owned),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, captured: Captured) {
        match captured.method {
            CaptureMethod::Framebuffer => self.framebuffer_chunks += 1,
            CaptureMethod::Screenshot => self.screenshot_chunks += 1,
        }
        if self.reason.is_none() {
            self.reason = captured.reason;
        }
    }

    /// One word for programs: the method, or `mixed`; nothing if no chunk was rendered.
    pub fn word(&self) -> Option<&'static str> {
        match (self.framebuffer_chunks, self.screenshot_chunks) {
            (0, 0) => None,
            (_, 0) => Some(CaptureMethod::Framebuffer.as_str()),
            (0, _) => Some(CaptureMethod::Screenshot.as_str()),
            (_, _) => Some("mixed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framebuffer_is_used_where_it_is_what_was_asked_for() {
        use CaptureMethod::{Framebuffer, Screenshot};
        use ImageFormat::{Jpeg, Png};
        use PixelFormat::{Yuv420p, Yuv422p, Yuv422p10, Yuv444p};
        for (asked, image, pixels, settled) in [
            (None, Jpeg, Yuv420p, Framebuffer),
            (Some(Framebuffer), Jpeg, Yuv420p, Framebuffer),
            (Some(Screenshot), Jpeg, Yuv420p, Screenshot),
            (None, Png, Yuv420p, Screenshot),
            (Some(Framebuffer), Png, Yuv420p, Screenshot),
            (None, Jpeg, Yuv422p, Screenshot),
            (None, Jpeg, Yuv444p, Screenshot),
            (None, Jpeg, Yuv422p10, Screenshot),
        ] {
            let (method, why_not) = method(asked, image, Some(pixels), [1280.0, 720.0], 1.0);
            assert_eq!(method, settled, "{asked:?} {image} {pixels}");
            assert_eq!(why_not.is_some(), settled == Screenshot);
        }
        for (sides, scale, settled) in [
            ([1281.0, 720.0], 1.0, Screenshot),
            ([640.0, 360.0], 0.5, Framebuffer),
            ([678.4, 381.6], 0.53, Screenshot),
            ([320.0, 180.0], 0.25, Screenshot),
        ] {
            let (found, why_not) = method(None, Jpeg, Some(Yuv420p), sides, scale);
            assert_eq!(found, settled, "{sides:?} at {scale}");
            assert_eq!(why_not.is_some(), settled == Screenshot);
        }
        let (small, why_not) = method(None, Jpeg, Some(Yuv420p), [120.0, 90.0], 1.0);
        assert_eq!(small, Screenshot);
        assert!(why_not.unwrap().contains("too small"), "{why_not:?}");
    }

    #[test]
    fn the_first_reason_is_kept_and_mixtures_are_named() {
        let captured = |method, reason: Option<&str>| Captured {
            method,
            reason: reason.map(str::to_owned),
        };
        let mut report = CaptureReport::new(None);
        assert_eq!(report.word(), None);
        report.add(captured(CaptureMethod::Framebuffer, None));
        assert_eq!(report.word(), Some("framebuffer"));
        report.add(captured(CaptureMethod::Screenshot, Some("first")));
        report.add(captured(CaptureMethod::Screenshot, Some("second")));
        assert_eq!(report.word(), Some("mixed"));
        assert_eq!(report.reason.as_deref(), Some("first"));
        assert_eq!(
            (report.framebuffer_chunks, report.screenshot_chunks),
            (1, 2)
        );
    }
}
