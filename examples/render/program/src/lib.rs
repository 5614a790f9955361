//! A path tracer that renders a scene by tiles.
//!
//! `tile` renders one tile of a scene into a binary file with light, noise and surface buffers;
//! `assemble` puts the tiles of a picture together, removes the noise and writes a PNG.

pub mod bvh;
pub mod denoise;
pub mod develop;
pub mod error;
pub mod math;
pub mod noise;
pub mod parse;
pub mod pattern;
pub mod random;
pub mod scene;
pub mod shape;
pub mod sky;
pub mod tile;
pub mod trace;
pub mod water;
pub mod words;

use std::path::{Path, PathBuf};

pub use error::Error;
use tile::{Area, Pixel, Tile};

const USAGE: &str = "usage:
  render tile --scene FILE --tile N --of COUNT [--samples N] [--seed N] [--out FILE]
  render assemble --parts DIR [--out FILE] [--raw]";

/// The words after the command, as pairs of a flag and its value.
struct Flags<'a> {
    rest: &'a [String],
}

impl<'a> Flags<'a> {
    fn get(&self, flag: &str) -> Result<Option<&'a str>, Error> {
        match self.rest.iter().position(|a| a == flag) {
            None => Ok(None),
            Some(i) => match self.rest.get(i + 1) {
                Some(value) => Ok(Some(value)),
                None => Err(Error::Usage(format!("{flag} needs a value\n{USAGE}"))),
            },
        }
    }

    fn need(&self, flag: &str) -> Result<&'a str, Error> {
        self.get(flag)?.ok_or_else(|| Error::Usage(format!("{flag} is missing\n{USAGE}")))
    }

    fn number(&self, flag: &str) -> Result<Option<u32>, Error> {
        let Some(text) = self.get(flag)? else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::Usage(format!("{flag} must be a whole number, not \"{text}\""))),
        }
    }

    fn check(&self, known: &[&str], switches: &[&str]) -> Result<(), Error> {
        let mut i = 0;
        while i < self.rest.len() {
            let flag = self.rest[i].as_str();
            if known.contains(&flag) {
                i += 2;
            } else if switches.contains(&flag) {
                i += 1;
            } else {
                return Err(Error::Usage(format!("unknown argument \"{flag}\"\n{USAGE}")));
            }
        }
        Ok(())
    }
}

/// The place of a guest path below `root`.
fn place(root: &Path, guest: &str) -> PathBuf {
    root.join(guest.trim_start_matches('/'))
}

fn read(root: &Path, guest: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(place(root, guest)).map_err(|why| Error::File { path: guest.into(), why })
}

fn write(root: &Path, guest: &str, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(place(root, guest), bytes).map_err(|why| Error::File { path: guest.into(), why })
}

/// Runs the program with the arguments after its name; guest paths are taken below `root`.
pub fn run(args: &[String], root: &Path) -> Result<(), Error> {
    let Some((command, rest)) = args.split_first() else { return Err(Error::Usage(USAGE.into())) };
    let flags = Flags { rest };
    match command.as_str() {
        "tile" => {
            flags.check(&["--scene", "--tile", "--of", "--samples", "--seed", "--out"], &[])?;
            render_tile(&flags, root)
        }
        "assemble" => {
            flags.check(&["--parts", "--out"], &["--raw"])?;
            assemble(&flags, root)
        }
        other => Err(Error::Usage(format!("unknown command \"{other}\"\n{USAGE}"))),
    }
}

fn render_tile(flags: &Flags<'_>, root: &Path) -> Result<(), Error> {
    let path = flags.need("--scene")?;
    flags.need("--tile")?;
    flags.need("--of")?;
    let count = flags.number("--of")?.unwrap_or(1);
    let index = flags.number("--tile")?.unwrap_or(0);
    if count == 0 || index >= count {
        return Err(Error::Usage(format!("there is no tile {index} of {count}; tiles count from 0")));
    }
    let text = String::from_utf8(read(root, path)?)
        .map_err(|_| Error::Usage(format!("{path} is not a text file in UTF-8")))?;
    let scene = parse::scene(&text)?;
    let samples = flags.number("--samples")?.unwrap_or(scene.samples);
    if samples == 0 || samples > 65_536 {
        return Err(Error::Usage("--samples must be from 1 to 65536".into()));
    }
    let seed = flags.number("--seed")?.unwrap_or(1);
    let area = tile::area(scene.width, scene.height, index, count);
    let pixels = tile::render(&scene, area, samples, seed);
    let tile = Tile { picture: (scene.width, scene.height), area, exposure: scene.exposure as f32, pixels };
    write(root, flags.get("--out")?.unwrap_or("/out/tile.bin"), &tile.to_bytes())
}

fn assemble(flags: &Flags<'_>, root: &Path) -> Result<(), Error> {
    let parts = flags.need("--parts")?;
    let raw = flags.rest.iter().any(|a| a == "--raw");
    let fail = |why| Error::File { path: parts.into(), why };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place(root, parts)).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut picture: Option<(u32, u32, f32)> = None;
    let mut pixels: Vec<Option<Pixel>> = Vec::new();
    for name in &names {
        let path = format!("{}/{name}/tile.bin", parts.trim_end_matches('/'));
        let tile = Tile::from_bytes(&read(root, &path)?).map_err(|e| Error::Tile(format!("{path}: {e}")))?;
        let own = (tile.picture.0, tile.picture.1, tile.exposure);
        if *picture.get_or_insert(own) != own {
            return Err(Error::Tile(format!("{path}: this tile belongs to another picture")));
        }
        pixels.resize(own.0 as usize * own.1 as usize, None);
        put(&mut pixels, own.0, tile.area, &tile.pixels);
    }
    let Some((width, height, exposure)) = picture else {
        return Err(Error::Tile(format!("{parts}: there are no tiles")));
    };
    let missing = pixels.iter().filter(|p| p.is_none()).count();
    if missing > 0 {
        return Err(Error::Tile(format!(
            "{parts}: the tiles leave {missing} pixels of {width}×{height} empty"
        )));
    }
    let pixels: Vec<Pixel> = pixels.into_iter().flatten().collect();
    let picture = denoise::Picture { width: width as usize, height: height as usize, pixels };
    let light =
        if raw { picture.pixels.iter().map(|p| p.light).collect() } else { denoise::denoise(&picture) };
    let bytes = develop::develop(light, picture.width, picture.height, exposure);
    write(root, flags.get("--out")?.unwrap_or("/out/render.png"), &develop::png(&bytes, width, height)?)
}

fn put(picture: &mut [Option<Pixel>], width: u32, area: Area, pixels: &[Pixel]) {
    for (y, row) in pixels.chunks_exact((area.width as usize).max(1)).enumerate() {
        let start = (area.top as usize + y) * width as usize + area.left as usize;
        for (to, from) in picture[start..].iter_mut().zip(row) {
            *to = Some(*from);
        }
    }
}
