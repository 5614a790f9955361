//! A rotating layer of shallow water on a staggered grid (Arakawa's C grid).
//!
//! The depth h is kept in the cells, the velocities u and v on their western and southern edges, the
//! potential vorticity q on their corners. Depth changes by fluxes through edges only, so mass is
//! conserved up to rounding; the vorticity terms are Sadourny's, which conserve potential enstrophy.
//! A little viscosity takes up what cascades to the scale of the grid. Time steps are
//! Adams–Bashforth of third order.

use crate::grid::{Field, Shape};
use crate::kernels;

/// What governs the flow, in metres and seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Physics {
    /// The side of a cell.
    pub cell: f64,
    /// The length of a time step.
    pub step: f64,
    /// Gravity.
    pub gravity: f64,
    /// Twice the rate of rotation at the middle of the channel.
    pub coriolis: f64,
    /// How that grows northwards, per metre.
    pub beta: f64,
    /// The viscosity.
    pub viscosity: f64,
}

/// The state of the layer: depth and velocities.
#[derive(Clone, Debug)]
pub struct State {
    /// Depth, in the cells.
    pub h: Field,
    /// Eastward velocity, on western edges.
    pub u: Field,
    /// Northward velocity, on southern edges; rows 0 and ny are walls and stay zero.
    pub v: Field,
}

/// Rates of change.
struct Rates {
    h: Field,
    u: Field,
    v: Field,
}

/// The model: a state and the memory of the last rates.
pub struct Model {
    shape: Shape,
    physics: Physics,
    /// The current state.
    pub state: State,
    rates: [Rates; 3],
    steps: u64,
    flux_x: Field,
    flux_y: Field,
    head: Field,
    q: Field,
}

/// Totals that the flow should keep, or lose slowly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Mean depth.
    pub mass: f64,
    /// Mean energy of a column, kinetic and potential.
    pub energy: f64,
}

impl Model {
    /// Starts from a state.
    pub fn new(shape: Shape, physics: Physics, state: State) -> Model {
        let field = || Field::new(shape);
        let rates = || Rates { h: field(), u: field(), v: field() };
        Model {
            shape,
            physics,
            state,
            rates: [rates(), rates(), rates()],
            steps: 0,
            flux_x: field(),
            flux_y: field(),
            head: field(),
            q: field(),
        }
    }

    /// Rows as the type that indexes them.
    fn rows(&self) -> isize {
        self.shape.ny as isize
    }

    fn margins(&mut self) {
        let ny = self.rows();
        let State { h, u, v } = &mut self.state;
        for j in 0..ny {
            h.wrap(j);
            u.wrap(j);
            v.wrap(j);
        }
        v.wrap(ny);
        // Free slip at the walls: what lies beyond is the mirror image.
        for field in [h, u] {
            field.copy_row(0, -1);
            field.copy_row(ny - 1, ny);
        }
    }

    /// Fluxes, head and potential vorticity of row `j`; of the last row only what lies on the wall.
    fn diagnose(&mut self, j: isize) {
        let ny = self.rows();
        let Physics { cell, gravity, coriolis, beta, .. } = self.physics;
        let State { h, u, v } = &self.state;
        if j < ny {
            kernels::flux_west(self.flux_x.inner_mut(j), h.row(j), u.row(j));
            kernels::head(self.head.inner_mut(j), h.row(j), u.row(j), v.row(j), v.row(j + 1), gravity);
            self.flux_x.wrap(j);
            self.head.wrap(j);
        }
        let f = coriolis + beta * cell * (j as f64 - 0.5 * ny as f64);
        let (depths, winds) = ((h.row(j), h.row(j - 1)), (u.row(j), u.row(j - 1)));
        kernels::flux_south(self.flux_y.inner_mut(j), h.row(j), h.row(j - 1), v.row(j));
        kernels::potential(self.q.inner_mut(j), depths, winds, v.row(j), f, 1.0 / cell);
        self.flux_y.wrap(j);
        self.q.wrap(j);
    }

    /// The rates of change of the current state, into slot `slot`.
    fn evaluate(&mut self, slot: usize) {
        self.margins();
        self.diagnose(0);
        for j in 0..self.rows() {
            // Just one row ahead: what a row needs is then still in the cache.
            self.diagnose(j + 1);
            self.rates(slot, j);
        }
    }

    /// The rates of change of row `j`, once it and the next one are diagnosed.
    fn rates(&mut self, slot: usize, j: isize) {
        let inverse = 1.0 / self.physics.cell;
        let friction = self.physics.viscosity * inverse * inverse;
        let State { u, v, .. } = &self.state;
        let (flux_x, flux_y, head, q) = (&self.flux_x, &self.flux_y, &self.head, &self.q);
        let rates = &mut self.rates[slot];
        kernels::inflow(rates.h.inner_mut(j), flux_x.row(j), flux_y.row(j), flux_y.row(j + 1), inverse);
        let rate = rates.u.inner_mut(j);
        kernels::turn_west(rate, q.row(j), q.row(j + 1), flux_y.row(j), flux_y.row(j + 1));
        kernels::push_east(rate, head.row(j), inverse);
        kernels::drag(rate, u.row(j), u.row(j - 1), u.row(j + 1), friction);
        // The southern edges of row 0 are the wall, where v stays zero.
        if j > 0 {
            let rate = rates.v.inner_mut(j);
            kernels::turn_south(rate, q.row(j), flux_x.row(j), flux_x.row(j - 1));
            kernels::push_north(rate, head.row(j), head.row(j - 1), inverse);
            kernels::drag(rate, v.row(j), v.row(j - 1), v.row(j + 1), friction);
        }
    }

    /// One time step.
    pub fn step(&mut self) {
        let slot = (self.steps % 3) as usize;
        self.evaluate(slot);
        // The first two steps have no past to look back on: lower orders start the march.
        let weights = match self.steps {
            0 => [1.0, 0.0, 0.0],
            1 => [1.5, -0.5, 0.0],
            _ => [23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        };
        let weights = weights.map(|w| w * self.physics.step);
        let (now, last, before) =
            (&self.rates[slot], &self.rates[(slot + 2) % 3], &self.rates[(slot + 1) % 3]);
        let ny = self.rows();
        let advance = |field: &mut Field, rates: [&Field; 3], from: isize| {
            for j in from..ny {
                let [a, b, c] = rates.map(|rate| rate.from(j, 0));
                kernels::advance(field.inner_mut(j), a, b, c, weights);
            }
        };
        advance(&mut self.state.h, [&now.h, &last.h, &before.h], 0);
        advance(&mut self.state.u, [&now.u, &last.u, &before.u], 0);
        advance(&mut self.state.v, [&now.v, &last.v, &before.v], 1);
        self.steps += 1;
    }

    /// The totals of the current state.
    pub fn totals(&mut self) -> Totals {
        self.margins();
        let State { h, u, v } = &self.state;
        let mut energy = Field::new(self.shape);
        for j in 0..self.rows() {
            let (h, u0, u1) = (h.from(j, 0), u.from(j, 0), u.from(j, 1));
            let (v0, v1) = (v.from(j, 0), v.from(j + 1, 0));
            for (i, e) in energy.inner_mut(j).iter_mut().enumerate() {
                let speed = u0[i] * u0[i] + u1[i] * u1[i] + v0[i] * v0[i] + v1[i] * v1[i];
                *e = 0.25 * h[i] * speed + 0.5 * self.physics.gravity * h[i] * h[i];
            }
        }
        let cells = (self.shape.nx * self.shape.ny) as f64;
        Totals { mass: h.sum(self.shape.ny) / cells, energy: energy.sum(self.shape.ny) / cells }
    }

    /// The vorticity of the current state, as the mean over the corners of each cell, row by row.
    pub fn vorticity(&mut self) -> Vec<f32> {
        self.margins();
        let (nx, ny) = (self.shape.nx, self.rows());
        let State { u, v, .. } = &self.state;
        let inverse = 1.0 / self.physics.cell;
        let corner = |i: usize, j: isize| {
            (v.row(j)[i + 1] - v.row(j)[i] - u.row(j)[i + 1] + u.row(j - 1)[i + 1]) * inverse
        };
        let mut out = Vec::with_capacity(nx * ny as usize);
        for j in 0..ny {
            for i in 0..nx {
                let east = (i + 1) % nx;
                let sum = corner(i, j) + corner(east, j) + corner(i, j + 1) + corner(east, j + 1);
                out.push((0.25 * sum) as f32);
            }
        }
        out
    }

    /// The depth of the current state, row by row.
    pub fn depth(&self) -> Vec<f32> {
        (0..self.rows()).flat_map(|j| self.state.h.from(j, 0).iter().map(|&x| x as f32)).collect()
    }

    /// Whether every depth is a positive number.
    pub fn sound(&self) -> bool {
        (0..self.rows()).all(|j| self.state.h.from(j, 0).iter().all(|&x| x > 0.0 && x.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { nx: 24, ny: 16 };

    fn physics() -> Physics {
        Physics { cell: 5e4, step: 40.0, gravity: 9.8, coriolis: 1e-4, beta: 0.0, viscosity: 0.0 }
    }

    fn still(depth: impl Fn(f64, f64) -> f64) -> State {
        let mut state = State { h: Field::new(SHAPE), u: Field::new(SHAPE), v: Field::new(SHAPE) };
        for j in 0..16 {
            for (i, h) in state.h.inner_mut(j).iter_mut().enumerate() {
                *h = depth(i as f64, j as f64);
            }
        }
        state
    }

    #[test]
    fn rest_stays_rest() {
        let mut model = Model::new(SHAPE, physics(), still(|_, _| 1000.0));
        for _ in 0..20 {
            model.step();
        }
        assert!(model.depth().iter().all(|&h| h == 1000.0));
    }

    #[test]
    fn mass_and_energy_are_kept() {
        let hill = |x: f64, y: f64| 1000.0 + 20.0 * (-((x - 9.0).powi(2) + (y - 6.0).powi(2)) / 12.0).exp();
        let mut model = Model::new(SHAPE, physics(), still(hill));
        let before = model.totals();
        for _ in 0..2000 {
            model.step();
        }
        let after = model.totals();
        assert!(model.sound());
        assert!((after.mass / before.mass - 1.0).abs() < 1e-13);
        // Nearly all energy is that of the water at rest; what is left over must not change much.
        let rest = 0.5 * 9.8 * before.mass * before.mass;
        let share = (after.energy - rest) / (before.energy - rest);
        assert!((share - 1.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn balanced_flow_stays() {
        // On a plane with constant rotation an even slope drives an even wind, but for the walls.
        let slope = |_: f64, y: f64| 1000.0 - 0.4 * 7.5 * ((y - 7.5) / 7.5).sin();
        let mut model = Model::new(SHAPE, physics(), still(slope));
        for j in 0..16 {
            let wind = |y: f64| 9.8 / 1e-4 * 0.4 * 7.5 / 7.5 * ((y - 7.5) / 7.5).cos() / 5e4;
            model.state.u.inner_mut(j).fill(wind(j as f64));
        }
        let before = model.depth();
        for _ in 0..200 {
            model.step();
        }
        let change = model.depth().iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(change < 0.1, "{change}");
    }
}
