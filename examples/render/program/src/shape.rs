//! The primitives: unit shapes, placed by an affine map.

use crate::math::{Affine, Ray, Vec3, least, most, vec3};

/// A shape in its own coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// The ball of radius one.
    Sphere,
    /// The cube from -1 to 1 along each axis.
    Box,
    /// Radius one around the y axis, from y = -1 to 1.
    Cylinder,
    /// A cylinder with a bore of this radius (0 to 1).
    Tube(f64),
    /// From radius one at y = -1 to the tip at y = 1.
    Cone,
    /// A triangular prism along z: base at y = -1 from x = -1 to 1, ridge at y = 1.
    Gable,
}

/// Where a ray meets a shape, in the shape's own coordinates.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// The parameter along the ray.
    pub t: f64,
    /// The outward normal, of any length.
    pub normal: Vec3,
}

/// The slopes of a gable, as outward normals; both touch the plane `normal · p = 1`.
const SLOPES: [Vec3; 2] = [vec3(2.0, 1.0, 0.0), vec3(-2.0, 1.0, 0.0)];

impl Shape {
    /// The nearest meeting with `low < t < high`.
    #[inline]
    pub fn meet(self, ray: &Ray, low: f64, high: f64) -> Option<Local> {
        let found = match self {
            Shape::Sphere => sphere(ray, low),
            Shape::Box => cube(ray, low),
            Shape::Cylinder => round(ray, low, high, 0.0),
            Shape::Tube(bore) => round(ray, low, high, bore),
            Shape::Cone => cone(ray, low, high),
            Shape::Gable => gable(ray, low),
        };
        found.filter(|local| local.t < high)
    }
}

/// The nearer root above `low` of a t² + 2 b t + c.
#[inline]
fn roots(a: f64, b: f64, c: f64) -> Option<(f64, f64)> {
    let d = b * b - a * c;
    if d < 0.0 || a == 0.0 {
        return None;
    }
    // The stable form: no cancellation when the ray starts far away.
    let q = -(b + d.sqrt().copysign(b));
    let (s, t) = (q / a, if q == 0.0 { 0.0 } else { c / q });
    Some((least(s, t), most(s, t)))
}

fn sphere(ray: &Ray, low: f64) -> Option<Local> {
    let (o, d) = (ray.origin, ray.direction);
    let (near, far) = roots(d.dot(d), o.dot(d), o.dot(o) - 1.0)?;
    let t = if near > low { near } else { far };
    (t > low).then(|| Local { t, normal: ray.at(t) })
}

fn cube(ray: &Ray, low: f64) -> Option<Local> {
    let (o, d) = (ray.origin, ray.direction);
    let inverse = vec3(1.0 / d.x, 1.0 / d.y, 1.0 / d.z);
    let a = vec3((-1.0 - o.x) * inverse.x, (-1.0 - o.y) * inverse.y, (-1.0 - o.z) * inverse.z);
    let b = vec3((1.0 - o.x) * inverse.x, (1.0 - o.y) * inverse.y, (1.0 - o.z) * inverse.z);
    let (enter, leave) = (a.min(b), a.max(b));
    let (near, far) = (enter.largest(), least(least(leave.x, leave.y), leave.z));
    if near > far || far <= low {
        return None;
    }
    let (t, bound) = if near > low { (near, enter) } else { (far, leave) };
    let normal = if bound.x == t {
        vec3(1.0f64.copysign(o.x + t * d.x), 0.0, 0.0)
    } else if bound.y == t {
        vec3(0.0, 1.0f64.copysign(o.y + t * d.y), 0.0)
    } else {
        vec3(0.0, 0.0, 1.0f64.copysign(o.z + t * d.z))
    };
    Some(Local { t, normal })
}

/// A cylinder, with a bore if `bore` is above zero.
fn round(ray: &Ray, low: f64, high: f64, bore: f64) -> Option<Local> {
    let (o, d) = (ray.origin, ray.direction);
    let (a, b) = (d.x * d.x + d.z * d.z, o.x * d.x + o.z * d.z);
    let c = o.x * o.x + o.z * o.z;
    // Outside the outer wall for good: nothing to find.
    let outer = roots(a, b, c - 1.0);
    if outer.is_none() && c > 1.0 {
        return None;
    }
    let mut best: Option<Local> = None;
    let mut offer = |t: f64, normal: Vec3| {
        if t > low && t < best.map_or(high, |found| found.t) {
            best = Some(Local { t, normal });
        }
    };
    let mut wall = |found: Option<(f64, f64)>, side: f64| {
        if let Some((near, far)) = found {
            for t in [near, far] {
                if (o.y + t * d.y).abs() <= 1.0 {
                    let p = ray.at(t);
                    offer(t, vec3(side * p.x, 0.0, side * p.z));
                }
            }
        }
    };
    wall(outer, 1.0);
    if bore > 0.0 {
        wall(roots(a, b, c - bore * bore), -1.0);
    }
    if d.y != 0.0 {
        for end in [-1.0, 1.0] {
            let t = (end - o.y) / d.y;
            let (x, z) = (o.x + t * d.x, o.z + t * d.z);
            let r = x * x + z * z;
            if r <= 1.0 && r >= bore * bore {
                offer(t, vec3(0.0, end, 0.0));
            }
        }
    }
    best
}

fn cone(ray: &Ray, low: f64, high: f64) -> Option<Local> {
    let (o, d) = (ray.origin, ray.direction);
    // x² + z² = ((1 - y) / 2)²
    let (h, k) = (0.5 * (1.0 - o.y), -0.5 * d.y);
    let a = d.x * d.x + d.z * d.z - k * k;
    let b = o.x * d.x + o.z * d.z - h * k;
    let c = o.x * o.x + o.z * o.z - h * h;
    let mut best: Option<Local> = None;
    let mut offer = |t: f64, normal: Vec3| {
        if t > low && t < best.map_or(high, |found| found.t) {
            best = Some(Local { t, normal });
        }
    };
    if let Some((near, far)) = roots(a, b, c) {
        for t in [near, far] {
            let p = ray.at(t);
            if p.y.abs() <= 1.0 {
                offer(t, vec3(p.x, 0.25 * (1.0 - p.y), p.z));
            }
        }
    }
    if d.y != 0.0 {
        let t = (-1.0 - o.y) / d.y;
        let (x, z) = (o.x + t * d.x, o.z + t * d.z);
        if x * x + z * z <= 1.0 {
            offer(t, vec3(0.0, -1.0, 0.0));
        }
    }
    best
}

fn gable(ray: &Ray, low: f64) -> Option<Local> {
    let planes = [SLOPES[0], SLOPES[1], vec3(0.0, -1.0, 0.0), vec3(0.0, 0.0, 1.0), vec3(0.0, 0.0, -1.0)];
    let (mut near, mut far) = (f64::NEG_INFINITY, f64::INFINITY);
    let (mut entered, mut left) = (Vec3::UP, Vec3::UP);
    for normal in planes {
        let (height, speed) = (1.0 - normal.dot(ray.origin), normal.dot(ray.direction));
        if speed == 0.0 {
            if height < 0.0 {
                return None;
            }
        } else {
            let t = height / speed;
            if speed < 0.0 {
                if t > near {
                    (near, entered) = (t, normal);
                }
            } else if t < far {
                (far, left) = (t, normal);
            }
        }
    }
    if near > far || far <= low {
        return None;
    }
    Some(if near > low { Local { t: near, normal: entered } } else { Local { t: far, normal: left } })
}

/// A shape in the world.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Which shape.
    pub shape: Shape,
    /// The number of its material in the scene.
    pub material: usize,
    /// From the world to the shape's coordinates.
    pub inverse: Affine,
    /// The size of one local unit in the world, along each local axis.
    pub size: Vec3,
    /// A number of its own, so that repeated shapes need not look the same.
    pub seed: u32,
    /// The smallest corner of the box around it.
    pub low: Vec3,
    /// The largest corner of the box around it.
    pub high: Vec3,
}

impl Placed {
    /// Places a shape; `None` if the map flattens it.
    pub fn new(shape: Shape, material: usize, map: &Affine, seed: u32) -> Option<Placed> {
        let inverse = map.inverse()?;
        let (mut low, mut high) = (Vec3::ONE * f64::INFINITY, Vec3::ONE * f64::NEG_INFINITY);
        if shape == Shape::Sphere {
            // The exact bounds of an ellipsoid: the lengths of the rows of the map.
            let centre = map.point(Vec3::ZERO);
            let axis = |n: Vec3| map.transposed(n).length();
            let reach = vec3(axis(vec3(1.0, 0.0, 0.0)), axis(Vec3::UP), axis(vec3(0.0, 0.0, 1.0)));
            (low, high) = (centre - reach, centre + reach);
        } else {
            for corner in 0..8 {
                let side = |bit: u32| if corner >> bit & 1 == 0 { -1.0 } else { 1.0 };
                let p = map.point(vec3(side(0), side(1), side(2)));
                (low, high) = (low.min(p), high.max(p));
            }
        }
        Some(Placed { shape, material, inverse, size: map.lengths(), seed, low, high })
    }

    /// The ray in the shape's coordinates; its parameter stays the same.
    #[inline]
    pub fn localise(&self, ray: &Ray) -> Ray {
        Ray { origin: self.inverse.point(ray.origin), direction: self.inverse.direction(ray.direction) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shoot(shape: Shape, origin: Vec3, direction: Vec3) -> Option<(f64, Vec3)> {
        shape.meet(&Ray { origin, direction }, 1e-9, f64::INFINITY).map(|l| (l.t, l.normal.unit()))
    }

    #[test]
    fn rays_meet_shapes_where_expected() {
        let down = vec3(0.0, 0.0, -1.0);
        for shape in [Shape::Sphere, Shape::Box, Shape::Cylinder, Shape::Gable] {
            let (t, n) = shoot(shape, vec3(0.0, 0.0, 5.0), down).unwrap();
            assert!((t - 4.0).abs() < 1e-12, "{shape:?}");
            assert!((n - vec3(0.0, 0.0, 1.0)).length() < 1e-12, "{shape:?}");
            assert!(shoot(shape, vec3(1.5, 0.0, 5.0), down).is_none());
            // From inside, the far wall.
            let (t, _) = shoot(shape, Vec3::ZERO, down).unwrap();
            assert!((t - 1.0).abs() < 1e-12, "{shape:?}");
        }
        let (t, n) = shoot(Shape::Cone, vec3(0.0, 0.0, 5.0), down).unwrap();
        assert!((t - 4.5).abs() < 1e-12 && n.y > 0.0 && n.z > 0.0);
        let (t, _) = shoot(Shape::Tube(0.5), vec3(0.0, 5.0, 0.75), vec3(0.0, -1.0, 0.0)).unwrap();
        assert!((t - 4.0).abs() < 1e-12);
        assert!(shoot(Shape::Tube(0.5), vec3(0.0, 5.0, 0.25), vec3(0.0, -1.0, 0.0)).is_none());
        let (t, n) = shoot(Shape::Tube(0.5), Vec3::ZERO, down).unwrap();
        assert!((t - 0.5).abs() < 1e-12 && n.z > 0.99);
        let (t, n) = shoot(Shape::Gable, vec3(0.5, 5.0, 0.0), vec3(0.0, -1.0, 0.0)).unwrap();
        assert!((t - 5.0).abs() < 1e-12 && n.x > 0.8);
    }

    #[test]
    fn bounds_hold_the_shape() {
        let map = Affine::shift(vec3(1.0, 2.0, 3.0)).after(&Affine::turn(2, 45.0));
        let cube = Placed::new(Shape::Box, 0, &map, 0).unwrap();
        assert!((cube.high.x - 1.0 - 2f64.sqrt()).abs() < 1e-12);
        let ball = Placed::new(Shape::Sphere, 0, &map, 0).unwrap();
        assert!((ball.high.x - 2.0).abs() < 1e-12);
    }
}
