//! Removes the noise that few samples per pixel leave, and keeps edges and textures.
//!
//! The colour of the surface is divided out first, so that only the lighting is smoothed. Each pixel
//! then becomes a weighted mean of its neighbourhood. A neighbour counts as far as its surface is
//! alike (normal, distance, colour) and as far as the patches around both look alike, measured against
//! the noise that the samples themselves reported (non-local means, with features).

use crate::tile::Pixel;

const RADIUS: i32 = 8;
const PATCH: i32 = 2;

/// A picture as the denoiser takes and gives it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels, row by row.
    pub pixels: Vec<Pixel>,
}

/// One plane of numbers.
type Plane = Vec<f32>;

/// The sums over a window of `2 r + 1` in both directions, cut off at the border.
fn box_sum(source: &[f32], width: usize, height: usize, r: usize, scratch: &mut [f32], out: &mut [f32]) {
    for (from, to) in source.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        let mut sum: f32 = from[..r.min(width)].iter().sum();
        for x in 0..width {
            if x + r < width {
                sum += from[x + r];
            }
            to[x] = sum;
            if x >= r {
                sum -= from[x - r];
            }
        }
    }
    for y in 0..height {
        let (low, high) = (y.saturating_sub(r), (y + r).min(height - 1));
        let row = &mut out[y * width..(y + 1) * width];
        row.fill(0.0);
        for k in low..=high {
            for (o, s) in row.iter_mut().zip(&scratch[k * width..(k + 1) * width]) {
                *o += s;
            }
        }
    }
}

/// The number, or zero if it is below. One comparison, which vectorises in WebAssembly too, as `f32::max`
/// with its care for NaNs does not.
#[inline]
fn positive(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

/// exp(-x) for x ≥ 0, to about 3 %: enough for a weight, and it vectorises.
#[inline]
fn weight(x: f32) -> f32 {
    let y = positive(1.0 - x * (1.0 / 16.0));
    let y = y * y;
    let y = y * y;
    let y = y * y;
    y * y
}

struct Planes {
    light: [Plane; 3],
    luminance: Plane,
    variance: Plane,
    albedo: [Plane; 3],
    normal: [Plane; 3],
    depth: Plane,
}

fn planes(picture: &Picture) -> Planes {
    let (width, height) = (picture.width, picture.height);
    let plane = |f: &dyn Fn(&Pixel) -> f32| -> Plane { picture.pixels.iter().map(f).collect() };
    let bare = |c: usize| plane(&|p: &Pixel| p.light[c] / (p.albedo[c] + 0.02));
    let luma = |v: [f32; 3]| 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
    let raw = plane(&|p| p.variance);
    // The variance of few samples is itself noisy: smooth it.
    let n = width * height;
    let (mut scratch, mut variance) = (vec![0.0; n], vec![0.0; n]);
    box_sum(&raw, width, height, 2, &mut scratch, &mut variance);
    for (i, v) in variance.iter_mut().enumerate() {
        *v = 0.5 * (*v / 25.0) + 0.5 * raw[i];
    }
    Planes {
        light: [bare(0), bare(1), bare(2)],
        luminance: plane(&|p| luma(p.light) / (luma(p.albedo) + 0.02)),
        variance,
        albedo: [0, 1, 2].map(|c| plane(&|p: &Pixel| p.albedo[c])),
        normal: [0, 1, 2].map(|c| plane(&|p: &Pixel| p.normal[c])),
        depth: plane(&|p| (p.depth + 1.0).ln()),
    }
}

/// Denoises a picture; returns the radiance of each pixel.
pub fn denoise(picture: &Picture) -> Vec<[f32; 3]> {
    let (width, height) = (picture.width, picture.height);
    let n = width * height;
    let p = planes(picture);
    let mut sums = [vec![0.0f32; n], vec![0.0; n], vec![0.0; n]];
    let mut total = vec![0.0f32; n];
    let (mut near, mut scratch, mut patch, mut feature) =
        (vec![0.0; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let patch_scale = 1.0 / ((2 * PATCH + 1) * (2 * PATCH + 1)) as f32;
    for dy in -RADIUS..=RADIUS {
        for dx in -RADIUS..=RADIUS {
            if dx * dx + dy * dy > RADIUS * RADIUS + 4 {
                continue;
            }
            near.fill(0.0);
            let (rows, columns) = (overlap(dy, height), overlap(dx, width));
            for y in rows.clone() {
                let here = y * width;
                let there = shifted(y, dy) * width;
                let a = here + columns.start..here + columns.end;
                let b = there + shifted(columns.start, dx)..there + shifted(columns.end, dx);
                distances(&p, a.clone(), b.clone(), &mut near[a.clone()]);
                features(&p, a.clone(), b, &mut feature[a]);
            }
            box_sum(&near, width, height, PATCH as usize, &mut scratch, &mut patch);
            for y in rows {
                let here = y * width;
                let there = shifted(y, dy) * width;
                let a = here + columns.start..here + columns.end;
                let b = there + shifted(columns.start, dx)..there + shifted(columns.end, dx);
                let weights = &mut scratch[a.clone()];
                for ((w, d), f) in weights.iter_mut().zip(&patch[a.clone()]).zip(&feature[a.clone()]) {
                    *w = weight(positive(d * patch_scale) + f);
                }
                for (t, w) in total[a.clone()].iter_mut().zip(weights.iter()) {
                    *t += w;
                }
                for (light, sum) in p.light.iter().zip(&mut sums) {
                    let from = &light[b.clone()];
                    for ((s, w), l) in sum[a.clone()].iter_mut().zip(weights.iter()).zip(from) {
                        *s += w * l;
                    }
                }
            }
        }
    }
    (0..n)
        .map(|i| {
            let k = 1.0 / total[i].max(1e-6);
            [0, 1, 2].map(|c| sums[c][i] * k * (p.albedo[c][i] + 0.02))
        })
        .collect()
}

/// The positions whose neighbour at distance `d` lies within `size`.
fn overlap(d: i32, size: usize) -> std::ops::Range<usize> {
    let reach = (d.unsigned_abs() as usize).min(size);
    if d < 0 { reach..size } else { 0..size - reach }
}

fn shifted(x: usize, d: i32) -> usize {
    x.saturating_add_signed(d as isize)
}

/// How unlike the light of each pair of pixels is, in units of their noise.
fn distances(p: &Planes, a: std::ops::Range<usize>, b: std::ops::Range<usize>, out: &mut [f32]) {
    let (la, lb) = (&p.luminance[a.clone()], &p.luminance[b.clone()]);
    let (va, vb) = (&p.variance[a], &p.variance[b]);
    for i in 0..out.len() {
        let d = la[i] - lb[i];
        let noise = va[i] + if va[i] < vb[i] { va[i] } else { vb[i] };
        // A relative floor: differences nobody sees are no reason to keep noise.
        let floor = 2e-4 * (la[i] * la[i] + lb[i] * lb[i]) + 1e-6;
        out[i] = (d * d - noise) / (0.45 * (va[i] + vb[i]) + floor);
    }
}

/// How unlike the surfaces of each pair of pixels are.
fn features(p: &Planes, a: std::ops::Range<usize>, b: std::ops::Range<usize>, out: &mut [f32]) {
    out.fill(0.0);
    let mut add = |plane: &Plane, scale: f32| {
        for ((o, x), y) in out.iter_mut().zip(&plane[a.clone()]).zip(&plane[b.clone()]) {
            let d = x - y;
            *o += d * d * scale;
        }
    };
    for c in 0..3 {
        add(&p.normal[c], 12.0);
        add(&p.albedo[c], 30.0);
    }
    add(&p.depth, 60.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::unit_of;

    fn flat(f: impl Fn(usize, usize) -> f32) -> Picture {
        let (width, height) = (40, 30);
        let pixels = (0..width * height)
            .map(|i| {
                let noise = unit_of(i as u32) as f32 - 0.5;
                Pixel {
                    light: [f(i % width, i / width) + 0.2 * noise; 3],
                    variance: 0.04 / 12.0,
                    albedo: [0.98; 3],
                    normal: [0.0, 1.0, 0.0],
                    depth: 3.0,
                }
            })
            .collect();
        Picture { width, height, pixels }
    }

    #[test]
    fn noise_goes_and_edges_stay() {
        let edge = flat(|x, _| if x < 20 { 1.0 } else { 3.0 });
        let out = denoise(&edge);
        let spread = |from: usize, to: usize, mean: f32| {
            let errors =
                (0..30 * 40).filter(|i| (from..to).contains(&(i % 40))).map(|i| (out[i][0] - mean).abs());
            errors.fold(0.0f32, f32::max)
        };
        assert!(spread(0, 20, 1.0) < 0.06, "{}", spread(0, 20, 1.0));
        assert!(spread(20, 40, 3.0) < 0.06, "{}", spread(20, 40, 3.0));
    }

    #[test]
    fn box_sums_are_sums() {
        let source: Vec<f32> = (0..35).map(|i| i as f32).collect();
        let (mut scratch, mut out) = (vec![0.0; 35], vec![0.0; 35]);
        box_sum(&source, 7, 5, 1, &mut scratch, &mut out);
        assert_eq!(out[8], (0..3).flat_map(|y| (0..3).map(move |x| (7 * y + x) as f32)).sum::<f32>());
        assert_eq!(out[0], 0.0 + 1.0 + 7.0 + 8.0);
    }
}
