//! A bounding volume hierarchy: which shape does a ray meet first?

use crate::math::{Ray, Vec3, least, most, vec3};
use crate::shape::Placed;

/// Either an inner node (`count` 0, children at `first` and `first + 1`) or a leaf.
#[derive(Clone, Copy, Debug)]
struct Node {
    low: Vec3,
    high: Vec3,
    first: u32,
    count: u32,
}

/// The hierarchy over all shapes of a scene, which it keeps in its own order.
#[derive(Clone, Debug, Default)]
pub struct Bvh {
    nodes: Vec<Node>,
    shapes: Vec<Placed>,
}

/// The first meeting of a ray with a shape.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// The parameter along the ray.
    pub t: f64,
    /// The shape that was met.
    pub shape: &'a Placed,
    /// The outward normal in the shape's coordinates.
    pub normal: Vec3,
}

const LEAF: usize = 2;
const BINS: usize = 12;

fn bounds(shapes: &[Placed]) -> (Vec3, Vec3) {
    let start = (Vec3::ONE * f64::INFINITY, Vec3::ONE * f64::NEG_INFINITY);
    shapes.iter().fold(start, |(low, high), s| (low.min(s.low), high.max(s.high)))
}

fn half_area(low: Vec3, high: Vec3) -> f64 {
    let e = high - low;
    if e.x < 0.0 { 0.0 } else { e.x * e.y + e.y * e.z + e.z * e.x }
}

fn axis(v: Vec3, i: usize) -> f64 {
    [v.x, v.y, v.z][i]
}

impl Bvh {
    /// Builds the hierarchy by the surface-area heuristic over binned centres.
    pub fn new(shapes: Vec<Placed>) -> Bvh {
        let mut bvh = Bvh { nodes: Vec::new(), shapes };
        let count = bvh.shapes.len();
        if count > 0 {
            let (low, high) = bounds(&bvh.shapes);
            bvh.nodes.push(Node { low, high, first: 0, count: count as u32 });
            bvh.split(0);
        }
        bvh
    }

    fn split(&mut self, node: usize) {
        let Node { low, high, first, count } = self.nodes[node];
        let (first, count) = (first as usize, count as usize);
        if count <= LEAF {
            return;
        }
        let shapes = &mut self.shapes[first..first + count];
        let centre = |s: &Placed, i: usize| axis(s.low + s.high, i);
        let mut best: Option<(f64, usize, f64)> = None;
        for i in 0..3 {
            let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
            for s in shapes.iter() {
                from = from.min(centre(s, i));
                to = to.max(centre(s, i));
            }
            if to <= from {
                continue;
            }
            let scale = BINS as f64 / (to - from);
            let bin = |s: &Placed| (((centre(s, i) - from) * scale) as usize).min(BINS - 1);
            let empty = (0usize, Vec3::ONE * f64::INFINITY, Vec3::ONE * f64::NEG_INFINITY);
            let mut bins = [empty; BINS];
            for s in shapes.iter() {
                let b = &mut bins[bin(s)];
                *b = (b.0 + 1, b.1.min(s.low), b.2.max(s.high));
            }
            let join =
                |a: (usize, Vec3, Vec3), b: &(usize, Vec3, Vec3)| (a.0 + b.0, a.1.min(b.1), a.2.max(b.2));
            for cut in 1..BINS {
                let left = bins[..cut].iter().fold(empty, join);
                let right = bins[cut..].iter().fold(empty, join);
                if left.0 == 0 || right.0 == 0 {
                    continue;
                }
                let cost =
                    left.0 as f64 * half_area(left.1, left.2) + right.0 as f64 * half_area(right.1, right.2);
                if best.is_none_or(|b| cost < b.0) {
                    best = Some((cost, i, from + cut as f64 / scale));
                }
            }
        }
        let Some((cost, i, at)) = best else { return };
        if count <= 4 && cost >= count as f64 * half_area(low, high) {
            return;
        }
        let mut left = 0;
        for k in 0..count {
            if centre(&shapes[k], i) < at {
                shapes.swap(k, left);
                left += 1;
            }
        }
        if left == 0 || left == count {
            left = count / 2;
        }
        let children = self.nodes.len();
        for (from, n) in [(first, left), (first + left, count - left)] {
            let (low, high) = bounds(&self.shapes[from..from + n]);
            self.nodes.push(Node { low, high, first: from as u32, count: n as u32 });
        }
        self.nodes[node].first = children as u32;
        self.nodes[node].count = 0;
        self.split(children);
        self.split(children + 1);
    }

    /// How many shapes there are.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there is nothing to meet.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// The first meeting with `low < t < high`.
    pub fn meet(&self, ray: &Ray, low: f64, high: f64) -> Option<Meeting<'_>> {
        let mut best = None;
        let mut limit = high;
        self.visit(ray, high, |shape, _| {
            let local = shape.localise(ray);
            if let Some(found) = shape.shape.meet(&local, low, limit) {
                limit = found.t;
                best = Some(Meeting { t: found.t, shape, normal: found.normal });
            }
            limit
        });
        best
    }

    /// How much light passes along the ray up to `high`; `pass` says what each shape lets through.
    pub fn passes(&self, ray: &Ray, low: f64, high: f64, pass: impl Fn(&Placed) -> f64) -> f64 {
        let mut light = 1.0;
        self.visit(ray, high, |shape, _| {
            if shape.shape.meet(&shape.localise(ray), low, high).is_some() {
                light *= pass(shape);
            }
            // Nothing left: a limit below zero ends the walk.
            if light < 0.01 { -1.0 } else { high }
        });
        if light < 0.01 { 0.0 } else { light }
    }

    /// Visits shapes whose boxes the ray crosses, near ones first; the visitor returns the limit.
    #[inline]
    fn visit<'a>(&'a self, ray: &Ray, high: f64, mut visitor: impl FnMut(&'a Placed, f64) -> f64) {
        let Some(root) = self.nodes.first() else { return };
        let inverse = vec3(1.0 / ray.direction.x, 1.0 / ray.direction.y, 1.0 / ray.direction.z);
        let enter = |node: &Node, limit: f64| {
            let a = (node.low - ray.origin) * inverse;
            let b = (node.high - ray.origin) * inverse;
            let near = most(a.min(b).largest(), 0.0);
            let far = a.max(b);
            let far = least(least(far.x, far.y), far.z);
            if near <= far * (1.0 + 1e-12) && near < limit { near } else { f64::INFINITY }
        };
        let mut limit = high;
        if enter(root, limit) == f64::INFINITY {
            return;
        }
        let mut stack = [(0u32, 0.0f64); 64];
        let mut top = 0;
        let mut node = root;
        loop {
            if node.count > 0 {
                let from = node.first as usize;
                for shape in &self.shapes[from..from + node.count as usize] {
                    limit = visitor(shape, limit);
                }
            } else {
                let (a, b) = (node.first, node.first + 1);
                let (near, far) =
                    (enter(&self.nodes[a as usize], limit), enter(&self.nodes[b as usize], limit));
                let (near, far) = if near <= far { ((a, near), (b, far)) } else { ((b, far), (a, near)) };
                // The tree of a sane scene is far less deep than the stack; a leaf lost would be a hole.
                if far.1 < f64::INFINITY && top < stack.len() {
                    stack[top] = far;
                    top += 1;
                }
                if near.1 < f64::INFINITY {
                    node = &self.nodes[near.0 as usize];
                    continue;
                }
            }
            loop {
                if top == 0 {
                    return;
                }
                top -= 1;
                if stack[top].1 < limit {
                    node = &self.nodes[stack[top].0 as usize];
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Affine;
    use crate::random::unit_of;
    use crate::shape::Shape;

    #[test]
    fn agrees_with_testing_every_shape() {
        let kinds = [Shape::Sphere, Shape::Box, Shape::Cylinder, Shape::Tube(0.6), Shape::Cone, Shape::Gable];
        let random = |k: u32| 10.0 * unit_of(k) - 5.0;
        let shapes: Vec<Placed> = (0..200u32)
            .map(|i| {
                let map = Affine::shift(vec3(random(4 * i), random(4 * i + 1), random(4 * i + 2)))
                    .after(&Affine::turn((i % 3) as usize, f64::from(i) * 7.0))
                    .after(&Affine::stretch(vec3(0.2, 0.5, 0.3)));
                Placed::new(kinds[i as usize % kinds.len()], 0, &map, i).unwrap()
            })
            .collect();
        let bvh = Bvh::new(shapes.clone());
        let mut hits = 0;
        for i in 0..2000u32 {
            let k = 10_000 + 6 * i;
            let ray = Ray {
                origin: vec3(random(k), random(k + 1), random(k + 2)),
                direction: vec3(random(k + 3), random(k + 4), random(k + 5)),
            };
            let slow = shapes
                .iter()
                .filter_map(|s| s.shape.meet(&s.localise(&ray), 1e-6, f64::INFINITY).map(|l| (l.t, s.seed)))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let fast = bvh.meet(&ray, 1e-6, f64::INFINITY).map(|m| (m.t, m.shape.seed));
            assert_eq!(slow, fast);
            let blocked = bvh.passes(&ray, 1e-6, f64::INFINITY, |_| 0.0) == 0.0;
            assert_eq!(blocked, slow.is_some());
            hits += usize::from(blocked);
        }
        assert!(hits > 200);
    }
}
