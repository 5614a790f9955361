//! From radiance to a picture: glare, tone curve, PNG.

use crate::error::Error;
use crate::random::{mix_pair, unit_of};

/// The filmic curve: a soft toe, a straight middle and a long shoulder, on each channel.
pub fn filmic(x: f32) -> f32 {
    let x = x.max(0.0);
    // A ratio of parabolas through 0 that ends at 1; the slope in the middle is near 1.
    ((x * (2.43 * x + 0.05)) / (x * (2.35 * x + 0.62) + 0.16)).min(1.0)
}

/// The sRGB transfer curve.
pub fn srgb(x: f32) -> f32 {
    if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 }
}

/// Blurs by three passes of a box of `2 r + 1`, which is nearly a Gaussian.
fn blur(plane: &mut [[f32; 3]], width: usize, height: usize, r: usize) {
    let mut line = Vec::new();
    for _ in 0..3 {
        for y in 0..height {
            pass(plane, y * width, 1, width, r, &mut line);
        }
        for x in 0..width {
            pass(plane, x, width, height, r, &mut line);
        }
    }
}

fn pass(
    plane: &mut [[f32; 3]],
    start: usize,
    stride: usize,
    count: usize,
    r: usize,
    line: &mut Vec<[f32; 3]>,
) {
    line.clear();
    line.extend((0..count).map(|i| plane[start + i * stride]));
    let at = |i: isize| line[i.clamp(0, count as isize - 1) as usize];
    let mut sum = [0.0f32; 3];
    let reach = r as isize;
    for i in -reach..=reach {
        let v = at(i);
        sum = [sum[0] + v[0], sum[1] + v[1], sum[2] + v[2]];
    }
    let k = 1.0 / (2 * r + 1) as f32;
    for i in 0..count {
        plane[start + i * stride] = sum.map(|s| s * k);
        let (new, old) = (at(i as isize + reach + 1), at(i as isize - reach));
        sum = [sum[0] + new[0] - old[0], sum[1] + new[1] - old[1], sum[2] + new[2] - old[2]];
    }
}

/// Spreads a little of the brightest light around it, as a lens does.
fn glare(light: &mut [[f32; 3]], width: usize, height: usize) {
    let (w, h) = (width.div_ceil(4), height.div_ceil(4));
    let mut small = vec![[0.0f32; 3]; w * h];
    for (i, p) in light.iter().enumerate() {
        let top = p[0].max(p[1]).max(p[2]);
        let share = ((top - 1.1) / top.max(1e-6)).max(0.0) / 16.0;
        // One dazzling pixel must not outshine the lamp it belongs to.
        let share = share * (8.0 / top.max(8.0));
        let s = &mut small[(i / width / 4) * w + i % width / 4];
        *s = [s[0] + p[0] * share, s[1] + p[1] * share, s[2] + p[2] * share];
    }
    let mut wide = small.clone();
    blur(&mut small, w, h, 3);
    blur(&mut wide, w, h, 14);
    for (i, p) in light.iter_mut().enumerate() {
        // Bilinear, so that the quarter-size raster does not show.
        let (fx, fy) = ((i % width) as f32 / 4.0 - 0.375, (i / width) as f32 / 4.0 - 0.375);
        let (x, y) = (fx.max(0.0), fy.max(0.0));
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
        let (u, v) = (x - x0 as f32, y - y0 as f32);
        for c in 0..3 {
            let read = |plane: &[[f32; 3]]| {
                let top = plane[y0 * w + x0][c] * (1.0 - u) + plane[y0 * w + x1][c] * u;
                let low = plane[y1 * w + x0][c] * (1.0 - u) + plane[y1 * w + x1][c] * u;
                top * (1.0 - v) + low * v
            };
            p[c] += 0.16 * read(&small) + 0.24 * read(&wide);
        }
    }
}

/// Develops radiance into 8-bit RGB.
pub fn develop(mut light: Vec<[f32; 3]>, width: usize, height: usize, exposure: f32) -> Vec<u8> {
    for p in &mut light {
        *p = p.map(|c| c * exposure);
    }
    glare(&mut light, width, height);
    let mut bytes = Vec::with_capacity(3 * light.len());
    for (i, p) in light.iter().enumerate() {
        let (x, y) = ((i % width) as f32 / width as f32 - 0.5, (i / width) as f32 / height as f32 - 0.5);
        let shade = 1.0 - 0.5 * (x * x + y * y);
        let luma = 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
        for (c, value) in p.iter().enumerate() {
            let rich = luma + 1.14 * (value - luma);
            let toned = srgb(filmic(rich * shade)) * 255.0;
            // A random rounding hides the steps in the sky.
            let dither = unit_of(mix_pair(i as u32, c as u32)) as f32;
            bytes.push((toned + dither).clamp(0.0, 255.0) as u8);
        }
    }
    bytes
}

/// Encodes 8-bit RGB as a PNG file.
pub fn png(bytes: &[u8], width: u32, height: u32) -> Result<Vec<u8>, Error> {
    let fail = |e: png::EncodingError| Error::Picture(e.to_string());
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(bytes).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_rise_from_black_to_white() {
        let mut last = -1.0;
        for i in 0..400 {
            let y = srgb(filmic(i as f32 * 0.02));
            assert!(y >= last && y <= 1.0);
            last = y;
        }
        assert_eq!(filmic(0.0), 0.0);
        assert!(filmic(8.0) > 0.95);
    }

    #[test]
    fn even_grey_stays_even() {
        let bytes = develop(vec![[0.3; 3]; 64 * 32], 64, 32, 1.0);
        assert_eq!(bytes.len(), 64 * 32 * 3);
        assert!(bytes.iter().all(|b| b.abs_diff(bytes[3 * (16 * 64 + 32)]) < 40));
        let file = png(&bytes, 64, 32).unwrap();
        assert_eq!(&file[1..4], b"PNG");
    }
}
