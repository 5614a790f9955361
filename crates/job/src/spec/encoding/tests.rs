//! Jobs that no parser would make.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidemill_types::{BlobId, ByteRange, Fuel};

use super::*;

type Change = fn(&mut Encoded);

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).expect("the path is right")
}

fn blob(text: &str) -> BlobRef {
    BlobRef { id: BlobId::of(text.as_bytes()), len: text.len() as u64 }
}

fn stage(arg: &str) -> EncodedStage {
    EncodedStage {
        kind: ProgramKind::Wasm,
        program: blob("program"),
        floats: FloatClass::Native,
        limits: Limits::default(),
        arg0: "program".to_owned(),
        args: vec![arg.to_owned()],
        env: vec![("A".to_owned(), "{count}".to_owned()), ("B".to_owned(), String::new())],
        inputs: vec![(path("d/a"), blob("a")), (path("e"), blob("e"))],
    }
}

fn job(tasks: EncodedTasks) -> Encoded {
    Encoded {
        name: "a".to_owned(),
        deadline: Some(Millis(1)),
        retries: 2,
        seed: 7,
        memory: Limits::default().memory,
        parallel: None,
        reliance: EncodedReliance::Assured(1_000),
        trusted: vec![Address([1; 20]), Address([2; 20])],
        comparison: EncodedComparison::Exact,
        outside_gain: Amount::tide(3),
        tasks,
        map: stage("{index}"),
        reduce: Some(EncodedReduce { fan_in: 2, stage: stage("{level}") }),
    }
}

fn matrix(parameters: &[(&str, u32)], values: &[&str]) -> EncodedTasks {
    EncodedTasks::Matrix(EncodedMatrix {
        parameters: parameters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    })
}

fn files(names: &[&str]) -> EncodedTasks {
    EncodedTasks::Files(names.iter().map(|name| (path(name), blob(name))).collect())
}

/// A file that is cut into pieces of these lengths, one after another.
fn cut(name: &str, lens: &[u64]) -> EncodedCut {
    let mut offset = 0;
    let mut piece = |len: &u64| {
        let body = ByteRange { offset, len: *len };
        offset += len;
        Piece { content: BlobId::of(format!("{name} {offset}").as_bytes()), head: ByteRange::default(), body }
    };
    let (first, rest) = lens.split_first().expect("a cut file has a piece");
    let (first, rest) = (piece(first), rest.iter().map(piece).collect());
    let file = BlobRef { id: BlobId::of(name.as_bytes()), len: 1 + lens.iter().sum::<u64>() };
    EncodedCut(path(name), file, first, rest)
}

fn bytes(job: &Encoded) -> Vec<u8> {
    postcard::to_extend(job, vec![FORMAT]).expect("plain data has an encoding")
}

/// What decoding says of a job.
fn said(job: &Encoded) -> String {
    match JobSpec::decode(&bytes(job)) {
        Ok(_) => "right".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_right_job_is_taken() {
    for tasks in [
        EncodedTasks::One,
        EncodedTasks::Range { from: -5, to: i64::MAX, step: i64::MAX / 7 },
        matrix(&[("a", 1), ("b", 2)], &["x", "", "y"]),
        files(&["x.fa", "y", "a/b/y"]),
        EncodedTasks::Pieces(vec![cut("a/x.fa", &[1, 2]), cut("y", &[0])]),
    ] {
        assert_eq!(said(&job(tasks)), "right");
    }
}

#[test]
fn what_tasks_there_are_is_checked() {
    let pieces = |name: &str| EncodedTasks::Pieces(vec![cut(name, &[1])]);
    let range = |from, to, step| EncodedTasks::Range { from, to, step };
    let of_map = "the tasks of the map";
    let of_matrix = "the combinations of a matrix";
    for (tasks, expected) in [
        (range(0, 0, 1), format!("{of_map}: 0, and from 1 to 10000000 is allowed")),
        (range(0, 5, 0), format!("{of_map}: 0, and from 1 to 10000000 is allowed")),
        (range(i64::MIN, i64::MAX, 1), format!("{of_map}: {}, and from 1 to 10000000 is allowed", u64::MAX)),
        (files(&[]), format!("{of_map}: 0, and from 1 to 10000000 is allowed")),
        (EncodedTasks::Pieces(vec![]), format!("{of_map}: 0, and from 1 to 10000000 is allowed")),
        (matrix(&[], &[]), "the parameters of a matrix: 0, and from 1 to 64 is allowed".to_owned()),
        (matrix(&[("a", 0)], &[]), format!("{of_matrix}: 0, and from 1 to 10000000 is allowed")),
        (
            matrix(&[("b", 1), ("a", 1)], &["", ""]),
            "the names of the parameters of a matrix are out of order at \"a\"".to_owned(),
        ),
        (
            matrix(&[("a", 1), ("a", 1)], &["", ""]),
            "the names of the parameters of a matrix are out of order at \"a\"".to_owned(),
        ),
        (
            matrix(&[("count", 1)], &["x"]),
            "\"count\" cannot be the name of a parameter of a matrix".to_owned(),
        ),
        (matrix(&[("a{", 1)], &["x"]), "\"a{\" cannot be the name of a parameter of a matrix".to_owned()),
        (
            matrix(&[("a", 1)], &["\0"]),
            "a matrix's value is not a text with the placeholders that the map has: \"\\0\"".to_owned(),
        ),
        (
            matrix(&[("a", 1)], &[&"x".repeat(1025)]),
            "the bytes of a matrix's value: 1025, and from 0 to 1024 is allowed".to_owned(),
        ),
        (matrix(&[("a", 2)], &["x"]), "the encoding of the job is malformed".to_owned()),
        (matrix(&[("a", 1)], &["x", "left over"]), "the encoding of the job is malformed".to_owned()),
        (matrix(&[("a", u32::MAX), ("b", 1)], &["x"]), "the encoding of the job is malformed".to_owned()),
        (
            files(&["e"]),
            "an input of the map cannot be at e: something else that all tasks see is there".to_owned(),
        ),
        // A task sees its file under the name alone, wherever the file is.
        (
            files(&["x/y", "x/e"]),
            "an input of the map cannot be at e: something else that all tasks see is there".to_owned(),
        ),
        (files(&["d/x", "x/y", "z/y"]), "right".to_owned()),
        (pieces("part/x"), "right".to_owned()),
    ] {
        assert_eq!(said(&job(tasks)), expected);
    }
    let many: Vec<_> = (0..24).map(|i| format!("p{i:02}")).collect();
    let parameters: Vec<_> = many.iter().map(|name| (name.as_str(), 2)).collect();
    let expected = format!("{of_matrix}: 16777216, and from 1 to 10000000 is allowed");
    assert_eq!(said(&job(matrix(&parameters, &["x"; 48]))), expected);
}

#[test]
fn pieces_are_inside_of_their_files() {
    type Change = fn(&mut EncodedCut);
    let changes: &[(Change, &str)] = &[
        (|_| {}, "right"),
        (|cut| cut.2.head = ByteRange { offset: 3, len: 3 }, "right"),
        (|cut| cut.2.head = ByteRange { offset: 4, len: 3 }, "a piece of x.fa is not inside of it"),
        (|cut| cut.2.body.offset = 6, "a piece of x.fa is not inside of it"),
        (|cut| cut.3[0].body.len = u64::MAX, "a piece of x.fa is not inside of it"),
        (|cut| cut.3[0].head.len = u64::MAX, "a piece of x.fa is not inside of it"),
        (
            |cut| cut.2.body = ByteRange { offset: 0, len: 6 },
            "a piece of x.fa is all of it, and is said to have another hash",
        ),
        (|cut| (cut.2.content, cut.2.body) = (cut.1.id, ByteRange { offset: 0, len: 6 }), "right"),
    ];
    for (change, expected) in changes {
        let mut changed = cut("x.fa", &[2, 3]);
        change(&mut changed);
        assert_eq!(said(&job(EncodedTasks::Pieces(vec![changed]))), *expected);
    }
    let mut two = cut("x.fa", &[2, 3]);
    two.3[0].content = two.2.content;
    let id = two.2.content;
    let said = said(&job(EncodedTasks::Pieces(vec![two])));
    assert_eq!(said, format!("the blob {id} is said to have two lengths"));
}

#[test]
fn what_a_job_says_is_checked() {
    let changes: &[(Change, &str)] = &[
        (|j| j.name = "A".to_owned(), "\"A\" cannot be the name of a job"),
        (
            |j| j.deadline = Some(Millis(0)),
            "the deadline in milliseconds: 0, and from 1 to 31536000000 is allowed",
        ),
        (|j| j.retries = 101, "the retries: 101, and from 0 to 100 is allowed"),
        (|j| j.parallel = Some(0), "the tasks at the same time: 0, and from 1 to 1000000 is allowed"),
        (
            |j| j.reliance = EncodedReliance::Assured(1),
            "the results of which one may be wrong: 1, and from 2 to 1000000000 is allowed",
        ),
        (
            |j| j.reliance = EncodedReliance::Assured(1_000_000_001),
            "the results of which one may be wrong: 1000000001, and from 2 to 1000000000 is allowed",
        ),
        (
            |j| j.reliance = EncodedReliance::Replicated { quorum: 2, most: 101 },
            "the results of a task: 101, and from 2 to 100 is allowed",
        ),
        (
            |j| j.reliance = EncodedReliance::Replicated { quorum: 1, most: 1 },
            "the results of a task: 1, and from 2 to 100 is allowed",
        ),
        (
            |j| j.reliance = EncodedReliance::Replicated { quorum: 1, most: 3 },
            "the equal results of a task: 1, and from 2 to 3 is allowed",
        ),
        (
            |j| j.reliance = EncodedReliance::Replicated { quorum: 4, most: 3 },
            "the equal results of a task: 4, and from 2 to 3 is allowed",
        ),
        (|j| j.reliance = EncodedReliance::Replicated { quorum: 100, most: 100 }, "right"),
        (|j| j.trusted = (0..100).map(|i| Address([i; 20])).collect(), "right"),
        (
            |j| j.trusted = (0..101).map(|i| Address([i; 20])).collect(),
            "the encoding of the job is malformed",
        ),
        (
            |j| j.trusted.reverse(),
            "the names of operators that are trusted are out of order at \"0x0101010101010101010101010101010101010101\"",
        ),
        (
            |j| j.trusted[1] = j.trusted[0],
            "the names of operators that are trusted are out of order at \"0x0101010101010101010101010101010101010101\"",
        ),
        (|j| j.comparison = EncodedComparison::Numbers(Numbers::F32, 0.0, 0.1), "right"),
        (
            |j| j.comparison = EncodedComparison::Numbers(Numbers::F32, 0.0, 0.0),
            "the outputs cannot be compared",
        ),
        (
            |j| j.comparison = EncodedComparison::Numbers(Numbers::F32, f64::NAN, 0.1),
            "the outputs cannot be compared",
        ),
        (|j| j.comparison = EncodedComparison::Program(blob("compare")), "right"),
        (|j| j.map.limits.fuel = Fuel(0), "a limit of the map is out of bounds"),
        (|j| reduce(j).limits.output = ByteSize(u64::MAX), "a limit of the reduce is out of bounds"),
        (|j| fan_in(j, 1), "the parts of a reduce task: 1, and from 2 to 10000 is allowed"),
        (|j| fan_in(j, 10_001), "the parts of a reduce task: 10001, and from 2 to 10000 is allowed"),
        (
            |j| j.map.args[0] = "{value}".to_owned(),
            "an argument is not a text with the placeholders that the map has: \"{value}\"",
        ),
        (
            |j| reduce(j).env[1].1 = "{input}".to_owned(),
            "a variable's value is not a text with the placeholders that the reduce has: \"{input}\"",
        ),
        (
            |j| j.map.args[0] = "{".to_owned(),
            "an argument is not a text with the placeholders that the map has: \"{\"",
        ),
        (
            |j| j.map.args[0] = "\0".to_owned(),
            "an argument is not a text with the placeholders that the map has: \"\\0\"",
        ),
        (
            |j| j.map.args[0] = "x".repeat(32769),
            "the bytes of an argument or a variable: 32769, and from 0 to 32768 is allowed",
        ),
        (
            |j| j.map.args[0] = "{index}".repeat(1024),
            "the placeholders of a program: 1025, and from 0 to 1024 is allowed",
        ),
        (|j| j.map.args = vec![String::new(); 1025], "the encoding of the job is malformed"),
        (|j| j.map.arg0 = String::new(), "\"\" cannot be the name of a program"),
        (|j| j.map.env[0].0 = "A=".to_owned(), "\"A=\" cannot be the name of an environment variable"),
        (|j| j.map.env[0].0 = String::new(), "\"\" cannot be the name of an environment variable"),
        (|j| j.map.env.reverse(), "the names of environment variables are out of order at \"A\""),
        (|j| j.map.inputs.reverse(), "the names of shared inputs are out of order at \"d/a\""),
        (
            |j| j.map.inputs[1] = j.map.inputs[0].clone(),
            "the names of shared inputs are out of order at \"d/a\"",
        ),
        (|j| j.map.inputs[1].0 = path("d/a/b"), "an input of the map cannot be at d/a: that is a directory"),
        (
            |j| reduce(j).inputs[1].0 = path("parts/9/x"),
            "an input of the reduce cannot be at parts/9/x: there a reduce finds its parts",
        ),
        (
            |j| reduce(j).inputs[1].0 = path("parts"),
            "an input of the reduce cannot be at parts: there a reduce finds its parts",
        ),
        (|j| j.map.inputs[1].0 = path("parts"), "right"),
        (
            |j| j.memory = ByteSize(1),
            "the memory of a machine: 1, and from 536870912 to 18446744073709551615 is allowed",
        ),
        (
            |j| j.map.program.len = 1 << 45,
            "the bytes of a program: 35184372088832, and from 0 to 134217728 is allowed",
        ),
    ];
    for (change, expected) in changes {
        let mut changed = job(EncodedTasks::One);
        change(&mut changed);
        assert_eq!(said(&changed), *expected);
    }
    for reliance in [EncodedReliance::Trusted, EncodedReliance::Unverified] {
        assert_eq!(said(&Encoded { reliance, ..job(EncodedTasks::One) }), "right");
    }
    let mut changed = job(EncodedTasks::One);
    changed.map.program.len += 1;
    assert_eq!(said(&changed), format!("the blob {} is said to have two lengths", blob("program").id));

    fn reduce(job: &mut Encoded) -> &mut EncodedStage {
        &mut job.reduce.as_mut().expect("the job has a reduce").stage
    }
    fn fan_in(job: &mut Encoded, fan_in: u64) {
        job.reduce.as_mut().expect("the job has a reduce").fan_in = fan_in;
    }
}

#[test]
fn a_few_bytes_cannot_become_a_huge_task() {
    let values = ["x".repeat(1024), "y".to_owned()];
    let mut large = job(matrix(&[("a", 2)], &[&values[0], &values[1]]));
    large.map.args = vec!["{a}".repeat(1000)];
    assert_eq!(said(&large), "right");
    large.map.args = vec!["{a}".repeat(1000), "z".repeat(30_000)];
    assert_eq!(
        said(&large),
        "the bytes of a task's arguments and environment: 1054022, and from 0 to 1048576 is allowed"
    );
    let mut long_names = job(files(&[&"n".repeat(255)]));
    long_names.map.args = vec!["{input}{input.name}{input.stem}".repeat(340)];
    let job = JobSpec::decode(&bytes(&long_names)).expect("the job is right");
    assert_eq!(job.map_task(0).spec.args[1].len(), 340 * (3 * 255 + 4));
    let deep = ["d".repeat(255), "e".repeat(255), "x".to_owned()].join("/");
    let mut far = self::job(files(&[&deep]));
    far.map.args = vec!["{input.dir}".repeat(1000)];
    let job = JobSpec::decode(&bytes(&far)).expect("the job is right");
    assert_eq!(job.map_task(0).spec.args[1].len(), 1000 * 511);
    let mut crowded = super::tests::job(EncodedTasks::One);
    crowded.map.inputs = (0..160_000).map(|i| (path(&format!("{i:06}")), blob("a"))).collect();
    assert_eq!(
        said(&crowded),
        "the bytes of the list of a task's inputs: 16960000, and from 0 to 16777216 is allowed"
    );
}

#[test]
fn there_is_one_encoding_of_each_job() {
    let right = bytes(&job(EncodedTasks::Range { from: 0, to: 3, step: 1 }));
    assert_eq!(JobSpec::decode(&right).map(|job| job.encode()), Ok(right.clone()));
    assert_eq!(JobSpec::decode(&[&right[..], &[0]].concat()), Err(JobSpecError::Malformed));
    assert_eq!(JobSpec::decode(&right[..right.len() - 1]), Err(JobSpecError::Malformed));
    assert_eq!(JobSpec::decode(&[]), Err(JobSpecError::Malformed));
    assert_eq!(JobSpec::decode(&[1]), Err(JobSpecError::Format { found: 1, known: FORMAT }));
    // The length of the name, 1, as two bytes.
    let overlong = [&right[..1], &[0x81, 0x00], &right[2..]].concat();
    assert_eq!(JobSpec::decode(&overlong), Err(JobSpecError::Malformed));
    let long = vec![1; JobSpec::MAX_BYTES + 1];
    assert!(matches!(JobSpec::decode(&long), Err(JobSpecError::Bound { .. })));
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let start = bytes(&job(EncodedTasks::One));
    let tasks_at = start.len()
        - {
            let Encoded { map, reduce, .. } = job(EncodedTasks::One);
            postcard::to_stdvec(&(map, reduce)).expect("plain data has an encoding").len()
        }
        - 1;
    assert_eq!(start[tasks_at], 0, "one task is the first of the sorts of tasks");
    // A matrix, files or pieces, and then so many of them that their lengths would fill the memory.
    for variant in [2, 3, 4] {
        let claim = [&start[..tasks_at], &[variant, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(JobSpec::decode(&claim), Err(JobSpecError::Malformed));
    }
}

fn tasks() -> impl Strategy<Value = EncodedTasks> {
    let blobs = |text: &str| (path(text), blob(text));
    prop_oneof![
        Just(()).prop_map(|()| EncodedTasks::One),
        (-9i64..9, 10i64..1_000_000).prop_map(|(from, to)| EncodedTasks::Range { from, to, step: 3 }),
        prop::collection::btree_map("[a-z]{1,3}", prop::collection::vec(".{0,5}", 1..9), 1..4).prop_map(
            |all| {
                let parameters =
                    all.iter().map(|(name, values)| (name.clone(), values.len() as u32)).collect();
                EncodedTasks::Matrix(EncodedMatrix {
                    parameters,
                    values: all.into_values().flatten().collect(),
                })
            }
        ),
        prop::collection::vec("([f-z]{1,3}/){0,2}[f-z]{1,9}(\\.fa)?", 1..20)
            .prop_map(move |names| EncodedTasks::Files(names.iter().map(|name| blobs(name)).collect())),
        prop::collection::vec(("([f-z]{1,3}/){0,2}[f-z]{1,9}(\\.fa)?", 0usize..5), 1..9).prop_map(|files| {
            // Files of one name and different lengths would be one blob of two lengths.
            let files: std::collections::BTreeMap<_, _> = files.into_iter().collect();
            let cut = |(name, more): (&String, &usize)| cut(name, &vec![3; more + 1]);
            EncodedTasks::Pieces(files.iter().map(cut).collect())
        }),
    ]
}

fn reliance() -> impl Strategy<Value = EncodedReliance> {
    prop_oneof![
        (2u32..=1_000_000_000).prop_map(EncodedReliance::Assured),
        (2u32..=100).prop_flat_map(|most| {
            (2..=most).prop_map(move |quorum| EncodedReliance::Replicated { quorum, most })
        }),
        Just(()).prop_map(|()| EncodedReliance::Trusted),
        Just(()).prop_map(|()| EncodedReliance::Unverified),
    ]
}

fn comparison() -> impl Strategy<Value = EncodedComparison> {
    let numbers = prop_oneof![Just(Numbers::U8), Just(Numbers::F32), Just(Numbers::F64), Just(Numbers::Text)];
    prop_oneof![
        Just(()).prop_map(|()| EncodedComparison::Exact),
        (numbers, 1.0..127.0_f64, 0.0..0.5_f64).prop_map(|(numbers, absolute, relative)| {
            EncodedComparison::Numbers(numbers, absolute, relative)
        }),
        "[a-z]{1,3}".prop_map(|name| EncodedComparison::Program(blob(&name))),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        tasks in tasks(),
        reliance in reliance(),
        comparison in comparison(),
        trusted in prop::collection::btree_set(any::<[u8; 20]>(), 0..9),
        texts in prop::collection::vec("([a-z ]|\\{\\{|\\}\\}|\\{index\\}|\\{count\\}){0,9}", 0..9),
        names in prop::collection::btree_set("[A-Z_]{1,8}", 0..9),
        fan_in in prop::option::of(2u64..=10_000),
        seed in any::<u64>(),
    ) {
        let mut encoded = job(tasks);
        encoded.seed = seed;
        (encoded.reliance, encoded.comparison) = (reliance, comparison);
        encoded.trusted = trusted.into_iter().map(Address).collect();
        encoded.map.args = texts.clone();
        let names: BTreeSet<String> = names;
        encoded.map.env = names.into_iter().zip(texts.into_iter().cycle().chain([String::new()])).collect();
        encoded.reduce = encoded.reduce.filter(|_| fan_in.is_some());
        if let Some((reduce, fan_in)) = encoded.reduce.as_mut().zip(fan_in) {
            reduce.fan_in = fan_in;
        }
        let bytes = bytes(&encoded);
        // Texts of a matrix may hold NUL, which is refused.
        if !matches!(JobSpec::decode(&bytes), Err(JobSpecError::Template { .. })) {
            let job = JobSpec::decode(&bytes).expect("the job is right");
            prop_assert_eq!(job.encode(), bytes.clone());
            prop_assert_eq!(JobSpec::decode(&job.encode()), Ok(job.clone()));
            prop_assert_eq!(job.hash(), JobSpec::hash_of(&bytes));
            for number in (0..job.task_count()).take(50) {
                let node = job.node(tidemill_types::TaskNumber(number)).expect("the number is below the count");
                prop_assert!(job.label(node).is_some());
                if let crate::Node::Map(index) = node {
                    let task = job.map_task(index);
                    prop_assert_eq!(task.spec.inputs.len(), task.sources.len());
                    prop_assert!(task.spec.inputs.is_sorted_by(|a, b| a.path < b.path));
                }
            }
        }
    }

    #[test]
    fn the_bound_of_a_task_s_text_holds(
        tasks in tasks(),
        text in "(x|\\{index\\}|\\{count\\}|\\{input\\}|\\{value\\}|\\{input\\.stem\\}|\\{input\\.name\\}|\\{input\\.dir\\}){0,9}",
        index in any::<prop::sample::Index>(),
    ) {
        let mut encoded = job(tasks);
        encoded.map.args = vec![text];
        if let Ok(job) = JobSpec::decode(&bytes(&encoded)) {
            let longest = job.map.source.longest();
            let bound = job.map.command.args[0].rendered_len(longest);
            let index = index.index(job.map_count() as usize) as u64;
            prop_assert!(job.map_task(index).spec.args[1].len() as u64 <= bound);
        }
    }
}
