//! A directory of a test's own, and runs of the real binary in it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    processes::{self, Worker},
    puppet::puppet,
    typed,
};

/// The binary.
pub const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

/// What takes longer than this hangs: many times what the slowest step takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(600);

/// What must happen at once may take this long, on a machine where everything else runs too.
pub const SOON: Duration = Duration::from_secs(15);

/// Whether what takes minutes is to run too.
pub fn deep() -> bool {
    std::env::var_os("TIDEMILL_DEEP").is_some()
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the crate is two levels down").to_owned()
}

/// Waits for an event: looks again and again until there is an answer, after ever longer pauses, since many looks start
/// a process and would keep those that are waited for from working.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const LONGEST: Duration = Duration::from_millis(200);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < LIMIT, "waited too long for {what}");
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(LONGEST);
    }
}

/// A directory with a test's files, where the binary runs.
pub struct Place {
    directory: TempDir,
    home: PathBuf,
}

impl Place {
    /// A directory whose runs share compiled code with those of other tests.
    pub fn new() -> Self {
        Self { directory: directory(), home: SHARED_HOME.clone() }
    }

    /// A directory whose runs keep compiled code in `name` below it.
    pub fn at_home(name: &str) -> Self {
        let directory = directory();
        let home = directory.path().join(name);
        Self { directory, home }
    }

    /// The path of something in this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, and the directories that it is in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Writes the puppet as `puppet.wasm`.
    pub fn puppet(&self) {
        self.write("puppet.wasm", puppet());
    }

    /// Writes `job.toml` and the puppet beside it.
    pub fn job(&self, text: &str) {
        self.puppet();
        self.write("job.toml", text);
    }

    /// The binary in this directory, not yet started.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(TIDEMILL);
        command.args(args).current_dir(self.directory.path()).env("TIDEMILL_HOME", &self.home);
        command
    }

    /// Starts the binary in this directory.
    pub fn start(&self, args: &[impl AsRef<OsStr>]) -> Running {
        Running::new(&mut self.command(args))
    }

    /// Runs the binary to its end.
    pub fn tidemill(&self, args: &[impl AsRef<OsStr>]) -> Ran {
        self.start(args).finish()
    }

    /// Runs `job.toml` without a network, with more arguments.
    pub fn run_job(&self, args: &[&str]) -> Ran {
        self.tidemill(&[&["run", "job.toml", "--here"], args].concat())
    }

    /// Starts `job.toml` without a network, with more arguments.
    pub fn start_job(&self, args: &[&str]) -> Running {
        self.start(&[&["run", "job.toml", "--here"], args].concat())
    }

    /// The outputs of tasks that a run into `out` has kept so far.
    pub fn kept(&self, out: &str) -> Vec<PathBuf> {
        let listing = fs::read_dir(self.path(&format!(".{out}.work")));
        let entries = listing.into_iter().flatten().flatten();
        // A kept output is named by two hashes; beside it are a lock, a spool and what is half written.
        let is_kept = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() > 64);
        let mut kept: Vec<_> = entries.map(|entry| entry.path()).filter(is_kept).collect();
        kept.sort();
        kept
    }

    /// The files below a directory, by their paths in it.
    pub fn tree(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(name), "", &mut files);
        files
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("a listing").path();
        let name = format!("{prefix}{}", path.file_name().expect("a name").to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Compiled code for all tests of this process. Nothing runs when a test process ends, so each removes
/// what earlier ones left.
static SHARED_HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("home-").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    parent.join(format!("home-{}", std::process::id()))
});

/// A run of the binary that may be under way. Dropping it ends it.
pub struct Running {
    child: Child,
    args: Vec<String>,
    stdout: File,
    stderr: File,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        // Files, not pipes: nobody has to read while it runs.
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
        let copy = |file: &File| Stdio::from(file.try_clone().expect("another descriptor"));
        let child = command.stdin(Stdio::null()).stdout(copy(&stdout)).stderr(copy(&stderr)).spawn();
        let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Self { child: child.expect("the binary starts"), args, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        processes::signal(self.id(), signal);
    }

    /// Waits for an event that comes while it runs.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        wait_for(what, || {
            let seen = look();
            if seen.is_none() && self.ended().is_some() {
                panic!("the run ended before {what}\n{}{}", read(&mut self.stdout), read(&mut self.stderr));
            }
            seen
        })
    }

    /// Waits for a worker of its own.
    pub fn worker(&mut self) -> Worker {
        let id = self.id();
        self.until("a worker", || Worker::of(id).last().copied())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Ran {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(begun.elapsed() < LIMIT, "the run did not end\n{}", read(&mut self.stderr));
            thread::sleep(Duration::from_millis(5));
        };
        let args = std::mem::take(&mut self.args);
        Ran { status, args, stdout: read(&mut self.stdout), stderr: read(&mut self.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a file");
    file.read_to_end(&mut bytes).expect("a file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    args: Vec<String>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Requires an exit code, and of JSON that it is what the command says that it prints.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        typed::check(&self.args, &self.stdout);
        self
    }

    /// Requires that standard error has all these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for words in words {
            assert!(self.stderr.contains(words), "{words:?} is missing in\n{}", self.stderr);
        }
        self
    }

    /// Requires that standard output has all these words.
    #[track_caller]
    pub fn prints(self, words: &[&str]) -> Self {
        for words in words {
            assert!(self.stdout.contains(words), "{words:?} is missing in\n{}", self.stdout);
        }
        self
    }

    /// The one JSON object that standard output must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in\n{}\n--- stderr\n{}", self.stdout, self.stderr));
        assert!(value.is_object(), "{value}");
        value
    }
}
