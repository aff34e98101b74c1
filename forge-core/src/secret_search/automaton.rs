use std::collections::VecDeque;
use std::ops::Range;

use zeroize::Zeroize;

/// Finds many needles in one pass over a text, with the algorithm of Aho and Corasick.
///
/// At each place of the text it reports only the longest needle that ends there, which contains the shorter ones. So a
/// search is linear in the length of the text, whatever the needles have in common. The needles are secrets, and no crate
/// for this task overwrites its copies of them, so this is our own implementation.
pub(super) struct Automaton {
    states: Vec<State>,
    /// The successors of the root, as a table, because a search looks up most bytes of a text here.
    first: Box<[u32; 256]>,
}

/// A prefix of a needle.
#[derive(Clone, Default)]
struct State {
    byte: u8,
    /// The length in bytes of the longest needle that ends here; 0 if none does.
    longest: usize,
    child: u32,
    sibling: u32,
    /// The state of the longest other prefix that is a suffix of this one.
    fallback: u32,
}

const ROOT: u32 = 0;

impl Automaton {
    pub(super) fn new<'a>(needles: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let most = needles.clone().map(<[u8]>::len).sum::<usize>() + 1;
        // Reserve enough: a reallocation would leave a copy of the secrets in freed memory.
        let mut automaton = Self { states: Vec::with_capacity(most), first: Box::new([ROOT; 256]) };
        automaton.states.push(State::default());
        for needle in needles {
            automaton.add(needle);
        }
        automaton.link();
        automaton
    }

    /// The places of needles in the text.
    pub(super) fn hits<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut state = ROOT;
        text.iter().enumerate().filter_map(move |(at, byte)| {
            count_step();
            state = self.next(state, *byte);
            let longest = self.state(state).longest;
            (longest > 0).then(|| at + 1 - longest..at + 1)
        })
    }

    fn add(&mut self, needle: &[u8]) {
        let mut state = ROOT;
        for byte in needle {
            state = self.child(state, *byte).unwrap_or_else(|| self.grow(state, *byte));
        }
        if state != ROOT {
            self.states[state as usize].longest = needle.len();
        }
    }

    fn grow(&mut self, parent: u32, byte: u8) -> u32 {
        // Cannot fail: the limits on the number and the length of needles are far below 2^32.
        let new = u32::try_from(self.states.len()).unwrap_or(ROOT);
        let sibling = self.state(parent).child;
        self.states.push(State { byte, sibling, ..State::default() });
        self.states[parent as usize].child = new;
        if parent == ROOT {
            self.first[usize::from(byte)] = new;
        }
        new
    }

    /// Sets the fallbacks, from the short prefixes to the long ones: a fallback is always shorter than its state.
    fn link(&mut self) {
        let mut parents = VecDeque::from([ROOT]);
        while let Some(parent) = parents.pop_front() {
            let mut child = self.state(parent).child;
            while child != ROOT {
                let State { byte, longest, sibling, .. } = *self.state(child);
                let fallback =
                    if parent == ROOT { ROOT } else { self.next(self.state(parent).fallback, byte) };
                let shorter = self.state(fallback).longest;
                let state = &mut self.states[child as usize];
                state.fallback = fallback;
                if longest == 0 {
                    state.longest = shorter;
                }
                parents.push_back(child);
                child = sibling;
            }
        }
    }

    fn next(&self, mut state: u32, byte: u8) -> u32 {
        while state != ROOT {
            match self.child(state, byte) {
                Some(child) => return child,
                None => state = self.state(state).fallback,
            }
        }
        self.first[usize::from(byte)]
    }

    fn child(&self, parent: u32, byte: u8) -> Option<u32> {
        let mut child = if parent == ROOT { self.first[usize::from(byte)] } else { self.state(parent).child };
        while child != ROOT {
            count_step();
            let state = self.state(child);
            if state.byte == byte {
                return Some(child);
            }
            child = state.sibling;
        }
        None
    }

    fn state(&self, state: u32) -> &State {
        &self.states[state as usize]
    }
}

impl Drop for Automaton {
    fn drop(&mut self) {
        for state in &mut self.states {
            state.byte.zeroize();
        }
    }
}

/// Counts a step of a search, so that tests can compare the duration of searches without a clock.
fn count_step() {
    #[cfg(test)]
    STEPS.set(STEPS.get() + 1);
}

#[cfg(test)]
thread_local! {
    pub(super) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, needles: &[&str]) -> Vec<String> {
        let needles = needles.iter().map(|needle| needle.as_bytes());
        Automaton::new(needles).hits(text.as_bytes()).map(|hit| text[hit].to_owned()).collect()
    }

    #[test]
    fn inv34_the_longest_needle_is_found_at_each_place() {
        assert_eq!(found("ushers", &["he", "she", "his", "hers"]), ["she", "hers"]);
        assert_eq!(found("aaaa", &["aa", "aaa"]), ["aa", "aaa", "aaa"]);
        assert_eq!(found("xabcabdx", &["abcabe", "bcab", "abd", "b", "abd"]), ["b", "bcab", "abd"]);
        assert_eq!(found("abc", &[]), [""; 0]);
        assert_eq!(found("abc", &[""]), [""; 0]);
    }

    /// Compares the automaton with the simplest search, for all texts over two letters.
    #[test]
    fn inv34_nothing_is_missed_and_nothing_made_up() {
        let words = |length: u32| (0..1_u32 << length).map(move |bits| word(bits, length));
        let all: Vec<String> = (1..=4).flat_map(words).collect();
        let text = word(0b1011_0111_0100_0101_1000_1110_0110, 28);
        for (at, one) in all.iter().enumerate() {
            for two in &all[at..] {
                let needles = [one.as_str(), two.as_str()];
                let expected: Vec<&str> = (1..=text.len())
                    .filter_map(|end| {
                        let ending = needles.into_iter().filter(|needle| text[..end].ends_with(needle));
                        ending.max_by_key(|needle| needle.len())
                    })
                    .collect();
                assert_eq!(found(&text, &needles), expected, "{needles:?}");
            }
        }
    }

    fn word(bits: u32, length: u32) -> String {
        (0..length).map(|bit| if bits >> bit & 1 == 1 { 'a' } else { 'b' }).collect()
    }
}
