//! How the forecast starts: a jet in balance, a bump that disturbs it, and what makes the members
//! differ.

use crate::grid::{Field, Shape};
use crate::model::{Physics, State};

/// The mean depth of the layer.
pub const DEPTH: f64 = 3000.0;
/// The length of the channel.
pub const LENGTH: f64 = 12.8e6;
const FASTEST: f64 = 58.0;
/// The jet fills this part of the width, on either side of the middle.
const HALF_WIDTH: f64 = 0.165;

/// The physics for a shape and a time step.
pub fn physics(shape: Shape, step: f64) -> Physics {
    Physics {
        cell: LENGTH / shape.nx as f64,
        step,
        gravity: 9.806_16,
        coriolis: 1.031e-4,
        beta: 1.62e-11,
        viscosity: 6.0e4,
    }
}

/// The longest step that is surely stable: a quarter of what a gravity wave takes through a cell.
pub fn longest_step(shape: Shape) -> f64 {
    let wave = (9.806_16 * (DEPTH + 500.0)).sqrt() + FASTEST;
    0.22 * LENGTH / shape.nx as f64 / wave
}

/// The wind of the jet at `y` (0 to 1 across the channel): smooth, and exactly zero outside.
fn jet(y: f64) -> f64 {
    let s = (y - 0.5) / HALF_WIDTH;
    if s.abs() >= 1.0 { 0.0 } else { FASTEST * (1.0 - 1.0 / (1.0 - s * s)).exp() }
}

/// Random numbers of a member, from its number alone (SplitMix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, member: u64) -> Dice {
        let mut dice =
            Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ member.wrapping_mul(0xa076_1d64_78bd_642f));
        dice.next();
        dice
    }

    /// A number of [-1, 1).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * (2.0 / 9_007_199_254_740_992.0) - 1.0
    }
}

/// A wave that a member has and the others have not.
struct Wave {
    number: f64,
    phase: f64,
    height: f64,
}

/// The start of one member. Member 0 is the control forecast; `strength` scales how far the others
/// stray from it (metres of depth).
pub fn state(shape: Shape, physics: &Physics, seed: u64, member: u64, strength: f64) -> State {
    let mut state = State { h: Field::new(shape), u: Field::new(shape), v: Field::new(shape) };
    let (nx, ny) = (shape.nx as f64, shape.ny as f64);
    let mut dice = Dice::new(seed, member);
    let waves: Vec<Wave> = (1..=9)
        .map(|number| Wave {
            number: f64::from(number),
            phase: std::f64::consts::PI * dice.next(),
            height: if member == 0 { 0.0 } else { strength * dice.next() },
        })
        .collect();
    // The depth that balances the jet, summed up from the southern wall on the same grid.
    let mut depths = vec![0.0; shape.ny];
    for j in 1..shape.ny {
        let f = physics.coriolis + physics.beta * physics.cell * (j as f64 - 0.5 * ny);
        let wind = 0.5 * (jet((j as f64 - 0.5) / ny) + jet((j as f64 + 0.5) / ny));
        depths[j] = depths[j - 1] - physics.cell * f * wind / physics.gravity;
    }
    let shift = DEPTH - depths.iter().sum::<f64>() / ny;
    let tau = std::f64::consts::TAU;
    for (j, depth) in depths.iter().enumerate() {
        let y = (j as f64 + 0.5) / ny;
        state.u.inner_mut(j as isize).fill(jet(y));
        for (i, h) in state.h.inner_mut(j as isize).iter_mut().enumerate() {
            let x = (i as f64 + 0.5) / nx;
            let across = (-((y - 0.5) / 0.08).powi(2)).exp();
            let bump = |at: f64, width: f64| {
                let d = (x - at - (x - at).round()) / width;
                (-d * d).exp()
            };
            // Two bumps of different size, so that the eddies along the jet differ in age.
            let common = 60.0 * bump(0.3, 0.03) - 35.0 * bump(0.72, 0.05);
            let own: f64 = waves.iter().map(|w| w.height * (tau * w.number * x + w.phase).cos()).sum();
            *h = shift + depth + across * (common + own);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_differ_and_repeat() {
        let shape = Shape { nx: 32, ny: 16 };
        let p = physics(shape, longest_step(shape));
        let start = |member| state(shape, &p, 1, member, 3.0).h;
        assert_eq!(start(3), start(3));
        assert_ne!(start(3), start(4));
        let mean = start(0).sum(16) / 512.0;
        assert!((mean - DEPTH).abs() < 5.0, "{mean}");
    }

    #[test]
    fn the_jet_is_smooth_and_bounded() {
        assert_eq!(jet(0.5), FASTEST);
        assert_eq!(jet(0.1), 0.0);
        assert!(jet(0.335_1) < 1e-6);
    }
}
