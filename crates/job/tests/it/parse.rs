//! Right job files, and what is read from them.

use std::path::Path;

use tidemill_job::{CompareBy, JobFile, Reliance, SplitBy, Tasks};
use tidemill_types::{
    Address, Amount, Assurance, ByteSize, FloatClass, Fuel, Limits, Millis, Numbers, Tolerance,
};

#[test]
fn a_price_is_taken_to_the_wei() {
    let price = |text: &str| with(&format!("[policy]\nmax_price = \"{text}\"")).max_price;
    assert_eq!(price("1.5 TIDE"), Some(tidemill_types::Amount::from_wei(1_500_000_000_000_000_000)));
    assert_eq!(with("").max_price, None);
    assert_eq!(with("").outside_gain, Amount::ZERO);
    assert_eq!(with("[policy]\noutside_gain = \"5 TIDE\"").outside_gain, Amount::tide(5));
}

#[test]
fn results_are_relied_on_as_the_policy_says() {
    let reliance = |policy: &str| with(&format!("[policy]\n{policy}")).reliance;
    let assured = |results| Reliance::Assured(Assurance::one_in(results).expect("it is one"));
    assert_eq!(with("").reliance, assured(1_000));
    assert_eq!(reliance("max_price = \"1 TIDE\""), assured(1_000));
    assert_eq!(reliance("assurance = 2"), assured(2));
    assert_eq!(reliance("assurance = 1_000_000_000"), assured(1_000_000_000));
    assert_eq!(reliance("assurance = \"trusted\""), Reliance::Trusted);
    assert_eq!(reliance("assurance = \"none\""), Reliance::Unverified);
    for (most, quorum) in [(2, 2), (3, 2), (4, 3), (5, 3), (100, 51)] {
        let expected = Reliance::Replicated { quorum, most };
        assert_eq!(reliance(&format!("replicate = {most}")), expected);
    }
    assert_eq!(reliance("replicate = 5\nquorum = 2"), Reliance::Replicated { quorum: 2, most: 5 });
    assert_eq!(reliance("quorum = 5\nreplicate = 5"), Reliance::Replicated { quorum: 5, most: 5 });
}

#[test]
fn outputs_are_compared_as_the_policy_says() {
    let compare = |policy: &str| with(&format!("[policy]\n{policy}")).compare;
    assert_eq!(compare(""), CompareBy::Exact);
    assert_eq!(compare("compare = \"exact\""), CompareBy::Exact);
    let numbers = |numbers, absolute, relative| {
        CompareBy::Numbers(Tolerance::new(numbers, absolute, relative).expect("it is one"))
    };
    assert_eq!(compare("compare = { numbers = \"u8\", absolute = 1 }"), numbers(Numbers::U8, 1.0, 0.0));
    let both = compare("[policy.compare]\nnumbers = \"f32\"\nabsolute = 1e-9\nrelative = 0.001");
    assert_eq!(both, numbers(Numbers::F32, 1e-9, 0.001));
    assert_eq!(
        compare("compare = { numbers = \"text\", absolute = -0.0, relative = 0.5 }"),
        numbers(Numbers::Text, 0.0, 0.5)
    );
    assert_eq!(compare("compare = { program = \"c.wasm\" }"), CompareBy::Program("c.wasm".into()));
}

#[test]
fn operators_are_trusted_beside_any_policy() {
    assert_eq!(with("").trusted, []);
    let (a, b) = (Address([0x0a; 20]), Address([0xb0; 20]));
    let list = format!("trusted = [\"{b}\", \"0x{}\"]", "0A".repeat(20));
    for mode in
        ["", "assurance = 10\n", "assurance = \"none\"\n", "assurance = \"trusted\"\n", "replicate = 3\n"]
    {
        assert_eq!(with(&format!("[policy]\n{mode}{list}")).trusted, [a, b]);
    }
}

/// A right file with more after its program's path.
fn with(more: &str) -> JobFile {
    let text = format!("name = \"a\"\n[program]\npath = \"a.wasm\"\n{more}");
    JobFile::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn little_is_needed() {
    let file = with("");
    assert_eq!((file.name.as_str(), file.retries, file.seed, file.deadline), ("a", 2, 0, None));
    assert_eq!((file.limits, file.resources.memory), (Limits::default(), Limits::default().memory));
    assert_eq!((file.tasks, file.reduce, file.program.floats), (Tasks::One, None, FloatClass::Native));
}

#[test]
fn all_of_the_top() {
    let text = "name = \"a-1\"\ndeadline = \"10m\"\nretries = 0\nseed = 18446744073709551615\n\
        program = { path = \"/abs/a.wasm\", kind = \"wasm\", floats = \"canonical\" }";
    let file = JobFile::parse(text).expect("the file is right");
    assert_eq!((file.deadline, file.retries, file.seed), (Some(Millis(600_000)), 0, u64::MAX));
    assert_eq!(file.program.floats, FloatClass::Canonical);
    assert!(file.program.source.file().is_some_and(Path::is_absolute));
}

#[test]
fn limits_inherit_field_by_field() {
    let file = with(
        "[limits]\nfuel = \"20G\"\nmemory = \"1 GiB\"\nfiles = 3\n[reduce.limits]\nfuel = 7\nmemory = \"4 GiB\"\n\
        [resources]\nmemory = \"2 GiB\"\nparallel = 4",
    );
    let reduce = file.reduce.expect("there is a reduce");
    assert_eq!((file.limits.fuel, reduce.limits.fuel), (Fuel(20_000_000_000), Fuel(7)));
    assert_eq!((file.limits.files, reduce.limits.files), (3, 3));
    assert_eq!(file.resources.parallel, Some(4));
    assert_eq!((file.resources.memory, reduce.memory), (ByteSize::mib(2048), ByteSize::mib(4096)));
}

#[test]
fn a_reduce_takes_what_it_does_not_say_from_the_map() {
    let map = "floats = \"canonical\"\nenv = { B = \"1\", A = \"{index}\" }\n[inputs]\ns = \"scene\"\n";
    let file = with(&format!("{map}[reduce]"));
    let reduce = file.reduce.expect("there is a reduce");
    assert_eq!(
        (&reduce.program.source, reduce.program.floats),
        (&file.program.source, FloatClass::Canonical)
    );
    assert_eq!((&reduce.program.env, &reduce.inputs), (&file.program.env, &file.inputs));
    assert_eq!(reduce.program.env[0].0, "A");

    let own = "[reduce]\npath = \"b.wasm\"\nfloats = \"native\"\nenv = {}\ninputs = {}\nfan_in = 16";
    let reduce = with(&format!("{map}{own}")).reduce.expect("there is a reduce");
    assert_eq!((reduce.program.floats, reduce.fan_in), (FloatClass::Native, Some(16)));
    assert!(reduce.program.env.is_empty() && reduce.inputs.is_empty());
    assert!(reduce.program.source.file().is_some_and(|path| path.ends_with("b.wasm")));
}

#[test]
fn matrix_values_are_the_texts_of_the_file() {
    let file = with("[tasks.matrix]\nz = [0.10, 1e3, +2.5, 1_0.5]\na = [0x10, -3, true, \"x y\"]");
    let Tasks::Matrix(matrix) = &file.tasks else { panic!("{:?}", file.tasks) };
    assert_eq!(matrix.count(), 16);
    assert_eq!(matrix.parameters[0].values, ["16", "-3", "true", "x y"]);
    assert_eq!(matrix.parameters[1].values, ["0.10", "1e3", "+2.5", "10.5"]);
}

#[test]
fn splits_of_every_sort() {
    let by = |more: &str| {
        let file =
            with(&format!("[tasks]\nsplit = {{ input = [\"a\", \"b/*\"], size = \"64 KiB\", {more} }}"));
        let Tasks::Split(split) = file.tasks else { panic!("{:?}", file.tasks) };
        assert_eq!((split.input.len(), split.rules.size), (2, ByteSize::kib(64)));
        split.rules.by
    };
    assert_eq!(by("by = \"lines\""), SplitBy::Lines);
    assert_eq!(by("by = \"separator\", separator = \"\\n\\n\""), SplitBy::Separator(b"\n\n".to_vec()));
    assert_eq!(by("by = \"fasta\", overlap = 20"), SplitBy::Fasta { overlap: Some(20) });
    assert_eq!(by("by = \"fastx\""), SplitBy::Fastx { overlap: None });
    assert_eq!(by("by = \"fastq\""), SplitBy::Fastq);
}

#[test]
fn inputs_are_sorted_by_guest_path() {
    let file = with("[inputs]\n\"b/c\" = \"x\"\nb-c = \"y\"\n\"a.txt\" = \"../z\"");
    let paths: Vec<_> = file.inputs.iter().map(|input| input.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "b-c", "b/c"]);
}

#[test]
fn other_line_ends_and_a_byte_order_mark_are_fine() {
    assert!(JobFile::parse("\u{feff}name = \"a\"\r\n[program]\r\npath = \"a.wasm\"\r\n").is_ok());
}
