//! Right job files, and what is read from them.

use std::path::Path;

use tidemill_job::{CompareBy, JobFile, ProgramSource, Reliance, SplitBy, Tasks, Template};
use tidemill_types::{
    Address, Amount, Assurance, BlobId, ByteSize, FloatClass, Fuel, Limits, Millis, Numbers, ProgramKind,
    Tolerance,
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

/// A job file of a model, with more in its `[program]` and after it.
fn of_model(model: &str, more: &str) -> JobFile {
    let text = format!("name = \"a\"\n[program]\nkind = \"infer\"\nmodel = \"{model}\"\n{more}");
    JobFile::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn a_model_is_a_file_a_hash_or_a_name() {
    let source = |model: &str| of_model(model, "").program.source;
    for path in ["models/a.gguf", "a.gguf", "./a", "/models/a"] {
        assert_eq!(source(path), ProgramSource::File(path.into()), "{path}");
    }
    let hash = BlobId::of(b"a model");
    assert_eq!(source(&hash.to_string()), ProgramSource::Blob(hash));
    assert_eq!(source(&format!("blake3:{hash}")), ProgramSource::Blob(hash));
    assert_eq!(source("smollm2"), ProgramSource::Named("smollm2".to_owned()));
}

#[test]
fn a_model_has_the_name_that_requests_call_it_by() {
    assert_eq!(of_model("models/small.q4.gguf", "").program.arg0, "small.q4");
    assert_eq!(of_model("smollm2", "").program.arg0, "smollm2");
    let program = of_model("a.gguf", "name = \"b\"\ncreated = 1_700_000_000").program;
    assert_eq!((program.kind, program.floats), (ProgramKind::Infer, FloatClass::Canonical));
    assert_eq!((program.arg0.as_str(), program.args.len()), ("b", 0));
    let text = |value: &Template| value.render(|_| unreachable!("it has no placeholders"));
    let env: Vec<_> = program.env.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    assert_eq!(env, [("CREATED", "1700000000".to_owned())]);
}

#[test]
fn a_task_of_a_model_may_have_the_memory_that_it_takes_unless_the_file_says_how_much() {
    let mut file = of_model("a.gguf", "[limits]\ninput_tokens = 5\noutput_tokens = 6");
    assert_eq!((file.limits.input_tokens, file.limits.output_tokens), (5, 6));
    file.fit_model((6 << 30) + 1);
    assert_eq!(file.limits.memory, ByteSize::mib(6 * 1024 + 1 + 512));
    assert_eq!(file.resources.memory, file.limits.memory);
    let mut said = of_model("a.gguf", "[limits]\nmemory = \"8 GiB\"");
    said.fit_model(100);
    assert_eq!(said.limits.memory, ByteSize::mib(8192));
    let mut other = with("");
    other.fit_model(1 << 40);
    assert_eq!(other.limits, Limits::default());
}

#[test]
fn a_reduce_of_a_model_s_answers_is_an_ordinary_program() {
    let file = of_model("a.gguf", "[limits]\nmemory = \"8 GiB\"\n[reduce]\npath = \"r.wasm\"");
    let reduce = file.reduce.expect("there is a reduce");
    assert_eq!((reduce.program.kind, reduce.program.floats), (ProgramKind::Wasm, FloatClass::Native));
    assert_eq!(reduce.limits, Limits::default());
    assert!(reduce.program.env.is_empty());
}
