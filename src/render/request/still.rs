//! One frame, as an image.

use super::{CaptureOptions, Overrides, PageOptions, RequestError, check_size, check_task_size};
use crate::media::{CaptureMethod, ImageFormat, PixelFormat, StillFormat};
use crate::protocol::{CaptureSettings, Composition, SAMPLE_RATE_DEFAULT};

/// One frame to be rendered into an image.
#[derive(Debug, Clone, PartialEq)]
pub struct StillOptions {
    /// The composition's id.
    pub composition: String,
    /// The page.
    pub page: PageOptions,
    /// Values in place of the composition's own.
    pub overrides: Overrides,
    /// The frame; negative numbers count from the end.
    pub frame: i64,
    /// What it becomes.
    pub format: StillFormat,
    /// How it leaves the browser.
    pub capture: CaptureOptions,
    /// Retries.
    pub retries: u32,
}

/// [`StillOptions`] that are right as far as can be told without the composition.
#[derive(Debug, Clone, PartialEq)]
pub struct StillRequest(StillOptions);

impl StillRequest {
    /// Checks what can be told without the composition.
    ///
    /// # Errors
    /// A value is out of range.
    pub fn new(options: StillOptions) -> Result<Self, RequestError> {
        options.page.check()?;
        options.capture.check()?;
        options.overrides.check()?;
        Ok(Self(options))
    }

    /// What was asked for.
    pub fn options(&self) -> &StillOptions {
        &self.0
    }

    /// The composition as it is to be rendered, the frame, and how it leaves the browser.
    pub(in crate::render) fn settle(
        &self,
        mut composition: Composition,
    ) -> Result<(Composition, u32, CaptureSettings), RequestError> {
        let options = &self.0;
        composition.default_props.clear();
        check_task_size(options.page.task(), Some(composition.clone()))?;
        options.overrides.apply(&mut composition);
        let duration = i64::from(composition.duration_in_frames);
        let frame = match options.frame {
            frame @ 0.. => frame,
            from_end => duration.saturating_add(from_end),
        };
        let frame = u32::try_from(frame)
            .ok()
            .filter(|frame| *frame < composition.duration_in_frames)
            .ok_or_else(|| RequestError::Frames {
                composition: composition.id.clone(),
                last: composition.duration_in_frames.saturating_sub(1),
                asked: format!("frame {}", options.frame),
            })?;
        check_size(&composition, options.capture.scale, PixelFormat::Yuv444p)?;
        let capture = options.capture.settle(
            CaptureMethod::Screenshot,
            ImageFormat::Png,
            SAMPLE_RATE_DEFAULT,
            options.capture.muted,
        );
        Ok((composition, frame, capture))
    }
}
