//! A picture to draw on: pixels, text, colour scales, PNG.

use crate::error::Error;
use crate::font;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// Colours along a scale from 0 to 1, evenly spaced.
#[derive(Clone, Copy, Debug)]
pub struct Scale(pub &'static [Colour]);

/// From deep blue over almost white to deep red, equally light on both sides.
pub const DIVERGING: Scale = Scale(&[
    [12, 28, 74],
    [28, 74, 140],
    [62, 128, 186],
    [134, 184, 216],
    [204, 224, 234],
    [248, 246, 242],
    [248, 216, 192],
    [238, 160, 122],
    [208, 92, 72],
    [158, 32, 48],
    [88, 8, 34],
]);

/// From near black over violet and orange to pale yellow, ever lighter.
pub const RISING: Scale = Scale(&[
    [10, 8, 30],
    [44, 16, 84],
    [92, 22, 114],
    [142, 38, 112],
    [190, 56, 92],
    [226, 90, 62],
    [246, 140, 40],
    [250, 194, 70],
    [252, 246, 190],
]);

impl Scale {
    /// The colour at `t`, which is held within 0 and 1.
    pub fn at(&self, t: f64) -> Colour {
        let last = self.0.len() - 1;
        let place = t.clamp(0.0, 1.0) * last as f64;
        let i = (place as usize).min(last - 1);
        let share = place - i as f64;
        let (a, b) = (self.0[i], self.0[i + 1]);
        let mix = |c: usize| (f64::from(a[c]) * (1.0 - share) + f64::from(b[c]) * share).round() as u8;
        [mix(0), mix(1), mix(2)]
    }
}

/// A rectangle of the picture.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// The first column.
    pub x: usize,
    /// The first row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The picture.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// One colour all over.
    pub fn new(width: usize, height: usize, colour: Colour) -> Canvas {
        Canvas { width, height, pixels: vec![colour; width * height] }
    }

    /// Sets a pixel; outside the picture nothing happens.
    pub fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, area: Area, colour: Colour) {
        for y in area.y..area.y + area.height {
            for x in area.x..area.x + area.width {
                self.set(x, y, colour);
            }
        }
    }

    /// Draws the outline around a rectangle, one pixel wide.
    pub fn outline(&mut self, area: Area, colour: Colour) {
        let Area { x, y, width, height } = area;
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill(Area { x: left, y: top, width: width + 2, height: 1 }, colour);
        self.fill(Area { x: left, y: y + height, width: width + 2, height: 1 }, colour);
        self.fill(Area { x: left, y: top, width: 1, height: height + 2 }, colour);
        self.fill(Area { x: x + width, y: top, width: 1, height: height + 2 }, colour);
    }

    /// Writes text with its upper left corner at (x, y), each dot `size` pixels wide.
    pub fn text(&mut self, x: usize, y: usize, size: usize, colour: Colour, text: &str) {
        for (i, letter) in text.chars().enumerate() {
            for (row, bits) in font::rows(letter).into_iter().enumerate() {
                for column in (0..5).filter(|c| bits >> (4 - c) & 1 == 1) {
                    let left = x + (i * font::ADVANCE + column) * size;
                    self.fill(Area { x: left, y: y + row * size, width: size, height: size }, colour);
                }
            }
        }
    }

    /// Encodes the picture as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let fail = |e: png::EncodingError| Error::Picture(format!("the picture cannot be written: {e}"));
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(fail)?;
        writer.write_image_data(self.pixels.as_flattened()).map_err(fail)?;
        writer.finish().map_err(fail)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_held_at_their_ends() {
        assert_eq!(DIVERGING.at(-1.0), [12, 28, 74]);
        assert_eq!(DIVERGING.at(0.5), [248, 246, 242]);
        assert_eq!(RISING.at(2.0), [252, 246, 190]);
        let light = |c: Colour| 2 * u32::from(c[0]) + 7 * u32::from(c[1]) + u32::from(c[2]);
        assert!((0..100).all(|i| light(RISING.at(f64::from(i) / 100.0)) <= light(RISING.at(f64::from(i + 1) / 100.0))));
    }

    #[test]
    fn drawing_outside_does_no_harm() {
        let mut canvas = Canvas::new(20, 10, [0; 3]);
        canvas.text(10, 5, 2, [255; 3], "WIDE");
        assert_eq!(&canvas.png().unwrap()[1..4], b"PNG");
    }
}
