//! The root of a function with a Node.js runtime of AWS's. That runtime's image and published layers cannot be had here, so it is this
//! machine with nothing that can be written, but for a `/tmp`, a `/var/task` and an `/opt` of the function's own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{mount_bind, mount_bind_recursive};

use super::Entrance;
use super::root::{LAYERS_FOLDER, bind_read_only, read_only, tmpfs};

/// Where the runtime's script is, there.
pub(super) const RUNTIME_SCRIPT: &str = "/var/runtime/index.cjs";

/// A client of the Runtime API for Node.js, as AWS's runtimes have one.
const SCRIPT: &str = include_str!("node.cjs");

/// The most that what is not of this machine takes.
const SYSTEM_SIZE: &str = "size=16m,mode=0755";

/// What of this machine stands in for AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRuntime {
    /// The program `node`.
    pub node: PathBuf,
    /// Path below `/opt` → file or folder of this machine: what layers would bring, for a function none of whose layers is here.
    pub opt: BTreeMap<String, PathBuf>,
    /// A folder with programs and libraries for this machine's processor. They lie over those in the function's zip that have the same name
    /// there, at its top.
    pub programs: Option<PathBuf>,
}

/// Makes a root in an empty folder.
pub(super) fn make(entrance: &Entrance, runtime: &NodeRuntime) -> io::Result<()> {
    let Entrance {
        root, task, layers, ..
    } = entrance;
    tmpfs(root, SYSTEM_SIZE)?;
    for folder in [LAYERS_FOLDER, "tmp", "var/runtime", "var/task"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let opt = root.join(LAYERS_FOLDER);
    match layers {
        Some(layers) => bind_read_only(layers, &opt)?,
        None => stand_in(&runtime.opt, &opt)?,
    }
    fs::write(root.join(RUNTIME_SCRIPT.trim_start_matches('/')), SCRIPT)?;
    bind_missing(Path::new("/"), root)?;
    bind_missing(Path::new("/var"), &root.join("var"))?;
    let inside = root.join("var/task");
    mount_bind(task, &inside)?;
    if let Some(programs) = &runtime.programs {
        lay_over(programs, &inside)?;
    }
    read_only(&inside)
}

/// Makes links in the folder `opt` to what of this machine stands in for layers that cannot be had here.
fn stand_in(links: &BTreeMap<String, PathBuf>, opt: &Path) -> io::Result<()> {
    for (path, target) in links {
        let link = opt.join(path);
        fs::create_dir_all(link.parent().unwrap_or(opt))?;
        symlink(target, link)?;
    }
    Ok(())
}

/// Binds what is in a folder of this machine and not yet in its copy `there`.
fn bind_missing(here: &Path, there: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(here) else {
        // A machine without the folder has nothing in it.
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), there.join(entry.file_name()));
        if target.symlink_metadata().is_ok() {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            fs::create_dir(&target)?;
            mount_bind_recursive(&source, &target)?;
            // Devices are written to, and processes tell the kernel of themselves.
            if !matches!(source.to_str(), Some("/dev" | "/proc")) {
                read_only(&target)?;
            }
        }
    }
    Ok(())
}

/// Lays the programs and libraries in `programs` over files of the same name in `task`. Everything else in it is left alone: a package
/// of npm brings an `index.js`, too.
fn lay_over(programs: &Path, task: &Path) -> io::Result<()> {
    for entry in fs::read_dir(programs)? {
        let entry = entry?;
        let target = task.join(entry.file_name());
        if target.is_file() && is_elf(&entry.path())? {
            mount_bind(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn is_elf(path: &Path) -> io::Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    fs::File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head == b"\x7fELF")
}
