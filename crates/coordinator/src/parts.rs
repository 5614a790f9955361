//! What is in the outputs that reduce tasks are made from: found out once, when an output arrives, so that the last part
//! alone is looked at when it is there. What is not known any more is found out again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_job::PartFile;
use tidemill_types::BlobId;

/// Files that are known at a time, of all outputs together, at some hundred bytes each.
const MOST_FILES: usize = 64 << 10;

/// The files of outputs, by the outputs' ids. The oldest are forgotten first.
#[derive(Debug, Default)]
pub struct Parts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: HashMap<BlobId, Arc<[PartFile]>>,
    /// The ids in `files`, the oldest first.
    order: VecDeque<BlobId>,
    count: usize,
}

impl Parts {
    /// The files of an output, if they are known.
    pub fn of(&self, output: BlobId) -> Option<Arc<[PartFile]>> {
        self.lock().files.get(&output).cloned()
    }

    /// The files of an output have been found out.
    pub fn know(&self, output: BlobId, files: Arc<[PartFile]>) {
        let mut state = self.lock();
        if files.len() > MOST_FILES || state.files.contains_key(&output) {
            return;
        }
        state.count += files.len();
        while state.count > MOST_FILES
            && let Some(oldest) = state.order.pop_front()
        {
            let forgotten = state.files.remove(&oldest);
            state.count -= forgotten.map_or(0, |files| files.len());
        }
        state.order.push_back(output);
        state.files.insert(output, files);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_job::BlobRef;
    use tidemill_types::GuestPath;

    use super::*;

    fn files(count: usize) -> Arc<[PartFile]> {
        let file = PartFile {
            path: GuestPath::new("out").expect("a path"),
            content: BlobRef { id: BlobId::of(b""), len: 0 },
            offset: 0,
        };
        vec![file; count].into()
    }

    fn id(number: u8) -> BlobId {
        BlobId::of(&[number])
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let parts = Parts::default();
        for number in 0..4 {
            parts.know(id(number), files(MOST_FILES / 4));
            parts.know(id(number), files(MOST_FILES / 4));
        }
        assert!((0..4).all(|number| parts.of(id(number)).is_some()), "each counts once");
        parts.know(id(4), files(1));
        assert!(parts.of(id(0)).is_none());
        assert!((1..5).all(|number| parts.of(id(number)).is_some()));
        parts.know(id(5), files(MOST_FILES + 1));
        assert!(parts.of(id(5)).is_none(), "more than are known of all together");
        parts.know(id(6), files(MOST_FILES));
        assert_eq!(parts.lock().count, MOST_FILES);
        assert_eq!(parts.lock().order, [id(6)]);
    }
}
