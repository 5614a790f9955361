//! A GPU, by wgpu on Vulkan.
//!
//! One program runs at a time. Whatever goes wrong with a driver (time, loss, memory) is an error of the device, never of
//! the program; after one the device must be opened anew and probed again, best in a process of its own that can be killed.

mod adapter;
mod pipeline;
mod slices;

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    run::{Ran, Run, meter_words, settled},
    wrap::{GROUP, WORDS, word},
};
pub use adapter::{Adapter, adapters};
pub use pipeline::Pipeline;
use slices::{Slice, Slices};

/// How long a slice, or a copy, may take before the device is given up. It is meant to take a hundredth, so only what is
/// lost takes this; but the first dispatch of a kernel may include compiling it.
const LONGEST: Duration = Duration::from_secs(30);

/// The same of what stands in for a GPU: it compiles and runs on the CPU, which tests share with much else.
const LONGEST_OF_A_STAND_IN: Duration = Duration::from_secs(300);

/// What goes wrong with a device.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is none.
    #[error("no GPU can be used: {advice}")]
    NoAdapter {
        /// What to do.
        advice: String,
    },
    /// There is none with this number.
    #[error("there is no GPU number {number}; this machine has {count}")]
    NoSuchAdapter {
        /// What was asked for.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// It does not have what each WebGPU device has.
    #[error("the GPU cannot be opened: {0}")]
    Open(String),
    /// Work did not end in time.
    #[error("the GPU did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It was reset, or taken away.
    #[error("the GPU was lost: {0}")]
    Lost(String),
    /// It has no memory left.
    #[error("the GPU has no memory left: {0}")]
    Memory(String),
    /// The driver refuses, or fails.
    #[error("the GPU's driver fails: {0}")]
    Driver(String),
}

/// An open GPU.
#[derive(Debug)]
pub struct Device {
    adapter: Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// What it was lost by.
    lost: Arc<Mutex<Option<String>>>,
}

/// Memory on a device.
#[derive(Debug)]
pub struct Memory {
    buffer: wgpu::Buffer,
}

impl Device {
    /// Opens the adapter with this number.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`], [`DeviceError::NoSuchAdapter`] and [`DeviceError::Open`].
    pub fn open(number: usize) -> Result<Self, DeviceError> {
        let all = adapter::all();
        let Some(chosen) = all.get(number) else {
            return Err(match all.len() {
                0 => adapter::no_adapter(),
                count => DeviceError::NoSuchAdapter { number, count },
            });
        };
        // The same limits for all, so that a program runs on each device or on none.
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: wgpu::Limits::default(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(chosen.request_device(&descriptor))
            .map_err(|error| DeviceError::Open(error.to_string()))?;
        let lost = Arc::new(Mutex::new(None));
        let tell = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{reason:?} {message}"));
        });
        // By default such an error ends the process.
        let tell = lost.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }));
        Ok(Self { adapter: Adapter::of(number, chosen), device, queue, lost })
    }

    /// What it is.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Memory that holds these words.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] when there is not enough left.
    pub fn memory(&self, words: &[u32]) -> Result<Memory, DeviceError> {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let buffer = self.checked(|device| {
            let size = 4 * words.len() as u64;
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            });
            self.queue.write_buffer(&buffer, 0, &bytes(words));
            buffer
        })?;
        Ok(Memory { buffer })
    }

    /// What the memory holds.
    ///
    /// # Errors
    /// Any of the device's.
    pub fn read(&self, memory: &Memory) -> Result<Vec<u32>, DeviceError> {
        let size = memory.buffer.size();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let copy = self.checked(|device| {
            let copy = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&memory.buffer, 0, &copy, 0, size);
            self.queue.submit([encoder.finish()]);
            copy
        })?;
        let mapped = Arc::new(Mutex::new(None));
        let tell = mapped.clone();
        copy.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        self.wait()?;
        let result = mapped.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !matches!(result, Some(Ok(()))) {
            return Err(DeviceError::Driver("memory of the GPU cannot be read".into()));
        }
        let range =
            copy.slice(..).get_mapped_range().map_err(|error| DeviceError::Driver(error.to_string()))?;
        Ok(range
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect())
    }

    /// Runs a dispatch on memory, one for each slot of the kernel, slice by slice; between two of them it looks at the fuel
    /// and at whether to stop.
    ///
    /// # Errors
    /// Any of the device's. Out of fuel is none: [`Ran`] says so.
    pub fn run(
        &self,
        pipeline: &Pipeline,
        run: Run,
        memory: &[&Memory],
        stop: &dyn Fn() -> bool,
    ) -> Result<Ran, DeviceError> {
        if !pipeline.metered {
            let groups = self.bind(pipeline, memory, None)?;
            self.dispatch(pipeline, &groups, Slice { first: [0; 3], groups: run.groups })?;
            return Ok(Ran::default());
        }
        let meter = self.memory(&meter_words(run.limit, [0; 3], run.groups))?;
        let groups = self.bind(pipeline, memory, Some(&meter))?;
        let mut slices = Slices::new(run.groups, pipeline.first.load(Ordering::Relaxed));
        let mut ran = Ran::default();
        while let Some(slice) = slices.next() {
            if stop() {
                ran.stopped = true;
                break;
            }
            let began = Instant::now();
            self.queue.write_buffer(&meter.buffer, 4 * word::FIRST as u64, &bytes(&slice.first));
            self.dispatch(pipeline, &groups, slice)?;
            let words = self.read(&meter)?;
            if words.len() != WORDS {
                return Err(DeviceError::Driver("the meter's memory has another size".into()));
            }
            ran = settled(&words, run.budget);
            slices.took(slice, began.elapsed());
            if ran.out_of_fuel {
                break;
            }
        }
        pipeline.first.store(slices.next_first(), Ordering::Relaxed);
        Ok(ran)
    }

    fn dispatch(
        &self,
        pipeline: &Pipeline,
        groups: &[(u32, wgpu::BindGroup)],
        slice: Slice,
    ) -> Result<(), DeviceError> {
        self.checked(|device| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline.pipeline);
                for (number, group) in groups {
                    pass.set_bind_group(*number, group, &[]);
                }
                let [x, y, z] = slice.groups;
                pass.dispatch_workgroups(x, y, z);
            }
            self.queue.submit([encoder.finish()]);
        })?;
        self.wait()
    }

    fn bind(
        &self,
        pipeline: &Pipeline,
        memory: &[&Memory],
        meter: Option<&Memory>,
    ) -> Result<Vec<(u32, wgpu::BindGroup)>, DeviceError> {
        self.checked(|device| {
            let mut groups = Vec::new();
            for (number, layout) in pipeline.layouts.iter().enumerate() {
                let (number, Some(layout)) = (number as u32, layout) else { continue };
                let mut entries: Vec<_> = pipeline
                    .slots
                    .iter()
                    .zip(memory)
                    .filter(|(slot, _)| slot.group == number)
                    .map(|(slot, memory)| wgpu::BindGroupEntry {
                        binding: slot.binding,
                        resource: memory.buffer.as_entire_binding(),
                    })
                    .collect();
                if let Some(meter) = meter.filter(|_| number == GROUP) {
                    entries.push(wgpu::BindGroupEntry {
                        binding: 0,
                        resource: meter.buffer.as_entire_binding(),
                    });
                }
                let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
                groups.push((number, device.create_bind_group(&descriptor)));
            }
            groups
        })
    }

    fn wait(&self) -> Result<(), DeviceError> {
        let longest = if self.adapter.is_hardware { LONGEST } else { LONGEST_OF_A_STAND_IN };
        let waited =
            self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(longest) });
        if let Some(reason) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(DeviceError::Lost(reason));
        }
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(DeviceError::TimedOut(longest)),
            Err(error) => Err(DeviceError::Driver(error.to_string())),
        }
    }

    /// Does something with the device, and gives the error that wgpu would tell elsewhere.
    fn checked<T>(&self, work: impl FnOnce(&wgpu::Device) -> T) -> Result<T, DeviceError> {
        let scopes =
            [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation]
                .map(|filter| self.device.push_error_scope(filter));
        let done = work(&self.device);
        for scope in scopes.into_iter().rev() {
            match pollster::block_on(scope.pop()) {
                None => {}
                Some(wgpu::Error::OutOfMemory { source }) => {
                    return Err(DeviceError::Memory(source.to_string()));
                }
                Some(error) => return Err(DeviceError::Driver(error.to_string())),
            }
        }
        Ok(done)
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
