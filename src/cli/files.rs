//! Files are written whole or not at all: temp file, sync, rename.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Makes a file that must not be there yet ([`io::ErrorKind::AlreadyExists`]).
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = temporary(path, bytes, Permissions::from_mode(0o666))?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// Makes a file or replaces what is there, whose permissions stay. A link stays a link.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let before = path.metadata().map(|metadata| metadata.permissions());
    let file = temporary(&path, bytes, Permissions::from_mode(0o666))?;
    if let Ok(permissions) = before {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

fn temporary(
    path: &Path,
    bytes: &[u8],
    permissions: Permissions,
) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".rmx-")
        .permissions(permissions)
        .tempfile_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Makes a file that its owner alone may read, or replaces what is there by one.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = temporary(path, bytes, Permissions::from_mode(0o600))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
