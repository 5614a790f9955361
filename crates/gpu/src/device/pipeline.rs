//! A kernel compiled for a device.

use std::{borrow::Cow, sync::atomic::AtomicU64};

use super::{Device, DeviceError, slices::FIRST};
use crate::{
    kernel::{Access, Kernel, Slot},
    wrap::GROUP,
};

/// A kernel compiled for a device.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// The bind groups that the kernel uses, by number, and the meter's as the last.
    pub(super) layouts: Vec<Option<wgpu::BindGroupLayout>>,
    pub(super) slots: Vec<Slot>,
    pub(super) metered: bool,
    /// With how many workgroups its next dispatch begins.
    pub(super) first: AtomicU64,
}

impl Device {
    /// Compiles a kernel. Some drivers put the larger part of it off until the first dispatch.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] when the driver refuses it, which no kernel should make it do.
    pub fn compile(&self, kernel: &Kernel) -> Result<Pipeline, DeviceError> {
        self.build(kernel, !kernel.is_metered())
    }

    /// Compiles a kernel without wgpu's own bound on loops, metered or not: to measure what the bound costs.
    ///
    /// # Errors
    /// As [`Device::compile`].
    pub fn compile_unbounded(&self, kernel: &Kernel) -> Result<Pipeline, DeviceError> {
        self.build(kernel, false)
    }

    fn build(&self, kernel: &Kernel, bounded: bool) -> Result<Pipeline, DeviceError> {
        let (slots, metered, module) = (kernel.slots(), kernel.is_metered(), kernel.module().clone());
        self.checked(|device| {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Naga(Cow::Owned(module)),
            };
            let checks = wgpu::ShaderRuntimeChecks {
                force_loop_bounding: bounded,
                ..wgpu::ShaderRuntimeChecks::checked()
            };
            // SAFETY: the one check that may be off bounds loops, and each loop of a metered module has an exit of its own.
            // Modules that are not metered are the project's own, for measurements, and end.
            let shader = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let groups = if metered { GROUP } else { GROUP - 1 };
            let layouts: Vec<Option<wgpu::BindGroupLayout>> = (0..=groups)
                .map(|group| {
                    let mut entries: Vec<_> =
                        slots.iter().filter(|slot| slot.group == group).map(entry).collect();
                    if group == GROUP {
                        entries.push(storage(0, false));
                    }
                    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
                    (!entries.is_empty()).then(|| device.create_bind_group_layout(&descriptor))
                })
                .collect();
            let of_groups: Vec<_> = layouts.iter().map(Option::as_ref).collect();
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &of_groups,
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&layout),
                module: &shader,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            Pipeline { pipeline, layouts, slots: slots.to_vec(), metered, first: AtomicU64::new(FIRST) }
        })
    }
}

fn entry(slot: &Slot) -> wgpu::BindGroupLayoutEntry {
    match slot.access {
        Access::Uniform => wgpu::BindGroupLayoutEntry {
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            ..storage(slot.binding, true)
        },
        Access::Read => storage(slot.binding, true),
        Access::Write => storage(slot.binding, false),
    }
}

fn storage(binding: u32, read_only: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        count: None,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
    }
}
