//! What encoders take: planar YUV with a quarter of the colour, in the range and matrix that the video is tagged with.

use bytes::Bytes;
use dcv_color_primitives::{ColorSpace, ImageFormat, PixelFormat, convert_image};

use crate::worker::colour::Yuv;
use crate::worker::failure::{TaskResult, internal};

/// Converts pixels of the browser (BGRA; width and height are even) to I420 of `space`.
pub(super) fn i420(pixels: &[u8], (width, height): (u32, u32), space: Yuv) -> TaskResult<Bytes> {
    let luma = width as usize * height as usize;
    let mut planes = vec![0; luma + luma / 2];
    let (y, rest) = planes.split_at_mut(luma);
    let (u, v) = rest.split_at_mut(luma / 4);
    let from = ImageFormat {
        pixel_format: PixelFormat::Bgra,
        color_space: ColorSpace::Rgb,
        num_planes: 1,
    };
    let to = ImageFormat {
        pixel_format: PixelFormat::I420,
        color_space: match space {
            Yuv::Bt601Full => ColorSpace::Bt601FR,
            Yuv::Bt601Limited => ColorSpace::Bt601,
            Yuv::Bt709Limited => ColorSpace::Bt709,
        },
        num_planes: 3,
    };
    convert_image(
        width,
        height,
        &from,
        None,
        &[pixels],
        &to,
        None,
        &mut [y, u, v],
    )
    .map_err(|error| internal("converting a frame", error))?;
    Ok(planes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One colour all over; 18 x 10 leaves a rest at every width a processor works with.
    fn plain(space: Yuv, [blue, green, red]: [u8; 3]) -> [u8; 3] {
        let pixels = [blue, green, red, 255].repeat(18 * 10);
        let planes = i420(&pixels, (18, 10), space).unwrap();
        let (y, rest) = planes.split_at(180);
        let (u, v) = rest.split_at(45);
        for plane in [y, u, v] {
            assert!(plane.iter().all(|value| *value == plane[0]));
        }
        [y[0], u[0], v[0]]
    }

    #[test]
    fn colours_are_those_of_their_recommendations() {
        let (black, white) = ([0, 0, 0], [255, 255, 255]);
        let (red, green, blue) = ([0, 0, 255], [0, 255, 0], [255, 0, 0]);
        for (space, colours) in [
            // ITU-R BT.601: black, white, and the primaries.
            (
                Yuv::Bt601Limited,
                [
                    [16, 128, 128],
                    [235, 128, 128],
                    [81, 90, 240],
                    [145, 54, 34],
                    [41, 240, 110],
                ],
            ),
            // The same in full range: JFIF.
            (
                Yuv::Bt601Full,
                [
                    [0, 128, 128],
                    [255, 128, 128],
                    [76, 85, 255],
                    [150, 44, 21],
                    [29, 255, 107],
                ],
            ),
            // ITU-R BT.709.
            (
                Yuv::Bt709Limited,
                [
                    [16, 128, 128],
                    [235, 128, 128],
                    [63, 102, 240],
                    [173, 42, 26],
                    [32, 240, 118],
                ],
            ),
        ] {
            let found = [black, white, red, green, blue].map(|colour| plain(space, colour));
            for (found, expected) in found.iter().flatten().zip(colours.iter().flatten()) {
                assert!(
                    found.abs_diff(*expected) <= 1,
                    "{space:?}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn four_pixels_share_the_mean_of_their_colour() {
        let mut pixels = [255, 255, 255, 255].repeat(4);
        pixels[..4].copy_from_slice(&[255, 0, 0, 255]);
        let planes = i420(&pixels, (2, 2), Yuv::Bt601Limited).unwrap();
        // A quarter of blue's 112 and -18 above white's 128.
        assert_eq!(planes[..], [41, 235, 235, 235, 156, 123]);
    }
}
