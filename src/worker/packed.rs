//! Programs that a package brings packed, because as they are they would not fit: unpacked once in an execution environment, while
//! the browser starts.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, ready};

use super::failure::{TaskResult, internal};

/// A program that is there, or will be: one that comes packed is unpacked beside everything that does without it.
#[derive(Debug, Clone)]
pub(super) struct Program(Shared<BoxFuture<'static, TaskResult<PathBuf>>>);

impl Program {
    /// One that is there.
    pub(super) fn there(path: PathBuf) -> Self {
        Self(ready(Ok(path)).boxed().shared())
    }

    /// Begins to unpack `packed` into `shared`, by way of `scratch`, a folder of the same disk.
    pub(super) fn unpacking(packed: PathBuf, scratch: PathBuf, shared: PathBuf) -> Self {
        let operation = format!("unpacking {}", packed.display());
        let unpacking = tokio::task::spawn_blocking(move || unpack(&packed, &scratch, &shared));
        let path = async move {
            let unpacked = unpacking.await.map_err(io::Error::other).flatten();
            unpacked.map_err(|error| internal(&operation, error))
        };
        Self(path.boxed().shared())
    }

    /// Where it is, once it is there.
    ///
    /// # Errors
    /// It could not be unpacked.
    pub(super) async fn path(&self) -> TaskResult<PathBuf> {
        self.0.clone().await
    }

    /// Whether it will never be there.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.0.peek(), Some(Err(_)))
    }
}

/// The program in the gzip file `packed`, in `shared`. What is not whole yet lies in `scratch`. gzip ends with a checksum and the length of the content (RFC 1952,
/// 2.3.1): the name is made of them, so that another program never goes by it, and one that is there is not unpacked again.
///
/// # Errors
/// It cannot be read, is damaged, or the disk is full.
fn unpack(packed: &Path, scratch: &Path, shared: &Path) -> io::Result<PathBuf> {
    let mut file = File::open(packed)?;
    let mut trailer = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut trailer)?;
    file.rewind()?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
    let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
    let size_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
    let name = packed.file_stem().unwrap_or_default().to_string_lossy();
    let path = shared.join(format!("rmx-{name}-{checksum:08x}-{size_bytes}"));
    let there = path.metadata().is_ok_and(|metadata| {
        metadata.len() == u64::from(size_bytes) && crate::env::is_program(&path)
    });
    if there {
        return Ok(path);
    }
    let mut unpacked = tempfile::NamedTempFile::new_in(scratch)?;
    io::copy(
        &mut MultiGzDecoder::new(BufReader::new(file)),
        unpacked.as_file_mut(),
    )?;
    fs::set_permissions(unpacked.path(), fs::Permissions::from_mode(0o755))?;
    // Closed before it is run: a program that is open for writing cannot be.
    unpacked.into_temp_path().persist(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn pack(path: &Path, text: &str) {
        let file = File::create(path).unwrap();
        let mut packing = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        packing.write_all(text.as_bytes()).unwrap();
        packing.finish().unwrap();
    }

    #[test]
    fn a_packed_program_is_unpacked_once_and_runs() {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("ffmpeg.gz");
        pack(&packed, "#!/bin/sh\necho one\n");
        let first = unpack(&packed, folder.path(), folder.path()).unwrap();
        let output = std::process::Command::new(&first).output().unwrap();
        assert_eq!(output.stdout, b"one\n");
        let written = first.metadata().unwrap().modified().unwrap();
        assert_eq!(
            unpack(&packed, folder.path(), folder.path()).unwrap(),
            first
        );
        assert_eq!(first.metadata().unwrap().modified().unwrap(), written);
        // One that was cut off is made again, another one has another name.
        fs::write(&first, "#!").unwrap();
        unpack(&packed, folder.path(), folder.path()).unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"#!/bin/sh\necho one\n");
        pack(&packed, "#!/bin/sh\necho two\n");
        assert_ne!(
            unpack(&packed, folder.path(), folder.path()).unwrap(),
            first
        );
    }

    #[tokio::test]
    async fn what_is_unpacked_meanwhile_is_waited_for_where_it_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("ffmpeg.gz");
        pack(&packed, "#!/bin/sh\necho one\n");
        let unpacking = |packed| {
            let folder = folder.path().to_owned();
            Program::unpacking(packed, folder.clone(), folder)
        };
        let program = unpacking(packed.clone());
        let other = program.clone();
        let (one, two) = tokio::join!(program.path(), other.path());
        assert_eq!(one.as_ref().unwrap(), &two.unwrap());
        assert!(one.unwrap().is_file() && !program.has_failed());

        fs::write(&packed, "short").unwrap();
        let broken = unpacking(packed);
        let failure = broken.path().await.unwrap_err();
        assert!(
            failure.message.starts_with("unpacking ") && failure.retryable,
            "{failure}"
        );
        assert!(broken.has_failed());
    }

    #[test]
    fn a_damaged_one_is_told_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("ffmpeg.gz");
        pack(&packed, &"words ".repeat(1000));
        let mut bytes = fs::read(&packed).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&packed, bytes).unwrap();
        unpack(&packed, folder.path(), folder.path()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&packed, "short").unwrap();
        unpack(&packed, folder.path(), folder.path()).unwrap_err();
    }
}
