//! What GPUs a machine has.

use std::fmt;

use super::DeviceError;

/// A GPU, or what stands in for one, as its driver describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adapter {
    /// Its number among those of this machine.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// The PCI number of its vendor.
    pub vendor: u32,
    /// The vendor's number for the model.
    pub device: u32,
    /// The driver's name.
    pub driver: String,
    /// The driver's own words on its version.
    pub driver_version: String,
    /// What drives it: Vulkan.
    pub backend: String,
    /// Whether it is hardware. A rasteriser on the CPU is for tests: lavapipe ends loops after 65,535 rounds, silently.
    pub is_hardware: bool,
    /// The largest buffer in bytes, which is what a program can get of its memory at once.
    pub most_buffer: u64,
}

impl Adapter {
    pub(super) fn of(number: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        Self {
            number,
            name: info.name,
            vendor: info.vendor,
            device: info.device,
            driver: info.driver,
            driver_version: info.driver_info,
            backend: info.backend.to_string(),
            is_hardware: !matches!(info.device_type, wgpu::DeviceType::Cpu),
            most_buffer: adapter.limits().max_buffer_size,
        }
    }

    /// The class within which native floats compare: vendor, model, driver, and the first number of its version. Whether a
    /// class holds what it promises is for runs to say.
    pub fn class(&self) -> String {
        let version = self.driver_version.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
        format!("{:04x}:{:04x} {} {}", self.vendor, self.device, self.driver, version.unwrap_or("0"))
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {}, {})", self.name, self.driver, self.driver_version, self.backend)
    }
}

pub(super) fn all() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN;
    let descriptor =
        wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
}

/// The GPUs of this machine.
///
/// # Errors
/// [`DeviceError::NoAdapter`], which says what to install, when there is none.
pub fn adapters() -> Result<Vec<Adapter>, DeviceError> {
    let adapters: Vec<Adapter> =
        all().iter().enumerate().map(|(number, adapter)| Adapter::of(number, adapter)).collect();
    if adapters.is_empty() { Err(no_adapter()) } else { Ok(adapters) }
}

/// Says why there may be none: no card, no permission, or no driver.
pub(super) fn no_adapter() -> DeviceError {
    let nodes = std::fs::read_dir("/dev/dri").map(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.to_string_lossy().contains("renderD")).collect::<Vec<_>>()
    });
    let nodes = nodes.unwrap_or_default();
    let nvidia = std::path::Path::new("/dev/nvidia0").exists();
    let closed =
        nodes.iter().find(|path| std::fs::File::options().read(true).write(true).open(path).is_err());
    let advice = match closed {
        Some(path) => format!(
            "{} cannot be opened: add the user to the group `render` (`sudo usermod -aG render $USER`) and log in again",
            path.display()
        ),
        None if nvidia => "there is an NVIDIA GPU: install its Vulkan driver (Debian: nvidia-vulkan-icd, libvulkan1)".into(),
        None if !nodes.is_empty() => {
            "there is a GPU: install a Vulkan driver for it (Debian: mesa-vulkan-drivers, libvulkan1)".into()
        }
        None => "this machine shows no GPU; for tests, Debian's mesa-vulkan-drivers and libvulkan1 bring one on the CPU".into(),
    };
    DeviceError::NoAdapter { advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_over_small_versions_of_a_driver() {
        let adapter = |driver_version: &str| Adapter {
            number: 0,
            name: "GPU".into(),
            vendor: 0x10de,
            device: 0x2335,
            driver: "NVIDIA".into(),
            driver_version: driver_version.into(),
            backend: "Vulkan".into(),
            is_hardware: true,
            most_buffer: 1 << 31,
        };
        assert_eq!(adapter("570.86.15").class(), "10de:2335 NVIDIA 570");
        assert_eq!(adapter("570.86.15").class(), adapter("570.133.20").class());
        assert_ne!(adapter("570.86.15").class(), adapter("565.57.01").class());
        assert_eq!(adapter("Mesa 22.3.6 (LLVM 15.0.6)").class(), "10de:2335 NVIDIA 22");
    }

    #[test]
    fn no_adapter_comes_with_advice() {
        let said = no_adapter().to_string();
        assert!(said.contains("no GPU can be used") && said.contains(':'), "{said}");
        assert!(
            ["mesa-vulkan-drivers", "nvidia-vulkan-icd", "usermod"].iter().any(|word| said.contains(word)),
            "{said}"
        );
    }
}
