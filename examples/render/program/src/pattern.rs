//! Surface patterns: how a colour and a normal vary over a shape.

use crate::math::{Vec3, vec3};
use crate::noise::{cell, fractal, value};
use crate::shape::{Placed, Shape};

/// A pattern in world units, drawn on the faces of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// One colour all over.
    Plain,
    /// Horizontal boards of this height, with grain.
    Boards(f64),
    /// Masonry: blocks of this length and height, with mortar.
    Stones(f64, f64),
    /// Roof tiles of this width and height.
    Shingles(f64, f64),
    /// The grain of a single beam along its longest side.
    Grain,
    /// Soft blotches of this size and strength.
    Mottle(f64, f64),
}

/// What a pattern does at one point.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Multiplies the colour of the material.
    pub tint: f64,
    /// Is added to the unit normal, in the shape's coordinates.
    pub tilt: Vec3,
}

/// Coordinates along a face: `u` level, `v` upwards or along the slope, with their directions.
struct Face {
    u: f64,
    v: f64,
    u_axis: Vec3,
    v_axis: Vec3,
    /// Tells the faces of a shape apart.
    side: f64,
}

const X: Vec3 = vec3(1.0, 0.0, 0.0);
const Z: Vec3 = vec3(0.0, 0.0, 1.0);

fn face(shape: &Placed, p: Vec3, normal: Vec3) -> Face {
    let m = p * shape.size;
    let a = vec3(normal.x.abs(), normal.y.abs(), normal.z.abs());
    let round = matches!(shape.shape, Shape::Cylinder | Shape::Tube(_) | Shape::Cone);
    if a.y > a.x.max(a.z) && shape.shape != Shape::Gable {
        Face { u: m.z, v: m.x, u_axis: Z, v_axis: X, side: 1.0f64.copysign(normal.y) }
    } else if round {
        let u_axis = vec3(-p.z, 0.0, p.x).unit();
        Face { u: p.z.atan2(p.x) * shape.size.x, v: m.y, u_axis, v_axis: Vec3::UP, side: 3.0 }
    } else if a.x > a.z {
        Face { u: m.z, v: m.y, u_axis: Z, v_axis: Vec3::UP, side: 5.0f64.copysign(normal.x) }
    } else {
        Face { u: m.x, v: m.y, u_axis: X, v_axis: Vec3::UP, side: 7.0f64.copysign(normal.z) }
    }
}

/// A smooth step from 0 at `a` to 1 at `b`.
pub fn step(a: f64, b: f64, x: f64) -> f64 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

impl Pattern {
    /// The finish at the local point `p` with local unit normal `normal`.
    pub fn at(self, shape: &Placed, p: Vec3, normal: Vec3) -> Finish {
        let seed = f64::from(shape.seed % 8192);
        match self {
            Pattern::Plain => Finish { tint: 1.0, tilt: Vec3::ZERO },
            Pattern::Boards(height) => {
                let f = face(shape, p, normal);
                let row = (f.v / height).floor();
                let within = f.v / height - row;
                let grain = fractal(vec3(f.u * 0.9 + row * 7.7, f.v * 14.0, seed + f.side), 3);
                let gap = 1.0 - 0.7 * (1.0 - step(0.0, 0.08, within)) - 0.25 * step(0.9, 1.0, within);
                Finish {
                    tint: (1.0 + 0.22 * cell(row, f.side, seed) + 0.3 * grain) * gap,
                    tilt: f.v_axis * (0.18 - 0.36 * step(0.0, 0.12, within)) + f.v_axis * (0.1 * grain),
                }
            }
            Pattern::Stones(length, height) => {
                let f = face(shape, p, normal);
                let wobble = 0.06 * height;
                let v = f.v + wobble * value(vec3(f.u / length, f.v / height, seed) * 1.7);
                let row = (v / height).floor();
                let shift = 0.5 * row + 0.3 * cell(row, f.side, seed);
                let u = f.u + wobble * value(vec3(f.u / length, f.v / height, seed + 9.5) * 1.7);
                let column = (u / length + shift).floor();
                let (a, b) = (u / length + shift - column, v / height - row);
                let (joint_u, joint_v) = (0.06 * height / length, 0.06);
                let edge = |x: f64, w: f64| step(0.0, 2.2 * w, x) * step(0.0, 2.2 * w, 1.0 - x);
                let body = edge(a, joint_u) * edge(b, joint_v);
                let rough = fractal(vec3(f.u, f.v, seed + f.side) * (2.5 / height), 3);
                let lean = |x: f64, w: f64| step(0.0, 4.0 * w, x) - step(0.0, 4.0 * w, 1.0 - x);
                let tint = 1.0 + 0.28 * cell(column, row, seed + f.side) + 0.25 * rough;
                Finish {
                    tint: tint * (0.45 + 0.55 * body),
                    tilt: f.u_axis * (0.35 * lean(a, joint_u) + 0.1 * cell(row, column, 3.0) + 0.25 * rough)
                        + f.v_axis * (0.35 * lean(b, joint_v) + 0.1 * cell(column, row, 5.0)),
                }
            }
            Pattern::Shingles(width, height) => {
                let f = face(shape, p, normal);
                let row = (f.v / height).floor();
                let column = (f.u / width + 0.5 * row + 0.2 * cell(row, seed, 1.0)).floor();
                let a = f.u / width + 0.5 * row + 0.2 * cell(row, seed, 1.0) - column;
                let b = f.v / height - row;
                let gap = step(0.0, 0.07, a) * step(0.0, 0.07, 1.0 - a);
                let moss = step(0.1, 0.6, fractal(vec3(f.u, f.v, seed) * 0.7, 3));
                Finish {
                    tint: (1.0 + 0.3 * cell(column, row, seed))
                        * (0.5 + 0.5 * gap)
                        * (0.55 + 0.45 * step(0.0, 0.25, b))
                        * (1.0 - 0.25 * moss),
                    tilt: f.u_axis * (0.12 * cell(row, column, seed))
                        + f.v_axis * (0.15 * cell(column, seed, row)),
                }
            }
            Pattern::Grain => {
                let m = p * shape.size;
                let s = shape.size;
                let along = 0.7;
                let across = 11.0;
                let q = if s.x >= s.y && s.x >= s.z {
                    vec3(m.x * along, m.y * across, m.z * across)
                } else if s.y >= s.z {
                    vec3(m.x * across, m.y * along, m.z * across)
                } else {
                    vec3(m.x * across, m.y * across, m.z * along)
                };
                let grain = fractal(q + vec3(seed, seed * 0.7, 0.0), 3);
                Finish {
                    tint: 1.0 + 0.15 * cell(seed, 1.0, 2.0) + 0.35 * grain,
                    tilt: vec3(grain, -grain, grain) * 0.12,
                }
            }
            Pattern::Mottle(size, strength) => {
                let m = p * shape.size * (1.0 / size);
                let n = fractal(m + vec3(seed * 3.1, seed, seed * 1.7), 4);
                let side = fractal(m + vec3(7.0 - seed, 31.0, seed), 3);
                Finish {
                    tint: 1.0 + strength * (n + 0.35 * cell(seed, 3.0, 4.0)),
                    tilt: vec3(n, side, n - side) * (0.5 * strength),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Affine;

    #[test]
    fn tints_stay_positive_and_finite() {
        let shape = Placed::new(Shape::Box, 0, &Affine::stretch(vec3(3.0, 2.0, 1.0)), 5).unwrap();
        let all = [
            Pattern::Plain,
            Pattern::Boards(0.2),
            Pattern::Stones(0.5, 0.25),
            Pattern::Shingles(0.3, 0.3),
            Pattern::Grain,
            Pattern::Mottle(0.5, 0.5),
        ];
        for pattern in all {
            for i in 0..500 {
                let p = vec3(f64::from(i) / 250.0 - 1.0, f64::from(i * 7 % 500) / 250.0 - 1.0, 1.0);
                let f = pattern.at(&shape, p, vec3(0.0, 0.0, 1.0));
                assert!(f.tint > 0.0 && f.tint < 2.5 && f.tilt.length() < 2.0, "{pattern:?} {f:?}");
            }
        }
    }
}
