//! The result of one member of the ensemble, and the file that carries it.

use crate::error::Error;
use crate::grid::Shape;
use crate::model::Totals;

const MAGIC: &[u8; 8] = b"tmwthr1\n";
const HEAD: usize = 8 + 4 * 4 + 7 * 8;

/// What one member forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Cells along and across the channel.
    pub shape: Shape,
    /// Its number; 0 is the control forecast.
    pub number: u32,
    /// Time steps taken.
    pub steps: u32,
    /// The length of a step in seconds.
    pub step: f64,
    /// Totals at the start.
    pub before: Totals,
    /// Totals at the end.
    pub after: Totals,
    /// The largest change of the total mass seen on the way, relative to the start.
    pub drift: f64,
    /// How far its start may stray from that of the control, in metres of depth.
    pub strength: f64,
    /// Depth, row by row from the south.
    pub depth: Vec<f32>,
    /// Vorticity, row by row from the south.
    pub vorticity: Vec<f32>,
}

impl Member {
    /// The hours the forecast covers.
    pub fn hours(&self) -> f64 {
        f64::from(self.steps) * self.step / 3600.0
    }

    /// The member as bytes, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + 8 * self.depth.len());
        bytes.extend_from_slice(MAGIC);
        for n in [self.shape.nx as u32, self.shape.ny as u32, self.number, self.steps] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        let (a, b) = (self.before, self.after);
        for x in [self.step, a.mass, a.energy, b.mass, b.energy, self.drift, self.strength] {
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        for x in self.depth.iter().chain(&self.vorticity) {
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        bytes
    }

    /// Reads a member; the error says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Member, Error> {
        let fail = |what: &str| Error::Member(what.to_string());
        if !bytes.starts_with(MAGIC) || bytes.len() < HEAD {
            return Err(fail("this is not the forecast of a member"));
        }
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let whole = |i: usize| u32::from_le_bytes(four(8 + 4 * i));
        let real = |i: usize| {
            let (a, b) = (four(24 + 8 * i), four(28 + 8 * i));
            f64::from_le_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
        };
        let shape = Shape { nx: whole(0) as usize, ny: whole(1) as usize };
        if !(8..=4096).contains(&shape.nx) || !(8..=4096).contains(&shape.ny) {
            return Err(fail("the grid of this forecast is out of range"));
        }
        let cells = shape.nx * shape.ny;
        if bytes.len() != HEAD + 8 * cells {
            return Err(fail("the forecast is cut short or too long"));
        }
        let field =
            |from: usize| (0..cells).map(|i| f32::from_le_bytes(four(HEAD + 4 * (from + i)))).collect();
        Ok(Member {
            shape,
            number: whole(2),
            steps: whole(3),
            step: real(0),
            before: Totals { mass: real(1), energy: real(2) },
            after: Totals { mass: real(3), energy: real(4) },
            drift: real(5),
            strength: real(6),
            depth: field(0),
            vorticity: field(cells),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_and_damage_is_found() {
        let totals = Totals { mass: 3000.5, energy: 4e7 };
        let member = Member {
            shape: Shape { nx: 10, ny: 8 },
            number: 3,
            steps: 100,
            step: 36.0,
            before: totals,
            after: totals,
            drift: 1e-15,
            strength: 2.0,
            depth: (0..80).map(|i| i as f32).collect(),
            vorticity: vec![1e-5; 80],
        };
        let bytes = member.to_bytes();
        assert_eq!(Member::from_bytes(&bytes).unwrap(), member);
        assert_eq!(member.hours(), 1.0);
        assert!(Member::from_bytes(&bytes[..100]).unwrap_err().to_string().contains("cut short"));
        assert!(Member::from_bytes(b"rain").is_err());
    }
}
