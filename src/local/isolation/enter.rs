//! The inside: a process that has its namespaces makes itself at home and becomes the function.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{NodeRuntime, TASK_FOLDER, machine, network, root};

/// Where libraries are looked for on Lambda (`LD_LIBRARY_PATH` of its runtimes).
const LIBRARY_PATH: &str =
    "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib";

/// What a process that enters finds.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// An empty folder, for the root.
    pub root: PathBuf,
    /// The function's unpacked zip.
    pub task: PathBuf,
    /// What its layers bring, unpacked.
    pub layers: Option<PathBuf>,
    /// Size of `/tmp`, in MiB.
    pub disk_mb: u32,
    /// Addresses that are served from outside, if it has a network of its own.
    pub listen: Vec<SocketAddr>,
    /// What runs it, if it is no program itself.
    pub node: Option<NodeRuntime>,
}

/// Makes the root and the network, hands the listeners over through standard input, and becomes `bootstrap`, or `node`. Called in
/// namespaces of its own, with the function's environment.
///
/// # Errors
/// Returns only if something fails. Whoever waits for the listeners is told as well.
pub fn enter(entrance: &Entrance) -> io::Error {
    let stdin = io::stdin();
    if entrance.listen.is_empty() {
        return match make_root(entrance) {
            Ok(()) => become_function(entrance),
            Err(error) => error,
        };
    }
    let made = network::bring_up_loopback()
        .and_then(|()| network::listen(&entrance.listen))
        .and_then(|listeners| {
            make_root(entrance)?;
            Ok(listeners)
        });
    let handed_over = match made {
        Ok(listeners) => network::hand_over(&stdin, &listeners),
        Err(error) => {
            // Whoever is told cannot do more about it than whoever reads the log.
            let _ = network::tell(&stdin, &error.to_string());
            Err(error)
        }
    };
    match handed_over {
        Ok(()) => become_function(entrance),
        Err(error) => error,
    }
}

fn make_root(entrance: &Entrance) -> io::Result<()> {
    match &entrance.node {
        Some(runtime) => machine::make(entrance, runtime)?,
        None => root::make(entrance)?,
    }
    root::make_tmp(&entrance.root, entrance.disk_mb)?;
    root::move_into(&entrance.root)
}

/// Returns only if it cannot be started.
fn become_function(entrance: &Entrance) -> io::Error {
    let mut command = match &entrance.node {
        Some(runtime) => {
            let mut command = Command::new(&runtime.node);
            command.arg(machine::RUNTIME_SCRIPT);
            command
        }
        None => Command::new(format!("{TASK_FOLDER}/bootstrap")),
    };
    command
        .current_dir(TASK_FOLDER)
        .env("LD_LIBRARY_PATH", LIBRARY_PATH)
        .stdin(Stdio::null())
        .exec()
}
