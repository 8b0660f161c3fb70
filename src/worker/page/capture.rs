//! Pictures out of the browser's framebuffer: found before the page is loaded, checked again when a chunk is done.

use std::io;

use tokio::time::sleep;

use super::framebuffer::{self, Framebuffer};
use super::test_picture::{HIDE, TestPicture};
use super::{Capture, PUMP_INTERVAL, Page, yuv};
use crate::media::device_pixels;
use crate::protocol::{FRAMEBUFFER_PIXELS_MIN, FailureKind, TaskFailure};
use crate::worker::failure::{TaskResult, permanent, retryable};

/// Frames until a test picture must be drawn. One is enough, but a window that has just been opened takes a few.
const DRAWS_MAX: u32 = 10;

impl Page {
    /// Width and height of a frame in device pixels.
    fn size(&self) -> (u32, u32) {
        let (width, height, scale) = self.setup.viewport;
        (device_pixels(width, scale), device_pixels(height, scale))
    }

    /// Finds where the browser draws: where one test picture lies in its memory, and then another.
    pub(super) async fn find_framebuffer(&mut self) -> TaskResult<()> {
        let [first, second] = [1, 2].map(|seed| TestPicture::new(self.size(), seed));
        let pixels = first.pixels();
        let (width, height) = self.size();
        if u64::from(width) * u64::from(height) < u64::from(FRAMEBUFFER_PIXELS_MIN) {
            return Err(not_this_time(
                "frames are too small to be found in its memory",
            ));
        }
        self.run(&first.script(self.setup.viewport.2)).await?;
        for _ in 0..DRAWS_MAX {
            self.pump().await?;
            self.framebuffer = self.look_for(&pixels, Framebuffer::find).await?;
            if self.framebuffer.is_some() {
                return self.check_framebuffer_with(second).await;
            }
            sleep(PUMP_INTERVAL).await;
        }
        self.framebuffer = self.look_for(&pixels, Framebuffer::search).await?;
        if self.framebuffer.is_none() {
            return Err(unusable(&"no part of its memory holds what it shows"));
        }
        self.check_framebuffer_with(second).await
    }

    /// Where the process that draws has `pixels`. One that finds no OpenGL gives up right after its start and another takes its
    /// place: of a process that has ended, nothing is found.
    async fn look_for(
        &self,
        pixels: &[u8],
        find: fn(u32, &[u8]) -> io::Result<Option<Framebuffer>>,
    ) -> TaskResult<Option<Framebuffer>> {
        let process = self.browser.display_process().await;
        let process = process.map_err(|error| unusable(&error))?;
        match find(process, pixels) {
            Err(error) if framebuffer::has_ended(&error) => Ok(None),
            found => found.map_err(|error| unusable(&error)),
        }
    }

    /// Fails unless the browser still draws where it did. Asked when a chunk is done, it tells of all its frames.
    pub(in crate::worker) async fn check_framebuffer(&mut self) -> TaskResult<()> {
        self.check_framebuffer_with(TestPicture::new(self.size(), 3))
            .await
    }

    /// Fails unless the frames that were read of this page count, although it is given up before the chunk is done. Only one
    /// that `answers` can be asked.
    pub(in crate::worker) async fn prove_frames(&mut self, answers: bool) -> TaskResult<()> {
        if !self.unproven {
            return Ok(());
        }
        let gone = || not_this_time("it went away before its frames were proven");
        match answers {
            true => self
                .check_framebuffer()
                .await
                .map_err(|failure| match failure.kind {
                    FailureKind::Capture => failure,
                    _ => gone(),
                }),
            false => Err(gone()),
        }
    }

    async fn check_framebuffer_with(&mut self, picture: TestPicture) -> TaskResult<()> {
        if self.framebuffer.is_none() {
            return Ok(());
        }
        let pixels = picture.pixels();
        self.run(&picture.script(self.setup.viewport.2)).await?;
        let mut holds = false;
        for _ in 0..DRAWS_MAX {
            self.pump().await?;
            let buffer = self.framebuffer.as_mut();
            let now = buffer.map_or(Ok(false), |buffer| buffer.holds(&pixels));
            holds = now.map_err(|error| unusable(&error))?;
            if holds {
                break;
            }
            sleep(PUMP_INTERVAL).await;
        }
        self.run(HIDE).await?;
        if holds {
            self.unproven = false;
            return Ok(());
        }
        Err(unusable(&"what it shows is not always in one place"))
    }

    /// Takes the picture that was just drawn, if it differs from the newest one that was taken.
    pub(super) fn read_framebuffer(&mut self) -> TaskResult<()> {
        let size = self.size();
        let Capture::Framebuffer(space) = self.setup.capture else {
            return Ok(());
        };
        let Some(framebuffer) = &mut self.framebuffer else {
            return Ok(());
        };
        if !self.drawn && self.picture.is_some() {
            return Ok(());
        }
        let pixels = framebuffer.read().map_err(|error| {
            let message = format!("drawing: reading the browser's framebuffer: {error}");
            retryable(FailureKind::Browser, message)
        })?;
        self.picture = Some(yuv::i420(pixels, size, space)?);
        (self.unproven, self.drawn) = (true, false);
        Ok(())
    }
}

/// It cannot be read on this machine.
fn unusable(cause: &impl std::fmt::Display) -> TaskFailure {
    let message = format!("the browser's framebuffer cannot be read: {cause}");
    permanent(FailureKind::Capture, message)
}

/// It cannot be read for this chunk, and may be for another one.
fn not_this_time(cause: &str) -> TaskFailure {
    TaskFailure {
        retryable: true,
        ..unusable(&cause)
    }
}
