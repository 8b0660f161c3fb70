//! What reads bytes of a page, a media file, a program or a server, called with any bytes at all: `scripts/fuzz` searches for
//! those it cannot take, and the tests below know what was found.
//!
//! Beside each parser stands what is asked of it, as a function of [`Parsers`]: so it reaches what nobody else may call.

use std::borrow::Cow;

/// Its functions are written where the parsers are.
#[derive(Debug)]
pub(crate) struct Parsers;

/// The bytes of one case; parts of it are taken from its front.
#[derive(Debug)]
pub(crate) struct Case<'a>(pub(crate) &'a [u8]);

impl<'a> Case<'a> {
    /// One byte; 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_at(self.0.len().min(1));
        self.0 = rest;
        first.first().copied().unwrap_or(0)
    }

    /// Eight bytes as a number.
    pub(crate) fn number(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// As many bytes as the two in front of them say.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (part, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        part
    }

    /// A text, up to a NUL byte.
    pub(crate) fn text(&mut self) -> Cow<'a, str> {
        let length = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(length.unwrap_or(self.0.len()));
        self.0 = &rest[rest.len().min(1)..];
        String::from_utf8_lossy(text)
    }
}

/// Chosen by the first byte of a case: `a` is the first one.
const PARSERS: [fn(Case<'_>); 15] = [
    Parsers::movies,          // a
    Parsers::boxes,           // b
    Parsers::stacks,          // c
    Parsers::browsers,        // d
    Parsers::pages,           // e
    Parsers::compositions,    // f
    Parsers::reports,         // g
    Parsers::samples,         // h
    Parsers::film_times,      // i
    Parsers::film_images,     // j
    Parsers::film_queries,    // k
    Parsers::asked_ranges,    // l
    Parsers::answered_ranges, // m
    Parsers::data_addresses,  // n
    Parsers::connections,     // o
];

/// Has a parser take what stands behind the first byte.
///
/// # Panics
/// The parser panics, or what it makes of the bytes cannot be.
pub fn run(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let number = usize::from(first.wrapping_sub(b'a'));
        PARSERS[number % PARSERS.len()](Case(rest));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn whatever_was_found_is_taken() {
        let mut letters = std::collections::BTreeSet::new();
        for folder in ["seeds", "findings"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/fuzz")
                .join(folder);
            for entry in std::fs::read_dir(folder).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                letters.insert(bytes[0]);
                run(&bytes);
            }
        }
        let all: Vec<u8> = (b'a'..).take(PARSERS.len()).collect();
        assert!(letters.into_iter().eq(all), "each parser has a seed");
        run(&[]);
    }
}
