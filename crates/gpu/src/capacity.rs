//! How fast a device is: measured where it stands, and proven by work whose answer cannot be known before.
//!
//! A provider measures itself to make an offer, and nobody believes it. Who wants to know gives it a [`Challenge`] with a
//! seed of its own, times the answer, and then draws which parts of it to compute again.

use std::time::{Duration, Instant};

use crate::{
    device::{Device, DeviceError, Memory, Pipeline},
    kernel::{Floats, Kernel},
    run::{MOST_LIMIT, Run},
    source::Source,
};

/// How long a kernel has to take for its time to say something.
const LONG_ENOUGH: Duration = Duration::from_millis(100);

/// How many invocations a workgroup of the hash has.
const LANES: u32 = 64;

/// The most workgroups of a challenge, so that its answer is 16 MiB at most.
const MOST_CHALLENGE_GROUPS: u32 = 65_535;

/// The rounds of the hash that measures. Drivers that stop loops early do not stop these.
const ROUNDS: u32 = 500;

/// What a device does in a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Capacity {
    /// Fuel of a hash of integers.
    pub integers: f64,
    /// Operations of a product of matrices of native floats, a multiplication and an addition being two.
    pub floats: f64,
    /// Bytes read and written.
    pub memory: f64,
}

/// Work whose answer cannot be known before: a chain of hashes for each invocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// What it begins with, drawn by whoever asks.
    pub seed: u64,
    /// How many chains there are, in workgroups of 64; from 1 to 65,535.
    pub groups: u32,
    /// How long each chain is; at most 2^24.
    pub rounds: u32,
}

impl Capacity {
    /// Measures a device.
    ///
    /// # Errors
    /// Any of the device's.
    pub fn measure(device: &Device) -> Result<Self, DeviceError> {
        Ok(Self { integers: integers(device)?, floats: floats(device)?, memory: memory(device)? })
    }
}

impl Challenge {
    /// The answer: a word for each chain.
    ///
    /// # Errors
    /// Any of the device's.
    pub fn answer(&self, device: &Device) -> Result<Vec<u32>, DeviceError> {
        let pipeline = device.compile(&kernel(HASH))?;
        Ok(self.timed(device, &pipeline)?.2)
    }

    /// Whether an answer has the length that it should have, and is right in these places. Whoever gave it must not have
    /// known them: of an answer that is wrong in one place of `n`, `k` places drawn by chance find that with a probability
    /// of `1 - (1 - 1/n)^k`.
    pub fn is_right(&self, answer: &[u32], places: &[u32]) -> bool {
        let is_right = |place: &u32| answer.get(*place as usize) == Some(&self.end(*place));
        answer.len() as u64 == u64::from(self.groups) * u64::from(LANES) && places.iter().all(is_right)
    }

    /// The end of one chain.
    fn end(&self, place: u32) -> u32 {
        let [low, high] = self.halves();
        (0..self.rounds()).fold(mix(low.wrapping_add(place)) ^ high, |x, round| mix(x.wrapping_add(round)))
    }

    fn halves(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    fn rounds(&self) -> u32 {
        self.rounds.min(1 << 24)
    }

    /// Its time, its fuel and its answer.
    fn timed(&self, device: &Device, pipeline: &Pipeline) -> Result<(Duration, u64, Vec<u32>), DeviceError> {
        let groups = self.groups.clamp(1, MOST_CHALLENGE_GROUPS);
        let [low, high] = self.halves();
        let work = device.memory(&[low, high, self.rounds(), 0])?;
        let ends = device.memory(&vec![0; (groups * LANES) as usize])?;
        let run = Run { groups: [groups, 1, 1], limit: MOST_LIMIT, budget: u64::MAX };
        let begun = Instant::now();
        let ran = device.run(pipeline, run, &[&work, &ends], &|| false)?;
        let took = begun.elapsed();
        Ok((took, ran.fuel, device.read(&ends)?))
    }
}

fn mix(word: u32) -> u32 {
    let x = (word ^ (word >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

const HASH: &str = include_str!("../kernels/hash.wgsl");
const PRODUCT: &str = include_str!("../kernels/matmul.wgsl");
const COPY: &str = include_str!("../kernels/copy.wgsl");

fn kernel(text: &str) -> Kernel {
    let source = Source::parse(text).expect("the kernel is WGSL");
    Kernel::new(&source, "main", &[], Floats::Native).expect("the kernel can be metered")
}

fn integers(device: &Device) -> Result<f64, DeviceError> {
    let pipeline = device.compile(&kernel(HASH))?;
    let mut groups = 32;
    loop {
        let challenge = Challenge { seed: 1, groups, rounds: ROUNDS };
        let (took, fuel, _) = challenge.timed(device, &pipeline)?;
        if took >= LONG_ENOUGH || groups == MOST_CHALLENGE_GROUPS {
            return Ok(fuel as f64 / took.as_secs_f64());
        }
        groups = (groups * 4).min(MOST_CHALLENGE_GROUPS);
    }
}

fn floats(device: &Device) -> Result<f64, DeviceError> {
    /// Two matrices and their product of this size are 48 MiB.
    const MOST: u32 = 2_048;
    let pipeline = device.compile(&kernel(PRODUCT))?;
    let mut n = 128;
    loop {
        let matrix = || device.memory(&vec![0.5_f32.to_bits(); (n * n) as usize]);
        let memory = [device.memory(&[n, 0, 0, 0])?, matrix()?, matrix()?, matrix()?];
        let took = time(device, &pipeline, [n / 16, n / 16, 1], &memory)?;
        if took >= LONG_ENOUGH || n == MOST {
            return Ok(2.0 * f64::from(n).powi(3) / took.as_secs_f64());
        }
        n *= 2;
    }
}

fn memory(device: &Device) -> Result<f64, DeviceError> {
    /// Two buffers of 63 MiB: as many workgroups as a dimension may have, each for 64 times 4 words.
    const GROUPS: u32 = 64_512;
    const WORDS: usize = GROUPS as usize * 256;
    let pipeline = device.compile(&kernel(COPY))?;
    let zeros = vec![0; WORDS];
    let memory = [device.memory(&zeros)?, device.memory(&zeros)?];
    let took = time(device, &pipeline, [GROUPS, 1, 1], &memory)?;
    Ok(2.0 * WORDS as f64 * 4.0 / took.as_secs_f64())
}

/// How long a dispatch takes that was done once before: the first one includes compiling on some drivers.
fn time(
    device: &Device,
    pipeline: &Pipeline,
    groups: [u32; 3],
    memory: &[Memory],
) -> Result<Duration, DeviceError> {
    let memory: Vec<&Memory> = memory.iter().collect();
    let run = Run { groups, limit: MOST_LIMIT, budget: u64::MAX };
    device.run(pipeline, run, &memory, &|| false)?;
    let begun = Instant::now();
    device.run(pipeline, run, &memory, &|| false)?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reference::Reference, run::Buffers};

    #[test]
    fn an_answer_is_checked_in_a_few_places() {
        let challenge = Challenge { seed: 0x0123_4567_89ab_cdef, groups: 2, rounds: 100 };
        let kernel = kernel(HASH);
        let mut buffers = Buffers(vec![vec![0x89ab_cdef, 0x0123_4567, 100, 0], vec![0; 128]]);
        let run = Run { groups: [2, 1, 1], limit: MOST_LIMIT, budget: u64::MAX };
        let ran = Reference::new(&kernel).run(run, &mut buffers, &|| false);
        assert!(!ran.out_of_fuel);
        let mut answer = buffers.0.remove(1);
        let all: Vec<u32> = (0..128).collect();
        assert!(challenge.is_right(&answer, &all));
        assert!(!Challenge { seed: 1, ..challenge }.is_right(&answer, &[3]));
        assert!(!challenge.is_right(&answer[..127], &[3]), "one is missing");
        answer[70] ^= 1;
        assert!(challenge.is_right(&answer, &[3, 69]) && !challenge.is_right(&answer, &[3, 70]));
    }
}
