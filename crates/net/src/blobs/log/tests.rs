use std::sync::{Arc, Mutex, MutexGuard};

use super::*;

const KEY: Key = Key([7; 32]);

/// A file in memory that may fail, and that loses what was not synced. Clones are the same file.
#[derive(Clone, Debug, Default)]
struct TestFile(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Steps until one of them fails, and how many fail then.
    fails: Option<(u32, u32)>,
}

impl TestFile {
    fn of(bytes: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(State { now: bytes.to_vec(), synced: bytes.to_vec(), fails: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the file")
    }

    fn step(&self) -> io::Result<()> {
        match &mut self.state().fails {
            Some((0, 0)) | None => Ok(()),
            Some((0, times)) => {
                *times -= 1;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some((steps, _)) => {
                *steps -= 1;
                Ok(())
            }
        }
    }
}

impl LogFile for TestFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state();
        let from = state.now.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(buffer.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.step();
        // A disk that is full has taken a part of it.
        let written = if failed.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let (start, end) = (offset as usize, offset as usize + written);
        let mut state = self.state();
        let len = end.max(state.now.len());
        state.now.resize(len, 0);
        state.now[start..end].copy_from_slice(&bytes[..written]);
        failed
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.state().now.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.step()?;
        let mut state = self.state();
        state.synced = state.now.clone();
        Ok(())
    }
}

fn pin(name: &str) -> Pin {
    Pin::new(name).expect("a plain name")
}

fn blob(bytes: &[u8], held: Option<&str>) -> Record {
    Record::Blob { id: BlobId::of(bytes), bytes: Bytes::copy_from_slice(bytes), pin: held.map(pin) }
}

/// Some records of each kind. One payload looks like a record.
fn records() -> Vec<Record> {
    let mut inner = Vec::new();
    blob(b"within", Some("a")).write(&KEY, 0, &mut inner);
    vec![
        blob(b"first", Some("input.1")),
        blob(b"", None),
        Record::Pin { pin: pin("b"), id: BlobId::of(b"a large one") },
        blob(&inner, Some("job/1")),
        Record::Hold { pin: pin("b"), ids: vec![BlobId::of(b"first"), BlobId::of(b"")] },
        blob(&[0xff; 70], None),
        Record::Hold { pin: pin("input.1"), ids: Vec::new() },
    ]
}

/// A segment of these, and where each of them ends.
fn written(records: &[Record]) -> (Vec<u8>, Vec<u64>) {
    let file = TestFile::default();
    let mut appender = Appender::begin(file.clone(), KEY).expect("a good disk");
    let mut ends = Vec::new();
    for record in records {
        appender.append(std::slice::from_ref(record), true).expect("a good disk");
        ends.push(appender.end());
    }
    let bytes = file.state().synced.clone();
    assert_eq!(ends.last(), Some(&(bytes.len() as u64)));
    (bytes, ends)
}

/// What is found in a segment, with the bytes of blobs, the damage within it, and the end of the walk.
fn found(file: &TestFile) -> (Vec<Record>, Vec<Damage>, Walked) {
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    let walked = walk(file, Payloads::Hashed, |seen| match seen {
        Seen::Damaged(damage) => damages.push(damage),
        Seen::Whole(Item { entry, payload, .. }) => records.push(match entry {
            Entry::Blob { id, len, pin } => {
                let bytes = read_up_to(file, payload, len as usize).expect("memory");
                Record::Blob { id, bytes: bytes.into(), pin }
            }
            Entry::Pin { pin, id } => Record::Pin { pin, id },
            Entry::Hold { pin, ids } => Record::Hold { pin, ids },
        }),
    });
    (records, damages, walked.expect("memory can be read"))
}

#[test]
fn what_is_written_is_found() {
    let (bytes, _) = written(&records());
    let (found, damages, walked) = found(&TestFile::of(&bytes));
    assert_eq!((found, damages), (records(), Vec::new()));
    assert_eq!((walked.end, walked.torn), (bytes.len() as u64, Vec::new()));

    // In one go it is the same.
    let file = TestFile::default();
    let mut appender = Appender::begin(file.clone(), KEY).expect("a good disk");
    let payloads = appender.append(&records(), false).expect("a good disk");
    assert_eq!(file.state().now, bytes);
    assert_eq!(bytes[payloads[0] as usize..][..5], *b"first");
    assert_eq!(blob(b"first", Some("input.1")).write_len(), record_bytes(5, Some(&pin("input.1"))));
}

impl Record {
    fn write_len(&self) -> u64 {
        let mut bytes = Vec::new();
        self.write(&KEY, 0, &mut bytes);
        bytes.len() as u64
    }
}

#[test]
fn a_segment_cut_at_any_byte_has_the_records_before() {
    let (bytes, ends) = written(&records());
    for cut in HEAD_BYTES as usize..bytes.len() {
        let (found, damages, walked) = found(&TestFile::of(&bytes[..cut]));
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!((&found[..], damages), (&records()[..whole], Vec::new()), "cut at {cut}");
        let end = if whole == 0 { HEAD_BYTES } else { ends[whole - 1] };
        assert_eq!((walked.end, walked.torn.is_empty()), (end, end == cut as u64), "cut at {cut}");

        // And it is gone on with.
        let file = TestFile::of(&bytes[..walked.end as usize]);
        let key = walked.key.expect("its head is whole");
        Appender::resume(file.clone(), key, walked.end)
            .append(&[blob(b"more", None)], true)
            .expect("a good disk");
        let (again, ..) = self::found(&file);
        assert_eq!(again.last(), Some(&blob(b"more", None)));
        assert_eq!(again.len(), whole + 1);
    }
    for cut in 0..HEAD_BYTES as usize {
        let (found, _, walked) = found(&TestFile::of(&bytes[..cut]));
        assert_eq!((found.len(), walked.key), (0, None), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_costs_one_record() {
    let (bytes, ends) = written(&records());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let (found, damages, walked) = found(&TestFile::of(&flipped));
        if at < HEAD_BYTES as usize {
            assert_eq!((found.len(), walked.key, walked.torn.len()), (0, None, 1), "flipped at {at}");
            continue;
        }
        let hit = ends.iter().filter(|end| **end <= at as u64).count();
        let mut expected = records();
        let lost = expected.remove(hit);
        assert_eq!(found, expected, "flipped at {at}");
        let noticed = if hit + 1 == ends.len() { walked.torn } else { damages };
        let start = if hit == 0 { HEAD_BYTES } else { ends[hit - 1] };
        let [damage] = noticed[..] else { panic!("flipped at {at}: {noticed:?}") };
        assert_eq!((damage.start, damage.end), (start, ends[hit]), "flipped at {at}");
        if let Record::Blob { id, bytes, .. } = lost
            && at as u64 >= ends[hit] - bytes.len() as u64
        {
            assert_eq!(damage.blob, Some(id), "damage to a payload is named");
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_every_failure_and_the_power() {
    for (steps, times) in (0..40).flat_map(|steps| (1..4).map(move |times| (steps, times))) {
        let (mut files, mut acknowledged, mut refused) = (Vec::new(), Vec::new(), 0);
        let begin = |files: &mut Vec<TestFile>| {
            let file = TestFile::default();
            let appender = Appender::begin(file.clone(), KEY).expect("a new file works");
            file.state().fails = files.is_empty().then_some((steps, times));
            files.push(file);
            appender
        };
        let mut appender = begin(&mut files);
        for number in 0..12u8 {
            let records = [blob(&[number; 40], Some("a")), blob(&[number, 1], None)];
            match appender.append(&records, true) {
                Ok(_) => acknowledged.extend(records),
                Err(_) => refused += 1,
            }
            if appender.is_spoiled() {
                appender.append(&[blob(b"x", None)], true).expect_err("nothing may follow");
                appender = begin(&mut files);
            }
        }
        assert!(refused <= times, "a disk that works again is of use again");
        assert!(refused > 0 || steps >= 24);
        let kept: Vec<_> =
            files.iter().flat_map(|file| found(&TestFile::of(&file.state().synced)).0).collect();
        for record in &acknowledged {
            assert!(kept.contains(record), "after {steps} steps and {times} failures: {record:?}");
        }
    }
}
