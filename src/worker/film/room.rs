//! How many films are open at the same time, and at how many places one of them is played: a few, and more as soon as
//! these prove too few.
//!
//! Frames ask for the same films over and over. If one frame shows more of them than there is room for, each of them makes
//! room just before it is wanted again, and every frame opens all of them anew. What is wanted again that soon shows that
//! there is too little room.

use std::collections::VecDeque;

/// Counts what makes room. A moment is a request.
#[derive(Debug)]
pub(super) struct Room<K> {
    size: usize,
    size_max: usize,
    /// What made room lately, and when, the latest last.
    left: VecDeque<(K, u64)>,
    now: u64,
}

impl<K> Room<K> {
    /// Room for `size`, which may grow to `size_max`.
    pub(super) fn new(size: usize, size_max: usize) -> Self {
        Self {
            size,
            size_max,
            left: VecDeque::new(),
            now: 0,
        }
    }

    /// There are `count`; must one of them make room for another?
    pub(super) fn is_full(&self, count: usize) -> bool {
        count >= self.size
    }

    /// A request.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        let since = self.now.saturating_sub(self.size_max as u64);
        while self.left.front().is_some_and(|(_, at)| *at < since) {
            self.left.pop_front();
        }
    }

    /// Something is wanted that is not there; `is_it` knows it.
    pub(super) fn missed(&mut self, is_it: impl Fn(&K) -> bool) {
        let Some(place) = self.left.iter().position(|(key, _)| is_it(key)) else {
            return;
        };
        self.left.remove(place);
        self.size = (self.size + 1).min(self.size_max);
    }

    /// Something made room.
    pub(super) fn left(&mut self, key: K) {
        self.left.push_back((key, self.now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these requests found what they want.
    fn found(size: usize, size_max: usize, wanted: impl Iterator<Item = u32>) -> usize {
        let mut room = Room::new(size, size_max);
        let mut there: Vec<u32> = Vec::new();
        let mut found = 0;
        for wanted in wanted {
            room.tick();
            if let Some(place) = there.iter().position(|it| *it == wanted) {
                there.remove(place);
                found += 1;
            } else {
                room.missed(|it| *it == wanted);
                if room.is_full(there.len()) {
                    room.left(there.remove(0));
                }
            }
            there.push(wanted);
            assert!(there.len() <= size_max);
        }
        found
    }

    #[test]
    fn it_grows_to_what_one_frame_wants() {
        let frames = |films: u32| (0..100).flat_map(move |_| 0..films);
        assert_eq!(found(8, 32, frames(8)), 99 * 8);
        assert!(found(8, 32, frames(9)) >= 98 * 9);
        assert!(found(8, 32, frames(32)) >= 95 * 32);
        assert_eq!(found(8, 32, frames(33)), 0, "there is an end to it");
    }

    #[test]
    fn films_that_follow_each_other_need_no_more_of_it() {
        let mut room = Room::new(2, 32);
        for film in (0..10).chain(0..10) {
            for _ in 0..60 {
                room.tick();
            }
            room.missed(|it| *it == film);
            room.left(film);
        }
        assert!(room.is_full(2));
    }
}
