//! The words of video: frames, ranges, rational frame rates, codecs, image formats.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A half-open range of frame indexes, never empty: `start..end`.
///
/// Remotion's flags and wire formats are inclusive (`0-99` is one hundred frames); [`FrameRange::inclusive`]
/// and [`FrameRange::last`] convert at the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameRange {
    start: u32,
    end: u32,
}

/// The bounds do not form a range with at least one frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frames {start} up to {end} (exclusive) hold no frame")]
pub struct EmptyRange {
    start: u32,
    end: u32,
}

impl FrameRange {
    /// `start..end`; an error if that holds no frame.
    pub fn new(start: u32, end: u32) -> Result<Self, EmptyRange> {
        if start < end {
            Ok(Self { start, end })
        } else {
            Err(EmptyRange { start, end })
        }
    }

    /// `first..=last`; an error if `last < first`.
    pub fn inclusive(first: u32, last: u32) -> Result<Self, EmptyRange> {
        Self::new(first, last.saturating_add(1))
    }

    /// The first frame.
    pub fn start(self) -> u32 {
        self.start
    }

    /// One past the last frame.
    pub fn end(self) -> u32 {
        self.end
    }

    /// The last frame.
    pub fn last(self) -> u32 {
        self.end - 1
    }

    /// The number of frames, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u32 {
        self.end - self.start
    }

    /// The frame indexes in ascending order.
    pub fn frames(self) -> std::ops::Range<u32> {
        self.start..self.end
    }

    /// Whether `frame` lies in the range.
    pub fn contains(self, frame: u32) -> bool {
        self.frames().contains(&frame)
    }
}

/// Inclusive, as Remotion's `--frames` prints it: `10-19`.
impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.last())
    }
}

/// Frames as somebody asks for them, before the composition's length is known: `10-19`, `10-` to the end, or `10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSelection {
    first: u32,
    /// The last frame, included; the composition's own where absent.
    last: Option<u32>,
}

impl FrameSelection {
    /// The first frame, and the last one, included, if it was named.
    pub fn ends(self) -> (u32, Option<u32>) {
        (self.first, self.last)
    }

    /// The frames of a composition with `duration_in_frames`; `None` if it does not have them all.
    pub fn within(self, duration_in_frames: u32) -> Option<FrameRange> {
        let end = match self.last {
            Some(last) => last.checked_add(1)?,
            None => duration_in_frames,
        };
        let range = FrameRange::new(self.first, end).ok()?;
        (range.end() <= duration_in_frames).then_some(range)
    }
}

impl From<FrameRange> for FrameSelection {
    fn from(range: FrameRange) -> Self {
        Self {
            first: range.start(),
            last: Some(range.last()),
        }
    }
}

impl FromStr for FrameSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let frame = |text: &str| {
            text.trim().parse::<u32>().map_err(|_| {
                "frames are written as A-B (both included), A- (to the end) or as one number"
                    .to_owned()
            })
        };
        let (first, last) = match text.split_once('-') {
            Some((first, "")) => (frame(first)?, None),
            Some((first, last)) => (frame(first)?, Some(frame(last)?)),
            None => (frame(text)?, Some(frame(text)?)),
        };
        match last {
            Some(last) if last < first => Err(format!(
                "the last frame, {last}, comes before the first, {first}"
            )),
            _ => Ok(Self { first, last }),
        }
    }
}

impl fmt::Display for FrameSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) if last == self.first => write!(f, "{last}"),
            Some(last) => write!(f, "{}-{last}", self.first),
            None => write!(f, "{}-", self.first),
        }
    }
}

impl TryFrom<(u32, u32)> for FrameRange {
    type Error = EmptyRange;

    fn try_from((start, end): (u32, u32)) -> Result<Self, Self::Error> {
        Self::new(start, end)
    }
}

impl From<FrameRange> for (u32, u32) {
    fn from(range: FrameRange) -> Self {
        (range.start, range.end)
    }
}

/// A frame rate as an exact fraction of frames per second, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct Fps {
    numerator: u32,
    denominator: u32,
}

/// The number is not a usable frame rate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{0}` is not a frame rate: a number above 0 and at most 1000 is needed")]
pub struct FpsError(String);

impl Fps {
    /// `numerator / denominator` frames per second, reduced; above 0 and at most 1000.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, FpsError> {
        let valid = numerator > 0 && denominator > 0 && numerator / denominator <= 1000;
        if !valid {
            return Err(FpsError(format!("{numerator}/{denominator}")));
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Ok(Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        })
    }

    /// The exact rate a page means by a JavaScript number.
    ///
    /// Whole numbers stay whole; numbers within 0.005 of an NTSC rate (29.97, 23.976, 59.94, ...) become
    /// `n * 1000 / 1001`; anything else is kept to a thousandth.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the check above the casts"
    )]
    pub fn from_number(number: f64) -> Result<Self, FpsError> {
        let error = || FpsError(number.to_string());
        if !number.is_finite() || number <= 0.0 || number > 1000.0 {
            return Err(error());
        }
        let whole = number.round();
        if (number - whole).abs() < 1e-9 {
            return Self::new(whole as u32, 1);
        }
        let nominal = number.ceil();
        if (number - nominal * 1000.0 / 1001.0).abs() < 0.005 {
            return Self::new(nominal as u32 * 1000, 1001);
        }
        Self::new((number * 1000.0).round() as u32, 1000).map_err(|_| error())
    }

    /// The rate of every `n`-th frame.
    ///
    /// # Errors
    /// It cannot be written as a fraction of two numbers of 32 bits.
    pub fn of_every_nth(self, n: u32) -> Result<Self, FpsError> {
        let error = || FpsError(format!("{self} / {n}"));
        let denominator = self.denominator.checked_mul(n).ok_or_else(error)?;
        Self::new(self.numerator, denominator).map_err(|_| error())
    }

    /// Frames in [`Fps::denominator`] seconds.
    pub fn numerator(self) -> u32 {
        self.numerator
    }

    /// Seconds in which [`Fps::numerator`] frames pass.
    pub fn denominator(self) -> u32 {
        self.denominator
    }

    /// Frames per second as a floating-point number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

impl Fps {
    /// Ticks a second in which a frame lasts a whole number of them: 90 000 where that works, as the official renderer
    /// has it, else the rate's own numerator.
    pub fn timescale(self) -> u32 {
        const USUAL: u32 = 90_000;
        let ticks = u64::from(USUAL) * u64::from(self.denominator);
        if ticks.is_multiple_of(u64::from(self.numerator)) {
            USUAL
        } else {
            self.numerator
        }
    }
}

/// ffmpeg's form: `30` or `30000/1001`.
impl fmt::Display for Fps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

impl TryFrom<(u32, u32)> for Fps {
    type Error = FpsError;

    fn try_from((numerator, denominator): (u32, u32)) -> Result<Self, Self::Error> {
        Self::new(numerator, denominator)
    }
}

impl From<Fps> for (u32, u32) {
    fn from(fps: Fps) -> Self {
        (fps.numerator, fps.denominator)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Defines an enum of words with one text form each, used by flags, config and wire alike.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $error:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The one text form.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        /// The text names no value; the message lists those there are.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("`{text}` is not one of: {allowed}", text = .0, allowed = [$($text),+].join(", "))]
        pub struct $error(pub String);

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| $error(text.to_owned()))
            }
        }
    };
}

mod codec;
pub use codec::{
    AudioCodec, AudioCodecError, Codec, CodecError, CodecRules, ColorSpace, ColorSpaceError,
    Container, ContainerError, Pictures, PixelFormat, PixelFormatError, ProResProfile,
    ProResProfileError, RateFactors,
};

words! {
    /// The format in which a frame leaves the browser.
    ImageFormat, ImageFormatError {
        /// JPEG: fast, no transparency. The default for video.
        Jpeg = "jpeg",
        /// PNG: lossless, with transparency.
        Png = "png",
    }
}

words! {
    /// The format of a single frame.
    StillFormat, StillFormatError {
        /// PNG: lossless, with transparency. The default.
        Png = "png",
        /// JPEG: small, no transparency.
        Jpeg = "jpeg",
        /// WebP: small, with transparency.
        Webp = "webp",
        /// PDF: the page as it would be printed, of any scale.
        Pdf = "pdf",
    }
}

impl StillFormat {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
        }
    }
}

words! {
    /// How frames are taken from the browser.
    CaptureMethod, CaptureMethodError {
        /// As pixels, read from where the browser draws them. The fastest, and exact.
        Framebuffer = "framebuffer",
        /// As compressed images the browser makes of them. Works everywhere.
        Screenshot = "screenshot",
    }
}

/// Device pixels of a side of so many CSS pixels.
pub fn device_pixels(side: u32, scale: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sides and scales are checked when a request is made; the product is in range and positive"
    )]
    let pixels = (f64::from(side) * scale).round() as u32;
    pixels
}

/// The least and the largest scale: device pixels to a CSS pixel.
pub const SCALES: std::ops::RangeInclusive<f64> = 0.001..=16.0;

words! {
    /// libx264's speed presets, fastest first.
    X264Preset, X264PresetError {
        /// Fastest, largest files.
        Ultrafast = "ultrafast",
        /// See x264's documentation.
        Superfast = "superfast",
        /// See x264's documentation.
        Veryfast = "veryfast",
        /// See x264's documentation.
        Faster = "faster",
        /// See x264's documentation.
        Fast = "fast",
        /// x264's and Remotion's default.
        Medium = "medium",
        /// See x264's documentation.
        Slow = "slow",
        /// See x264's documentation.
        Slower = "slower",
        /// See x264's documentation.
        Veryslow = "veryslow",
        /// See x264's documentation.
        Placebo = "placebo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_those_of_remotion() {
        let within = |text: &str| {
            let selection: FrameSelection = text.parse().unwrap();
            assert_eq!(selection.to_string(), text);
            selection.within(100).map(<(u32, u32)>::from)
        };
        assert_eq!(within("10-19"), Some((10, 20)));
        assert_eq!(within("7"), Some((7, 8)));
        assert_eq!(within("90-"), Some((90, 100)));
        for outside in ["90-100", "100", "100-", "4294967295"] {
            assert_eq!(within(outside), None, "{outside}");
        }
        for bad in ["", "-", "a", "-5", "9-3", "1-2-3"] {
            assert!(bad.parse::<FrameSelection>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_half_open_inside_and_inclusive_for_people() {
        let range = FrameRange::inclusive(10, 19).unwrap();
        assert_eq!((range.start(), range.end(), range.len()), (10, 20, 10));
        assert_eq!(range.to_string(), "10-19");
        assert!(FrameRange::new(5, 5).is_err());
        assert!(FrameRange::inclusive(5, 4).is_err());
    }

    #[test]
    fn frame_rates_are_exact() {
        for (number, text) in [
            (30.0, "30"),
            (29.97, "30000/1001"),
            (23.976, "24000/1001"),
            (59.94, "60000/1001"),
            (12.5, "25/2"),
        ] {
            assert_eq!(Fps::from_number(number).unwrap().to_string(), text);
        }
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY, 1001.0] {
            assert!(Fps::from_number(number).is_err());
        }
    }

    #[test]
    fn a_frame_lasts_a_whole_number_of_ticks() {
        for rate in [12.5, 23.976, 25.0, 29.97, 30.0, 59.94, 60.0, 144.0] {
            let fps = Fps::from_number(rate).unwrap();
            let ticks = u64::from(fps.timescale()) * u64::from(fps.denominator());
            assert_eq!(ticks % u64::from(fps.numerator()), 0, "{rate}");
        }
        assert_eq!(Fps::from_number(30.0).unwrap().timescale(), 90_000);
    }

    #[test]
    fn words_say_what_is_allowed() {
        let error = "gif".parse::<ImageFormat>().unwrap_err();
        assert_eq!(error.to_string(), "`gif` is not one of: jpeg, png");
    }
}
