//! The sky at golden hour: a gradient, a glow around the sun, thin clouds, and the sun itself.

use crate::math::{Vec3, vec3};
use crate::noise::fractal;
use crate::pattern::step;

/// A sky.
#[derive(Clone, Copy, Debug)]
pub struct Sky {
    /// The direction towards the sun, of length one.
    pub sun: Vec3,
    /// The light of the sun on a surface that faces it.
    pub sunlight: Vec3,
    /// The cosine of the angular radius of the sun.
    pub sun_cosine: f64,
    /// The colour overhead.
    pub zenith: Vec3,
    /// The colour at the horizon.
    pub horizon: Vec3,
    /// The colour of the glow around the sun.
    pub glow: Vec3,
    /// How much of the sky clouds cover, 0 to 1.
    pub clouds: f64,
}

impl Sky {
    /// The radiance from direction `d` (of length one), without the sun's disc.
    pub fn radiance(&self, d: Vec3, clouds: bool) -> Vec3 {
        let height = d.y.max(0.0);
        let toward = d.dot(self.sun).max(0.0);
        let level = vec3(d.x, 0.0, d.z).unit().dot(vec3(self.sun.x, 0.0, self.sun.z).unit());
        let up = 1.0 - (-4.2 * height).exp();
        let mut colour = self.horizon.mix(self.zenith, up);
        // The horizon is warm on the sun's side and cooler opposite.
        let side = 0.5 + 0.5 * level;
        colour = colour.mix(colour.mix(self.zenith, 0.45), (1.0 - side) * 0.8);
        let low = (-5.0 * height).exp();
        colour += self.glow * (0.22 * low * side * side + 0.16 * toward.powi(6) + 0.34 * toward.powi(40));
        colour += self.glow * (0.7 * toward.powi(300) + 1.6 * toward.powi(2500));
        if clouds && self.clouds > 0.0 && d.y > 0.015 {
            colour = self.clouded(d, colour, toward);
        }
        colour
    }

    fn clouded(&self, d: Vec3, clear: Vec3, toward: f64) -> Vec3 {
        let k = 1.0 / (d.y + 0.06);
        // Long streaks: the layer is stretched along one direction.
        let p = vec3(d.x * k * 0.62 + d.z * k * 0.18, 0.0, d.z * k * 1.15 - d.x * k * 0.1);
        let warp = fractal(p * 0.7 + vec3(4.0, 8.0, 2.0), 2);
        let density = fractal(p + vec3(warp * 0.8, 11.0, warp * 0.5), 5);
        let cut = 0.55 - self.clouds;
        let cover = step(cut, cut + 0.5, density) * step(0.015, 0.14, d.y);
        if cover <= 0.0 {
            return clear;
        }
        // Thin edges are lit through; thick cores are grey and mauve.
        let thick = step(cut + 0.1, cut + 0.6, density);
        let lit = self.glow * (0.34 + 0.55 * toward.powi(5)) + self.horizon * 0.5;
        let core = self.zenith * 0.55 + self.horizon * 0.34;
        clear.mix(lit.mix(core, 0.75 * thick), 0.85 * cover)
    }

    /// The radiance of the sun's disc towards `d`; zero beside it.
    pub fn disc(&self, d: Vec3) -> Vec3 {
        if d.dot(self.sun) < self.sun_cosine {
            return Vec3::ZERO;
        }
        self.sunlight * (1.0 / (2.0 * std::f64::consts::PI * (1.0 - self.sun_cosine)))
    }

    /// A direction towards the sun's disc, from two random numbers.
    pub fn toward_sun(&self, (u, v): (f64, f64)) -> Vec3 {
        let cosine = 1.0 - u * (1.0 - self.sun_cosine);
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        let (s, c) = (2.0 * std::f64::consts::PI * v).sin_cos();
        let (a, b) = self.sun.frame();
        a * (sine * c) + b * (sine * s) + self.sun * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disc_holds_the_sunlight() {
        let sky = Sky {
            sun: vec3(0.6, 0.0, 0.8),
            sunlight: vec3(3.0, 2.0, 1.0),
            sun_cosine: 0.02f64.cos(),
            zenith: Vec3::ONE,
            horizon: Vec3::ONE,
            glow: Vec3::ONE,
            clouds: 0.3,
        };
        let solid = 2.0 * std::f64::consts::PI * (1.0 - sky.sun_cosine);
        assert!((sky.disc(sky.sun) * solid - sky.sunlight).length() < 1e-9);
        for i in 0..100 {
            let d = sky.toward_sun((f64::from(i) / 100.0, f64::from(i * 37 % 100) / 100.0));
            assert!((d.length() - 1.0).abs() < 1e-12 && d.dot(sky.sun) >= sky.sun_cosine - 1e-12);
        }
    }
}
