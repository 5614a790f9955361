//! The path tracer: how much light comes back along one ray.

use crate::bvh::Meeting;
use crate::math::{Ray, Vec3, vec3};
use crate::random::Sampler;
use crate::scene::{Scene, Surface};

/// What one path brings home: light, and what the denoiser wants to know of the first surface that
/// is not a mirror.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The radiance.
    pub light: Vec3,
    /// The colour of the surface.
    pub albedo: Vec3,
    /// Its normal; zero for the sky.
    pub normal: Vec3,
    /// The length of the path up to it.
    pub depth: f64,
}

const DEPTH: u32 = 8;
const SCATTERS: u32 = 3;
/// Indirect light of a sample is held below this, so that no single path makes a bright dot.
const INDIRECT_LIMIT: f64 = 3.0;
const DIRECT_LIMIT: f64 = 30.0;
const NEAR: f64 = 1e-5;

/// A path under way.
struct Walk<'a> {
    scene: &'a Scene,
    ray: Ray,
    /// How much of the light found from here on reaches the eye.
    carried: Vec3,
    /// Length walked so far.
    length: f64,
    /// Diffuse scatterings so far.
    scatters: u32,
    /// The angle one pixel spans.
    spread: f64,
    sample: Sample,
    features: bool,
}

fn cosine_direction(normal: Vec3, (u, v): (f64, f64)) -> Vec3 {
    let (s, c) = (std::f64::consts::TAU * v).sin_cos();
    let (a, b) = normal.frame();
    (a * (u.sqrt() * c) + b * (u.sqrt() * s) + normal * (1.0 - u).max(0.0).sqrt()).unit()
}

/// The share of unpolarised light that a smooth surface reflects; `eta` is the index of the side the
/// light comes from over that of the other.
pub fn fresnel(cosine: f64, eta: f64) -> f64 {
    let sine2 = eta * eta * (1.0 - cosine * cosine);
    if sine2 >= 1.0 {
        return 1.0;
    }
    let other = (1.0 - sine2).sqrt();
    let s = (eta * cosine - other) / (eta * cosine + other);
    let p = (eta * other - cosine) / (eta * other + cosine);
    0.5 * (s * s + p * p)
}

/// The light that comes back along `ray`; `spread` is the angle of one pixel.
pub fn trace(scene: &Scene, ray: Ray, spread: f64, sampler: &mut Sampler) -> Sample {
    let mut walk = Walk {
        scene,
        ray,
        carried: Vec3::ONE,
        length: 0.0,
        scatters: 0,
        spread,
        sample: Sample::default(),
        features: true,
    };
    for _ in 0..DEPTH {
        if !walk.step(sampler) {
            break;
        }
    }
    walk.sample
}

impl Walk<'_> {
    /// Adds light that was found, held below the limit for its kind.
    fn add(&mut self, light: Vec3) {
        let mut found = self.carried * light;
        let limit = if self.scatters > 0 { INDIRECT_LIMIT } else { DIRECT_LIMIT };
        let most = found.largest();
        if most > limit {
            found = found * (limit / most);
        }
        self.sample.light += found;
    }

    fn note(&mut self, albedo: Vec3, normal: Vec3, depth: f64) {
        if self.features {
            self.sample.albedo = albedo;
            self.sample.normal = normal;
            self.sample.depth = depth;
            self.features = false;
        }
    }

    /// Follows the ray to what it meets; false when the path is over.
    fn step(&mut self, sampler: &mut Sampler) -> bool {
        let scene = self.scene;
        let met = scene.shapes.meet(&self.ray, NEAR, f64::INFINITY);
        let water = scene.water.as_ref().and_then(|w| w.meet(&self.ray).map(|t| (t, w)));
        let distance = met.as_ref().map_or(f64::INFINITY, |m| m.t);
        let distance = water.as_ref().map_or(distance, |w| w.0.min(distance));
        let clear = (-scene.haze.density * distance).exp();
        if distance == f64::INFINITY {
            self.sky();
            return false;
        }
        if scene.haze.density > 0.0 {
            self.add(scene.haze.colour * (1.0 - clear));
            self.carried = self.carried * clear;
        }
        self.length += distance;
        match (met, water) {
            (Some(met), None) => self.surface(&met, sampler),
            (Some(met), Some((t, _))) if met.t <= t => self.surface(&met, sampler),
            (_, Some((t, _))) => self.water(t, sampler),
            (None, None) => false,
        }
    }

    fn sky(&mut self) {
        let d = self.ray.direction;
        let sky = &self.scene.sky;
        let depth = if self.length > 0.0 { self.length } else { 1000.0 };
        self.note(Vec3::ONE, Vec3::ZERO, depth);
        let mut light = sky.radiance(d, self.scatters == 0);
        if self.scatters == 0 {
            light += sky.disc(d);
        }
        self.add(light);
    }

    /// Light from the sun and the lamps that reaches a diffuse surface, over its colour.
    fn direct(&self, p: Vec3, normal: Vec3, sampler: &mut Sampler) -> Vec3 {
        let scene = self.scene;
        let mut sum = Vec3::ZERO;
        let d = scene.sky.toward_sun(sampler.pair());
        let cosine = d.dot(normal);
        if cosine > 0.0 {
            let light = self.passes(p, d, f64::INFINITY);
            sum += scene.sky.sunlight * (light * cosine / std::f64::consts::PI);
        }
        for lamp in &scene.lamps {
            let to = lamp.centre - p;
            let square = to.dot(to);
            let r2 = lamp.radius * lamp.radius;
            if square <= r2 * 1.01 {
                continue;
            }
            // A direction within the cone that the ball fills.
            let most = (1.0 - r2 / square).sqrt();
            let axis = to * (1.0 / square.sqrt());
            let (u, v) = sampler.pair();
            let c = 1.0 - u * (1.0 - most);
            let s = (1.0 - c * c).max(0.0).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
            let (a, b) = axis.frame();
            let d = a * (s * cos) + b * (s * sin) + axis * c;
            let cosine = d.dot(normal);
            if cosine > 0.0 {
                let far = square.sqrt() * c - (r2 - square * s * s).max(0.0).sqrt();
                let light = self.passes(p, d, far - 1e-3);
                sum += lamp.colour * (light * cosine * 2.0 * (1.0 - most));
            }
        }
        sum
    }

    fn passes(&self, origin: Vec3, direction: Vec3, high: f64) -> f64 {
        let materials = &self.scene.materials;
        self.scene.shapes.passes(&Ray { origin, direction }, NEAR, high, |shape| {
            match materials[shape.material].surface {
                Surface::Glass { .. } => 0.75,
                Surface::Glow => 1.0,
                _ => 0.0,
            }
        })
    }

    fn diffuse(&mut self, p: Vec3, normal: Vec3, albedo: Vec3, sampler: &mut Sampler) -> bool {
        self.note(albedo, normal, self.length);
        self.carried *= albedo;
        let light = self.direct(p, normal, sampler);
        self.add(light);
        self.scatters += 1;
        if self.scatters >= SCATTERS {
            return false;
        }
        // Dim paths end early, with the right odds.
        if self.scatters > 1 {
            let go_on = self.carried.largest().clamp(0.05, 1.0);
            if sampler.one() >= go_on {
                return false;
            }
            self.carried = self.carried * (1.0 / go_on);
        }
        self.ray = Ray { origin: p, direction: cosine_direction(normal, sampler.pair()) };
        true
    }

    fn water(&mut self, t: f64, sampler: &mut Sampler) -> bool {
        let Some(water) = &self.scene.water else { return false };
        let p = self.ray.at(t);
        let d = self.ray.direction;
        let p = vec3(p.x, water.level + 1e-4, p.z);
        if self.scatters > 0 {
            // Seen by scattered light only: an even mirror over the body colour is close enough.
            let f = fresnel(-d.y, 1.0 / 1.33);
            let up = d.reflect(Vec3::UP);
            self.add(self.scene.sky.radiance(up, false) * (0.8 * f) + water.colour * (1.0 - f));
            return false;
        }
        let footprint = self.length * self.spread / (-d.y).max(0.02).sqrt();
        let normal = water.normal(p, footprint);
        let facing = (-d.dot(normal)).clamp(0.02, 1.0);
        let f = fresnel(facing, 1.0 / 1.33);
        // The light out of the depth is known without a further path, so no dice are needed: it is
        // added here, and the path goes on as the mirrored one.
        let sun = self.scene.sky.toward_sun(sampler.pair());
        let lit = 0.35 + 0.65 * self.passes(p, sun, f64::INFINITY);
        self.add(water.colour * (lit * (1.0 - f)));
        self.carried = self.carried * f;
        let mut out = d.reflect(normal);
        out.y = out.y.abs().max(1e-3);
        self.ray = Ray { origin: p, direction: out.unit() };
        true
    }

    fn surface(&mut self, met: &Meeting<'_>, sampler: &mut Sampler) -> bool {
        let shape = met.shape;
        let material = &self.scene.materials[shape.material];
        let d = self.ray.direction;
        let local_p = shape.inverse.point(self.ray.at(met.t));
        let mut flat = shape.inverse.transposed(met.normal).unit();
        if let Surface::Glass { index } = material.surface {
            return self.glass(met, flat, index, material.colour, sampler);
        }
        if material.surface == Surface::Glow {
            self.note(Vec3::ONE, Vec3::ZERO, self.length);
            // Lamps light scattered paths directly; here they only show themselves.
            let lamp = shape.shape == crate::shape::Shape::Sphere;
            if self.scatters == 0 || !lamp {
                self.add(material.colour);
            }
            return false;
        }
        let inside = d.dot(flat) > 0.0;
        let finish = material.pattern.at(shape, local_p, met.normal.unit());
        // A tilt is meant in units of the world along the shape's axes: undo the stretch.
        let mut normal = (flat + shape.inverse.transposed(finish.tilt * shape.size)).unit();
        if inside {
            flat = -flat;
            normal = -normal;
        }
        if normal.dot(d) > -0.02 {
            normal = flat;
        }
        let p = self.ray.at(met.t) + flat * (1e-5 * (1.0 + met.t));
        let colour = (material.colour * finish.tint).min(Vec3::ONE * 0.95).max(Vec3::ZERO);
        match material.surface {
            Surface::Metal { rough } => {
                let mut out = d.reflect(normal);
                if rough > 0.0 {
                    let (a, b) = out.frame();
                    let (u, v) = sampler.pair();
                    let (s, c) = (std::f64::consts::TAU * v).sin_cos();
                    let r = rough * (u / (1.0001 - u)).sqrt().min(3.0);
                    out = (out + a * (r * c) + b * (r * s)).unit();
                }
                if out.dot(flat) <= 0.0 {
                    out = out.reflect(flat);
                }
                if rough > 0.05 {
                    self.note(colour, normal, self.length);
                }
                let grazing = (1.0 - (-d.dot(normal)).clamp(0.0, 1.0)).powi(5);
                self.carried *= colour.mix(Vec3::ONE, grazing);
                self.ray = Ray { origin: p, direction: out };
                true
            }
            Surface::Diffuse { gloss } if gloss > 0.0 && self.scatters == 0 => {
                let f = gloss * fresnel((-d.dot(normal)).clamp(0.02, 1.0), 1.0 / 1.5);
                let odds = f.clamp(0.1, 0.9);
                if sampler.one() < odds {
                    self.carried = self.carried * (f / odds);
                    self.note(colour, normal, self.length);
                    let mut out = d.reflect(normal);
                    if out.dot(flat) <= 0.0 {
                        out = d.reflect(flat);
                    }
                    self.ray = Ray { origin: p, direction: out };
                    true
                } else {
                    self.carried = self.carried * ((1.0 - f) / (1.0 - odds));
                    self.diffuse(p, normal, colour, sampler)
                }
            }
            _ => self.diffuse(p, normal, colour, sampler),
        }
    }

    fn glass(
        &mut self,
        met: &Meeting<'_>,
        flat: Vec3,
        index: f64,
        tint: Vec3,
        sampler: &mut Sampler,
    ) -> bool {
        let d = self.ray.direction;
        let inside = d.dot(flat) > 0.0;
        let normal = if inside { -flat } else { flat };
        // Whether a path is mirrored or bent is a matter of dice, so what lies behind would make noisy
        // features: the glass itself stands for it.
        self.note(Vec3::ONE, normal, self.length);
        let eta = if inside { index } else { 1.0 / index };
        let cosine = (-d.dot(normal)).clamp(0.0, 1.0);
        let f = fresnel(cosine, eta);
        let p = self.ray.at(met.t);
        let out = if sampler.one() < f {
            d.reflect(normal)
        } else {
            self.carried *= tint;
            let sine2 = eta * eta * (1.0 - cosine * cosine);
            d * eta + normal * (eta * cosine - (1.0 - sine2).max(0.0).sqrt())
        };
        self.ray = Ray { origin: p + out * 1e-5, direction: out.unit() };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresnel_has_known_values() {
        assert!((fresnel(1.0, 1.0 / 1.5) - 0.04).abs() < 1e-12);
        assert!((fresnel(0.0, 1.0 / 1.5) - 1.0).abs() < 1e-12);
        assert_eq!(fresnel(0.3, 1.5), 1.0);
    }

    #[test]
    fn cosine_directions_have_the_right_mean() {
        let n = vec3(0.2, 0.5, -0.4).unit();
        let mut sum = 0.0;
        for i in 0..1024 {
            let mut s = Sampler::new(9, i, 1024);
            let d = cosine_direction(n, s.pair());
            assert!(d.dot(n) >= 0.0);
            sum += d.dot(n);
        }
        assert!((sum / 1024.0 - 2.0 / 3.0).abs() < 1e-3);
    }

    #[test]
    fn a_white_furnace_neither_loses_nor_makes_light() {
        let text = "image 8 8\nsky zenith 1 1 1 horizon 1 1 1 glow 0 0 0\nsun toward 0 1 0 colour 0 0 0\n\
                    material white diffuse 0.5 0.5 0.5\nsphere white 2 2 2\ncamera from 0 0 5 to 0 0 0\n";
        let scene = crate::parse::scene(text).unwrap();
        let mut sum = 0.0;
        for i in 0..256 {
            let mut s = Sampler::new(1, i, 256);
            let ray = Ray { origin: vec3(0.0, 0.0, 5.0), direction: vec3(0.0, 0.0, -1.0) };
            sum += trace(&scene, ray, 1e-3, &mut s).light.x;
        }
        // One bounce on a convex body under an even sky: exactly its albedo.
        assert!((sum / 256.0 - 0.5).abs() < 1e-9, "{}", sum / 256.0);
    }
}
