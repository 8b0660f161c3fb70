//! Colours: by which matrix and in which range frames become YCbCr, and what the file says of it.
//!
//! As the official renderer has it: `default` and `bt601` keep the full range of the JPEGs that it encodes, `bt709`
//! converts to BT.709 in limited range, and `bt2020-ncl` puts BT.601's numbers into limited range and names them BT.2020.

use crate::media::{Codec, ColorSpace, ImageFormat};
use crate::protocol::EncodeSettings;

use super::encode::Input;

/// A matrix and a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yuv {
    Bt601Full,
    Bt601Limited,
    Bt709Limited,
}

impl Yuv {
    /// What frames out of the framebuffer are converted to at once, so that the encoder takes them as they are.
    pub(super) fn of_planes(color_space: ColorSpace) -> Self {
        match color_space {
            ColorSpace::Default | ColorSpace::Bt601 => Self::Bt601Full,
            ColorSpace::Bt709 => Self::Bt709Limited,
            ColorSpace::Bt2020Ncl => Self::Bt601Limited,
        }
    }
}

/// ffmpeg's filter from the frames that come to what is encoded. It says itself what comes out: what an encoder is told
/// beside it, versions of ffmpeg weigh differently.
pub(super) fn filter(settings: &EncodeSettings, input: Input) -> String {
    let is_jpeg = matches!(input, Input::Images(ImageFormat::Jpeg));
    let is_full =
        !matches!(input, Input::Images(ImageFormat::Png)) && settings.codec != Codec::ProRes;
    let (scale, space) = match settings.color_space {
        ColorSpace::Default | ColorSpace::Bt601 if is_full => (
            "in_range=full:out_range=full",
            "range=full:colorspace=bt470bg",
        ),
        ColorSpace::Default | ColorSpace::Bt601 => (
            "out_color_matrix=bt601:out_range=limited",
            "range=limited:colorspace=bt470bg",
        ),
        ColorSpace::Bt709 => (
            "out_color_matrix=bt709:out_range=limited",
            "range=limited:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        ),
        ColorSpace::Bt2020Ncl if is_jpeg => (
            "in_color_matrix=bt2020:in_range=full:out_color_matrix=bt2020:out_range=limited",
            "range=limited:colorspace=bt2020nc",
        ),
        ColorSpace::Bt2020Ncl => (
            "out_color_matrix=bt2020:out_range=limited",
            "range=limited:colorspace=bt2020nc",
        ),
    };
    // JPEGs say that pixels are square, planes say nothing: an encoder writes either into its configuration, and chunks join only if
    // theirs are one.
    match input {
        Input::Images(_) => format!("scale={scale},setparams={space},setsar=1"),
        Input::Planes(..) => format!("setparams={space},setsar=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_in_the_range_that_the_file_names() {
        for color_space in ColorSpace::ALL {
            let settings = EncodeSettings {
                color_space: *color_space,
                ..EncodeSettings::default()
            };
            let filter = filter(&settings, Input::Planes(2, 2));
            let is_full = Yuv::of_planes(*color_space) == Yuv::Bt601Full;
            assert_eq!(filter.contains("range=full"), is_full, "{color_space}");
            assert!(
                !filter.contains("scale"),
                "{color_space}: nothing is converted twice"
            );
        }
    }
}
