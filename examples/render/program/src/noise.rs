//! Smooth random fields for patterns, clouds and ripples.

use crate::math::{Vec3, vec3};
use crate::random::mix32;

#[inline]
fn corner(x: i32, y: i32, z: i32) -> f64 {
    let key = (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ (z as u32).wrapping_mul(0xcb1a_b31f);
    f64::from(mix32(key)) * (2.0 / 4_294_967_296.0) - 1.0
}

/// A random number of [-1, 1) that belongs to a cell of the integer lattice.
#[inline]
pub fn cell(x: f64, y: f64, z: f64) -> f64 {
    corner(x as i32, y as i32, z as i32)
}

/// Value noise of [-1, 1], with features of about one unit.
#[inline]
pub fn value(p: Vec3) -> f64 {
    let (fx, fy, fz) = (p.x.floor(), p.y.floor(), p.z.floor());
    let (x, y, z) = (fx as i32, fy as i32, fz as i32);
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (u, v, w) = (ease(p.x - fx), ease(p.y - fy), ease(p.z - fz));
    let (x1, y1, z1) = (x.wrapping_add(1), y.wrapping_add(1), z.wrapping_add(1));
    let lerp = |a: f64, b: f64, t: f64| a + (b - a) * t;
    let near =
        lerp(lerp(corner(x, y, z), corner(x1, y, z), u), lerp(corner(x, y1, z), corner(x1, y1, z), u), v);
    let far =
        lerp(lerp(corner(x, y, z1), corner(x1, y, z1), u), lerp(corner(x, y1, z1), corner(x1, y1, z1), u), v);
    lerp(near, far, w)
}

/// A sum of `octaves` of value noise, each half as large and about twice as fine; within [-1, 1].
pub fn fractal(mut p: Vec3, octaves: u32) -> f64 {
    let (mut sum, mut size, mut total) = (0.0, 1.0, 0.0);
    for _ in 0..octaves {
        sum += size * value(p);
        total += size;
        size *= 0.5;
        // A turn between octaves hides the lattice.
        p = vec3(0.8 * p.x - 0.6 * p.z, p.y, 0.6 * p.x + 0.8 * p.z) * 2.03 + vec3(17.3, 5.1, 9.7);
    }
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_bounded_and_continuous() {
        for i in 0..2000 {
            let p = vec3(f64::from(i) * 0.137 - 90.0, f64::from(i) * 0.071, 3.3);
            let a = fractal(p, 4);
            assert!(a.abs() <= 1.0);
            assert!((a - fractal(p + vec3(1e-6, 0.0, 0.0), 4)).abs() < 1e-4);
        }
    }
}
