//! Values that take the place of the composition's own.

use super::RequestError;
use crate::media::Fps;
use crate::protocol::Composition;

/// Values that take the place of the composition's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Width in CSS pixels.
    pub width: Option<u32>,
    /// Height in CSS pixels.
    pub height: Option<u32>,
    /// Frames a second.
    pub fps: Option<Fps>,
    /// Frames.
    pub duration_in_frames: Option<u32>,
}

impl Overrides {
    pub(super) fn apply(&self, composition: &mut Composition) {
        let Self {
            width,
            height,
            fps,
            duration_in_frames,
        } = *self;
        composition.width = width.unwrap_or(composition.width);
        composition.height = height.unwrap_or(composition.height);
        composition.fps = fps.unwrap_or(composition.fps);
        composition.duration_in_frames =
            duration_in_frames.unwrap_or(composition.duration_in_frames);
    }

    pub(super) fn check(&self) -> Result<(), RequestError> {
        for (what, value) in [
            ("width", self.width),
            ("height", self.height),
            ("duration", self.duration_in_frames),
        ] {
            if value == Some(0) {
                return Err(RequestError::OutOfRange {
                    what,
                    found: "0".to_owned(),
                    allowed: "1 or more",
                });
            }
        }
        Ok(())
    }
}
