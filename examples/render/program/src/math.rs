//! Vectors, affine maps and rays.

use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub};

/// A point, a direction or a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec3 {
    /// To the right, or red.
    pub x: f64,
    /// Upwards, or green.
    pub y: f64,
    /// Towards the viewer, or blue.
    pub z: f64,
}

/// Makes a vector of its three components.
#[inline]
pub const fn vec3(x: f64, y: f64, z: f64) -> Vec3 {
    Vec3 { x, y, z }
}

/// The smaller of two numbers. WebAssembly has no instruction for `f64::min`, which must pass over NaNs,
/// so that is a call there; this is one comparison everywhere.
#[inline]
pub fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// The larger of two numbers; see [`least`].
#[inline]
pub fn most(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

impl Vec3 {
    /// No length, or black.
    pub const ZERO: Vec3 = vec3(0.0, 0.0, 0.0);
    /// All ones, or white.
    pub const ONE: Vec3 = vec3(1.0, 1.0, 1.0);
    /// Upwards.
    pub const UP: Vec3 = vec3(0.0, 1.0, 0.0);

    /// The inner product.
    #[inline]
    pub fn dot(self, o: Vec3) -> f64 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    /// The vector product.
    #[inline]
    pub fn cross(self, o: Vec3) -> Vec3 {
        vec3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    /// The Euclidean length.
    #[inline]
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The same direction with length one; zero stays zero.
    #[inline]
    pub fn unit(self) -> Vec3 {
        let n = self.dot(self);
        if n > 0.0 { self * (1.0 / n.sqrt()) } else { self }
    }

    /// The smaller of each component.
    #[inline]
    pub fn min(self, o: Vec3) -> Vec3 {
        vec3(least(self.x, o.x), least(self.y, o.y), least(self.z, o.z))
    }

    /// The larger of each component.
    #[inline]
    pub fn max(self, o: Vec3) -> Vec3 {
        vec3(most(self.x, o.x), most(self.y, o.y), most(self.z, o.z))
    }

    /// The largest component.
    #[inline]
    pub fn largest(self) -> f64 {
        most(most(self.x, self.y), self.z)
    }

    /// How bright a colour looks (Rec. 709 weights).
    #[inline]
    pub fn luminance(self) -> f64 {
        0.2126 * self.x + 0.7152 * self.y + 0.0722 * self.z
    }

    /// Between `self` (at 0) and `o` (at 1).
    #[inline]
    pub fn mix(self, o: Vec3, t: f64) -> Vec3 {
        self * (1.0 - t) + o * t
    }

    /// The mirror image of this direction at a surface with normal `n`.
    #[inline]
    pub fn reflect(self, n: Vec3) -> Vec3 {
        self - n * (2.0 * self.dot(n))
    }

    /// Two directions that form a right-handed frame with this unit vector.
    #[inline]
    pub fn frame(self) -> (Vec3, Vec3) {
        // Duff et al. 2017: no branch, no singularity.
        let sign = 1.0f64.copysign(self.z);
        let a = -1.0 / (sign + self.z);
        let b = self.x * self.y * a;
        (
            vec3(1.0 + sign * self.x * self.x * a, sign * b, -sign * self.x),
            vec3(b, sign + self.y * self.y * a, -self.y),
        )
    }
}

impl Add for Vec3 {
    type Output = Vec3;
    #[inline]
    fn add(self, o: Vec3) -> Vec3 {
        vec3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl AddAssign for Vec3 {
    #[inline]
    fn add_assign(&mut self, o: Vec3) {
        *self = *self + o;
    }
}

impl Sub for Vec3 {
    type Output = Vec3;
    #[inline]
    fn sub(self, o: Vec3) -> Vec3 {
        vec3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Neg for Vec3 {
    type Output = Vec3;
    #[inline]
    fn neg(self) -> Vec3 {
        vec3(-self.x, -self.y, -self.z)
    }
}

impl Mul<f64> for Vec3 {
    type Output = Vec3;
    #[inline]
    fn mul(self, k: f64) -> Vec3 {
        vec3(self.x * k, self.y * k, self.z * k)
    }
}

impl Mul for Vec3 {
    type Output = Vec3;
    #[inline]
    fn mul(self, o: Vec3) -> Vec3 {
        vec3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
}

impl MulAssign for Vec3 {
    #[inline]
    fn mul_assign(&mut self, o: Vec3) {
        *self = *self * o;
    }
}

/// A half-line: `origin + t * direction`. The direction need not have length one.
#[derive(Clone, Copy, Debug)]
pub struct Ray {
    /// Where it starts.
    pub origin: Vec3,
    /// Where it goes.
    pub direction: Vec3,
}

impl Ray {
    /// The point at parameter `t`.
    #[inline]
    pub fn at(&self, t: f64) -> Vec3 {
        self.origin + self.direction * t
    }
}

/// A linear map given by its rows, and a shift after it.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    rows: [Vec3; 3],
    shift: Vec3,
}

impl Affine {
    /// The map that changes nothing.
    pub const IDENTITY: Affine =
        Affine { rows: [vec3(1.0, 0.0, 0.0), vec3(0.0, 1.0, 0.0), vec3(0.0, 0.0, 1.0)], shift: Vec3::ZERO };

    /// Moves by `by`.
    pub fn shift(by: Vec3) -> Affine {
        Affine { shift: by, ..Affine::IDENTITY }
    }

    /// Stretches along the axes.
    pub fn stretch(by: Vec3) -> Affine {
        Affine { rows: [vec3(by.x, 0.0, 0.0), vec3(0.0, by.y, 0.0), vec3(0.0, 0.0, by.z)], shift: Vec3::ZERO }
    }

    /// Turns around the x (0), y (1) or z (2) axis, counter-clockwise seen from its tip.
    pub fn turn(axis: usize, degrees: f64) -> Affine {
        let (s, c) = degrees.to_radians().sin_cos();
        let rows = match axis {
            0 => [vec3(1.0, 0.0, 0.0), vec3(0.0, c, -s), vec3(0.0, s, c)],
            1 => [vec3(c, 0.0, s), vec3(0.0, 1.0, 0.0), vec3(-s, 0.0, c)],
            _ => [vec3(c, -s, 0.0), vec3(s, c, 0.0), vec3(0.0, 0.0, 1.0)],
        };
        Affine { rows, shift: Vec3::ZERO }
    }

    /// The map that does `inner` first and then this one.
    pub fn after(&self, inner: &Affine) -> Affine {
        let column = |i: usize| {
            let pick = |v: Vec3| [v.x, v.y, v.z][i];
            self.direction(vec3(pick(inner.rows[0]), pick(inner.rows[1]), pick(inner.rows[2])))
        };
        let (a, b, c) = (column(0), column(1), column(2));
        Affine {
            rows: [vec3(a.x, b.x, c.x), vec3(a.y, b.y, c.y), vec3(a.z, b.z, c.z)],
            shift: self.point(inner.shift),
        }
    }

    /// Maps a point.
    #[inline]
    pub fn point(&self, p: Vec3) -> Vec3 {
        self.direction(p) + self.shift
    }

    /// Maps a direction (no shift).
    #[inline]
    pub fn direction(&self, d: Vec3) -> Vec3 {
        vec3(self.rows[0].dot(d), self.rows[1].dot(d), self.rows[2].dot(d))
    }

    /// Maps by the transposed matrix: how the inverse map carries normals back.
    #[inline]
    pub fn transposed(&self, n: Vec3) -> Vec3 {
        self.rows[0] * n.x + self.rows[1] * n.y + self.rows[2] * n.z
    }

    /// How long the images of the three axes are.
    pub fn lengths(&self) -> Vec3 {
        let [a, b, c] = self.rows;
        vec3(vec3(a.x, b.x, c.x).length(), vec3(a.y, b.y, c.y).length(), vec3(a.z, b.z, c.z).length())
    }

    /// The map that undoes this one; `None` if it flattens space.
    pub fn inverse(&self) -> Option<Affine> {
        let [a, b, c] = self.rows;
        let (p, q, r) = (b.cross(c), c.cross(a), a.cross(b));
        let det = a.dot(p);
        if !det.is_normal() {
            return None;
        }
        let k = 1.0 / det;
        let mut inverse = Affine {
            rows: [vec3(p.x, q.x, r.x) * k, vec3(p.y, q.y, r.y) * k, vec3(p.z, q.z, r.z) * k],
            shift: Vec3::ZERO,
        };
        inverse.shift = -inverse.direction(self.shift);
        Some(inverse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes() {
        let map = Affine::shift(vec3(1.0, -2.0, 3.0))
            .after(&Affine::turn(1, 33.0))
            .after(&Affine::turn(0, -70.0))
            .after(&Affine::stretch(vec3(2.0, 0.5, 3.0)));
        let p = vec3(0.3, -4.0, 2.5);
        let back = map.inverse().unwrap().point(map.point(p));
        assert!((back - p).length() < 1e-12);
        assert!((map.lengths() - vec3(2.0, 0.5, 3.0)).length() < 1e-12);
        assert!(Affine::stretch(vec3(1.0, 0.0, 1.0)).inverse().is_none());
    }

    #[test]
    fn frames_are_orthonormal() {
        for n in [Vec3::UP, vec3(0.0, 0.0, -1.0), vec3(0.3, -0.4, 0.5).unit()] {
            let (a, b) = n.frame();
            assert!(a.dot(b).abs() < 1e-12 && a.dot(n).abs() < 1e-12 && (a.length() - 1.0).abs() < 1e-12);
            assert!((a.cross(b) - n).length() < 1e-12);
        }
    }
}
