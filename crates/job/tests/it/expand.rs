//! Job files over real directories.

use std::{
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use tempfile::TempDir;
use tidemill_job::{
    ExpandErrors, JobFile, PartOutput, Plan, PlannedTask, ReduceTaskError, expand, expand_within,
};
use tidemill_types::{Content, GuestPath, Segment};

/// A directory with a program and these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for (name, content) in [("a.wasm", "program")].iter().chain(files) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("the path is below the directory")).expect("it can be made");
        fs::write(path, content).expect("a file can be written");
    }
    dir
}

fn try_plan(dir: &TempDir, more: &str) -> Result<Plan, ExpandErrors> {
    let text = format!("name = \"a\"\n[program]\npath = \"a.wasm\"\n{more}");
    let file = JobFile::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    expand(&file, dir.path())
}

fn plan(dir: &TempDir, more: &str) -> Plan {
    try_plan(dir, more).expect("the job can be expanded")
}

/// The errors with their causes, without the directory's own path.
fn error(dir: &TempDir, more: &str) -> String {
    let errors = try_plan(dir, more).expect_err("the job cannot be expanded");
    errors.to_string().replace(dir.path().to_str().expect("temporary paths are text"), "DIR")
}

fn tasks(plan: &Plan) -> Vec<PlannedTask> {
    (0..plan.map_count()).map(|index| plan.map_task(index)).collect()
}

fn labels(plan: &Plan) -> Vec<String> {
    tasks(plan).into_iter().map(|task| task.label).collect()
}

fn args(plan: &Plan) -> Vec<String> {
    tasks(plan).into_iter().map(|task| task.args.join(" ")).collect()
}

fn read(content: &Content) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Bytes(bytes) => bytes.clone(),
        Segment::File { path, offset, len } => {
            assert!(path.is_absolute(), "{}", path.display());
            fs::read(path).expect("inputs can be read")[*offset as usize..][..*len as usize].to_vec()
        }
    };
    let bytes = content.segments.iter().flat_map(segment).collect();
    String::from_utf8(bytes).expect("the inputs are text")
}

fn inputs(task: &PlannedTask) -> Vec<(String, String)> {
    task.inputs.iter().map(|(path, content)| (path.to_string(), read(content))).collect()
}

fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn without_tasks_there_is_one() {
    let dir = directory(&[("s.txt", "shared")]);
    let plan = plan(
        &dir,
        "args = [\"{index}/{count}\", \"{{}}\"]\nenv = { K = \"{index}\" }\n[inputs]\n\"d/s\" = \"s.txt\"",
    );
    assert_eq!((plan.map_count(), plan.total_input_bytes(), plan.reduce().is_some()), (1, 0, false));
    let task = plan.map_task(0);
    assert_eq!((task.args.join(" "), inputs(&task)), ("0/1 {}".to_owned(), own(&[("d/s", "shared")])));
    assert_eq!(task.env, own(&[("K", "0")]));
    assert_eq!(plan.map_program(), dir.path().join("a.wasm"));
}

#[test]
fn a_program_has_a_name_and_so_has_the_same_program_in_a_reduce() {
    let dir = directory(&[("b.wasm", "another")]);
    let names = |more: &str| {
        let plan = plan(&dir, more);
        let reduce = plan.reduce().expect("there is a reduce").task(0, 0, &[output(&[])]);
        (plan.map_task(0).arg0, reduce.expect("the tree has the task").arg0)
    };
    let own = |map: &str, reduce: &str| (map.to_owned(), reduce.to_owned());
    assert_eq!(names("[reduce]"), own("program", "program"));
    assert_eq!(names("arg0 = \"sum\"\n[reduce]"), own("sum", "sum"));
    assert_eq!(names("arg0 = \"sum\"\n[reduce]\narg0 = \"max\""), own("sum", "max"));
    assert_eq!(names("arg0 = \"sum\"\n[reduce]\npath = \"b.wasm\""), own("sum", "program"));
}

#[test]
fn a_range_of_millions_is_computed_on_demand() {
    let dir = directory(&[]);
    let plan = plan(&dir, "args = [\"{value}\"]\n[tasks]\nrange = { from = 5, to = -9999995, step = -1 }");
    assert_eq!(plan.map_count(), 10_000_000);
    let last = plan.map_task(9_999_999);
    assert_eq!((last.label.as_str(), last.args[0].as_str()), ("value -9999994", "-9999994"));
}

#[test]
fn a_matrix_has_all_combinations() {
    let dir = directory(&[]);
    let plan = plan(
        &dir,
        "args = [\"{strike}\", \"{vol}\"]\n[tasks]\nmatrix = { vol = [0.10, 0.2], strike = [90, 100] }",
    );
    assert_eq!(args(&plan), ["90 0.10", "90 0.2", "100 0.10", "100 0.2"]);
    assert_eq!(labels(&plan)[0], "strike=90 vol=0.10");
}

#[test]
fn labels_are_short_and_safe() {
    let dir = directory(&[]);
    let plan = plan(&dir, &format!("[tasks]\nmatrix = {{ a = [\"\\u001b[31m{}\"] }}", "ü".repeat(200)));
    let label = plan.map_task(0).label;
    assert!(label.chars().count() == 161 && !label.contains('\u{1b}'), "{label}");
}

#[test]
fn each_file_is_a_task() {
    let dir = directory(&[
        ("d/b.fa", "bb"),
        ("d/a.fa", "a"),
        ("d/.hidden.fa", ""),
        ("d/c.fa/x", ""),
        ("d/e/f.fa", "f"),
        ("s", ""),
    ]);
    let files = "args = [\"{input}\", \"{input.name}\", \"{input.stem}\", \"{input.dir}\"]\n[inputs]\ns = \"s\"\n[tasks]\nfiles = ";
    let plan = plan(&dir, &format!("{files} [\"d/*.fa\", \"d/a.fa\", \"**/e/?.fa\"]"));
    assert_eq!(args(&plan), ["/in/a.fa a.fa a d", "/in/b.fa b.fa b d", "/in/f.fa f.fa f d/e"]);
    assert_eq!(labels(&plan), ["d/a.fa", "d/b.fa", "d/e/f.fa"]);
    assert_eq!(inputs(&plan.map_task(1)), own(&[("b.fa", "bb"), ("s", "")]));
    assert_eq!(plan.total_input_bytes(), 4);
}

#[test]
fn files_of_one_name_are_told_apart_by_their_directories() {
    let dir = directory(&[("job/a.wasm", ""), ("job/x", "0"), ("data/a/x", "1"), ("data/b/x", "2")]);
    let text = |files: &str| {
        let command = "args = [\"{input.dir}\", \"{input}\"]\nenv = { D = \"{input.dir}\" }";
        format!("name = \"a\"\n[program]\npath = \"a.wasm\"\n{command}\n[tasks]\n{files}")
    };
    let plan = |files: &str| {
        let file = JobFile::parse(&text(files)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        expand(&file, &dir.path().join("job")).expect("the job can be expanded")
    };
    // What leads out of the job file's directory is left out: the path can be made below `/out`.
    let files = plan("files = [\"x\", \"../data/*/x\"]");
    assert_eq!(labels(&files), ["data/a/x", "data/b/x", "x"]);
    assert_eq!(args(&files), ["data/a /in/x", "data/b /in/x", ". /in/x"]);
    assert_eq!(files.map_task(0).env, own(&[("D", "data/a")]));
    let absolute = format!("files = \"{}/data/a/x\"", dir.path().display());
    let whole = format!("{}/data/a", dir.path().display());
    assert_eq!(plan(&absolute).map_task(0).args[0], whole.trim_start_matches('/'));
    let split = plan("split = { input = \"../data/?/x\", by = \"lines\", size = \"1 B\" }");
    assert_eq!(labels(&split), ["part 1 of data/a/x", "part 1 of data/b/x"]);
    assert_eq!(args(&split), ["data/a /in/part", "data/b /in/part"]);
}

#[test]
fn a_directory_with_any_name_has_inputs() {
    let dir = directory(&[("new\nline/x", "")]);
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"o\xff"));
    fs::create_dir(&odd).expect("it can be made");
    fs::write(odd.join("x"), "").expect("a file can be written");
    let plan = plan(&dir, "args = [\"{input.dir}\"]\n[tasks]\nfiles = \"*/x\"");
    assert_eq!(args(&plan), ["new\u{fffd}line", "o\u{fffd}"]);
}

#[test]
fn a_long_path_keeps_its_ends() {
    let deep = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "reads.fa".to_owned()].join("/");
    let dir = directory(&[(&deep, "")]);
    let label = plan(&dir, "[tasks]\nfiles = \"*/**/*.fa\"").map_task(0).label;
    assert!(label.starts_with("aaaaaaaa") && label.ends_with("cc/reads.fa"), "{label}");
    assert!(label.chars().count() == 161 && label.contains('…'), "{label}");
}

#[test]
fn a_file_is_one_task_by_whatever_links_it_is_found() {
    let dir = directory(&[("d/ok.fa", "a"), ("d/e/f.fa", "b")]);
    let link = |to: &str, name: &str| symlink(to, dir.path().join(name)).expect("a link can be made");
    link(".", "d/up");
    link("..", "d/e/above");
    link("ok.fa", "d/alias.fa");
    for pattern in ["d/**/*.fa", "**/*.fa", "d/**", "d/*/*/*.fa\", \"**/*.fa"] {
        let plan = plan(&dir, &format!("[tasks]\nfiles = [\"{pattern}\"]"));
        assert_eq!(labels(&plan), ["d/e/f.fa", "d/ok.fa"], "{pattern}");
    }
    // Other parts than `**` follow links, and a link with another name is found by that name.
    assert_eq!(labels(&plan(&dir, "[tasks]\nfiles = \"*/up/al*.fa\"")), ["d/up/alias.fa"]);
    assert_eq!(labels(&plan(&dir, "[tasks]\nfiles = \"d/*/../e/*.fa\"")), ["d/e/f.fa"]);
}

#[test]
fn names_that_are_no_text_matter_only_where_they_match() {
    let dir = directory(&[("d/ok.fa", "a"), ("k[1]/s/a.fa", "")]);
    let odd = |place: &str| {
        let name = std::ffi::OsStr::from_bytes(b"x\xff.fq");
        fs::write(dir.path().join(place).join(name), "x").expect("a file can be written");
    };
    odd("d");
    odd(".");
    for pattern in ["d/*.fa", "**/*k.fa"] {
        assert_eq!(labels(&plan(&dir, &format!("[tasks]\nfiles = \"{pattern}\""))), ["d/ok.fa"], "{pattern}");
    }
    assert_eq!(
        error(&dir, "[tasks]\nfiles = \"d/*\""),
        "`tasks.files`: the path DIR/d/x\u{fffd}.fq is not UTF-8; rename it"
    );
    let text = "name = \"a\"\nprogram.path = \"../a.wasm\"\ntasks.files = \"s/*.fa\"";
    let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(
        labels(&expand(&file, &dir.path().join("k[1]")).expect("the job can be expanded")),
        ["s/a.fa"]
    );
}

#[test]
fn a_file_may_have_a_name_like_a_pattern() {
    let dir = directory(&[("sample[1].fa", "a"), ("sample1.fa", "b")]);
    assert_eq!(labels(&plan(&dir, "[tasks]\nfiles = \"sample[1].fa\"")), ["sample[1].fa"]);
    assert_eq!(labels(&plan(&dir, "[tasks]\nfiles = \"sample[1].f?\"")), ["sample1.fa"]);
}

#[test]
fn a_compressed_file_is_cut_by_what_it_holds() {
    let dir = directory(&[]);
    let text = "@a\nAC\n+\nII\n@b\nG\n+\nI\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory takes it");
    fs::write(dir.path().join("x.fastq.gz"), gzip.finish().expect("memory takes it")).expect("a file");
    let zstd =
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    // The name says nothing, the content all.
    fs::write(dir.path().join("x"), &zstd).expect("a file");
    fs::write(dir.path().join("cut"), &zstd[..zstd.len() - 2]).expect("a file");
    fs::write(dir.path().join("b"), b"BZh91AY&SY....").expect("a file");
    let split = |input: &str| {
        format!(
            "args = [\"{{input}}\"]\n[tasks]\nsplit = {{ input = \"{input}\", by = \"fastx\", size = \"1 B\" }}"
        )
    };
    for (name, part) in [("x.fastq.gz", "part.fastq"), ("x", "part")] {
        let plan = plan(&dir, &split(name));
        let pieces: Vec<_> = tasks(&plan).iter().map(|task| inputs(task)[0].clone()).collect();
        assert_eq!(pieces, own(&[(part, "@a\nAC\n+\nII\n"), (part, "@b\nG\n+\nI\n")]));
        assert_eq!(args(&plan)[0], format!("/in/{part}"));
    }
    assert!(
        error(&dir, &split("cut")).starts_with(
            "`tasks.split`: DIR/cut cannot be unpacked: it is damaged, or not all there (zstd): "
        )
    );
    assert_eq!(
        error(&dir, &split("b")),
        "`tasks.split`: DIR/b cannot be cut: it is compressed (bzip2); unpack it first"
    );
}

#[test]
fn a_directory_may_have_a_name_like_a_pattern() {
    let dir = directory(&[("[x]*/job/data/a.fa", "a"), ("[x]*/job/a.wasm", ""), ("x/job/data/b.fa", "b")]);
    let text = "name = \"a\"\nprogram.path = \"a.wasm\"\ntasks.files = \"data/*.fa\"";
    let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let plan = expand(&file, &dir.path().join("[x]*/job")).expect("the job can be expanded");
    assert_eq!(labels(&plan), ["data/a.fa"]);
    let absolute = format!("[tasks]\nfiles = \"{}/x/job/data/*\"", dir.path().display());
    assert_eq!(labels(&self::plan(&dir, &absolute)), ["x/job/data/b.fa"]);
}

#[test]
fn each_piece_is_a_task() {
    let dir = directory(&[("x.fa", ">a\nACGT\n>b\nAC\n"), ("y.fa", ">c\nA\n"), ("z.fa", "")]);
    let split = "[tasks]\nsplit = { input = \"?.fa\", by = \"fastx\", size = \"2 B\", overlap = 1 }";
    let plan =
        plan(&dir, &format!("args = [\"{{input}}\", \"{{input.name}}\", \"{{input.stem}}\"]\n{split}"));
    let pieces: Vec<_> = tasks(&plan).iter().map(|task| inputs(task)[0].1.clone()).collect();
    assert_eq!(pieces, [">a\nAC", ">a\nCGT\n", ">b\nAC\n", ">c\nA\n"]);
    assert_eq!(labels(&plan), ["part 1 of x.fa", "part 2 of x.fa", "part 3 of x.fa", "part 1 of y.fa"]);
    assert_eq!(args(&plan)[3], "/in/part.fa y.fa y");
    assert_eq!(plan.total_input_bytes(), pieces.concat().len() as u64);
}

#[test]
fn a_piece_keeps_a_plain_extension() {
    let dir = directory(&[("x", "a"), ("y.a b", "a")]);
    for name in ["x", "y.a b"] {
        let plan =
            plan(&dir, &format!("[tasks]\nsplit = {{ input = \"{name}\", by = \"lines\", size = \"1 B\" }}"));
        assert_eq!(inputs(&plan.map_task(0)), own(&[("part", "a")]));
    }
}

fn output(files: &[(&str, &str)]) -> PartOutput {
    let file = |(path, text): &(&str, &str)| {
        (GuestPath::new(*path).expect("the path is right"), Content::bytes(*text))
    };
    PartOutput { files: files.iter().map(file).collect() }
}

#[test]
fn a_reduce_takes_all_parts_at_once() {
    let dir = directory(&[("s", "shared")]);
    let reduce = "[reduce]\nargs = [\"{parts}\", \"{index}\", \"{level}\", \"{last}\", \"{count}\"]\ninputs = { s = \"s\" }";
    let plan = plan(&dir, &format!("[tasks]\nrange = {{ to = 2 }}\n{reduce}"));
    let reduce = plan.reduce().expect("there is a reduce");
    let parts = [output(&[("stdout", "0"), ("d/e", "1")]), output(&[])];
    let task = reduce.task(0, 0, &parts).expect("the tree has the task");
    assert_eq!((task.args.join(" "), task.label.as_str()), ("/in/parts 0 0 true 2".to_owned(), "reduce"));
    assert_eq!(
        inputs(&task),
        own(&[("parts/000000/d/e", "1"), ("parts/000000/stdout", "0"), ("s", "shared")])
    );

    assert_eq!(reduce.task(1, 0, &parts), Err(ReduceTaskError::NoSuchTask { level: 1, index: 0 }));
    assert_eq!(reduce.task(0, 0, &[]), Err(ReduceTaskError::PartCount { expected: 2, found: 0 }));
    let deep = output(&[
        (&"a/".repeat(2040).trim_end_matches('/').to_owned()[..], ""),
        (&("a/".repeat(2045) + "aaaaaa"), ""),
    ]);
    assert!(matches!(reduce.task(0, 0, &[output(&[]), deep]), Err(ReduceTaskError::Path { part: 1, .. })));
}

#[test]
fn a_reduce_in_a_tree() {
    let dir = directory(&[]);
    let plan = plan(
        &dir,
        "[tasks]\nrange = { to = 5 }\n[reduce]\nfan_in = 2\nargs = [\"{level}.{index}\", \"{last}\", \"{count}\"]",
    );
    let reduce = plan.reduce().expect("there is a reduce");
    let task = |level, index, parts: usize| {
        let task =
            reduce.task(level, index, &vec![PartOutput::default(); parts]).expect("the tree has the task");
        format!("{} | {}", task.args.join(" "), task.label)
    };
    assert_eq!(reduce.tree().task_count(), 6);
    assert_eq!(task(0, 2, 1), "0.2 false 1 | reduce 3 of 3, level 0");
    assert_eq!(task(2, 0, 2), "2.0 true 2 | last reduce");
    assert_eq!(plan.frontier().total(), 11);
}

#[test]
fn the_parts_of_one_reduce_task_are_bounded() {
    let dir = directory(&[]);
    let more = "[tasks]\nrange = { to = 10_001 }\n[reduce]\n";
    assert_eq!(
        error(&dir, more),
        "one reduce task would take 10001 parts, and 10000 is the most; set `fan_in` in [reduce]"
    );
    let plan = plan(&dir, &format!("{more}fan_in = 10_000"));
    assert_eq!(plan.reduce().map(|reduce| reduce.tree().levels()), Some(2));
}

#[test]
fn what_is_not_there_is_named() {
    let dir = directory(&[("d/x", "1"), ("e.fa", ""), ("bad.fa", "AC"), ("part.fa", ">a\n")]);
    let missing = "No such file or directory (os error 2)";
    for (more, expected) in [
        ("[inputs]\na = \"nope\"", &format!("`inputs`: DIR/nope cannot be read: {missing}")[..]),
        ("[inputs]\na = \"d\"", "`inputs`: DIR/d is not a file"),
        ("[reduce]\npath = \"b.wasm\"", &format!("`reduce.path`: DIR/b.wasm cannot be read: {missing}")),
        ("[reduce]\ninputs = { a = \"d\" }", "`reduce.inputs`: DIR/d is not a file"),
        ("[tasks]\nfiles = [\"d/*\", \"*.fq\"]", "`tasks.files`: no file matches \"*.fq\" in DIR"),
        ("[tasks]\nfiles = \"x.fq\"", &format!("`tasks.files`: DIR/x.fq cannot be read: {missing}")),
        ("[tasks]\nfiles = \"d\"", "`tasks.files`: DIR/d is not a file"),
        (
            "[inputs]\n\"x/y\" = \"e.fa\"\n[tasks]\nfiles = \"d/*\"",
            "`tasks.files`: a task sees DIR/d/x as `/in/x`, where [inputs] puts something else",
        ),
        (
            "[tasks]\nsplit = { input = \"e.fa\", by = \"fasta\", size = \"1 B\" }",
            "`tasks.split.input`: the files are empty, so there is no task",
        ),
        (
            "[tasks]\nsplit = { input = \"bad.fa\", by = \"fasta\", size = \"1 B\" }",
            "`tasks.split`: DIR/bad.fa cannot be cut: line 1: text before the first record, which begins with 'A'; \
            expected `>` and the record's name",
        ),
        (
            "[inputs]\n\"part.fa\" = \"d/x\"\n[tasks]\nsplit = { input = \"part.fa\", by = \"fasta\", size = \"1 B\" }",
            "`tasks.split.input`: a task sees DIR/part.fa as `/in/part.fa`, where [inputs] puts something else",
        ),
    ] {
        assert_eq!(error(&dir, more), expected, "{more}");
    }
    fs::remove_file(dir.path().join("a.wasm")).expect("the program can be removed");
    assert_eq!(error(&dir, ""), format!("`program.path`: DIR/a.wasm cannot be read: {missing}"));
}

#[test]
fn all_that_is_not_there_is_named_at_once() {
    let dir = directory(&[("here", "1")]);
    fs::remove_file(dir.path().join("a.wasm")).expect("the program can be removed");
    let missing = "cannot be read: No such file or directory (os error 2)";
    let more = "[inputs]\na = \"one\"\nb = \"two\"\nc = \"here\"\n\
        [tasks]\nfiles = [\"x.fa\", \"*.fq\", \"y.fa\"]\n\
        [reduce]\ninputs = { a = \"three\" }\n[policy]\ncompare = { program = \"c.wasm\" }";
    let errors = error(&dir, more);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(
        lines,
        [
            format!("`program.path`: DIR/a.wasm {missing}"),
            format!("`inputs`: DIR/one {missing}"),
            format!("`inputs`: DIR/two {missing}"),
            "`tasks.files`: no file matches \"*.fq\" in DIR".to_owned(),
            format!("`tasks.files`: DIR/x.fa {missing}"),
            format!("`tasks.files`: DIR/y.fa {missing}"),
            // The program of the reduce is the same, and wrong once.
            format!("`reduce.inputs`: DIR/three {missing}"),
            format!("`policy.compare.program`: DIR/c.wasm {missing}"),
        ]
    );
    assert_eq!(try_plan(&dir, more).expect_err("the same").count(), 8);

    // What is to be cut is looked at too, and not cut in vain.
    let split = "[inputs]\na = \"one\"\n[tasks]\nsplit = { input = [\"here\", \"z.fa\"], by = \"fasta\", size = \"1 B\" }";
    let errors = error(&dir, split);
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(errors.ends_with(&format!("`tasks.split.input`: DIR/z.fa {missing}")), "{errors}");
}

#[test]
fn what_is_wrong_is_told_of_a_hundred_files() {
    let dir = directory(&[]);
    let files: Vec<_> = (0..130).map(|number| format!("\"{number}.fa\"")).collect();
    let more = format!("[tasks]\nfiles = [{}]", files.join(", "));
    let errors = try_plan(&dir, &more).expect_err("no file is there");
    assert_eq!((errors.count(), errors.to_string().lines().count()), (130, 101));
    assert!(errors.to_string().ends_with("\nand 30 more"));
}

#[test]
fn a_name_that_no_task_can_see_is_refused() {
    let dir = directory(&[("d/a\\b", "")]);
    assert_eq!(
        error(&dir, "[tasks]\nfiles = \"d/*\""),
        "`tasks.files`: a task cannot see DIR/d/a\\b under its name; rename it: \"a\\\\b\" holds a control character, \
        one that changes the direction of text, or a backslash"
    );
}

#[test]
fn a_relative_directory_gives_absolute_paths() {
    let text = "name = \"a\"\nprogram.path = \"Cargo.toml\"";
    let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let plan = expand(&file, Path::new(".")).expect("tests run where the manifest is");
    assert!(plan.map_program().is_absolute());
}

/// What a stranger's job file comes to, whose files are in a directory.
fn confined(dir: &TempDir, text: &str, most_unpacked: u64) -> Result<Plan, ExpandErrors> {
    let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    expand_within(&file, dir.path(), most_unpacked)
}

#[test]
fn a_stranger_is_told_nothing_of_files_elsewhere() {
    let outside = directory(&[("secret", "secret")]);
    let dir = directory(&[("d/x", "ACGT")]);
    symlink(outside.path().join("secret"), dir.path().join("link")).expect("a link can be made");
    symlink(outside.path(), dir.path().join("way")).expect("a link can be made");
    let secret = outside.path().join("secret");
    let (secret, folder) = (secret.display(), outside.path().display());
    let program = "name = \"a\"\nprogram.path = \"a.wasm\"\n";
    for text in [
        format!("name = \"a\"\nprogram.path = \"{secret}\""),
        "name = \"a\"\nprogram.path = \"d/../../x\"".to_owned(),
        "name = \"a\"\nprogram.path = \"link\"".to_owned(),
        format!("{program}[inputs]\nx = \"{secret}\""),
        format!("{program}[inputs]\nx = \"way/secret\""),
        format!("{program}[tasks]\nfiles = [\"{folder}/*\"]"),
        format!("{program}[tasks]\nfiles = [\"../*/secret\"]"),
        format!("{program}[tasks]\nfiles = [\"d/*/../../..\"]"),
        format!("{program}[tasks]\nfiles = [\"way/*\"]"),
        format!("{program}[tasks.split]\ninput = \"{secret}\"\nby = \"lines\"\nsize = \"1 MiB\""),
        format!("{program}[reduce]\npath = \"{secret}\""),
        format!("{program}[policy]\ncompare = {{ program = \"{secret}\" }}"),
    ] {
        let errors = confined(&dir, &text, u64::MAX).expect_err(&text).to_string();
        assert!(errors.contains("leads out of the job's directory"), "{text}: {errors}");
    }
    let inside = format!("{program}[tasks]\nfiles = [\"./d/*\"]");
    assert_eq!(confined(&dir, &inside, u64::MAX).expect("it is inside").map_count(), 1);
}

#[test]
fn compressed_files_of_strangers_unpack_to_what_there_is_room_for() {
    let dir = directory(&[]);
    for name in ["x.gz", "y.gz"] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&b"a line\n".repeat(100)).expect("memory takes it");
        fs::write(dir.path().join(name), gzip.finish().expect("memory takes it")).expect("a file");
    }
    let text = "name = \"a\"\nprogram.path = \"a.wasm\"\n[tasks.split]\ninput = \"*.gz\"\nby = \"lines\"\nsize = \"1 MiB\"";
    assert_eq!(confined(&dir, text, 1400).expect("there is room for both").map_count(), 2);
    let error = confined(&dir, text, 1399).expect_err("there is room for one").to_string();
    assert!(error.contains("y.gz") && error.contains("all the room there is"), "{error}");
}
