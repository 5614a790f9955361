//! All members together: mean, spread, and whether mass was kept.

use std::fmt::Write;

use crate::error::Error;
use crate::member::Member;

/// The relative change of mass that rounding may cause; more means that the scheme leaks.
pub const MASS_BOUND: f64 = 1e-11;

/// Mean and spread of the members at each cell.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// The members, in order.
    pub members: Vec<Member>,
    /// The mean depth.
    pub depth: Vec<f64>,
    /// The mean vorticity.
    pub vorticity: Vec<f64>,
    /// The standard deviation of the vorticity.
    pub spread: Vec<f64>,
    /// The standard deviation of the depth.
    pub depth_spread: Vec<f64>,
}

/// Mean and standard deviation over the members, cell by cell.
fn statistics(fields: &[&[f32]]) -> (Vec<f64>, Vec<f64>) {
    let cells = fields.first().map_or(0, |f| f.len());
    let n = fields.len() as f64;
    let mean: Vec<f64> =
        (0..cells).map(|i| fields.iter().map(|f| f64::from(f[i])).sum::<f64>() / n).collect();
    let spread = mean.iter().enumerate().map(|(i, &m)| {
        let squares: f64 = fields.iter().map(|f| (f64::from(f[i]) - m).powi(2)).sum();
        (squares / (n - 1.0).max(1.0)).sqrt()
    });
    let spread = spread.collect();
    (mean, spread)
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

impl Ensemble {
    /// Puts members together; they must be of the same forecast.
    pub fn new(members: Vec<Member>) -> Result<Ensemble, Error> {
        let Some(first) = members.first() else { return Err(Error::Member("there are no members".into())) };
        for other in &members {
            if (other.shape, other.steps, other.step) != (first.shape, first.steps, first.step) {
                return Err(Error::Member(format!(
                    "member {} is of another forecast than member {}",
                    other.number, first.number
                )));
            }
        }
        let fields = |pick: fn(&Member) -> &[f32]| members.iter().map(pick).collect::<Vec<_>>();
        let (depth, depth_spread) = statistics(&fields(|m| &m.depth));
        let (vorticity, spread) = statistics(&fields(|m| &m.vorticity));
        Ok(Ensemble { depth, vorticity, spread, depth_spread, members })
    }

    /// The largest relative change of mass of any member.
    pub fn mass_error(&self) -> f64 {
        self.members.iter().map(|m| m.drift).fold(0.0, f64::max)
    }

    /// Fails if a member lost or gained mass.
    pub fn check(&self) -> Result<(), Error> {
        for member in &self.members {
            if member.drift.is_nan() || member.drift > MASS_BOUND {
                return Err(Error::Forecast(format!(
                    "member {} changed its mass by {:.3e} of the whole; rounding explains at most {MASS_BOUND:e}",
                    member.number, member.drift
                )));
            }
        }
        Ok(())
    }

    /// The numbers of the forecast, for people.
    pub fn summary(&self) -> String {
        let first = &self.members[0];
        let mut text = format!(
            "members               {}\ngrid                  {} x {}\nforecast              {:.1} h in {} steps of {:.2} s\n\
             mass error (largest)  {:.3e} of the whole, bound {MASS_BOUND:e}\n\
             spread of depth       {:.3} m (root mean square)\nspread of vorticity   {:.3e} 1/s (root mean square)\n\n\
             member    mass error   energy change   strongest vorticity\n",
            self.members.len(),
            first.shape.nx,
            first.shape.ny,
            first.hours(),
            first.steps,
            first.step,
            self.mass_error(),
            root_mean_square(&self.depth_spread),
            root_mean_square(&self.spread),
        );
        for member in &self.members {
            let strongest = member.vorticity.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let energy = member.after.energy / member.before.energy - 1.0;
            let _ = writeln!(
                text,
                "{:>6}    {:>10.2e}   {energy:>13.2e}   {strongest:>15.2e} 1/s",
                member.number, member.drift
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Shape;
    use crate::model::Totals;

    fn member(number: u32, value: f32, drift: f64) -> Member {
        let totals = Totals { mass: 1.0, energy: 1.0 };
        Member {
            shape: Shape { nx: 8, ny: 8 },
            number,
            steps: 1,
            step: 1.0,
            before: totals,
            after: totals,
            drift,
            strength: 1.0,
            depth: vec![value; 64],
            vorticity: vec![-value; 64],
        }
    }

    #[test]
    fn mean_and_spread_are_those_of_the_members() {
        let e = Ensemble::new(vec![member(0, 1.0, 0.0), member(1, 3.0, 1e-14)]).unwrap();
        assert_eq!((e.depth[5], e.vorticity[5]), (2.0, -2.0));
        assert!((e.spread[5] - 2f64.sqrt()).abs() < 1e-12);
        e.check().unwrap();
        assert!(e.summary().contains("mass error (largest)  1.000e-14"));
    }

    #[test]
    fn lost_mass_fails() {
        for drift in [1e-9, f64::NAN] {
            let e = Ensemble::new(vec![member(0, 1.0, 0.0), member(1, 3.0, drift)]).unwrap();
            assert!(e.check().unwrap_err().to_string().starts_with("member 1 changed its mass"));
        }
        assert!(Ensemble::new(Vec::new()).is_err());
    }
}
