//! Jobs that travel: their tasks are those that a run on the requester's machine makes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tidemill_job::{
    BlobRef, BlobSource, BoundTask, JobFile, JobSpec, JobSpecError, Node, PartBlob, PartFile, PartOutput,
    Plan, ReduceTaskError, ReduceTree, Reliance, SealError, Stage, Wanted, expand, seal,
};
use tidemill_types::{
    Archive, ArchiveBuilder, BlobId, ByteSize, Content, GuestPath, InputSpec, Needs, ProgramKind, Segment,
    TaskNumber, TaskSpec,
};

/// A job both as files and as blobs.
struct Both {
    file: JobFile,
    plan: Plan,
    spec: JobSpec,
    /// The bytes of each blob.
    blobs: HashMap<BlobId, Vec<u8>>,
    outputs: TempDir,
}

fn read(content: &Content) -> Vec<u8> {
    let segment = |segment: &Segment| match segment {
        Segment::Bytes(bytes) => bytes.clone(),
        Segment::File { path, offset, len } => {
            fs::read(path).expect("inputs can be read")[*offset as usize..][..*len as usize].to_vec()
        }
    };
    content.segments.iter().flat_map(segment).collect()
}

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 }
}

impl Both {
    fn new(text: &str, dir: &Path) -> Self {
        let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let plan = expand(&file, dir).expect("the job can be expanded");
        let (mut blobs, mut asked) = (HashMap::new(), HashSet::new());
        let mut hash = |content: &Content, wanted: Wanted| {
            assert!(asked.insert(content.clone()), "asked twice for {content:?}");
            let bytes = read(content);
            let blob = blob(&bytes);
            if wanted == Wanted::Blob {
                blobs.insert(blob.id, bytes);
            }
            Ok::<_, Infallible>(blob)
        };
        let spec = seal(&plan, &file, &mut hash).unwrap_or_else(|error| panic!("{error}"));
        Self { file, plan, spec, blobs, outputs: TempDir::new().expect("a temporary directory can be made") }
    }

    /// A task as a run on this machine makes it: `crates/tidemill/src/here/task.rs`.
    fn here(&self, node: Node) -> (String, TaskSpec) {
        let (planned, program, of, limits) = match node {
            Node::Map(index) => {
                let planned = self.plan.map_task(index);
                (planned, self.plan.map_program(), &self.file.program, self.file.limits)
            }
            Node::Reduce { level, index } => {
                let reduce = self.plan.reduce().expect("the job has a reduce");
                let parts: Vec<_> = self.children(node).map(|child| self.part_here(child)).collect();
                let planned = reduce.task(level, index, &parts).expect("the tree has the task");
                let of = self.file.reduce.as_ref().expect("the job has a reduce");
                (planned, reduce.program(), &of.program, *reduce.limits())
            }
        };
        let input = |(path, content): (GuestPath, Content)| InputSpec {
            path,
            content: BlobId::of(&read(&content)),
            len: content.len(),
        };
        let mut args = vec!["program".to_owned()];
        args.extend(planned.args);
        let spec = TaskSpec {
            kind: ProgramKind::Wasm,
            program: BlobId::of(&fs::read(program).expect("the program can be read")),
            floats: of.floats,
            args,
            env: planned.env,
            inputs: planned.inputs.into_iter().map(input).collect(),
            limits,
            seed: self.file.seed,
        };
        (planned.label, spec)
    }

    fn there(&self, node: Node) -> BoundTask {
        match node {
            Node::Map(index) => self.spec.map_task(index),
            Node::Reduce { .. } => {
                let parts: Vec<_> = self.children(node).map(|child| self.part_there(child)).collect();
                self.spec.reduce_task(node, &parts).expect("the tree has the task")
            }
        }
    }

    fn children(&self, node: Node) -> impl Iterator<Item = Node> + use<> {
        self.spec.tree().expect("the job has a reduce").children(node)
    }

    /// What a task might leave behind: its archive, kept as a file.
    fn output(&self, node: Node) -> (PathBuf, Vec<u8>, Archive) {
        let number = self.spec.number(node).expect("the node is the job's");
        let (mut builder, mut files) = (ArchiveBuilder::default(), Vec::new());
        for (path, text) in
            [("stdout", format!("{number}")), ("d/x", format!("of {number}")), ("e", String::new())]
        {
            builder.add(GuestPath::new(path).expect("the path is right"), text.len() as u64);
            files.push((path, text));
        }
        let (mut bytes, entries) = builder.finish().expect("the archive is small");
        for entry in entries {
            let (_, text) =
                files.iter().find(|(path, _)| *path == entry.path.as_str()).expect("it was added");
            bytes.extend(text.as_bytes());
        }
        let path = self.outputs.path().join(number.to_string());
        fs::write(&path, &bytes).expect("a file can be written");
        let archive = Archive::parse(&bytes).expect("the archive is right");
        (path, bytes, archive)
    }

    fn part_here(&self, node: Node) -> PartOutput {
        let (path, _, archive) = self.output(node);
        let file = |(entry, offset): (&tidemill_types::ArchiveEntry, u64)| {
            let segment = Segment::File { path: path.clone(), offset, len: entry.len };
            (entry.path.clone(), Content { segments: vec![segment] })
        };
        PartOutput { files: archive.files().map(file).collect() }
    }

    fn part_there(&self, node: Node) -> PartBlob {
        let (_, bytes, archive) = self.output(node);
        let file = |(entry, offset): (&tidemill_types::ArchiveEntry, u64)| PartFile {
            path: entry.path.clone(),
            content: blob(&bytes[offset as usize..][..entry.len as usize]),
            offset,
        };
        PartBlob { archive: blob(&bytes), files: archive.files().map(file).collect() }
    }

    /// The bytes at a source.
    fn bytes(&self, source: &BlobSource, len: u64) -> Vec<u8> {
        assert!(source.holds(len));
        let of_output = || {
            let mut outputs = fs::read_dir(self.outputs.path()).expect("the outputs can be read");
            outputs.find_map(|entry| {
                let bytes =
                    fs::read(entry.expect("the outputs can be read").path()).expect("an output can be read");
                (BlobId::of(&bytes) == source.blob.id).then_some(bytes)
            })
        };
        let blob = self.blobs.get(&source.blob.id).cloned().or_else(of_output).expect("the blob is known");
        assert_eq!(blob.len() as u64, source.blob.len);
        let ranges = source.ranges(len);
        ranges
            .iter()
            .flat_map(|range| &blob[range.offset as usize..][..range.len as usize])
            .copied()
            .collect()
    }

    /// Every task is the same both ways, and its inputs are where it says.
    fn sanity_check(&self) {
        let (spec, plan) = (&self.spec, &self.plan);
        assert_eq!(JobSpec::decode(&spec.encode()).as_ref(), Ok(spec));
        assert_eq!((spec.map_count(), spec.task_count()), (plan.map_count(), plan.task_count()));
        assert_eq!(spec.input_bytes(), plan.total_input_bytes());
        let read = |index| tidemill_types::input_bytes(&spec.map_task(index).spec);
        let reads: BTreeSet<u64> = (0..spec.map_count()).map(read).collect();
        assert_eq!(Some(spec.map_input_bytes()), reads.first().copied().zip(reads.last().copied()));
        assert_eq!(spec.tree(), plan.reduce().map(|reduce| reduce.tree()));
        assert_eq!(spec.frontier().total(), spec.task_count());
        let named: BTreeSet<_> = spec.blobs().iter().map(|blob| blob.id).collect();
        assert_eq!(named, self.blobs.keys().copied().collect());
        assert!(spec.blobs().iter().all(|blob| self.blobs[&blob.id].len() as u64 == blob.len));

        let mut seen = HashSet::new();
        for number in (0..spec.task_count()).map(TaskNumber) {
            let node = spec.node(number).expect("the number is below the count");
            assert_eq!(spec.number(node), Some(number));
            let ((label, here), there) = (self.here(node), self.there(node));
            assert_eq!((&there.label, spec.label(node).as_ref()), (&label, Some(&label)));
            assert_eq!(there.spec, here);
            assert!(seen.insert((node, there.spec.hash())));
            assert_eq!(there.spec.limits, *spec.limits(node.stage()).expect("the stage has tasks"));
            let shared = spec.shared(node.stage());
            assert_eq!(shared.first().map(|blob| blob.id), Some(there.spec.program));
            assert_eq!(there.spec.inputs.len(), there.sources.len());
            for (input, source) in there.spec.inputs.iter().zip(&there.sources) {
                assert_eq!(BlobId::of(&self.bytes(source, input.len)), input.content);
            }
        }
        assert_eq!(spec.node(TaskNumber(spec.task_count())), None);
    }
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for (name, content) in [("a.wasm", "program")].iter().chain(files) {
        fs::write(dir.path().join(name), content).expect("a file can be written");
    }
    dir
}

fn both(dir: &TempDir, more: &str) -> Both {
    Both::new(&format!("name = \"a\"\nseed = 7\n[program]\npath = \"a.wasm\"\n{more}"), dir.path())
}

/// Encodings of right jobs of every sort.
pub fn corpus() -> Vec<Vec<u8>> {
    let dir = directory(&[("x.fa", ">a\nACGT\n>b\nAC\n"), ("y.fa", ">c\nA\n")]);
    let command = "args = [\"{index}\", \"{{\"]\nenv = { A = \"{count}\" }\n[inputs]\n\"d/s\" = \"x.fa\"\nt = \"y.fa\"\n";
    let reduce = "[reduce]\nfan_in = 2\nargs = [\"{parts}\", \"{level}.{index}\", \"{last}\"]\n";
    let tasks = [
        "",
        "tasks.range = { from = -3, to = 9, step = 2 }",
        "tasks.matrix = { a = [1, 2], b = [\"x\", \"\", 0.5] }",
        "tasks.files = \"*.fa\"",
        "tasks.split = { input = \"*.fa\", by = \"fasta\", size = \"1 B\" }",
    ];
    let encode = |tasks: &str, more: &str| {
        let text = format!("name = \"a\"\n{tasks}\n[program]\npath = \"a.wasm\"\n{more}");
        Both::new(&text, dir.path()).spec.encode()
    };
    let all = tasks.iter().flat_map(|tasks| ["", command, reduce].map(|more| encode(tasks, more)));
    let policies = [
        "assurance = 20_000",
        "assurance = \"trusted\"",
        "assurance = \"none\"",
        "replicate = 5\nquorum = 2",
    ];
    let trusted = "trusted = [\"0x00000000000000000000000000000000000000ff\"]";
    let policies = policies.map(|policy| encode("", &format!("[policy]\n{policy}\n{trusted}")));
    all.chain(policies).collect()
}

#[test]
fn the_examples_are_the_same_here_and_there() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["kmer", "montecarlo", "render", "weather"] {
        let dir = examples.join(name);
        let text = fs::read_to_string(dir.join("job.toml")).expect("the example can be read");
        let both = Both::new(&text, &dir);
        assert_eq!(both.spec.name().as_str(), name);
        both.sanity_check();
    }
}

#[test]
fn one_task_with_shared_inputs_and_an_environment() {
    let dir = directory(&[("s", "shared"), ("t", "")]);
    let more = "args = [\"{index}/{count}\", \"{{}}\"]\nfloats = \"canonical\"\nenv = { K = \"{index}\", A = \"\" }\n\
                [inputs]\n\"d/s\" = \"s\"\n\"d/again\" = \"s\"\nt = \"t\"\n[reduce]\npath = \"s\"\nfloats = \"native\"";
    let both = both(&dir, more);
    both.sanity_check();
    assert_eq!(both.spec.map_task(0).spec.args, ["program", "0/1", "{}"]);
    // The same file is one blob, also where it is a program.
    assert_eq!(both.spec.blobs().len(), 3);
    assert_eq!(both.spec.shared(Stage::Map).len(), 3);
    assert_eq!(both.spec.shared(Stage::Reduce).len(), 2);
}

#[test]
fn a_range_with_a_tree() {
    let dir = directory(&[("s", "shared")]);
    let more = "args = [\"{value}\", \"{index}\"]\n[tasks]\nrange = { from = -2, to = 20, step = 3 }\n[limits]\nmemory = \"64 MiB\"\n\
                [reduce]\nfan_in = 3\nargs = [\"{parts}\", \"{level}.{index}\", \"{last}\", \"{count}\"]\ninputs = { z = \"s\" }\n\
                [reduce.limits]\nmemory = \"96 MiB\"\n[resources]\nmemory = \"80 MiB\"\nparallel = 3";
    let both = both(&dir, more);
    both.sanity_check();
    assert_eq!(both.spec.task_count(), 8 + 3 + 1);
    let memory = |stage| both.spec.needs(stage).map(|needs: Needs| needs.memory);
    assert_eq!(memory(Stage::Map), Some(ByteSize::mib(80)));
    assert_eq!(memory(Stage::Reduce), both.plan.reduce().map(|reduce| reduce.memory()));
    assert_eq!(both.spec.resources(), both.file.resources);
}

#[test]
fn a_matrix() {
    let dir = directory(&[]);
    let more = "args = [\"{strike}\", \"{vol}\"]\nenv = { V = \"{vol}{{\" }\n[tasks]\n\
                matrix = { vol = [0.10, 0.2], strike = [90, 100], name = [\"{index}\", \"ü\"] }\n[reduce]\nenv = {}";
    let both = both(&dir, more);
    both.sanity_check();
    assert_eq!(both.spec.map_task(0).label, "name={index} strike=90 vol=0.10");
}

#[test]
fn files_that_are_alike_are_one_blob() {
    let dir = directory(&[("a.fa", "same"), ("b.fa", "same"), ("c.tar.gz", "c")]);
    let more = "args = [\"{input}\", \"{input.name}\", \"{input.stem}\"]\n[inputs]\n\"s/c\" = \"c.tar.gz\"\n[tasks]\nfiles = [\"*.fa\", \"c*\", \"a.wasm\"]";
    let both = both(&dir, more);
    both.sanity_check();
    assert_eq!((both.spec.map_count(), both.spec.blobs().len()), (4, 3));
    assert_eq!(both.spec.needs(Stage::Reduce), None);
    assert_eq!(both.spec.shared(Stage::Reduce), []);
}

#[test]
fn files_of_one_name_travel_with_their_directories() {
    let dir = directory(&[]);
    for place in ["s/a", "s/b"] {
        fs::create_dir_all(dir.path().join(place)).expect("a directory can be made");
        fs::write(dir.path().join(place).join("x.fa"), place).expect("a file can be written");
    }
    let more = |tasks: &str| format!("args = [\"{{input.dir}}\", \"{{input.stem}}\"]\n[tasks]\n{tasks}");
    let files = both(&dir, &more("files = \"s/*/x.fa\""));
    files.sanity_check();
    assert_eq!(files.spec.label(Node::Map(1)).as_deref(), Some("s/b/x.fa"));
    assert_eq!(files.spec.map_task(1).spec.args[1..], ["s/b", "x"]);
    let pieces = both(&dir, &more("split = { input = \"s/*/x.fa\", by = \"lines\", size = \"1 B\" }"));
    pieces.sanity_check();
    assert_eq!(pieces.spec.label(Node::Map(1)).as_deref(), Some("part 1 of s/b/x.fa"));
}

#[test]
fn pieces_of_files() {
    let dir = directory(&[("x.fa", ">a\nACGT\n>b\nAC\n"), ("y.fa", ">c\nA\n"), ("z.fa", "")]);
    let split = "[tasks]\nsplit = { input = \"?.fa\", by = \"fastx\", size = \"2 B\", overlap = 1 }";
    let more = format!(
        "args = [\"{{input}}\", \"{{input.name}}\", \"{{input.stem}}\"]\n{split}\n[reduce]\nfan_in = 2"
    );
    let both = both(&dir, &more);
    both.sanity_check();
    assert_eq!(both.spec.map_task(3).spec.args[1..], ["/in/part.fa", "y.fa", "y"]);
    assert_eq!(both.spec.map_task(1).label, "part 2 of x.fa");
    // The program, and each file once: also one of which pieces repeat a part, and none that has no piece.
    assert_eq!(both.spec.blobs().len(), 3);
    let x = blob(b">a\nACGT\n>b\nAC\n");
    assert!(both.spec.blobs().contains(&x));
    // The second piece has the header of the record that it begins inside of, and its first base is the last of the first.
    let second = both.spec.map_task(1);
    assert_eq!(second.sources[0].blob, x);
    assert_eq!(both.bytes(&second.sources[0], second.spec.inputs[0].len), b">a\nCGT\n");
    assert!(both.spec.input_bytes() > x.len + 5);
    assert_eq!(both.plan.sealed_bytes(), both.spec.input_bytes() + x.len + 5);
}

#[test]
fn a_piece_that_is_all_of_its_file_is_its_blob() {
    let dir = directory(&[("x.txt", "a\nb\n")]);
    let more =
        "[inputs]\ns = \"x.txt\"\n[tasks]\nsplit = { input = \"x.txt\", by = \"lines\", size = \"1 KiB\" }";
    let both = both(&dir, more);
    both.sanity_check();
    assert_eq!((both.spec.map_count(), both.spec.blobs().len()), (1, 2));
    let task = both.spec.map_task(0);
    assert_eq!(task.sources, [BlobSource::whole(blob(b"a\nb\n")); 2]);
}

#[test]
fn millions_of_tasks_take_no_room() {
    let dir = directory(&[]);
    let range =
        "args = [\"{value}\"]\n[tasks]\nrange = { to = 10_000_000 }\n[reduce]\nargs = []\nfan_in = 100";
    let spec = both(&dir, range).spec;
    assert!(spec.encode().len() < 300);
    assert_eq!(spec.task_count(), 10_000_000 + 100_000 + 1000 + 10 + 1);
    assert_eq!(spec.label(Node::Map(9_999_999)).as_deref(), Some("value 9999999"));
    assert_eq!(spec.node(TaskNumber(10_100_000)), Some(Node::Reduce { level: 1, index: 0 }));
    assert_eq!(spec.label(Node::Map(10_000_000)), None);
}

#[test]
fn any_change_makes_it_another_job() {
    let dir = directory(&[("s", "shared")]);
    let hash = |more: &str| both(&dir, more).spec.hash();
    let all = [
        "",
        "args = [\"{index}\"]",
        "args = [\"{{index}}\"]",
        "[inputs]\ns = \"s\"",
        "[reduce]",
        "[tasks]\nrange = { to = 1 }",
        "[policy]\nassurance = 999",
        "[policy]\nassurance = \"trusted\"",
        "[policy]\nassurance = \"none\"",
        "[policy]\nreplicate = 4",
        "[policy]\nreplicate = 4\nquorum = 4",
        "[policy]\ntrusted = [\"0x00000000000000000000000000000000000000ff\"]",
        "[policy]\ncompare = { numbers = \"f32\", absolute = 1 }",
        "[policy]\ncompare = { numbers = \"f32\", relative = 0.1 }",
        "[policy]\ncompare = { numbers = \"f64\", absolute = 1 }",
        "[policy]\ncompare = { program = \"s\" }",
    ];
    assert_eq!(all.map(hash).into_iter().collect::<HashSet<_>>().len(), all.len());
    assert_eq!(hash(""), hash("args = []\nkind = \"wasm\""));
    assert_eq!(hash(""), hash("[policy]\nassurance = 1000\ncompare = \"exact\""));
}

#[test]
fn a_policy_travels_and_leaves_the_tasks_as_they_are() {
    let dir = directory(&[]);
    let tasks = "args = [\"{index}\"]\n[tasks]\nrange = { to = 3 }\n[reduce]\n";
    let plain = both(&dir, tasks);
    assert_eq!((plain.spec.reliance(), plain.spec.trusted()), (&Reliance::default(), &[][..]));
    let policy = "[policy]\nreplicate = 5\nquorum = 2\ntrusted = [\"0xff00000000000000000000000000000000000000\", \"0x00000000000000000000000000000000000000ff\"]";
    let both = both(&dir, &format!("{tasks}{policy}"));
    both.sanity_check();
    let there = JobSpec::decode(&both.spec.encode()).expect("the job is right");
    assert_eq!(there.reliance(), &Reliance::Replicated { quorum: 2, most: 5 });
    assert_eq!(there.trusted(), both.file.trusted);
    for number in 0..there.task_count() {
        let node = there.node(TaskNumber(number)).expect("the number is below the count");
        assert_eq!(both.there(node).spec.hash(), plain.there(node).spec.hash());
    }
}

#[test]
fn parts_are_as_an_archive_has_them() {
    let dir = directory(&[]);
    let spec = both(&dir, "[tasks]\nrange = { to = 2 }\n[reduce]").spec;
    let file = |path: &str, offset: u64, len: u64| PartFile {
        path: GuestPath::new(path).expect("the path is right"),
        content: BlobRef { id: BlobId::of(b""), len },
        offset,
    };
    let part =
        |files: Vec<PartFile>| PartBlob { archive: BlobRef { id: BlobId::of(b"archive"), len: 10 }, files };
    let root = Node::Reduce { level: 0, index: 0 };
    let error = |parts: &[PartBlob]| spec.reduce_task(root, parts).expect_err("it is wrong").to_string();

    let task =
        spec.reduce_task(root, &[part(vec![]), part(vec![file("a", 3, 7)])]).expect("the parts are right");
    assert_eq!((task.spec.inputs[0].path.as_str(), task.sources[0].offset), ("parts/000001/a", 3));
    assert_eq!(
        error(&[part(vec![]), part(vec![file("a", 4, 7)])]),
        "the file a of part 1 is not inside of the part's archive"
    );
    assert_eq!(
        error(&[part(vec![file("a", u64::MAX, 7)]), part(vec![])]),
        "the file a of part 0 is not inside of the part's archive"
    );
    for (first, second) in [("a", "a"), ("b", "a")] {
        let files = vec![file(first, 0, 0), file(second, 0, 0)];
        assert_eq!(error(&[part(files), part(vec![])]), "the files of part 0 are out of order at a");
    }
    let crowd = (0..160_000).map(|i| file(&format!("{i:06}"), 0, 0)).collect();
    assert_eq!(
        error(&[part(vec![]), part(crowd)]),
        "the list of the reduce task's inputs takes 19040000 bytes, and 16777216 is the most"
    );
    let deep = file(&("a/".repeat(2045) + "aaaaaa"), 0, 0);
    assert!(error(&[part(vec![deep]), part(vec![])]).starts_with("a file of part 0 has too long a path"));
    assert_eq!(error(&[]), "the reduce task takes 2 parts and was given 0");
    assert_eq!(spec.reduce_task(Node::Map(1), &[]), Err(ReduceTaskError::MapTask { index: 1 }));
    let none = Node::Reduce { level: 9, index: 9 };
    assert_eq!(spec.reduce_task(none, &[]), Err(ReduceTaskError::NoSuchTask { level: 9, index: 9 }));
}

#[test]
fn the_widest_reduce_has_room() {
    let dir = directory(&[]);
    let spec = both(&dir, "[tasks]\nrange = { to = 10_000 }\n[reduce]").spec;
    assert_eq!(spec.tree(), Some(&ReduceTree::new(10_000, 10_000)));
    let file = |i: u64| PartFile {
        path: GuestPath::new(format!("tile-{i:02}.png")).expect("the path is right"),
        content: BlobRef { id: BlobId::of(b""), len: 1 },
        offset: i,
    };
    let part = PartBlob {
        archive: BlobRef { id: BlobId::of(b"archive"), len: 12 },
        files: (0..12).map(file).collect(),
    };
    let task =
        spec.reduce_task(Node::Reduce { level: 0, index: 0 }, &vec![part; 10_000]).expect("it has room");
    assert_eq!(task.sources.len(), 120_000);
}

#[test]
fn what_cannot_be_sealed_is_named() {
    let dir = directory(&[("s", "shared")]);
    let try_seal = |more: &str, hash: &mut dyn FnMut(&Content, Wanted) -> Result<BlobRef, &'static str>| {
        let file = JobFile::parse(&format!("name = \"a\"\n[program]\npath = \"a.wasm\"\n{more}"))
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let plan = expand(&file, dir.path()).expect("the job can be expanded");
        seal(&plan, &file, hash).expect_err("the job cannot be sealed")
    };
    assert_eq!(try_seal("", &mut |_, _| Err("the disk is full")), SealError::Content("the disk is full"));
    assert_eq!(try_seal("", &mut |_, _| Ok(blob(b"short"))), SealError::Length { expected: 7, found: 5 });
    let args = "{a}{a}-".repeat(512);
    let large = format!("args = [\"{args}\"]\n[tasks]\nmatrix = {{ a = [\"{}\"] }}", "x".repeat(1024));
    let error = try_seal(&large, &mut |content, _| Ok(blob(&read(content))));
    assert_eq!(error.to_string(), "the job cannot be sent");
    assert!(matches!(error, SealError::Spec(JobSpecError::Bound { found: 1_049_088, most: 1_048_576, .. })));
}
