//! The water: an endless plane whose normals ripple.

use crate::math::{Ray, Vec3, vec3};
use crate::noise::value;

/// Waves that spread in circles from a disturbance.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// The middle.
    pub x: f64,
    /// The middle.
    pub z: f64,
    /// From crest to crest.
    pub wavelength: f64,
    /// The steepness near the middle.
    pub steepness: f64,
    /// The distance over which they fade.
    pub reach: f64,
}

/// A water surface.
#[derive(Clone, Debug)]
pub struct Water {
    /// Its height.
    pub level: f64,
    /// The colour of the light that comes back out of it.
    pub colour: Vec3,
    /// The steepness of the ripples.
    pub ripples: f64,
    /// Circular waves.
    pub rings: Vec<Ring>,
}

impl Water {
    /// Where a ray from above meets the surface.
    #[inline]
    pub fn meet(&self, ray: &Ray) -> Option<f64> {
        let t = (self.level - ray.origin.y) / ray.direction.y;
        (t > 1e-6 && ray.direction.y < 0.0).then_some(t)
    }

    /// The normal at a point of the surface, seen over a footprint of this size: ripples finer than
    /// the footprint are left out, as they would only make noise.
    pub fn normal(&self, p: Vec3, footprint: f64) -> Vec3 {
        let (mut a, mut b) = (0.0, 0.0);
        for (scale, weight, shift) in
            [(0.35, 0.5, 3.0), (1.1, 0.6, 17.0), (3.1, 0.55, 41.0), (8.0, 0.35, 71.0)]
        {
            let fade = 1.0 / (1.0 + (footprint * scale * 3.0) * (footprint * scale * 3.0));
            if fade * weight < 0.01 {
                continue;
            }
            // Ripples run across the breeze: finer along z than along x.
            let q = vec3(0.55 * scale * p.x, shift, scale * p.z + 0.25 * scale * p.x);
            let here = value(q);
            const H: f64 = 0.05;
            a += fade * weight * (value(q + vec3(H, 0.0, 0.0)) - here) * (0.55 / H);
            b += fade * weight * (value(q + vec3(0.0, 0.0, H)) - here) * (1.0 / H);
        }
        (a, b) = (a * self.ripples, b * self.ripples);
        // Patches of breeze and of calm.
        let calm = 0.55 + 0.45 * value(vec3(p.x * 0.05, 5.0, p.z * 0.11));
        (a, b) = (a * calm, b * calm);
        for ring in &self.rings {
            let (x, z) = (p.x - ring.x, p.z - ring.z);
            let r = (x * x + z * z).sqrt();
            let fade = ring.steepness * (-r / ring.reach).exp()
                / (1.0 + (2.0 * footprint / ring.wavelength).powi(2));
            if r > 1e-3 && fade > 1e-4 {
                let swing = fade * (std::f64::consts::TAU * r / ring.wavelength).sin() / r;
                a += swing * x;
                b += swing * z;
            }
        }
        vec3(-a, 1.0, -b).unit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calm_water_is_level_and_met_from_above_only() {
        let water = Water { level: 1.0, colour: Vec3::ZERO, ripples: 0.0, rings: Vec::new() };
        assert_eq!(water.normal(vec3(3.0, 1.0, 4.0), 0.1), Vec3::UP);
        let mut ray = Ray { origin: vec3(0.0, 3.0, 0.0), direction: vec3(0.0, -1.0, 0.0) };
        assert_eq!(water.meet(&ray), Some(2.0));
        ray.direction = Vec3::UP;
        assert_eq!(water.meet(&ray), None);
    }
}
