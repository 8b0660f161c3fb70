//! The function's root: a minimal system, its code, and `/tmp`.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Entrance;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

/// What of this system's libraries the function may use: those that Amazon Linux 2023 has for everybody, as a package is verified
/// against, and what its shell needs.
pub const LIBRARIES: [&str; 16] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libmvec.so.1",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libsqlite3.so.0",
    "libtinfo.so.6",
    "libutil.so.1",
];

/// Where systems keep them.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/lib",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// Where systems keep the certificates of authorities; Amazon Linux at the first place.
const CERTIFICATES: [&str; 4] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];

/// Who is there; Lambda runs functions as a user of this name.
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n";

/// The most the minimal system takes.
const SYSTEM_SIZE: &str = "size=64m,mode=0755";

/// Where what layers bring is.
pub(super) const LAYERS_FOLDER: &str = "opt";

/// Makes a minimal root in an empty folder.
pub(super) fn make(entrance: &Entrance) -> io::Result<()> {
    let Entrance {
        root, task, layers, ..
    } = entrance;
    tmpfs(root, SYSTEM_SIZE)?;
    for folder in [
        "dev",
        "etc/pki/tls/certs",
        LAYERS_FOLDER,
        "proc",
        "tmp",
        "usr/bin",
        "bin",
        "var/task",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    libraries(root)?;
    fs::copy("/bin/sh", root.join("bin/sh"))?;
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(
        root.join("etc/nsswitch.conf"),
        "passwd: files\nhosts: files\n",
    )?;
    let certificates = CERTIFICATES.iter().find(|path| Path::new(path).exists());
    if let Some(certificates) = certificates {
        let target = root.join(CERTIFICATES[0].trim_start_matches('/'));
        fs::copy(certificates, target)?;
    }
    for device in DEVICES {
        let target = root.join("dev").join(device);
        fs::write(&target, "")?;
        mount_bind(Path::new("/dev").join(device), &target)?;
    }
    mount_bind_recursive("/proc", root.join("proc"))?;
    read_only(&root.join("proc"))?;
    bind_read_only(task, &root.join("var/task"))?;
    match layers {
        Some(layers) => bind_read_only(layers, &root.join(LAYERS_FOLDER)),
        None => Ok(()),
    }
}

/// Gives a root the one folder that can be written to. It is empty, and has room for `disk_mb` MiB.
pub(super) fn make_tmp(root: &Path, disk_mb: u32) -> io::Result<()> {
    tmpfs(&root.join("tmp"), &format!("size={disk_mb}m,mode=1777"))
}

/// Moves into `root`; nothing of the old one can be reached any more.
pub(super) fn move_into(root: &Path) -> io::Result<()> {
    // Over each other, so that no folder for the old one is needed.
    chdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    read_only(Path::new("/"))
}

pub(super) fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, &*options)?;
    Ok(())
}

/// Shows the folder `source` at `target`, where nobody can write to it.
pub(super) fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind(source, target)?;
    read_only(target)
}

/// Libraries lie where the loader of this system looks for them.
fn libraries(root: &Path) -> io::Result<()> {
    for folder in LIBRARY_FOLDERS {
        for library in LIBRARIES {
            let source = PathBuf::from(folder).join(library);
            if !source.exists() {
                continue;
            }
            let target = root.join(folder.trim_start_matches('/'));
            fs::create_dir_all(&target)?;
            let target = target.join(library);
            fs::copy(&source, &target)?;
            fs::set_permissions(&target, Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// Lets nobody write there. What else the mount forbids has to stay forbidden, or the kernel refuses.
pub(super) fn read_only(target: &Path) -> io::Result<()> {
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let now = statvfs(target)?.f_flag;
    let kept = kept.into_iter().filter(|(flag, _)| now.contains(*flag));
    let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |flags, (_, kept)| {
        flags | kept
    });
    mount_remount(target, flags, "")?;
    Ok(())
}
