//! Texts and files that nobody would write. Each target takes any bytes and must neither panic nor take
//! long; a small mutator drives it from a corpus for `TIDEMILL_FUZZ_SECONDS`, 30 without it.

use std::{
    env, fs,
    io::Cursor,
    path::Path,
    time::{Duration, Instant},
};

use tidemill_job::{
    BlobRef, JobFile, JobSpec, Node, PartBlob, PartFile, ReduceTaskError, Reliance, SplitBy, SplitError,
    SplitRules, Stage, Tasks, split,
};
use tidemill_types::{Address, BlobId, ByteSize, GuestPath, TaskNumber, TaskSpec};

/// A job file of any bytes: it is read, or its mistakes can be shown.
fn fuzz_job_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match JobFile::parse(&text) {
        Ok(file) => {
            let count = match &file.tasks {
                Tasks::Range(range) => range.count(),
                Tasks::Matrix(matrix) => matrix.count(),
                _ => 1,
            };
            assert!((1..=tidemill_job::MAX_TASKS).contains(&count));
            if let Tasks::Matrix(matrix) = &file.tasks {
                assert_eq!(matrix.combination(count - 1).len(), matrix.parameters.len());
            }
            check_policy(&file.reliance, &file.trusted);
        }
        Err(mistakes) => {
            let shown = mistakes.in_file("job.toml").to_string();
            assert!(mistakes.iter().len() >= 1 && shown.len() < 2_000_000);
            assert!(mistakes.iter().all(|mistake| mistake.line >= 1 && mistake.column >= 1));
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

/// What holds for every policy.
fn check_policy(reliance: &Reliance, trusted: &[Address]) {
    if let Reliance::Replicated { quorum, most } = *reliance {
        assert!(2 <= quorum && quorum <= most && most <= 100);
    }
    assert!(trusted.len() <= 100 && trusted.is_sorted_by(|a, b| a < b));
}

/// A file of any bytes, cut in a way that its first bytes choose: what comes out adds up.
fn fuzz_split(data: &[u8]) {
    let [mode, size, more, text @ ..] = data else { return };
    let size = u64::from(*size % 64) + 1;
    let overlap = (mode & 0x80 == 0).then(|| u64::from(*more) % size);
    let by = match mode & 0x7f {
        0..26 => SplitBy::Lines,
        26..52 => SplitBy::Separator(text.get(..usize::from(more % 5) + 1).unwrap_or(b"\n\n").to_vec()),
        52..78 => SplitBy::Fasta { overlap },
        78..104 => SplitBy::Fastq,
        _ => SplitBy::Fastx { overlap },
    };
    let may_cut_inside =
        matches!(by, SplitBy::Fasta { overlap: Some(_) } | SplitBy::Fastx { overlap: Some(_) });
    let rules = SplitRules { by, size: ByteSize(size) };
    let pieces = match split(Cursor::new(text), &rules, 10_000) {
        Ok(pieces) => pieces,
        Err(SplitError::Format { .. } | SplitError::TooManyPieces { .. }) => return,
        Err(SplitError::Compressed(_) | SplitError::Wide(_)) => return,
        Err(error) => panic!("memory can be read: {error}"),
    };
    for ranges in pieces.iter() {
        assert!(!ranges.is_empty() && ranges.iter().all(|range| range.len > 0));
        assert!(ranges.iter().all(|range| range.offset + range.len <= text.len() as u64));
    }
    if !may_cut_inside {
        let mut end = 0;
        for range in pieces.iter().flatten() {
            assert_eq!(range.offset, end);
            end += range.len;
        }
        let blank = text.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
        assert!(end == text.len() as u64 || (pieces.is_empty() && blank));
    }
}

/// A job of any bytes: it is refused, or each of its tasks can be made and is no larger than it may be.
fn fuzz_job_spec(data: &[u8]) {
    let Ok(job) = JobSpec::decode(data) else { return };
    assert_eq!(job.encode(), data);
    check_policy(job.reliance(), job.trusted());
    assert!((1..=tidemill_job::MAX_TASKS).contains(&job.map_count()));
    let check = |spec: &TaskSpec| {
        let variables = spec.env.iter().flat_map(|(name, value)| [name, value]);
        let text: usize = spec.args[1..].iter().chain(variables).map(String::len).sum();
        assert!(text as u64 <= JobSpec::MAX_TASK_TEXT_BYTES);
        assert!(spec.limits.check(spec.kind).is_empty());
        assert!(spec.inputs.is_sorted_by(|a, b| a.path < b.path));
        assert_eq!(GuestPath::first_clash(spec.inputs.iter().map(|input| &input.path)), None);
    };
    let (maps, all) = (job.map_count(), job.task_count());
    for number in [0, 1, maps / 2, maps - 1, maps, maps + 1, (maps + all) / 2, all - 1, all, u64::MAX] {
        let Some(node) = job.node(TaskNumber(number)) else {
            assert!(number >= all);
            continue;
        };
        assert_eq!(job.number(node), Some(TaskNumber(number)));
        assert!(job.label(node).is_some_and(|label| label.chars().count() <= 161));
        if let Node::Map(index) = node {
            let task = job.map_task(index);
            assert!(
                task.spec.inputs.iter().zip(&task.sources).all(|(input, source)| source.holds(input.len))
            );
            check(&task.spec);
            continue;
        }
        let file = |name: &str, offset: u64| PartFile {
            path: GuestPath::new(name).expect("the path is right"),
            content: BlobRef { id: BlobId::of(b""), len: 3 },
            offset,
        };
        let archive = BlobRef { id: BlobId::of(b"archive"), len: 9 };
        let part = PartBlob { archive, files: vec![file("d/a", 0), file("stdout", 6)] };
        let count = job.tree().map_or(0, |tree| tree.children(node).len());
        match job.reduce_task(node, &vec![part; count]) {
            Ok(task) => check(&task.spec),
            Err(error) => assert!(matches!(error, ReduceTaskError::TooLarge { .. }), "{error}"),
        }
    }
    let blobs = job.blobs();
    assert!(blobs.is_sorted_by(|a, b| a.id < b.id));
    for stage in [Stage::Map, Stage::Reduce] {
        assert!(job.shared(stage).iter().all(|blob| blobs.binary_search(blob).is_ok()));
        assert_eq!(job.needs(stage).is_some(), stage == Stage::Map || job.tree().is_some());
    }
}

/// Numbers that look random and are the same in every run of a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // The 64-bit SplitMix step.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Changes a text a little, as slips and malice do.
fn mutate(data: &mut Vec<u8>, corpus: &[Vec<u8>], tokens: &[&[u8]], random: &mut Random) {
    /// Longer texts find no more and take longer.
    const MAX_BYTES: usize = 16 << 10;
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(7) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.next() as u8,
            2 => {
                let end = (at + random.below(16)).min(data.len());
                data.drain(at..end);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let start = random.below(other.len());
                let end = (start + random.below(80)).min(other.len());
                data.splice(at..at, other[start..end].iter().copied());
            }
            4 => {
                let end = (at + random.below(200)).min(data.len());
                let copy = data[at..end].to_vec();
                for _ in 0..=random.below(8) {
                    data.splice(at..at, copy.iter().copied());
                }
            }
            _ => {
                let token = tokens[random.below(tokens.len())];
                data.splice(at..at, token.iter().copied());
            }
        }
        data.truncate(MAX_BYTES);
    }
}

/// Feeds a target with mutations of a corpus until the time is over. What it panics on is in the message.
fn drive(target: fn(&[u8]), mut corpus: Vec<Vec<u8>>, tokens: &[&[u8]], share: f64) {
    let seconds = env::var("TIDEMILL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30.0);
    let until = Instant::now() + Duration::from_secs_f64(seconds * share);
    for entry in &corpus {
        target(entry);
    }
    let (mut random, fixed) = (Random(0), corpus.len());
    let mut runs = 0u64;
    while Instant::now() < until {
        let mut data = corpus[random.below(corpus.len())].clone();
        mutate(&mut data, &corpus, tokens, &mut random);
        let begun = Instant::now();
        if std::panic::catch_unwind(|| target(&data)).is_err() {
            panic!("after {runs} runs, a panic on {:?}", String::from_utf8_lossy(&data));
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "slow on {:?}", String::from_utf8_lossy(&data));
        // Some mutants are kept, so that changes add up; which does not depend on time.
        if random.below(50) == 0 {
            if corpus.len() < fixed + 500 {
                corpus.push(data);
            } else {
                let place = fixed + random.below(500);
                corpus[place] = data;
            }
        }
        runs += 1;
    }
    println!("{runs} runs");
}

fn corpus(folder: &str, ext: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ext));
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| fs::read(path).expect("a corpus file can be read")).collect()
}

#[test]
fn no_job_file_makes_the_parser_panic() {
    let tokens: &[&[u8]] = &[
        b"[",
        b"]",
        b"[[",
        b"]]",
        b"{",
        b"}",
        b"{{",
        b"=",
        b".",
        b",",
        b"\n",
        b"\"",
        b"\"\"\"",
        b"'",
        b"#",
        b"\\u0000",
        b"{index}",
        b"{parts}",
        b"0",
        b"-1",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"1e999",
        b"nan",
        b"0x",
        b"18446744073709551616",
        b"1979-05-27",
        b"true",
        b"\"1 KiB\"",
        b"\"99999999999 TiB\"",
        b"\"10m\"",
        b"range = ",
        b"files = ",
        b"split = ",
        b"matrix = ",
        b"overlap = ",
        b"separator = ",
        b"from = ",
        b"to = ",
        b"step = ",
        b"[program]\n",
        b"[tasks]\n",
        b"[inputs]\n",
        b"[reduce]\n",
        b"[limits]\n",
        b"[reduce.limits]\n",
        b"[policy]\n",
        b"assurance = ",
        b"\"trusted\"",
        b"replicate = ",
        b"quorum = ",
        b"trusted = ",
        b"\"0x00000000000000000000000000000000000000ff\"",
        b"fan_in = ",
        b"\r\n",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\x1b[0m",
        b"a.b.c",
        b"\"parts/x\" = \"x\"\n",
    ];
    drive(fuzz_job_file, corpus("job-file", "toml"), tokens, 0.4);
}

#[test]
fn no_file_makes_the_splitters_panic() {
    let tokens: &[&[u8]] =
        &[b"\n", b"\r\n", b">", b"@", b"+", b"\n>", b"\n@", b"\n+\n", b"ACGT", b"N", b" ", b"\n\n", b"\0"];
    let texts: [&[u8]; 5] = [
        b"one\ntwo\r\nthree",
        b">a b\nACGTNNACGT\nAC\n>c\n\n>d\nA\n",
        b"@a\nACGT\n+\nIIII\n@b\nAC\nGT\n+b\n@+\n>I\n",
        b"a\n\nb\n\n\n\nc",
        b"",
    ];
    let modes = [0u8, 30, 60, 90, 110, 0xbc, 0xff];
    let entry = |text: &&[u8]| modes.map(|mode| [&[mode, mode / 7, 3][..], text].concat());
    drive(fuzz_split, texts.iter().flat_map(entry).collect(), tokens, 0.3);
}

#[test]
fn no_bytes_make_a_job_panic() {
    let tokens: &[&[u8]] = &[
        b"{index}",
        b"{count}",
        b"{value}",
        b"{input}",
        b"{input.name}",
        b"{input.dir}",
        b"{a}",
        b"{{",
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x7f",
        b"\x80\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\x0f",
        b"\x05parts",
        b"\x07parts/x",
        b"\x04part",
        b"\x01a",
    ];
    drive(fuzz_job_spec, super::spec::corpus(), tokens, 0.3);
}
