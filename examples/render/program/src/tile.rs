//! Tiles: which pixels a task renders, and the file that carries them to the assembly.

use crate::error::Error;
use crate::math::{Ray, Vec3};
use crate::random::{Sampler, mix_pair};
use crate::scene::Scene;
use crate::trace::trace;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The first column.
    pub left: u32,
    /// The first row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Tile `index` of `count` over a picture: the grid of exactly `count` cells whose cells are nearest
/// to squares.
pub fn area(width: u32, height: u32, index: u32, count: u32) -> Area {
    let skew = |columns: u32| {
        let cell = (f64::from(width) / f64::from(columns)) / (f64::from(height) / f64::from(count / columns));
        cell.ln().abs()
    };
    let mut columns = count;
    for candidate in (1..=count).filter(|c| count.is_multiple_of(*c)) {
        if skew(candidate) < skew(columns) {
            columns = candidate;
        }
    }
    let rows = count / columns;
    let cut = |size: u32, i: u32, n: u32| (u64::from(size) * u64::from(i) / u64::from(n)) as u32;
    let (column, row) = (index % columns, index / columns);
    let (left, top) = (cut(width, column, columns), cut(height, row, rows));
    Area {
        left,
        top,
        width: cut(width, column + 1, columns) - left,
        height: cut(height, row + 1, rows) - top,
    }
}

/// What is known of one pixel: means over its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pixel {
    /// Radiance.
    pub light: [f32; 3],
    /// The variance of the mean of the luminance.
    pub variance: f32,
    /// Colour of the first surface that is not a mirror.
    pub albedo: [f32; 3],
    /// Its normal.
    pub normal: [f32; 3],
    /// Its distance.
    pub depth: f32,
}

/// Renders the pixels of an area, row by row.
pub fn render(scene: &Scene, area: Area, samples: u32, seed: u32) -> Vec<Pixel> {
    let camera = &scene.camera;
    let forward = (camera.to - camera.from).unit();
    let right = forward.cross(Vec3::UP).unit();
    let up = right.cross(forward);
    let half = (0.5 * camera.view).to_radians().tan();
    let unit = 2.0 * half / f64::from(scene.height);
    let mut pixels = Vec::with_capacity((area.width as usize) * (area.height as usize));
    for y in area.top..area.top + area.height {
        for x in area.left..area.left + area.width {
            let key = mix_pair(seed, mix_pair(x, y));
            let mut sums = Sums::default();
            for i in 0..samples {
                let mut sampler = Sampler::new(key, i, samples);
                let (a, b) = sampler.pair();
                // A tent filter two pixels wide: softer than a box, without ringing.
                let px = f64::from(x) + 0.5 + tent(a) - 0.5 * f64::from(scene.width);
                let py = 0.5 * f64::from(scene.height) - f64::from(y) - 0.5 - tent(b);
                let (u, v) = sampler.pair();
                let (s, c) = (std::f64::consts::TAU * v).sin_cos();
                let lens = (right * c + up * s) * (camera.lens * u.sqrt());
                let target = (forward + right * (px * unit) + up * (py * unit)) * camera.focus;
                let ray = Ray { origin: camera.from + lens, direction: (target - lens).unit() };
                let sample = trace(scene, ray, unit, &mut sampler);
                sums.add(sample.light, sample.albedo, sample.normal, sample.depth);
            }
            pixels.push(sums.pixel(samples));
        }
    }
    pixels
}

fn tent(u: f64) -> f64 {
    let v = 2.0 * u;
    0.75 * if v < 1.0 { v.sqrt() - 1.0 } else { 1.0 - (2.0 - v).sqrt() }
}

#[derive(Default)]
struct Sums {
    light: Vec3,
    square: f64,
    albedo: Vec3,
    normal: Vec3,
    depth: f64,
}

impl Sums {
    fn add(&mut self, light: Vec3, albedo: Vec3, normal: Vec3, depth: f64) {
        self.light += light;
        // The variance is that of the light without the colour of the surface.
        let bare = light.luminance() / (albedo.luminance() + 0.02);
        self.square += bare * bare;
        self.albedo += albedo;
        self.normal += normal;
        self.depth += depth;
    }

    fn pixel(&self, samples: u32) -> Pixel {
        let k = 1.0 / f64::from(samples);
        let three = |v: Vec3| [(v.x * k) as f32, (v.y * k) as f32, (v.z * k) as f32];
        let mean = self.light.luminance() * k / (self.albedo.luminance() * k + 0.02);
        let variance = (self.square * k - mean * mean).max(0.0) * k;
        Pixel {
            light: three(self.light),
            variance: variance as f32,
            albedo: three(self.albedo),
            normal: three(self.normal),
            depth: (self.depth * k) as f32,
        }
    }
}

const MAGIC: &[u8; 8] = b"tmtile1\n";
const PIXEL: usize = 4 * 4 + 3 + 3 + 4;

/// A rendered tile and the picture it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Size of the whole picture.
    pub picture: (u32, u32),
    /// Where the tile lies in it.
    pub area: Area,
    /// Multiplies all light before tone mapping.
    pub exposure: f32,
    /// The pixels, row by row.
    pub pixels: Vec<Pixel>,
}

impl Tile {
    /// The tile as bytes: a head of 36 bytes, then 26 bytes a pixel, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(36 + PIXEL * self.pixels.len());
        bytes.extend_from_slice(MAGIC);
        let a = self.area;
        for n in [self.picture.0, self.picture.1, a.left, a.top, a.width, a.height] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        bytes.extend_from_slice(&self.exposure.to_le_bytes());
        for p in &self.pixels {
            for f in [p.light[0], p.light[1], p.light[2], p.variance] {
                bytes.extend_from_slice(&f.to_le_bytes());
            }
            bytes.extend(p.albedo.map(|c| (c.clamp(0.0, 1.0) * 255.0 + 0.5) as u8));
            bytes.extend(p.normal.map(|c| (c.clamp(-1.0, 1.0) * 127.0).round() as i8 as u8));
            bytes.extend_from_slice(&p.depth.to_le_bytes());
        }
        bytes
    }

    /// Reads a tile; the error says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tile, Error> {
        let fail = |what: &str| Error::Tile(what.to_string());
        if !bytes.starts_with(MAGIC) || bytes.len() < 36 {
            return Err(fail("this is not a tile file"));
        }
        let float = |at: usize| f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let number = |i: usize| float(8 + 4 * i).to_bits();
        let picture = (number(0), number(1));
        let area = Area { left: number(2), top: number(3), width: number(4), height: number(5) };
        let fits = |from: u32, size: u32, all: u32| {
            all <= 16_384 && u64::from(from) + u64::from(size) <= u64::from(all)
        };
        if !fits(area.left, area.width, picture.0) || !fits(area.top, area.height, picture.1) {
            return Err(fail("the tile lies outside its picture"));
        }
        let count = area.width as usize * area.height as usize;
        if bytes.len() != 36 + PIXEL * count {
            return Err(fail("the tile file is cut short or too long"));
        }
        let pixels = (0..count)
            .map(|i| {
                let at = 36 + PIXEL * i;
                let small = |k: usize| f32::from(bytes[at + 16 + k]) / 255.0;
                let signed = |k: usize| f32::from(bytes[at + 19 + k] as i8) / 127.0;
                Pixel {
                    light: [float(at), float(at + 4), float(at + 8)],
                    variance: float(at + 12),
                    albedo: [small(0), small(1), small(2)],
                    normal: [signed(0), signed(1), signed(2)],
                    depth: float(at + 22),
                }
            })
            .collect();
        Ok(Tile { picture, area, exposure: float(32), pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(width: u32, height: u32, count: u32) -> u64 {
        let areas = (0..count).map(|i| area(width, height, i, count));
        areas.map(|a| u64::from(a.width) * u64::from(a.height)).sum()
    }

    #[test]
    fn tiles_cover_the_picture_once() {
        assert_eq!(area(1280, 720, 0, 60), Area { left: 0, top: 0, width: 128, height: 120 });
        for count in [1, 2, 7, 12, 60, 61] {
            assert_eq!(covered(1280, 719, count), 1280 * 719, "{count}");
        }
    }

    #[test]
    fn files_come_back_and_damage_is_found() {
        let pixel = Pixel {
            light: [0.5, 2.0, 3.0],
            variance: 0.25,
            albedo: [1.0, 0.0, 1.0],
            normal: [0.0, 1.0, -1.0],
            depth: 7.5,
        };
        let area = Area { left: 1, top: 2, width: 2, height: 1 };
        let tile = Tile { picture: (9, 9), area, exposure: 1.5, pixels: vec![pixel; 2] };
        let bytes = tile.to_bytes();
        assert_eq!(Tile::from_bytes(&bytes).unwrap(), tile);
        assert!(Tile::from_bytes(&bytes[..60]).unwrap_err().to_string().contains("cut short"));
        assert!(Tile::from_bytes(b"hello").is_err());
    }
}
