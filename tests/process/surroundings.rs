//! The surroundings of a child: a limit of its address space, a read-only file system, a control group with little
//! memory. The kernel itself refuses requests, so a child meets the same conditions as a user's program.
//!
//! Mounts and control groups need rights that some machines do not give. A test without these rights prints that it is
//! skipped, and passes.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null;
use std::time::Duration;

/// Directory of a child with a mounted file system that nobody can write to.
pub const READ_ONLY: &str = "read-only";
const READ_ONLY_C: &CStr = c"read-only";

/// The settings of a child that are made between fork and exec.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Limit of address space, in bytes (`RLIMIT_AS`).
    pub address_space: Option<u64>,
    /// Whether a file system is mounted, read-only, at [`READ_ONLY`] in the child's directory.
    pub is_read_only: bool,
    /// Whether `/proc` is empty.
    pub is_without_proc: bool,
    pub group: Option<&'a MemoryGroup>,
}

impl Surroundings<'_> {
    /// Makes the command start in these surroundings.
    pub fn put_around(&self, command: &mut Command) {
        let (bytes, is_read_only, is_without_proc) =
            (self.address_space, self.is_read_only, self.is_without_proc);
        let processes = self.group.map(|group| group.processes.try_clone().expect("a descriptor"));
        let enter = move || {
            if let Some(bytes) = bytes {
                let bound = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
                // SAFETY: `bound` is valid for reads.
                done(unsafe { libc::setrlimit(libc::RLIMIT_AS, &bound) })?;
            }
            if is_read_only {
                mount_alone(READ_ONLY_C, libc::MS_RDONLY)?;
            }
            if is_without_proc {
                mount_alone(c"/proc", 0)?;
            }
            if let Some(processes) = &processes {
                // SAFETY: the text has two bytes. The `0` in it names the writing process.
                let written = unsafe { libc::write(processes.as_raw_fd(), c"0\n".as_ptr().cast(), 2) };
                done(if written == 2 { 0 } else { -1 })?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec, `enter` makes only system calls, which are safe there.
        unsafe { command.pre_exec(enter) };
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Mounts an empty file system at `place` for this process alone.
fn mount_alone(place: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: all texts are terminated, and the mount is visible to this process only.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        done(libc::mount(c"none".as_ptr(), c"/".as_ptr(), null(), private, null()))?;
        let kind = c"tmpfs".as_ptr();
        done(libc::mount(kind, place.as_ptr(), kind, flags, null()))
    }
}

/// Whether a child may mount.
pub fn may_mount() -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join(READ_ONLY)).expect("a directory");
    let mut command = Command::new("true");
    Surroundings { is_read_only: true, ..Surroundings::default() }.put_around(&mut command);
    command.current_dir(directory.path()).status().is_ok()
}

/// A control group for memory. Dropping the value removes the group.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    /// The file that takes the ids of the group's processes.
    processes: File,
}

impl MemoryGroup {
    /// Creates a group below that of this process, with a limit and without swap. Returns a text with the reason if it
    /// cannot.
    pub fn new(limit_bytes: u64) -> Result<MemoryGroup, String> {
        let group = MemoryGroup::with_swap(limit_bytes)?;
        // With swap, the kernel would not kill the processes. Not every kernel has both files.
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        let _ = fs::write(group.path.join("memory.memsw.limit_in_bytes"), limit_bytes.to_string());
        Ok(group)
    }

    /// Creates a group as [`MemoryGroup::new`] does, but with swap.
    pub fn with_swap(limit_bytes: u64) -> Result<MemoryGroup, String> {
        let membership = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut refused = "no control groups for memory".to_owned();
        for parent in parents(&membership) {
            match MemoryGroup::below(&parent, limit_bytes) {
                Ok(group) => return Ok(group),
                Err(error) => refused = format!("no right to a control group: {}: {error}", parent.display()),
            }
        }
        Err(refused)
    }

    fn below(parent: &Path, limit_bytes: u64) -> io::Result<MemoryGroup> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let path = parent.join(format!("heapledger-test-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        let set_up = || {
            let limit = limit_bytes.to_string();
            if path.join("memory.max").exists() {
                fs::write(path.join("memory.max"), &limit)?;
            } else {
                fs::write(path.join("memory.limit_in_bytes"), &limit)?;
            }
            OpenOptions::new().write(true).open(path.join("cgroup.procs"))
        };
        match set_up() {
            Ok(processes) => Ok(MemoryGroup { path, processes }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of processes of the group that the kernel has killed for want of memory.
    pub fn killed(&self) -> u64 {
        let files =
            ["memory.events", "memory.oom_control"].map(|name| fs::read_to_string(self.path.join(name)));
        let lines = files.iter().flatten().flat_map(|text| text.lines());
        lines.filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok()).sum()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The last process of the group may still be ending.
        for _ in 0..500 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} is left", self.path.display());
    }
}

/// Returns the groups below which a memory group can be made: the group of this process, in the hierarchy of either
/// version, and in version 2 also its parent, because a group with processes has no limited groups below it.
fn parents(membership: &str) -> Vec<PathBuf> {
    let mut parents = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "memory") {
            parents.push(Path::new("/sys/fs/cgroup/memory").join(path));
        } else if controllers.is_empty() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            let own = Path::new("/sys/fs/cgroup").join(path);
            parents.extend(
                own.ancestors()
                    .take(2)
                    .filter(|above| above.starts_with("/sys/fs/cgroup"))
                    .map(Path::to_owned),
            );
        }
    }
    parents
}
