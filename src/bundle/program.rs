//! What machine a program is made for, as far as its first bytes tell.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::BundleError;

/// ELF's numbers of the two machines Lambda has (`e_machine`, System V ABI).
const MACHINES: [(u16, &str); 2] = [(0x3e, "x86_64"), (0xb7, "arm64")];

/// Checks that Lambda can run `path` on `architecture`. Scripts run everywhere.
///
/// # Errors
/// It is a program for another machine or system, or it cannot be read.
pub(super) fn check(path: &Path, architecture: &str) -> Result<(), BundleError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(20).read_to_end(&mut head))
        .map_err(|source: io::Error| BundleError::Read {
            path: path.to_owned(),
            source,
        })?;
    match machine(&head) {
        Some(found) if found != architecture => Err(BundleError::WrongMachine {
            path: path.to_owned(),
            found,
            wanted: architecture.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// `None` where it is no compiled program.
fn machine(head: &[u8]) -> Option<String> {
    match head {
        // 64 bits, least significant byte first.
        [0x7f, b'E', b'L', b'F', 2, 1, .., low, high] if head.len() == 20 => {
            let number = u16::from_le_bytes([*low, *high]);
            let known = MACHINES.iter().find(|(machine, _)| *machine == number);
            Some(known.map_or_else(
                || format!("machine {number} of ELF"),
                |(_, name)| (*name).to_owned(),
            ))
        }
        [0x7f, b'E', b'L', b'F', ..] => Some("a 32-bit or big-endian machine".to_owned()),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            Some("macOS".to_owned())
        }
        [b'M', b'Z', ..] => Some("Windows".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_by_their_first_bytes() {
        let elf = |class: u8, number: u16| {
            let mut head = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0];
            head.resize(18, 0);
            head.extend(number.to_le_bytes());
            machine(&head)
        };
        assert_eq!(elf(2, 0x3e).unwrap(), "x86_64");
        assert_eq!(elf(2, 0xb7).unwrap(), "arm64");
        assert_eq!(elf(2, 0xf3).unwrap(), "machine 243 of ELF");
        assert_eq!(elf(1, 0x3e).unwrap(), "a 32-bit or big-endian machine");
        assert_eq!(machine(&[0xcf, 0xfa, 0xed, 0xfe, 7]).unwrap(), "macOS");
        assert_eq!(machine(b"#!/bin/sh\n"), None);
        assert_eq!(machine(b""), None);
    }
}
