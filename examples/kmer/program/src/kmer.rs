//! Canonical k-mers: a word of k bases or its reverse complement, whichever comes first.
//!
//! A base takes two bits (A 0, C 1, G 2, T 3), so numbers sort as the words do alphabetically.

use std::fmt;

/// The length of the words, 1 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct K(u8);

impl K {
    /// A length; `None` outside 1 to 31 (the code of a 32-mer would leave no number for "none").
    pub fn new(k: u32) -> Option<K> {
        (1..=31).contains(&k).then_some(K(k as u8))
    }

    /// The length.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// The number of bits a k-mer takes.
    pub fn bits(self) -> u32 {
        2 * self.get()
    }
}

impl fmt::Display for K {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A letter that ends all words it would be part of.
const BREAK: u8 = 4;
/// White space within a sequence.
const SKIP: u8 = 5;

const CODES: [u8; 256] = {
    let mut codes = [BREAK; 256];
    let letters = b"ACGT";
    let mut i = 0;
    while i < 4 {
        codes[letters[i] as usize] = i as u8;
        codes[letters[i].to_ascii_lowercase() as usize] = i as u8;
        i += 1;
    }
    codes[b' ' as usize] = SKIP;
    codes[b'\t' as usize] = SKIP;
    codes[b'\r' as usize] = SKIP;
    codes[b'\n' as usize] = SKIP;
    codes
};

/// A window that slides along a sequence.
#[derive(Clone, Debug)]
pub struct Roller {
    k: u32,
    mask: u64,
    top: u32,
    forward: u64,
    backward: u64,
    filled: u32,
}

impl Roller {
    /// An empty window of length `k`.
    pub fn new(k: K) -> Roller {
        let bits = k.bits();
        Roller { k: k.get(), mask: (1 << bits) - 1, top: bits - 2, forward: 0, backward: 0, filled: 0 }
    }

    /// Starts a new sequence.
    pub fn restart(&mut self) {
        self.filled = 0;
    }

    /// Slides over `letters` and appends the canonical k-mer of every full window.
    pub fn slide(&mut self, letters: &[u8], found: &mut Vec<u64>) {
        // Kept in local variables, so that the loop works on registers; and room for every letter at once,
        // so that no turn of it has to ask.
        let Roller { k, mask, top, mut forward, mut backward, mut filled } = *self;
        let mut end = found.len();
        found.resize(end + letters.len(), 0);
        for &letter in letters {
            let code = CODES[letter as usize];
            if code < BREAK {
                forward = (forward << 2 | u64::from(code)) & mask;
                backward = backward >> 2 | u64::from(3 - code) << top;
                filled += 1;
                if filled >= k {
                    // Held at k: the count of a long sequence would overflow.
                    filled = k;
                    found[end] = forward.min(backward);
                    end += 1;
                }
            } else if code == BREAK {
                filled = 0;
            }
        }
        found.truncate(end);
        (self.forward, self.backward, self.filled) = (forward, backward, filled);
    }
}

/// The letters of a k-mer.
pub fn spell(code: u64, k: K) -> String {
    (0..k.get()).rev().map(|i| char::from(b"ACGT"[(code >> (2 * i) & 3) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, k: u32) -> Vec<String> {
        let k = K::new(k).unwrap();
        let mut found = Vec::new();
        Roller::new(k).slide(text.as_bytes(), &mut found);
        found.into_iter().map(|code| spell(code, k)).collect()
    }

    #[test]
    fn words_are_canonical() {
        assert_eq!(words("GATTACA", 3), ["ATC", "AAT", "TAA", "GTA", "ACA"]);
        assert_eq!(words("TTTT", 4), ["AAAA"]);
        assert_eq!(words("acgt", 4), ["ACGT"]);
        assert_eq!(words("G", 1), ["C"]);
    }

    #[test]
    fn other_letters_break_and_white_space_does_not() {
        assert_eq!(words("ACGNACG", 3), ["ACG", "ACG"]);
        assert_eq!(words("AC\r\nGT", 3), ["ACG", "ACG"]);
        assert!(words("ACNGT", 3).is_empty());
    }

    #[test]
    fn both_strands_have_the_same_words() {
        let there = "ACGGTCATTCAGCCATATTGCACGTTTACCCGATC";
        let back: String = there
            .chars()
            .rev()
            .map(|c| match c {
                'A' => 'T',
                'C' => 'G',
                'G' => 'C',
                _ => 'A',
            })
            .collect();
        for k in [5, 21, 31] {
            let (mut a, mut b) = (words(there, k), words(&back, k));
            a.sort();
            b.sort();
            assert_eq!(a, b);
        }
        assert!(K::new(0).is_none() && K::new(32).is_none());
    }
}
