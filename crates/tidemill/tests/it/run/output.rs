//! Where the output goes: whole or not at all, and never over what is not ours.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use serde_json::json;

use super::{job, json_of, names, place, slow_job};
use crate::{
    puppet::echo,
    support::{Place, TIDEMILL},
};

#[test]
fn each_task_of_a_job_without_a_reduce_has_a_directory() {
    let place = place(&job(&["quick", "mumble"]));
    place.run_job(&["--out", "out"]).code(0);
    let tree = place.tree("out");
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["tasks/0/stdout", "tasks/1/stdout", "tidemill.json"]);
    assert_eq!(tree["tasks/0/stdout"], echo(&["quick"]));
    assert_eq!(tree["tasks/1/stdout"], echo(&["mumble"]));
    let manifest = json_of(&tree["tidemill.json"]);
    assert_eq!(manifest["job"], "puppets");
    assert_eq!(manifest["tasks"], json!({ "tasks/0": "what=quick", "tasks/1": "what=mumble" }));
    assert_eq!(names(&place), ["job.toml", "out", "puppet.wasm"], "nothing is left beside it");
}

#[test]
fn files_of_one_name_are_told_apart() {
    let text = "name = \"cells\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"quick\", \"{input.dir}\"]\n\
        [tasks]\nfiles = \"*/reads.fq\"\n[resources]\nparallel = 1\n";
    let place = place(text);
    for name in ["heart 2/reads.fq", "liver/reads.fq"] {
        place.write(name, name);
    }
    let dry = place.run_job(&["--dry-run"]).code(0).stdout;
    assert!(dry.contains("first task (heart 2/reads.fq)") && dry.contains("quick heart 2"), "{dry}");
    place.run_job(&["--out", "out"]).code(0);
    let tree = place.tree("out");
    assert_eq!(tree["tasks/heart 2/reads.fq/stdout"], echo(&["quick", "heart 2"]));
    assert_eq!(tree["tasks/liver/reads.fq/stdout"], echo(&["quick", "liver"]));
    let named =
        json!({ "tasks/heart 2/reads.fq": "heart 2/reads.fq", "tasks/liver/reads.fq": "liver/reads.fq" });
    assert_eq!(json_of(&tree["tidemill.json"])["tasks"], named);
    place.job(&text.replace("quick", "exit"));
    place.run_job(&["--out", "out"]).code(1).says(&["heart 2/reads.fq failed"]);
}

#[test]
fn task_directories_sort_by_name() {
    let place = place(&slow_job(11).replace("slow", "quick"));
    place.run_job(&["--out", "out"]).code(0);
    let tree = place.tree("out");
    let stdout: Vec<_> = tree.iter().filter(|(name, _)| name.ends_with("stdout")).collect();
    assert_eq!(stdout.len(), 11);
    for (index, (name, bytes)) in stdout.into_iter().enumerate() {
        assert_eq!(*name, format!("tasks/{index:02}/stdout"));
        assert_eq!(*bytes, echo(&["quick", &index.to_string()]));
    }
}

#[test]
fn the_output_of_a_reduce_is_the_output() {
    let text = slow_job(5).replace("slow", "quick")
        + "[reduce]\nargs = [\"quick\", \"{level}\", \"{index}\", \"{count}\", \"{last}\"]\nfan_in = 2\n";
    let place = place(&text);
    let ran = place.run_job(&["--out", "out", "--json"]).code(0);
    let tree = place.tree("out");
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["stdout", "tidemill.json"]);
    assert_eq!(json_of(&tree["tidemill.json"]).get("tasks"), None);
    assert_eq!(tree["stdout"], echo(&["quick", "2", "0", "2", "true"]));
    // Five tasks, then three, two and one reduce tasks.
    assert_eq!(ran.json()["tasks"], 11);
}

#[test]
fn without_a_directory_the_output_is_named_after_the_job() {
    let place = place(&job(&["quick"]));
    let ran = place.run_job(&[]).code(0);
    assert_eq!(place.tree("out/puppets")["tasks/0/stdout"], echo(&["quick"]));
    assert!(ran.stdout.contains("out/puppets/tasks/0/stdout"), "{}", ran.stdout);
}

#[test]
fn paths_are_relative_to_the_job_file() {
    let place = Place::new();
    place.job(&job(&["quick"]));
    fs::create_dir(place.path("jobs")).unwrap();
    for name in ["job.toml", "puppet.wasm"] {
        fs::rename(place.path(name), place.path(&format!("jobs/{name}"))).unwrap();
    }
    place.tidemill(&["run", "jobs/job.toml", "--here", "--out", "a/b/out"]).code(0);
    assert_eq!(place.tree("a/b/out")["tasks/0/stdout"], echo(&["quick"]));
}

#[test]
fn a_directory_that_is_not_ours_is_never_replaced() {
    let place = place(&job(&["quick"]));
    place.write("out/precious.txt", "mine");
    place.run_job(&["--out", "out"]).code(2).says(&["no output of Tidemill", "hint: "]);
    assert_eq!(place.tree("out")["precious.txt"], b"mine");
    place.run_job(&["--out", "job.toml"]).code(2).says(&["is a file"]);
    place.run_job(&["--out", "out/precious.txt/out"]).code(2);
    assert_eq!(names(&place), ["job.toml", "out", "puppet.wasm"]);
}

#[test]
fn an_empty_directory_is_taken() {
    let place = place(&job(&["quick"]));
    fs::create_dir(place.path("out")).unwrap();
    place.run_job(&["--out", "out"]).code(0);
    assert_eq!(place.tree("out")["tasks/0/stdout"], echo(&["quick"]));
}

#[test]
fn an_earlier_output_is_replaced_as_a_whole() {
    let place = place(&job(&["quick", "mumble", "large"]));
    place.run_job(&["--out", "out"]).code(0);
    place.job(&job(&["mumble"]));
    place.run_job(&["--out", "out"]).code(0);
    let tree = place.tree("out");
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["tasks/0/stdout", "tidemill.json"]);
    assert_eq!(tree["tasks/0/stdout"], echo(&["mumble"]));
}

#[test]
fn a_job_that_fails_leaves_the_earlier_output() {
    let place = place(&job(&["quick", "mumble"]));
    place.run_job(&["--out", "out"]).code(0);
    let before = place.tree("out");
    place.job(&job(&["quick", "exit"]));
    place.run_job(&["--out", "out"]).code(1);
    assert_eq!(place.tree("out"), before);
}

#[test]
fn an_earlier_output_that_a_killed_run_had_set_aside_comes_back() {
    let place = place(&job(&["quick"]));
    place.run_job(&["--out", "out"]).code(0);
    let before = place.tree("out");
    fs::rename(place.path("out"), place.path(".out.old")).unwrap();
    place.job(&job(&["exit"]));
    place.run_job(&["--out", "out"]).code(1);
    assert_eq!(place.tree("out"), before);
}

#[test]
fn a_file_named_like_the_manifest_is_not_lost_in_silence() {
    let reduce = "[reduce]\nargs = [\"save\", \"out/tidemill.json\"]\n";
    let place = place(&(job(&["quick"]) + reduce));
    place.run_job(&["--out", "out"]).code(1).says(&["a file named tidemill.json", "hint: "]);
    assert!(!place.path("out").exists());
}

#[test]
fn the_current_directory_keeps_its_place() {
    let place = place(&job(&["quick"]));
    fs::create_dir(place.path("out")).unwrap();
    let before = fs::metadata(place.path("out")).unwrap().ino();
    for args in ["quick", "mumble"] {
        place.write("job.toml", job(&[args]));
        let mut command = place.command(&["run", "../job.toml", "--here", "--out", "."]);
        let ran = command.current_dir(place.path("out")).output().expect("the binary starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let tree = place.tree("out");
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["tasks/0/stdout", "tidemill.json"]);
        assert_eq!(tree["tasks/0/stdout"], echo(&[args]));
    }
    assert_eq!(fs::metadata(place.path("out")).unwrap().ino(), before, "the shell stands where it stood");
    // What was interrupted while files took their places is ours, though its manifest is gone.
    fs::remove_file(place.path("out/tidemill.json")).unwrap();
    place.write("out/.tidemill.partial", "");
    let mut command = place.command(&["run", "../job.toml", "--here", "--out", "."]);
    assert!(command.current_dir(place.path("out")).status().unwrap().success());
    assert_eq!(place.tree("out").keys().collect::<Vec<_>>(), ["tasks/0/stdout", "tidemill.json"]);
    // And what somebody else put there is not.
    fs::remove_file(place.path("out/tidemill.json")).unwrap();
    let mut command = place.command(&["run", "../job.toml", "--here", "--out", "."]);
    assert_eq!(command.current_dir(place.path("out")).status().unwrap().code(), Some(2));
}

/// Runs a script with the mounts of a namespace of its own; nothing where the system allows none.
fn with_mounts(place: &Place, script: &str) -> Option<std::process::Output> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script, TIDEMILL]);
        command.current_dir(place.path("")).env("TIDEMILL_HOME", place.path("home"));
        command.output()
    };
    let allowed = unshare("mkdir -p probe && mount -t tmpfs none probe");
    if !allowed.is_ok_and(|allowed| allowed.status.success()) {
        eprintln!("no namespace with mounts of its own: the test of mount points is left out");
        return None;
    }
    Some(unshare(script).expect("a shell"))
}

#[test]
fn a_mount_point_gets_the_output_within_it() {
    let place = place(&job(&["quick"]));
    let script = "mkdir o\nmount -t tmpfs none o\n\
        \"$0\" run job.toml --free --out o\n\"$0\" run job.toml --here --out o\n\
        find o -type f | sort\ncat o/tasks/0/stdout";
    let Some(ran) = with_mounts(&place, script) else { return };
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{text}\n{}", String::from_utf8_lossy(&ran.stderr));
    let files = "o/tasks/0/stdout\no/tidemill.json\n";
    let expected = [files.as_bytes(), &echo(&["quick"])].concat();
    assert!(ran.stdout.ends_with(&expected), "{text}");
}

#[test]
fn an_output_that_nothing_can_be_put_into_is_refused_before_anything_runs() {
    let place = place(&job(&["quick"]));
    let script = "mkdir o\nmount -t tmpfs -o ro none o\n\"$0\" run job.toml --out o";
    let Some(ran) = with_mounts(&place, script) else { return };
    let words = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(4), "{words}");
    assert!(words.contains("Read-only file system") && !words.contains("lock 0"), "{words}");
    assert!(!place.path("home/ledger").exists(), "no money was touched");
}
