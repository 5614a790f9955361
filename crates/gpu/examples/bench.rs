//! What a GPU of this machine is, whether it computes rightly, how fast it is, and what metering costs on it.
//!
//! `cargo run --release -p tidemill-gpu --example bench -- [--list] [--json] [--gpu N] [--rounds N] [--scale N]`. Four
//! kernels run by turns in each form in which they can run, and the medians are printed.

use std::process::ExitCode;

use serde_json::{Value, json};
use tidemill_gpu::{Adapter, Capacity, Device, Figure, Form, adapters, measure, probe};

struct Options {
    list: bool,
    json: bool,
    gpu: usize,
    rounds: usize,
    scale: u32,
}

fn main() -> ExitCode {
    // Compiling is part of what is measured.
    for (variable, value) in [("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")] {
        // SAFETY: there is one thread so far, so none reads the environment meanwhile.
        unsafe { std::env::set_var(variable, value) };
    }
    let done = options().and_then(|options| match options.list {
        true => list(options.json),
        false => bench(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { list: false, json: false, gpu: 0, rounds: 11, scale: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().and_then(|value| value.parse::<u16>().ok());
            value.ok_or_else(|| format!("{arg} needs a number"))
        };
        match arg.as_str() {
            "--list" => options.list = true,
            "--json" => options.json = true,
            "--gpu" => options.gpu = number()?.into(),
            "--rounds" => options.rounds = number()?.into(),
            "--scale" => options.scale = number()?.into(),
            _ => {
                return Err(format!(
                    "{arg} is not known: --list, --json, --gpu N, --rounds N and --scale N are"
                ));
            }
        }
    }
    Ok(options)
}

fn list(as_json: bool) -> Result<(), String> {
    for adapter in adapters().map_err(|error| error.to_string())? {
        match as_json {
            true => println!("{}", of_adapter(&adapter)),
            false => println!("{}  {}", adapter.number, line(&adapter)),
        }
    }
    Ok(())
}

fn bench(options: &Options) -> Result<(), String> {
    let say = |error: tidemill_gpu::DeviceError| error.to_string();
    let device = Device::open(options.gpu).map_err(say)?;
    let checks = probe(&device).map_err(say)?;
    let capacity = Capacity::measure(&device).map_err(say)?;
    let figures = measure(&device, options.scale, options.rounds).map_err(say)?;
    let metered =
        figures.iter().filter(|figure| figure.form == Form::Metered).map(|figure| figure.of_plain.ln());
    let metered: Vec<f64> = metered.collect();
    let mean = (metered.iter().sum::<f64>() / metered.len() as f64).exp();
    if options.json {
        let failed = checks
            .iter()
            .filter_map(|check| Some(json!({ "check": check.name, "failed": check.failed.as_ref()? })));
        let results = json!({
            "adapter": of_adapter(device.adapter()),
            "checks": checks.len(),
            "failed": failed.collect::<Vec<_>>(),
            "integers_fuel_s": capacity.integers,
            "floats_s": capacity.floats,
            "memory_bytes_s": capacity.memory,
            "kernels": figures.iter().map(of_figure).collect::<Vec<_>>(),
            "metered_of_plain": mean,
        });
        println!("{results:#}");
        return Ok(());
    }
    println!("{}", line(device.adapter()));
    let passed = checks.iter().filter(|check| check.failed.is_none()).count();
    println!("probe: {passed} of {} checks pass", checks.len());
    for check in &checks {
        if let Some(failed) = &check.failed {
            println!("probe: {} fails: {failed}", check.name);
        }
    }
    println!("integers  {:>10.3e} fuel/s", capacity.integers);
    println!("floats    {:>10.3e} operations/s", capacity.floats);
    println!("memory    {:>10.3e} B/s", capacity.memory);
    for figure in &figures {
        let Figure { kernel, form, ms, of_plain, fuel } = figure;
        println!("{kernel:<11} {:<23} {ms:>11.3} ms  x{of_plain:<8.2} {fuel:>14} fuel", name(*form));
    }
    println!("metered over plain, geometric mean: {mean:.2}");
    Ok(())
}

fn line(adapter: &Adapter) -> String {
    let kind = if adapter.is_hardware { "" } else { "; it computes on the CPU, for tests alone" };
    format!("{adapter}, class {}{kind}", adapter.class())
}

fn of_adapter(adapter: &Adapter) -> Value {
    json!({
        "number": adapter.number,
        "name": adapter.name,
        "class": adapter.class(),
        "driver": adapter.driver,
        "driver_version": adapter.driver_version,
        "backend": adapter.backend,
        "is_hardware": adapter.is_hardware,
    })
}

fn of_figure(figure: &Figure) -> Value {
    let Figure { kernel, form, ms, of_plain, fuel } = figure;
    json!({ "kernel": kernel, "form": name(*form), "ms": ms, "of_plain": of_plain, "fuel": fuel })
}

fn name(form: Form) -> &'static str {
    match form {
        Form::Plain => "plain",
        Form::Unbounded => "plain, loops unbounded",
        Form::Metered => "metered",
        Form::Canonical => "metered, canonical",
        Form::Reference => "reference on the CPU",
    }
}
