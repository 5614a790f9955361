//! Graphics processors: which there are, and which package is missing where one cannot be used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidemill_api::{Check, Grade};

/// Whose processor it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vendor {
    Nvidia,
    Amd,
    Intel,
}

/// A graphics processor as the PCI bus shows it.
struct Device {
    vendor: Vendor,
    /// The kernel's driver that has it.
    driver: Option<String>,
}

/// How a distribution calls what is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packages {
    Apt,
    Dnf,
    Pacman,
    Other,
}

impl Vendor {
    fn of(id: &str) -> Option<Self> {
        match id.trim() {
            "0x10de" => Some(Self::Nvidia),
            "0x1002" => Some(Self::Amd),
            "0x8086" => Some(Self::Intel),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nvidia => "NVIDIA",
            Self::Amd => "AMD",
            Self::Intel => "Intel",
        }
    }

    /// How the file begins that says where its Vulkan driver is.
    fn vulkan_prefix(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "radeon",
            Self::Intel => "intel",
        }
    }
}

impl Packages {
    /// What installs a vendor's Vulkan driver.
    fn vulkan(self, vendor: Vendor) -> &'static str {
        match (self, vendor) {
            (Self::Apt, Vendor::Nvidia) => "`apt install nvidia-driver` (on Ubuntu `ubuntu-drivers install`)",
            (Self::Apt, _) => "`apt install mesa-vulkan-drivers libvulkan1`",
            (Self::Dnf, Vendor::Nvidia) => "`dnf install akmod-nvidia` (of RPM Fusion)",
            (Self::Dnf, _) => "`dnf install mesa-vulkan-drivers vulkan-loader`",
            (Self::Pacman, Vendor::Nvidia) => "`pacman -S nvidia-utils vulkan-icd-loader`",
            (Self::Pacman, Vendor::Amd) => "`pacman -S vulkan-radeon vulkan-icd-loader`",
            (Self::Pacman, Vendor::Intel) => "`pacman -S vulkan-intel vulkan-icd-loader`",
            (Self::Other, Vendor::Nvidia) => "install NVIDIA's driver with its Vulkan part",
            (Self::Other, _) => "install Mesa's Vulkan drivers and the Vulkan loader",
        }
    }

    fn of(os_release: &str) -> Self {
        let words: Vec<&str> = os_release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|value| value.trim_matches('"').split(' '))
            .collect();
        let is = |names: &[&str]| words.iter().any(|word| names.contains(word));
        if is(&["debian", "ubuntu"]) {
            Self::Apt
        } else if is(&["fedora", "rhel", "centos"]) {
            Self::Dnf
        } else if is(&["arch"]) {
            Self::Pacman
        } else {
            Self::Other
        }
    }
}

/// Looks for graphics processors below the root of a file system.
pub fn look(root: &Path) -> Check {
    let devices = devices(root);
    if devices.is_empty() {
        return Check::new(
            "graphics",
            Grade::Good,
            "no graphics processor; programs of the kind `wasm` need none",
        );
    }
    let release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let packages = Packages::of(&release);
    let names: Vec<_> = devices.iter().map(|device| device.vendor.name()).collect();
    let names = names.join(", ");
    for Device { vendor, driver } in &devices {
        let name = vendor.name();
        match driver.as_deref() {
            None => {
                let found = format!("{names}: no driver of the kernel has the {name} processor");
                return Check::new("graphics", Grade::Warning, found).mend(packages.vulkan(*vendor));
            }
            // It has no Vulkan for most of NVIDIA's processors.
            Some("nouveau") => {
                let found = format!(
                    "{names}: the driver nouveau has the {name} processor, and is slow or cannot compute"
                );
                return Check::new("graphics", Grade::Warning, found).mend(packages.vulkan(*vendor));
            }
            // A virtual machine's, passed on.
            Some("vfio-pci") => {}
            Some(driver) if !has_vulkan(root, *vendor) => {
                let found =
                    format!("{names}: the kernel's driver {driver} has it, and Vulkan has none for {name}");
                return Check::new("graphics", Grade::Warning, found).mend(packages.vulkan(*vendor));
            }
            Some(_) => {}
        }
    }
    if let Some(closed) = closed_node(root) {
        let found = format!("{names}: this user may not open {}", closed.display());
        return Check::new("graphics", Grade::Warning, found)
            .mend("join the group that may, and log in again: `sudo usermod -aG render,video $USER`");
    }
    Check::new("graphics", Grade::Good, format!("{names}, with drivers for the kernel and for Vulkan"))
}

fn devices(root: &Path) -> Vec<Device> {
    let Ok(entries) = fs::read_dir(root.join("sys/bus/pci/devices")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    paths
        .iter()
        // Class 03: displays; 0302 is a processor without one.
        .filter(|path| read(path, "class").starts_with("0x03"))
        .filter_map(|path| {
            let vendor = Vendor::of(&read(path, "vendor"))?;
            let driver = fs::canonicalize(path.join("driver")).ok();
            let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            Some(Device { vendor, driver })
        })
        .collect()
}

/// Whether Vulkan's loader would find a driver for a vendor's processors.
fn has_vulkan(root: &Path, vendor: Vendor) -> bool {
    ["usr/share/vulkan/icd.d", "usr/local/share/vulkan/icd.d", "etc/vulkan/icd.d"].iter().any(|folder| {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        entries
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(vendor.vulkan_prefix()))
    })
}

/// A device file of a graphics processor that this user may not open.
fn closed_node(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root.join("dev/dri")).ok()?;
    let mut nodes: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("renderD")))
        .collect();
    nodes.sort();
    let is_closed = |path: &PathBuf| {
        let opened = fs::OpenOptions::new().read(true).write(true).open(path);
        opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    // One that may be opened is enough.
    if nodes.iter().all(is_closed) { nodes.into_iter().next() } else { None }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A file system with these files, and a driver for the device where one is named.
    fn machine(vendor: &str, driver: Option<&str>, files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let device = "sys/bus/pci/devices/0000:01:00.0";
        let class = format!("{device}/class");
        let id = format!("{device}/vendor");
        for (name, text) in [(class.as_str(), "0x030000\n"), (id.as_str(), vendor)].iter().chain(files) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        if let Some(driver) = driver {
            let target = root.path().join("sys/bus/pci/drivers").join(driver);
            fs::create_dir_all(&target).expect("a directory");
            std::os::unix::fs::symlink(target, root.path().join(device).join("driver")).expect("a link");
        }
        root
    }

    #[test]
    fn the_missing_package_is_named_as_the_distribution_calls_it() {
        let debian = ("etc/os-release", "NAME=\"Debian\"\nID=debian\n");
        let mint = ("etc/os-release", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
        let arch = ("etc/os-release", "ID=arch\n");
        let mend = |machine: TempDir| {
            let check = look(machine.path());
            assert_eq!(check.grade, Grade::Warning, "{}", check.found);
            check.mend.expect("a package")
        };
        assert!(mend(machine("0x10de\n", None, &[debian])).contains("apt install nvidia-driver"));
        assert!(mend(machine("0x10de\n", Some("nouveau"), &[mint])).contains("ubuntu-drivers"));
        assert!(mend(machine("0x1002\n", Some("amdgpu"), &[arch])).contains("vulkan-radeon"));
        assert!(mend(machine("0x8086\n", Some("i915"), &[])).contains("Mesa"));
    }

    #[test]
    fn a_processor_with_its_drivers_is_good_and_none_is_no_fault() {
        let vulkan = ("usr/share/vulkan/icd.d/radeon_icd.x86_64.json", "{}");
        let amd = look(machine("0x1002\n", Some("amdgpu"), &[vulkan]).path());
        assert_eq!((amd.grade, amd.mend), (Grade::Good, None));
        let nvidia = look(machine("0x10de\n", Some("nvidia"), &[vulkan]).path());
        assert_eq!(nvidia.grade, Grade::Warning, "another vendor's driver does not serve it");
        // The display of a virtual machine computes nothing.
        assert_eq!(look(machine("0x1234\n", None, &[]).path()).grade, Grade::Good);
        let none = tempfile::tempdir().expect("a directory");
        assert_eq!(look(none.path()).grade, Grade::Good);
    }
}
