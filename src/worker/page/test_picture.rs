//! Pictures that nobody else shows: a grid of cells whose colours come out of a generator. What a browser makes of one is
//! known to the last bit, so the place where it appears is the place where the browser draws.

use serde_json::json;

use super::framebuffer::PIXEL_BYTES;

/// Cells in a row.
const COLUMNS: u32 = 32;
/// The script that lays a picture over the page, above everything the page has.
const SHOW: &str = include_str!("test_picture.js");
/// The script that takes it away again.
pub(super) const HIDE: &str = "window.__rmxTestPicture?.remove()";

/// A picture for a page of some size.
#[derive(Debug, Clone, Copy)]
pub(super) struct TestPicture {
    /// Width and height in device pixels.
    size: (u32, u32),
    /// Side of a cell in device pixels.
    cell: u32,
    seed: u32,
}

impl TestPicture {
    /// Pictures of different seeds differ in every cell but by chance.
    pub(super) fn new(size: (u32, u32), seed: u32) -> Self {
        let cell = (size.0 / COLUMNS).max(2);
        Self { size, cell, seed }
    }

    fn color(&self, column: u32, row: u32) -> u32 {
        let mut mixed = self.seed.wrapping_mul(0x9e37_79b9) ^ (row << 16 | column);
        for factor in [0x85eb_ca6b, 0xc2b2_ae35] {
            mixed = (mixed ^ (mixed >> 16)).wrapping_mul(factor);
        }
        (mixed ^ (mixed >> 16)) & 0x00ff_ffff
    }

    /// The script that shows it, on a page with `scale` device pixels to a CSS pixel.
    pub(super) fn script(&self, scale: f64) -> String {
        let (width, height) = self.size;
        let side = f64::from(self.cell) / scale;
        let rows: Vec<Vec<String>> = (0..height.div_ceil(self.cell))
            .map(|row| {
                (0..width.div_ceil(self.cell))
                    .map(|column| format!("#{:06x}", self.color(column, row)))
                    .collect()
            })
            .collect();
        format!("({SHOW})({side}, {})", json!(rows))
    }

    /// What the browser's framebuffer holds while it is shown.
    pub(super) fn pixels(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let mut pixels = Vec::with_capacity(width as usize * height as usize * PIXEL_BYTES);
        for row in 0..height.div_ceil(self.cell) {
            let mut line = Vec::with_capacity(width as usize * PIXEL_BYTES);
            for column in 0..width.div_ceil(self.cell) {
                let pixel = (self.color(column, row) | 0xff00_0000).to_le_bytes();
                let count = self.cell.min(width - column * self.cell);
                line.extend(pixel.repeat(count as usize));
            }
            let count = self.cell.min(height - row * self.cell);
            pixels.extend(line.repeat(count as usize));
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_and_the_pixels_are_of_one_picture() {
        let picture = TestPicture::new((130, 70), 7);
        let (script, pixels) = (picture.script(1.0), picture.pixels());
        assert_eq!(pixels.len(), 130 * 70 * PIXEL_BYTES);
        let last = &pixels[pixels.len() - PIXEL_BYTES..];
        let color = format!("\"#{:02x}{:02x}{:02x}\"]])", last[2], last[1], last[0]);
        assert!(script.ends_with(&color), "the corner has the last colour");
    }

    #[test]
    fn pictures_of_two_seeds_differ_nearly_everywhere() {
        let [one, other] = [1, 2].map(|seed| TestPicture::new((640, 360), seed).pixels());
        let same = one
            .chunks(PIXEL_BYTES)
            .zip(other.chunks(PIXEL_BYTES))
            .filter(|(one, other)| one == other)
            .count();
        assert!(same * 100 < 640 * 360, "{same} pixels are the same");
    }
}
