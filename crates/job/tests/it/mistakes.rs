//! Wrong job files, with exactly what is said about them.

mod policy;

use tidemill_job::JobFile;

const PROGRAM: &str = "name = \"a\"\n[program]\npath = \"a.wasm\"\n";

/// What is said about a file.
fn said(text: &str) -> String {
    JobFile::parse(text).expect_err("the file is wrong").to_string()
}

/// What is said about a right file with something wrong after it, by line: place, found and allowed.
fn said_after(more: &str) -> Vec<String> {
    briefly(&format!("{PROGRAM}{more}"))
}

fn briefly(text: &str) -> Vec<String> {
    let mistakes = JobFile::parse(text).expect_err("the file is wrong");
    mistakes.iter().map(|m| format!("{}:{}: {}; {}", m.line, m.column, m.found, m.allowed)).collect()
}

#[test]
fn what_is_no_text_of_a_job_file_is_one_mistake() {
    let wide = |unit: &[u8]| {
        let file = format!("{PROGRAM}[tasks]\nrange = {{ to = 3 }}\n");
        let place = |c: char| unit.iter().map(move |byte| if *byte == 1 { c } else { '\0' });
        file.chars().flat_map(place).collect::<String>()
    };
    for (unit, encoding) in
        [(&[1, 0][..], "UTF-16"), (&[0, 1], "UTF-16"), (&[1, 0, 0, 0], "UTF-32"), (&[0, 0, 0, 1], "UTF-32")]
    {
        let expected = format!("1:1: the file is {encoding} text; save it as UTF-8");
        assert_eq!(briefly(&wide(unit)), [expected]);
    }
    let expected = "1:1: the file holds a zero byte, so it is not text; a job file is UTF-8 text";
    assert_eq!(briefly(&format!("{PROGRAM}\0")), [expected]);
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    let text = "\
name = \"Render\"
retires = 2
deadline = \"10 parsecs\"

[program]
args = [\"--tile\", \"{indx}\"]

[tasks]
range = { from = 0, to = 10 }

[limits]
memory = \"8 GiB\"
";
    assert_eq!(
        said(text),
        r#"job.toml:1:8: "Render" cannot be a job's name
    name = "Render"
           ^^^^^^^^
    expected 1 to 64 lower-case letters, digits and hyphens, a letter first, like "my-job"

job.toml:2:1: unknown key `retires`
    retires = 2
    ^^^^^^^
    did you mean `retries`?

job.toml:3:12: "10 parsecs" is not a length of time
    deadline = "10 parsecs"
               ^^^^^^^^^^^^
    write it like "500ms", "90s", "10m" or "2h"

job.toml:5:1: `path` is missing in [program]
    [program]
    ^^^^^^^^^
    expected the path of a WebAssembly program

job.toml:6:20: unknown placeholder `{indx}`
    args = ["--tile", "{indx}"]
                       ^^^^^^
    allowed here: {index}, {count}, {value}

job.toml:12:10: the limit `memory` is 8 GiB
    memory = "8 GiB"
             ^^^^^^^
    from 64 KiB to 4 GiB is allowed"#
    );
}

#[test]
fn a_file_that_is_not_toml_is_told_where() {
    assert_eq!(
        briefly("name = \"a\n[program]\npath = \"a.wasm\"\n"),
        [r#"1:10: not TOML: invalid basic string; expected `"`"#]
    );
    assert_eq!(
        briefly("name = \"a\"\nseed = \n[program]\npath = \"a.wasm\"\n"),
        ["2:8: not TOML: string values must be quoted; expected literal string"]
    );
    assert_eq!(
        briefly("name = \"a\"\nname = \"b\"\n[program]\npath = \"a.wasm\"\n"),
        ["2:1: not TOML: duplicate key; "]
    );
    assert_eq!(
        briefly("name = \"a\"\n[program\npath = \"a.wasm\"\nretires = 1"),
        [
            "2:9: not TOML: unclosed table; expected `]`",
            "4:1: unknown key `retires`; did you mean `retries`?"
        ]
    );
    assert_eq!(
        briefly(&"[".repeat(1000)),
        ["1:3: not TOML: unquoted keys cannot be empty; expected letters, numbers, `-`, `_`"]
    );
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        briefly(""),
        [
            r#"1:1: `name` is missing; expected 1 to 64 lower-case letters, digits and hyphens, a letter first, like "my-job""#,
            "1:1: `program` is missing; expected a section [program] with the `path` of a WebAssembly program"
        ]
    );
    assert_eq!(
        briefly("name = \"a\"\nprogram = 3"),
        ["2:11: [program] is a whole number; expected a table of keys and values"]
    );
    assert_eq!(
        briefly("name = \"a\"\n[program]\n"),
        ["2:1: `path` is missing in [program]; expected the path of a WebAssembly program"]
    );
}

#[test]
fn the_top_of_the_file() {
    let text = "name = 7\nretries = 101\nseed = -1\ndeadline = \"366d\"\n[program]\npath = \"\"";
    assert_eq!(
        briefly(text),
        [
            r#"1:8: `name` is a whole number; expected 1 to 64 lower-case letters, digits and hyphens, a letter first, like "my-job""#,
            "2:11: `retries` is 101; expected a whole number from 0 to 100",
            "3:8: `seed` is -1; expected a whole number from 0 to 18446744073709551615",
            "4:12: `deadline` is 8784h; from 1ms to 365d is allowed",
            "6:8: `path` is empty; expected the path of a file, relative to the job file"
        ]
    );
    assert_eq!(
        said_after("retries = 1\nfoo = 2\nseed = 1.5"),
        [
            "4:1: unknown key `retries` in [program]; `retries` belongs at the top of the file, before the first [section]",
            "5:1: unknown key `foo` in [program]; allowed here: path, kind, arg0, args, floats, env",
            "6:1: unknown key `seed` in [program]; `seed` belongs at the top of the file, before the first [section]"
        ]
    );
    assert_eq!(
        briefly(&format!("seed = 0x{}\nretries = 99999999999999999999\n{PROGRAM}", "f".repeat(100))),
        [
            "1:8: `seed` is 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffff…; expected a whole number from 0 to 18446744073709551615",
            "2:11: `retries` is 99999999999999999999; expected a whole number from 0 to 100"
        ]
    );
}

#[test]
fn the_program() {
    assert_eq!(
        said_after("kind = \"wgsl\"\nfloats = \"fast\"\nenv = { A = 1, \"B=\" = \"{value}\" }"),
        [
            r#"4:8: programs of the kind "wgsl" are not supported yet; allowed: "wasm", "infer""#,
            r#"5:10: `floats` is "fast"; allowed: "native", "canonical""#,
            "6:13: `A` is a whole number; expected a string",
            "6:16: `B=` cannot be a variable's name; expected a name without `=` and NUL",
            "6:24: unknown placeholder `{value}`; allowed here: {index}, {count}"
        ]
    );
    assert_eq!(
        said_after("kind = \"elf\"\nargs = \"x\""),
        [
            r#"4:8: `kind` is "elf"; allowed: "wasm", "infer""#,
            r#"5:8: `args` is a string; expected a list of strings, like ["--size", "10"]"#
        ]
    );
    assert_eq!(
        said_after("args = [\"{index}\", 1, \"{\", \"}}\", \"\\u0041{nope}\", \"a\\u0000\"]"),
        [
            "4:20: `args[1]` is a whole number; expected a string",
            "4:24: a single `{`; a brace that is meant as such is doubled, `{{` or `}}`",
            "4:34: unknown placeholder `{nope}`; allowed here: {index}, {count}",
            "4:50: `args[5]` holds a NUL character; any other character is allowed"
        ]
    );
}

#[test]
fn placeholders_are_those_of_the_tasks() {
    let with = |tasks: &str| said_after(&format!("args = [\"{{nope}}\"]\n[tasks]\n{tasks}"));
    assert_eq!(
        with("range = { to = 2 }"),
        ["4:10: unknown placeholder `{nope}`; allowed here: {index}, {count}, {value}"]
    );
    assert_eq!(
        with("files = \"*\""),
        [
            "4:10: unknown placeholder `{nope}`; allowed here: {index}, {count}, {input}, {input.name}, {input.stem}, {input.dir}"
        ]
    );
    assert_eq!(
        with("matrix = { strike = [1], vol = [2] }"),
        ["4:10: unknown placeholder `{nope}`; allowed here: {index}, {count}, {strike}, {vol}"]
    );
    // What is wrong with the tasks says nothing about the placeholders.
    assert_eq!(
        with("range = { to = 0 }"),
        [
            "6:9: the range from 0 to 0 by 1 is empty; expected at least one number; `to` itself is not one of them"
        ]
    );
}

#[test]
fn the_tasks() {
    let with = |tasks: &str| said_after(&format!("[tasks]\n{tasks}"));
    assert_eq!(
        with(""),
        [
            "4:1: [tasks] does not say what the tasks are; expected one of range, files, split, matrix; without [tasks] there is one task"
        ]
    );
    assert_eq!(
        with("rnage = { to = 2 }"),
        [
            "4:1: [tasks] does not say what the tasks are; expected one of range, files, split, matrix; without [tasks] there is one task",
            "5:1: unknown key `rnage` in [tasks]; did you mean `range`?"
        ]
    );
    assert_eq!(
        with("range = { to = 2 }\nfiles = \"*\"\nmatrix = { a = [] }"),
        [
            "6:1: `files` beside `range` in [tasks]; exactly one of range, files, split, matrix is allowed",
            "7:1: `matrix` beside `range` in [tasks]; exactly one of range, files, split, matrix is allowed",
            "7:16: `a` has no values; expected a list of values, like [1, 2, 3]"
        ]
    );
    assert_eq!(
        with("range = { from = 1, step = 0 }"),
        ["5:9: `to` is missing in `range`; expected where the range ends, like { from = 0, to = 10 }"]
    );
    assert_eq!(with("range = { to = 5, step = 0 }"), ["5:26: `step` is 0; expected any other whole number"]);
    assert_eq!(
        with("range = { to = 20_000_000 }"),
        ["5:9: the range has 20000000 numbers; at most 10000000 are allowed"]
    );
    assert_eq!(
        with("range = { from = -9223372036854775808, to = 9223372036854775808 }"),
        [
            "5:45: `to` is 9223372036854775808; expected a whole number from -9223372036854775808 to 9223372036854775807"
        ]
    );
    assert_eq!(
        with("files = [\"a/**b\", \"\", 3]"),
        [
            r#"5:10: "a/**b" is not a pattern: recursive wildcards must form a single path component; expected a path or a pattern like "data/*.fa", or a list of them"#,
            r#"5:19: `files[1]` is empty; expected a path or a pattern like "data/*.fa", or a list of them"#,
            r#"5:23: `files[2]` is a whole number; expected a path or a pattern like "data/*.fa", or a list of them"#
        ]
    );
    assert_eq!(
        with("files = []"),
        [r#"5:9: `files` is empty; expected a path or a pattern like "data/*.fa", or a list of them"#]
    );
}

#[test]
fn splitting() {
    let with = |split: &str| said_after(&format!("[tasks]\nsplit = {{ {split} }}"));
    assert_eq!(
        with("by = \"words\""),
        [
            "5:9: `input` is missing in `split`; expected the file to cut, or a pattern of files",
            r#"5:9: `size` is missing in `split`; expected the size of a piece, like "64 MiB""#,
            r#"5:16: `by` is "words"; allowed: "lines", "separator", "fasta", "fastq", "fastx""#
        ]
    );
    assert_eq!(
        with("input = \"a\", by = \"separator\", size = \"1 KiB\""),
        ["5:9: `separator` is missing in `split`; expected the text between two records, like \"\\n\\n\""]
    );
    assert_eq!(
        with("input = \"a\", by = \"separator\", size = \"1 KiB\", separator = \"\""),
        ["5:70: `separator` has 0 bytes; from 1 to 1024 are allowed"]
    );
    assert_eq!(
        with("input = \"a\", by = \"lines\", size = \"1 KiB\", separator = \"x\""),
        [r#"5:54: `separator` does not go with this `by`; it goes with by = "separator""#]
    );
    assert_eq!(
        with("input = \"a\", by = \"fastq\", size = \"0 B\", overlap = 3"),
        [r#"5:45: `size` is 0; expected at least "1 B""#]
    );
    assert_eq!(
        with("input = \"a\", by = \"fastq\", size = \"1 B\", overlap = 3"),
        [r#"5:52: `overlap` does not go with this `by`; it goes with by = "fasta" and by = "fastx""#]
    );
    assert_eq!(
        with("input = \"a\", by = \"fastx\", size = \"1 kB\", overlap = 1000"),
        ["5:63: `overlap` is 1000, and a piece has 1000 bytes; expected less than `size`"]
    );
    assert_eq!(
        with("input = \"a\", by = \"lines\", size = 1000"),
        [r#"5:45: `size` is a whole number; write it like "64 MiB", "1.5 GiB" or "512 B""#]
    );
}

#[test]
fn a_matrix() {
    let with = |matrix: &str| said_after(&format!("[tasks]\nmatrix = {matrix}"));
    assert_eq!(with("{}"), ["5:10: `matrix` has 0 parameters; from 1 to 64 are allowed"]);
    assert_eq!(
        with("{ a = [], \"b c\" = [1], index = [2], d = 3 }"),
        [
            "5:16: `a` has no values; expected a list of values, like [1, 2, 3]",
            "5:20: `b c` cannot be a parameter's name; expected a letter, then letters, digits, `_` or `-`, at most 64; not `index` or `count`",
            "5:33: `index` cannot be a parameter's name; expected a letter, then letters, digits, `_` or `-`, at most 64; not `index` or `count`",
            "5:50: `d` is a whole number; expected a list of values, like [1, 2, 3]"
        ]
    );
    assert_eq!(
        with("{ a = [[1], 1979-05-27, 99999999999999999999] }"),
        [
            "5:17: a value of `a` is a list; expected a number, a string, true or false",
            "5:22: a value of `a` is a date or time; expected a number, a string, true or false",
            "5:34: 99999999999999999999 is not a number that fits; expected a whole number of 64 bits; a string of any digits is allowed, too"
        ]
    );
    let thousand = format!("[{}]", "1,".repeat(1000));
    assert_eq!(
        with(&format!("{{ a = {thousand}, b = {thousand}, c = {thousand} }}")),
        ["5:10: `matrix` has 1000000000 combinations; at most 10000000 are allowed"]
    );
}

#[test]
fn inputs() {
    assert_eq!(
        said_after("[inputs]\nscene.txt = \"scene.txt\""),
        [
            r#"5:1: `scene` is a table; expected the path of a file; on the left, a path with a point needs quotes: "scene.txt" = "scene.txt""#
        ]
    );
    assert_eq!(
        said_after("[inputs]\n\"../a\" = \"a\"\n\"/b\" = \"b\"\nc = \"\""),
        [
            r#"5:1: not a path below `/in`: "../a" holds the component ".."; a component is a name of 1 to 255 bytes, not `.` or `..`; expected a path like "data/scene.txt""#,
            r#"6:1: not a path below `/in`: "/b" must be relative: leave out the leading `/`; expected a path like "data/scene.txt""#,
            "7:5: `c` is empty; expected the path of a file, relative to the job file"
        ]
    );
    assert_eq!(
        said_after("[inputs]\n\"a/b\" = \"x\"\na = \"y\"\na-c = \"z\""),
        ["5:1: `a` is a file, and `a/b` is inside of it; a path is a file or a directory, not both"]
    );
}

#[test]
fn a_reduce() {
    assert_eq!(
        said_after("[reduce]\nfan_in = 1\nargs = [\"{value}\"]\nkind = \"wasm\""),
        [
            "5:10: `fan_in` is 1; expected a whole number from 2 to 10000",
            "6:10: unknown placeholder `{value}`; allowed here: {parts}, {index}, {level}, {last}, {count}",
            "7:1: unknown key `kind` in [reduce]; allowed here: path, arg0, args, floats, env, fan_in, inputs, limits"
        ]
    );
    assert_eq!(
        said_after("env = { A = \"{value}\" }\n[tasks]\nrange = { to = 3 }\n[reduce]"),
        [
            "7:1: the reduce takes `env` from [program], where `A` uses a placeholder of the map; set `env` in [reduce]"
        ]
    );
    assert_eq!(
        said_after("[inputs]\n\"parts/a\" = \"a\"\n[reduce]"),
        [
            "6:1: the input `parts/a` stands where a reduce finds its parts; the reduce takes its inputs from [inputs]; give it a path outside of `parts`, or set `inputs` in [reduce]"
        ]
    );
    assert_eq!(
        said_after("[reduce.inputs]\nparts = \"a\""),
        ["4:1: the input `parts` stands where a reduce finds its parts; give it a path outside of `parts`"]
    );
    assert_eq!(
        said_after("[reduce.limits]\nfuel = \"none\"\nmemory = \"1 KiB\""),
        [
            r#"5:8: "none" is not an amount of fuel; write it like "500M", "20G" or "1T""#,
            "6:10: the limit `memory` is 1 KiB; from 64 KiB to 4 GiB is allowed"
        ]
    );
    assert_eq!(said_after("[[reduce]]"), ["4:1: [reduce] is a list; expected a table of keys and values"]);
}

#[test]
fn limits_and_resources() {
    assert_eq!(
        said_after("[limits]\nfuel = 0\nmemory = 5\nstack = \"1 GiB\"\nfiles = -1\ntime = \"1h\""),
        [
            "5:8: the limit `fuel` is 0; from 1 to 1152921.5T is allowed",
            r#"6:10: `memory` is a whole number; write it like "64 MiB", "1.5 GiB" or "512 B""#,
            "7:9: the limit `stack` is 1 GiB; from 64 KiB to 16 MiB is allowed",
            "8:9: `files` is -1; expected a whole number from 0 to 1000000",
            "9:1: unknown key `time` in [limits]; allowed here: fuel, memory, table_elements, stack, output, files, log, wall_time"
        ]
    );
    // What is wrong in [limits] is not said again of [reduce.limits].
    assert_eq!(
        said_after("[limits]\nstack = \"1 GiB\"\n[reduce.limits]\nlog = \"1 MiB\""),
        ["5:9: the limit `stack` is 1 GiB; from 64 KiB to 16 MiB is allowed"]
    );
    assert_eq!(
        said_after("[resources]\nmemory = \"1 MiB\"\nparallel = 0"),
        [
            "5:10: 1 MiB of memory are asked of a machine, and a task may use 512 MiB; expected at least `memory` of [limits]",
            "6:12: `parallel` is 0; expected a whole number from 1 to 1000000"
        ]
    );
}

#[test]
fn hostile_texts_are_refused_shortly() {
    let long = format!("name = \"{}\"", "x".repeat(2 << 20));
    assert_eq!(briefly(&long), ["1:1: the file has 2097161 bytes; at most 1 MiB is allowed"]);
    let mistakes = JobFile::parse(&"x = 1\n".repeat(100_000)).expect_err("keys are unknown and doubled");
    assert!(mistakes.to_string().len() < 50_000 && mistakes.omitted() > 90_000);
    let escapes = said(&format!("{PROGRAM}\"\\u001b[31m\" = 1"));
    assert!(!escapes.contains('\u{1b}'), "{escapes}");
}

#[test]
fn what_is_among_the_digits_of_a_number_is_not_trusted() {
    assert_eq!(
        said_after("[limits]\nfiles = 1_0\u{14}0"),
        [r"5:9: `files` is 10\u{14}0; expected a whole number from 0 to 1000000"]
    );
    assert_eq!(
        said_after("[tasks]\nmatrix = { a = [1_0\u{14}0] }"),
        [
            r"5:17: 10\u{14}0 is not a number that fits; expected a whole number of 64 bits; a string of any digits is allowed, too"
        ]
    );
}

#[test]
fn deep_nesting_needs_no_deep_stack() {
    let dotted = format!("x.{}y = 1\n", "a.".repeat(70)).repeat(10);
    let keys = ["a"; 78].join(".");
    let nested = format!("x = {}1{}\n", format!("{{ {keys} = ").repeat(78), " }".repeat(78));
    for text in [dotted, nested, "[".repeat(500_000), "{a=".repeat(300_000), "a.".repeat(500_000)] {
        assert!(JobFile::parse(&text).is_err());
    }
}

#[test]
fn a_model_has_keys_of_its_own() {
    let infer = |more: &str| briefly(&format!("name = \"a\"\n[program]\nkind = \"infer\"\n{more}"));
    let model = "expected a GGUF file like \"model.gguf\", a hash of 64 hexadecimal digits, or the name of a model of this \
                 machine";
    assert_eq!(infer(""), [format!("2:1: `model` is missing in [program]; {model}")]);
    assert_eq!(infer("model = \"blake3:12\""), [format!("4:9: \"blake3:12\" is no model; {model}")]);
    assert_eq!(infer("model = \"\""), [format!("4:9: \"\" is no model; {model}")]);
    let keys = infer("model = \"a\"\nargs = []\n[limits]\nfuel = 1\noutput_tokens = -1");
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys[0].starts_with("5:1: ") && keys[0].contains("`args`"), "{keys:?}");
    assert!(keys[1].starts_with("7:1: ") && keys[1].contains("`fuel`"), "{keys:?}");
    assert!(keys[2].starts_with("8:17: "), "{keys:?}");
    // A program has none of them.
    assert!(said_after("model = \"a.gguf\"")[0].contains("`model`"));
    let reduce = infer("model = \"a\"\n[reduce]\nfan_in = 2");
    assert!(reduce[0].contains("`path` is missing"), "{reduce:?}");
}
