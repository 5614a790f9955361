//! Pages that were computed before, by the tokens that they and those before them hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kv::{PAGE, Page};

/// A hash of all tokens up to the end of a page.
type Key = [u8; 32];

#[derive(Default)]
pub struct Prefixes {
    pages: HashMap<Key, (Arc<Page>, u64)>,
    /// When each was used last, the longest ago first.
    used: BTreeMap<u64, Key>,
    now: u64,
}

impl std::fmt::Debug for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prefixes of {} pages", self.pages.len())
    }
}

impl Prefixes {
    /// The pages that the tokens begin with, as far as they are known.
    pub fn find(&mut self, tokens: &[u32]) -> Vec<Arc<Page>> {
        let mut found = Vec::new();
        let mut keys_found = Vec::new();
        for key in keys(tokens) {
            let Some((page, _)) = self.pages.get(&key) else { break };
            found.push(Arc::clone(page));
            keys_found.push(key);
        }
        self.touch(&keys_found);
        found
    }

    /// Keeps the full pages of a sequence that read these tokens.
    pub fn keep(&mut self, tokens: &[u32], pages: &[Arc<Page>]) {
        let keys: Vec<Key> = keys(tokens).zip(pages).map(|(key, _)| key).collect();
        for (key, page) in keys.iter().zip(pages) {
            self.pages.entry(*key).or_insert_with(|| (Arc::clone(page), 0));
        }
        self.touch(&keys);
    }

    /// Forgets the pages that were not used for longest, until so many are left.
    pub fn shrink(&mut self, most: usize) {
        while self.pages.len() > most
            && let Some((_, key)) = self.used.pop_first()
        {
            self.pages.remove(&key);
        }
    }

    /// Later pages count as used before earlier ones: without the earlier they are of no use.
    fn touch(&mut self, keys: &[Key]) {
        for key in keys.iter().rev() {
            if let Some((_, used)) = self.pages.get_mut(key) {
                self.now += 1;
                self.used.remove(used);
                *used = self.now;
                self.used.insert(self.now, *key);
            }
        }
    }
}

fn keys(tokens: &[u32]) -> impl Iterator<Item = Key> {
    let mut last = Key::default();
    tokens.chunks_exact(PAGE).map(move |page| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&last);
        page.iter().for_each(|token| {
            hasher.update(&token.to_le_bytes());
        });
        last = *hasher.finalize().as_bytes();
        last
    })
}
