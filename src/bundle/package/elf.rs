//! What a compiled program or library asks of the system it runs on.

use std::collections::BTreeSet;

use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};
use object::{LittleEndian, elf};

/// What an ELF file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// `arm64`, `x86_64`, or another machine's number.
    pub(super) machine: String,
    /// Libraries it is linked with.
    pub(super) libraries: BTreeSet<String>,
    /// Highest version of glibc's symbols among them, as `(2, 34)`; none where there is none, as in a static program.
    pub(super) glibc: Option<(u32, u32)>,
}

/// Whether it begins as an ELF file does.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// What the ELF file `bytes` needs.
///
/// # Errors
/// It is no 64-bit little-endian ELF file, or a broken one.
pub(super) fn needs(bytes: &[u8]) -> Result<Needs, String> {
    read(bytes).map_err(|error| error.to_string())
}

fn read(bytes: &[u8]) -> object::Result<Needs> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let endian = header.endian()?;
    let machine = match header.e_machine(endian) {
        EM_X86_64 => "x86_64".to_owned(),
        EM_AARCH64 => "arm64".to_owned(),
        other => format!("machine {other:?} of ELF"),
    };
    let sections = header.sections(endian, bytes)?;
    let mut libraries = BTreeSet::new();
    if let Some((entries, link)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        for entry in entries {
            if entry.tag(endian) == elf::DT_NEEDED {
                let name = entry.string(endian, strings)?;
                libraries.insert(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    let mut glibc = None;
    if let Some((mut needed, link)) = sections.gnu_verneed(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut versions)) = needed.next()? {
            while let Some(version) = versions.next()? {
                let name = version.name(endian, strings)?;
                glibc = glibc.max(glibc_version(&String::from_utf8_lossy(name)));
            }
        }
    }
    Ok(Needs {
        machine,
        libraries,
        glibc,
    })
}

/// `GLIBC_2.34` → `(2, 34)`. What is private to glibc has no number.
fn glibc_version(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_what_it_needs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&own).unwrap();
        let machine = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        };
        assert_eq!(needs.machine, machine);
        assert!(needs.libraries.contains("libc.so.6"), "{needs:?}");
        assert!(needs.glibc > Some((2, 2)), "{needs:?}");
    }

    #[test]
    fn versions_are_numbers_and_broken_files_are_told() {
        assert_eq!(glibc_version("GLIBC_2.34"), Some((2, 34)));
        assert!(glibc_version("GLIBC_2.4") < glibc_version("GLIBC_2.34"));
        assert_eq!(glibc_version("GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version("GCC_3.0"), None);
        assert!(needs(b"\x7fELF\x02\x01").is_err());
    }
}
