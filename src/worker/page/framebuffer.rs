//! The browser's own framebuffer, read where it lies.
//!
//! Drawing in software, the browser paints every frame into one buffer and keeps it there. A screenshot of it is copied to
//! another process, compressed, written as base64 into JSON, read and decoded again; reading the buffer out of the
//! process's memory is one copy of its bytes (decision 14).
//!
//! Nothing is assumed about where the buffer is or how it is laid out. The page shows a picture that nobody else has, and
//! the buffer is where that picture lies in the process's memory, row after row, pixel for pixel; a second picture must
//! then appear in the very same place. Where that is not so, frames are captured by screenshots.

use std::io::{self, IoSliceMut};
use std::ops::Range;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Pixels in the buffer: blue, green, red, and nothing.
pub(super) const PIXEL_BYTES: usize = 4;
/// Allocations begin at multiples of this.
const ALIGNMENT: usize = 16;
/// How much of a process's memory is searched at most.
const SEARCH_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A buffer in another process's memory.
#[derive(Debug)]
pub(super) struct Framebuffer {
    process: Pid,
    address: usize,
    pixels: Vec<u8>,
}

impl Framebuffer {
    /// The buffer that holds just these pixels now, if it is a block of memory of its own: that is where large buffers
    /// are, and it is told at once.
    ///
    /// # Errors
    /// The process's memory cannot be read.
    pub(super) fn find(process: u32, pixels: &[u8]) -> io::Result<Option<Self>> {
        let (found, regions) = Self::begin(process, pixels)?;
        found.at_start_of(regions, pixels)
    }

    fn at_start_of(
        mut self,
        regions: Vec<Range<usize>>,
        pixels: &[u8],
    ) -> io::Result<Option<Self>> {
        for region in regions {
            self.address = region.start;
            if given_back(self.holds(pixels))?.unwrap_or(false) {
                return Ok(Some(self));
            }
        }
        Ok(None)
    }

    /// As [`Framebuffer::find`], wherever it lies.
    ///
    /// # Errors
    /// The process's memory cannot be read.
    pub(super) fn search(process: u32, pixels: &[u8]) -> io::Result<Option<Self>> {
        let (mut found, regions) = Self::begin(process, pixels)?;
        let mut searched = 0;
        for region in regions {
            searched += region.len();
            if searched > SEARCH_BYTES_MAX {
                break;
            }
            let mut memory = vec![0; region.len()];
            if given_back(read(found.process, region.start, &mut memory))?.is_none() {
                continue;
            }
            let mut places = (0..=memory.len() - pixels.len()).step_by(ALIGNMENT);
            if let Some(place) = places.find(|place| memory[*place..].starts_with(pixels)) {
                found.address = region.start + place;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn begin(process: u32, pixels: &[u8]) -> io::Result<(Self, Vec<Range<usize>>)> {
        let process = i32::try_from(process).map(Pid::from_raw);
        let process = process.map_err(io::Error::other)?;
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
        let found = Self {
            process,
            address: 0,
            pixels: vec![0; pixels.len()],
        };
        Ok((found, regions(&maps, pixels.len())))
    }

    /// What it holds now.
    ///
    /// # Errors
    /// The process ended, or gave the memory back.
    pub(super) fn read(&mut self) -> io::Result<&[u8]> {
        read(self.process, self.address, &mut self.pixels)?;
        Ok(&self.pixels)
    }

    /// Whether it holds just these pixels now.
    ///
    /// # Errors
    /// See [`Framebuffer::read`].
    pub(super) fn holds(&mut self, pixels: &[u8]) -> io::Result<bool> {
        // Most places are told apart by a few bytes.
        let mut first = [0; ALIGNMENT];
        let few = first.len().min(pixels.len());
        read(self.process, self.address, &mut first[..few])?;
        Ok(first[..few] == pixels[..few] && self.read()? == pixels)
    }
}

/// The regions of private memory that are large enough, those whose size fits best first.
fn regions(maps: &str, size_bytes: usize) -> Vec<Range<usize>> {
    let mut regions: Vec<Range<usize>> = maps
        .lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let region =
                usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
            let private = rest.starts_with("rw-p");
            (private && region.len() >= size_bytes).then_some(region)
        })
        .collect();
    regions.sort_by_key(Range::len);
    regions
}

/// `None` if the memory is not there: a process at work gives some back between the list of its regions and the look at
/// one. Every other error is one.
fn given_back<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.raw_os_error() == Some(Errno::EFAULT as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it failed because the process is not there any more (proc(5), process_vm_readv(2)).
pub(super) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// Fills `bytes` from another process's memory.
fn read(process: Pid, address: usize, bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        let there = RemoteIoVec {
            base: address + filled,
            len: rest.len(),
        };
        filled += match process_vm_readv(process, &mut [IoSliceMut::new(rest)], &[there])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE_BYTES: usize = 4 << 20;

    fn noise(seed: u32) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(SIZE_BYTES)
        .collect()
    }

    #[test]
    fn a_buffer_is_found_by_what_it_holds_and_read_where_it_lies() {
        let mut buffer = noise(1);
        let wanted = buffer.clone();
        // The copy that is searched for is found itself, or the original: both are this process's memory. What matters
        // is that one of them follows what is written.
        let found = Framebuffer::search(std::process::id(), &wanted).unwrap();
        let found = found.expect("it is there twice");
        let (first, second) = (buffer.as_ptr() as usize, wanted.as_ptr() as usize);
        assert!([first, second].contains(&found.address));
        let mut found = Framebuffer {
            address: first,
            ..found
        };
        let later = noise(2);
        assert!(found.holds(&wanted).unwrap());
        buffer.copy_from_slice(&later);
        assert!(!found.holds(&wanted).unwrap());
        assert_eq!(found.read().unwrap(), later);
    }

    #[test]
    fn memory_that_was_given_back_meanwhile_is_passed_over() {
        let wanted = noise(4);
        let (begun, _) = Framebuffer::begin(std::process::id(), &wanted).unwrap();
        let there = wanted.as_ptr() as usize;
        // Nothing is ever mapped at the lowest addresses.
        let regions = vec![0x1000..0x1000 + SIZE_BYTES, there..there + SIZE_BYTES];
        let found = begun.at_start_of(regions, &wanted).unwrap();
        assert_eq!(found.expect("the second region is there").address, there);
    }

    #[test]
    fn what_no_memory_holds_is_not_found() {
        let size_bytes = 1 << 46;
        assert!(regions("0000-4000 rw-p 0 0:0 0\n", size_bytes).is_empty());
        // Process 0 is nobody.
        assert!(Framebuffer::search(0, &noise(3)).is_err());
    }

    #[test]
    fn regions_are_private_large_enough_and_in_the_order_of_their_size() {
        let maps = "1000-9000 rw-p 00000000 00:00 0\n\
                    10000-14000 rw-p 00000000 00:00 0   [heap]\n\
                    20000-24000 rw-s 00000000 00:01 7   /memfd:shared\n\
                    30000-34000 r--p 00000000 08:01 9   /lib/x.so\n\
                    40000-41000 rw-p 00000000 00:00 0\n";
        assert_eq!(regions(maps, 0x2000), [0x10000..0x14000, 0x1000..0x9000]);
    }

    #[test]
    fn a_process_that_has_ended_is_told_from_one_that_cannot_be_read() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let error = Framebuffer::find(gone, &[1; 64]).unwrap_err();
        assert!(has_ended(&error), "{error}");
        assert!(!has_ended(&io::Error::from(
            io::ErrorKind::PermissionDenied
        )));
    }
}
