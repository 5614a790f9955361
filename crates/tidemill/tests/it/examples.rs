//! The four example jobs: what they find, and that it does not depend on how they are run.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::support::{Place, deep, workspace};

/// A place with an example's job file and all that it needs, some of the job file's text replaced.
pub fn example(name: &str, changes: &[(&str, &str)]) -> Place {
    let place = Place::new();
    for entry in fs::read_dir(workspace().join("examples").join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, place.path(&path.file_name().unwrap().to_string_lossy())).unwrap();
        }
    }
    let mut job = fs::read_to_string(place.path("job.toml")).unwrap();
    for (from, to) in changes {
        assert_eq!(job.matches(from).count(), 1, "{from:?} in the job file of {name}");
        job = job.replace(from, to);
    }
    place.write("job.toml", job);
    place
}

/// An example as it is, or where that takes minutes and they are not to be had, with less to do.
fn example_or_lighter(name: &str, changes: &[(&str, &str)]) -> Place {
    example(name, if deep() { &[] } else { changes })
}

/// Runs the job one task at a time and two at a time. Gives the files, which must be the same.
fn run_both_ways(place: &Place) -> BTreeMap<String, Vec<u8>> {
    place.run_job(&["--out", "one", "-j", "1"]).code(0);
    place.run_job(&["--out", "two", "-j", "2"]).code(0);
    let files = place.tree("one");
    assert_eq!(files.keys().collect::<Vec<_>>(), place.tree("two").keys().collect::<Vec<_>>());
    for (name, bytes) in &files {
        assert!(*bytes == place.tree("two")[name], "{name} depends on how many tasks run at a time");
    }
    files
}

/// The pixels of a PNG with 8 bits a channel, and its width and height.
fn decode(png: &[u8]) -> (Vec<u8>, u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    pixels.truncate(info.buffer_size());
    (pixels, info.width, info.height)
}

/// How many of the 256 values a picture's bytes take.
fn values(pixels: &[u8]) -> usize {
    let mut seen = [false; 256];
    pixels.iter().for_each(|value| seen[usize::from(*value)] = true);
    seen.iter().filter(|seen| **seen).count()
}

#[test]
fn render_makes_a_picture() {
    let one_path_a_pixel = (r#""{count}"]"#, r#""{count}", "--samples", "1"]"#);
    let place = example_or_lighter("render", &[one_path_a_pixel]);
    let files = run_both_ways(&place);
    let (pixels, width, height) = decode(&files["render.png"]);
    assert_eq!((width, height), (1280, 720));
    assert!(values(&pixels) > 200, "the picture has only {} values", values(&pixels));
    // Each tile is there: no twelfth of the picture's rows or columns is flat.
    let channels = pixels.len() / (1280 * 720);
    for tile_row in 0..6 {
        for tile_column in 0..10 {
            let rows = tile_row * 120..(tile_row + 1) * 120;
            let tile: Vec<u8> = rows
                .flat_map(|row| {
                    let start = (row * 1280 + tile_column * 128) * channels;
                    pixels[start..start + 128 * channels].to_vec()
                })
                .collect();
            assert!(values(&tile) > 8, "the tile in row {tile_row}, column {tile_column} is flat");
        }
    }
}

#[test]
fn weather_keeps_its_mass_and_draws_a_map() {
    let place =
        example_or_lighter("weather", &[("to = 12", "to = 3"), (r#""--hours", "144""#, r#""--hours", "6""#)]);
    let files = run_both_ways(&place);
    let (pixels, width, height) = decode(&files["weather.png"]);
    assert!(width >= 256 && height >= 128, "{width} x {height}");
    assert!(values(&pixels) > 50, "the map has only {} values", values(&pixels));
    let summary = String::from_utf8(files["summary.txt"].clone()).unwrap();
    let errors = mass_errors(&summary);
    assert_eq!(errors.len(), if deep() { 12 } else { 3 }, "{summary}");
    assert!(errors.iter().all(|error| (0.0..=1e-11).contains(error)), "{errors:?} in\n{summary}");
}

/// The mass error of each member, by the column of that name.
fn mass_errors(summary: &str) -> Vec<f64> {
    let mut lines = summary.lines().skip_while(|line| !line.starts_with("member "));
    let _head = lines.next();
    lines.map_while(|line| line.split_whitespace().nth(1)?.parse().ok()).collect()
}

#[test]
fn montecarlo_agrees_with_the_closed_form() {
    let place = example_or_lighter("montecarlo", &[("100000000", "1000000")]);
    let files = run_both_ways(&place);
    let price: Value = serde_json::from_slice(&files["price.json"]).unwrap();
    let number = |name: &str| price[name].as_f64().unwrap();
    let apart = (number("price") - number("black_scholes")) / number("standard_error");
    assert!(apart.abs() <= 5.0, "{price}");
    assert_eq!(number("batches"), 24.0);
    assert!(number("paths") >= 24e6);
    // The closed form, as any table of it has it.
    assert!((number("black_scholes") - 9.121_799_457_7).abs() < 1e-9, "{price}");
    assert!(number("standard_error") < 0.01, "{price}");
}

/// A job that counts k-mers of some files.
fn kmer_job(input: &str, size: &str, fan_in: u32) -> String {
    format!(
        r#"name = "kmer"
[program]
path = "kmer.wasm"
args = ["count", "--input", "{{input}}", "--k", "21"]
[tasks]
split = {{ input = "{input}", by = "fastx", size = "{size}", overlap = 20 }}
[reduce]
args = ["merge", "--parts", "{{parts}}", "--last", "{{last}}"]
fan_in = {fan_in}
"#
    )
}

/// k, total, distinct, unique and the greatest count.
fn summary(files: &BTreeMap<String, Vec<u8>>) -> Vec<u64> {
    let text = String::from_utf8(files["summary.txt"].clone()).unwrap();
    text.lines().map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect()
}

/// As `jellyfish count -C -m 21` counts the sample.
const SAMPLE: [u64; 5] = [21, 248_852, 218_344, 216_328, 1481];

#[test]
fn kmer_counts_what_jellyfish_counts() {
    let files = run_both_ways(&example("kmer", &[]));
    assert_eq!(summary(&files), SAMPLE);
}

#[test]
fn kmer_counts_the_same_in_pieces_of_any_size() {
    let place = example("kmer", &[]);
    place.run_job(&["--out", "reference"]).code(0);
    let reference = place.tree("reference");
    for (size, fan_in) in [("2 KiB", 7), ("4097 B", 2), ("100 KiB", 4), ("1 GiB", 10_000)] {
        place.write("pieces.toml", kmer_job("sample.fa", size, fan_in));
        place.tidemill(&["run", "pieces.toml", "--here", "--out", "out"]).code(0);
        let files = place.tree("out");
        assert_eq!(summary(&files), SAMPLE, "{size}");
        for name in ["histogram.tsv", "top.tsv"] {
            assert!(files[name] == reference[name], "{name} in pieces of {size}");
        }
    }
}

/// Counted by Debian's `jellyfish count -C -m 21`: k, total, distinct, unique, greatest count.
const GENOMES: [(&str, [u64; 5]); 3] = [
    ("MT-human.fa", [21, 16_549, 16_549, 16_549, 1]),
    ("lambda_virus.fa", [21, 48_482, 48_482, 48_482, 1]),
    ("lambda_reads_1.fq", [21, 705_877, 113_482, 64_752, 30]),
];

#[test]
fn kmer_counts_genomes_as_jellyfish_does() {
    let genomes = workspace().join("../shared/data/genomes");
    if !Path::new(&genomes).is_dir() {
        println!("skipped: there are no genomes in {}", genomes.display());
        return;
    }
    let place = example("kmer", &[]);
    for (name, counts) in GENOMES {
        let path = fs::canonicalize(genomes.join(name)).unwrap();
        for (size, fan_in) in [("10 KiB", 16), ("1 GiB", 2)] {
            place.write("genome.toml", kmer_job(&path.to_string_lossy(), size, fan_in));
            place.tidemill(&["run", "genome.toml", "--here", "--out", "out"]).code(0);
            assert_eq!(summary(&place.tree("out")), counts, "{name} in pieces of {size}");
        }
    }
}
