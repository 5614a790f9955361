//! By how much heads are turned at a position.

use crate::config::Config;

/// Cosines and sines of some tokens' positions, for one base.
#[derive(Debug, Default)]
pub struct Angles {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Angles {
    /// For positions, in layers that are local or not.
    ///
    /// Computed in double precision by the crate `libm`, whose bits are the same everywhere.
    pub fn new(
        config: &Config,
        factors: Option<&[f32]>,
        local: bool,
        positions: impl Iterator<Item = usize>,
    ) -> Self {
        let window = config.window.filter(|_| local);
        let base = window.map_or(config.rope_base, |window| window.rope_base);
        let scale = if window.is_some() { 1.0 } else { config.rope_scale };
        let half = config.rope_len / 2;
        let frequencies: Vec<f64> = (0..half)
            .map(|i| {
                let factor = factors.map_or(1.0, |factors| f64::from(factors[i]));
                libm::pow(base, -2.0 * i as f64 / config.rope_len as f64) / (factor * scale)
            })
            .collect();
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in positions {
            for frequency in &frequencies {
                let (sine, cosine) = libm::sincos(position as f64 * frequency);
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        Self { half, cosines, sines }
    }

    /// Of the token of that number.
    pub fn of(&self, token: usize) -> (&[f32], &[f32]) {
        let range = token * self.half..(token + 1) * self.half;
        (&self.cosines[range.clone()], &self.sines[range])
    }
}
