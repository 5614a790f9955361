//! What is asked of a device before it is offered, and how fast it says it is.

mod support;

use support::device;
use tidemill_gpu::{Capacity, Challenge, Form, measure, probe};

#[test]
fn a_gpu_passes_and_its_stand_in_fails_by_long_loops_alone() {
    let Some(device) = device() else { return };
    let checks = probe(&device).expect("the device works");
    let failed: Vec<_> = checks.iter().filter(|check| check.failed.is_some()).collect();
    if device.adapter().is_hardware {
        assert!(failed.is_empty(), "{failed:?}");
        return;
    }
    let names: Vec<_> = failed.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        ["a loop of 200,000 rounds", "loops of 160,000 rounds together"],
        "{} {failed:?}",
        device.adapter()
    );
}

#[test]
fn a_gpu_is_measured_and_answers_challenges() {
    let Some(device) = device() else { return };
    let capacity = Capacity::measure(&device).expect("the device works");
    assert!(capacity.integers > 1e5 && capacity.floats > 1e5 && capacity.memory > 1e5, "{capacity:?}");
    let challenge = Challenge { seed: 7, groups: 100, rounds: 200 };
    let answer = challenge.answer(&device).expect("the device works");
    assert!(challenge.is_right(&answer, &[0, 17, 4_000, 6_399]));
}

#[test]
fn each_form_of_a_kernel_is_measured() {
    let Some(device) = device() else { return };
    let figures = measure(&device, 1, 1).expect("the device works");
    for kernel in ["mandelbrot", "matmul", "gravity", "sha256d"] {
        let of_kernel: Vec<_> = figures.iter().filter(|figure| figure.kernel == kernel).collect();
        let has_floats = of_kernel.iter().any(|figure| figure.form == Form::Canonical);
        assert_eq!(has_floats, matches!(kernel, "matmul" | "gravity"));
        assert!(of_kernel.iter().all(|figure| figure.ms > 0.0 && figure.of_plain > 0.0), "{of_kernel:?}");
        let fuel = |form| of_kernel.iter().find(|figure| figure.form == form).map(|figure| figure.fuel);
        assert_eq!(fuel(Form::Metered), fuel(Form::Reference), "{of_kernel:?}");
        assert_eq!(fuel(Form::Plain), Some(0));
    }
}
