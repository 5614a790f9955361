//! The whole way from a scene to a picture, below a temporary root.

// The helpers below are tests too, though the lint does not see that.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const SCENE: &str = "image 48 32 samples 4\ncamera from 0 1 5 to 0 0.5 0\nsun toward 1 1 1 colour 3 3 3\n\
                     water level 0\nmaterial red diffuse 0.8 0.2 0.1\nsphere red 1 1 1 at 0 0.5 0\n";

fn root(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    for folder in ["in/parts", "out"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("in/scene.txt"), SCENE).unwrap();
    root
}

fn run(root: &Path, args: &str) -> Result<(), String> {
    let args: Vec<String> = args.split_whitespace().map(String::from).collect();
    example_render::run(&args, root).map_err(|e| e.to_string())
}

fn picture(root: &Path, count: usize) -> Vec<u8> {
    for i in 0..count {
        run(root, &format!("tile --scene /in/scene.txt --tile {i} --of {count}")).unwrap();
        let folder = root.join(format!("in/parts/{i:06}"));
        fs::create_dir_all(&folder).unwrap();
        fs::rename(root.join("out/tile.bin"), folder.join("tile.bin")).unwrap();
    }
    run(root, "assemble --parts /in/parts").unwrap();
    fs::read(root.join("out/render.png")).unwrap()
}

#[test]
fn the_picture_does_not_depend_on_the_tiles() {
    let one = picture(&root("one"), 1);
    let six = picture(&root("six"), 6);
    assert_eq!(&one[1..4], b"PNG");
    assert!(one == six);
}

#[test]
fn errors_say_what_is_wrong() {
    let root = root("errors");
    assert!(run(&root, "tile --scene /in/no.txt --tile 0 --of 1").unwrap_err().starts_with("/in/no.txt: "));
    assert!(run(&root, "tile --scene /in/scene.txt --tile 4 --of 4").unwrap_err().contains("no tile 4 of 4"));
    assert!(run(&root, "assemble --parts /in/parts").unwrap_err().contains("there are no tiles"));
    run(&root, "tile --scene /in/scene.txt --tile 0 --of 4").unwrap();
    fs::create_dir_all(root.join("in/parts/000000")).unwrap();
    fs::rename(root.join("out/tile.bin"), root.join("in/parts/000000/tile.bin")).unwrap();
    assert!(run(&root, "assemble --parts /in/parts").unwrap_err().contains("leave 1152 pixels"));
}

#[test]
fn the_scene_of_the_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scene.txt");
    let scene = example_render::parse::scene(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(scene.shapes.len() > 1000);
    assert_eq!((scene.width, scene.height), (1280, 720));
}
