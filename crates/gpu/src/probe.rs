//! What a device is asked before it is offered: whether it gives the answers of the CPU, and takes their fuel.
//!
//! Drivers have errors that no specification lists. One that stops loops after 65,535 rounds, silently, would end strangers'
//! programs with wrong results at a wrong price, and its provider would be caught lying. So a device that fails a check is
//! not offered, and its owner is told which.

use std::sync::OnceLock;

use crate::{
    device::{Device, DeviceError, Memory},
    kernel::{Floats, Kernel},
    reference::Reference,
    run::{Buffers, MOST_LIMIT, Ran, Run},
    source::Source,
};

/// A check of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What was wrong; none if the device passed.
    pub failed: Option<String>,
}

/// The modules, entry points and words for people of the checks.
const CHECKS: [(&str, &str, Floats); 14] = [
    ("long_loop", "a loop of 200,000 rounds", Floats::Native),
    ("nested_loops", "loops of 160,000 rounds together", Floats::Native),
    ("carry", "products of 64 bits", Floats::Native),
    ("shifts", "shifts past the width", Floats::Native),
    ("bounds", "indices out of range", Floats::Native),
    ("division", "division by zero and of the least integer", Floats::Native),
    ("conversions", "integers from floats out of range", Floats::Native),
    ("barriers", "barriers", Floats::Native),
    ("atomics", "atomic operations", Floats::Native),
    ("leaves", "workgroup memory", Floats::Native),
    ("zeroed", "memory that begins as zero", Floats::Native),
    ("fuel", "the fuel of a fixed program", Floats::Native),
    ("ends", "an end by fuel between barriers", Floats::Native),
    ("floats", "canonical floats", Floats::Canonical),
];

const TEXT: &str = include_str!("probe.wgsl");

/// How many workgroups each check has.
const GROUPS: u32 = 8;

/// A check with what the CPU says.
#[derive(Debug)]
struct Expected {
    name: &'static str,
    kernel: Kernel,
    run: Run,
    ran: Ran,
    buffers: Vec<Vec<u32>>,
    answers: Vec<Vec<u32>>,
}

/// Checks a device.
///
/// # Errors
/// Any of the device's: it does not work at all.
pub fn probe(device: &Device) -> Result<Vec<Check>, DeviceError> {
    expected().iter().map(|expected| check(device, expected)).collect()
}

fn check(device: &Device, expected: &Expected) -> Result<Check, DeviceError> {
    let Expected { name, kernel, run, ran, buffers, answers } = expected;
    let pipeline = device.compile(kernel)?;
    let memory: Vec<Memory> = buffers.iter().map(|words| device.memory(words)).collect::<Result<_, _>>()?;
    let found = device.run(&pipeline, *run, &memory.iter().collect::<Vec<_>>(), &|| false)?;
    let mut failed = None;
    if found.out_of_fuel != ran.out_of_fuel {
        let ended = if found.out_of_fuel { "ran out of fuel too early" } else { "did not run out of fuel" };
        failed = Some(format!("the program {ended}"));
    } else if !ran.out_of_fuel {
        // What fuel ended leaves nothing that is defined.
        for (memory, answer) in memory.iter().zip(answers) {
            let words = device.read(memory)?;
            if let Some((at, (found, right))) =
                words.iter().zip(answer).enumerate().find(|(_, (found, right))| found != right)
            {
                failed.get_or_insert(format!("word {at} is {found:#x}, and {right:#x} is right"));
            }
        }
        if found.fuel != ran.fuel {
            failed.get_or_insert(format!("{} fuel was taken, and {} is right", found.fuel, ran.fuel));
        }
    }
    Ok(Check { name, failed })
}

/// All checks with their answers, computed once.
fn expected() -> &'static [Expected] {
    static EXPECTED: OnceLock<Vec<Expected>> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let source = Source::parse(TEXT).expect("the probe is WGSL");
        CHECKS.iter().map(|(entry, name, floats)| expect(&source, entry, name, *floats)).collect()
    })
}

fn expect(source: &Source, entry: &str, name: &'static str, floats: Floats) -> Expected {
    let kernel = Kernel::new(source, entry, &[], floats).expect("the probe is metered");
    let limit = if entry == "ends" { 20_000 } else { MOST_LIMIT };
    let run = Run { groups: [GROUPS, 1, 1], limit, budget: u64::MAX };
    let buffers: Vec<Vec<u32>> = kernel
        .slots()
        .iter()
        .map(|slot| match slot.name.as_str() {
            "data" => data(),
            "numbers" => numbers(),
            "meeting" => vec![0, 0, u32::MAX, 0, 0, u32::MAX, 0, 0],
            _ => vec![0; 128 * GROUPS as usize],
        })
        .collect();
    let mut answers = Buffers(buffers.clone());
    let ran = Reference::new(&kernel).run(run, &mut answers, &|| false);
    Expected { name, kernel, run, ran, buffers, answers: answers.0 }
}

/// Words that look random, and some that are at an edge.
fn data() -> Vec<u32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ (state >> 15)
    };
    let mut words: Vec<u32> = (0..256).map(|_| next()).collect();
    words[..8].copy_from_slice(&[0, 1, 31, 32, 33, 0x7fff_ffff, 0x8000_0000, u32::MAX]);
    words
}

/// Numbers of all magnitudes that conversions to integers may meet.
fn numbers() -> Vec<u32> {
    let edges = [0.0, -0.5, 0.5, 1.5, -1.5, 2_147_483_648.0, -2_147_483_904.0, 4_294_967_296.0, 1e20, -1e20];
    let scaled = data().into_iter().map(|word| {
        let magnitude = [1e-3_f32, 1.0, 1e3, 1e6][(word % 4) as usize];
        (word.cast_signed() >> 8) as f32 / 8_388_608.0 * magnitude
    });
    edges.into_iter().chain(scaled).take(256).map(f32::to_bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(entry: &str) -> (&'static Expected, &'static [u32]) {
        let at = CHECKS.iter().position(|(name, ..)| *name == entry).expect("there is such a check");
        let expected = &expected()[at];
        let out = expected.kernel.slots().iter().position(|slot| slot.name == "out").expect("it writes");
        (expected, &expected.answers[out])
    }

    #[test]
    fn the_answers_are_right() {
        let data = data();
        let mut sum = 0_u32;
        (0..200_000_u32).for_each(|i| sum = sum.wrapping_mul(3).wrapping_add(i));
        assert_eq!(answer("long_loop").1[3], sum);
        let (_, products) = answer("carry");
        for at in 0..500 {
            let product = u64::from(data[at % 256]) * u64::from(data[(at + 77) % 256]);
            let found = u64::from(products[2 * at + 1]) << 32 | u64::from(products[2 * at]);
            assert_eq!(found, product);
        }
        let (_, converted) = answer("conversions");
        for (at, bits) in numbers().into_iter().enumerate() {
            let x = f32::from_bits(bits);
            // The largest floats below the ends of the integers are what WGSL clamps to.
            let signed = x.clamp(-2_147_483_648.0, 2_147_483_520.0) as i32;
            let unsigned = x.clamp(0.0, 4_294_967_040.0) as u32;
            assert_eq!(converted[2 * at..2 * at + 2], [unsigned, signed.cast_unsigned()], "{x}");
        }
        assert!(answer("zeroed").1[..512].iter().all(|word| *word == 5));
        assert!(answer("leaves").1[..512].iter().all(|word| word % 2 == 1));
        let (ends, _) = answer("ends");
        assert!(ends.ran.out_of_fuel, "{:?}", ends.ran);
        for ((entry, ..), expected) in
            CHECKS.iter().zip(expected()).filter(|((entry, ..), _)| *entry != "ends")
        {
            assert!(!expected.ran.out_of_fuel && expected.answers != expected.buffers, "{entry}");
        }
    }
}
