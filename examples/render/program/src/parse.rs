//! Reads scene files. The format is documented at the head of `scene.txt`.

use crate::bvh::Bvh;
use crate::error::Error;
use crate::math::{Affine, Vec3, vec3};
use crate::pattern::Pattern;
use crate::random::{mix_pair, unit_of};
use crate::scene::{Camera, Haze, Lamp, Material, Scene, Surface};
use crate::shape::{Placed, Shape};
use crate::sky::Sky;
use crate::water::{Ring, Water};
use crate::words::{Parsed, Words};

struct Reader<'a> {
    lines: Vec<(usize, Vec<&'a str>)>,
    camera: Option<Camera>,
    scene: Scene,
    shapes: Vec<Placed>,
}

/// More shapes than this are refused: a slip in a nested `repeat` should not eat the memory.
const MOST_SHAPES: usize = 200_000;
const MOST_NESTED: usize = 32;

/// Reads a scene.
pub fn scene(text: &str) -> Result<Scene, Error> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        if !words.is_empty() {
            lines.push((number + 1, words));
        }
    }
    let camera = Camera { from: Vec3::ZERO, to: Vec3::ZERO, view: 40.0, lens: 0.0, focus: 1.0 };
    let sky = Sky {
        sun: Vec3::UP,
        sunlight: Vec3::ONE * 3.0,
        sun_cosine: 0.5f64.to_radians().cos(),
        zenith: vec3(0.2, 0.35, 0.7),
        horizon: vec3(0.7, 0.7, 0.7),
        glow: Vec3::ZERO,
        clouds: 0.0,
    };
    let scene = Scene {
        width: 1280,
        height: 720,
        samples: 16,
        exposure: 1.0,
        camera,
        sky,
        haze: Haze { density: 0.0, colour: Vec3::ZERO },
        water: None,
        materials: Vec::new(),
        lamps: Vec::new(),
        shapes: Bvh::default(),
    };
    let mut reader = Reader { lines, camera: None, scene, shapes: Vec::new() };
    let end = reader.lines.len();
    reader.block(0, end, &Affine::IDENTITY, 0)?;
    let last = reader.lines.last().map_or(1, |l| l.0);
    let Some(camera) = reader.camera else {
        return Err(Error::Scene { line: last, what: "the scene has no camera line".into() });
    };
    let mut scene = reader.scene;
    scene.camera = camera;
    scene.shapes = Bvh::new(reader.shapes);
    Ok(scene)
}

impl<'a> Reader<'a> {
    /// The index of the `end` that closes the block opened at `start`.
    fn close(&self, start: usize, end: usize) -> Parsed<usize> {
        let mut open = 0;
        for i in start..end {
            match self.lines[i].1[0] {
                "group" | "repeat" | "scatter" => open += 1,
                "end" => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(i);
            }
        }
        let (line, words) = &self.lines[start];
        Err(Error::Scene { line: *line, what: format!("this {} has no end", words[0]) })
    }

    fn block(&mut self, start: usize, end: usize, map: &Affine, nested: usize) -> Parsed<()> {
        let mut i = start;
        while i < end {
            let (line, list) = self.lines[i].clone();
            let mut words = Words { line, words: list, next: 0 };
            if nested > MOST_NESTED {
                return words.fail("blocks are nested too deeply");
            }
            match words.name("a statement")? {
                "end" => return words.fail("this end closes nothing"),
                "group" => {
                    let close = self.close(i, end)?;
                    let own = self.placing(&mut words, map)?;
                    self.block(i + 1, close, &own, nested + 1)?;
                    i = close;
                }
                "repeat" => {
                    let close = self.close(i, end)?;
                    let count = words.count("the number of repetitions", 10_000)?;
                    let step = self.placing(&mut words, &Affine::IDENTITY)?;
                    let mut own = Affine::IDENTITY;
                    for _ in 0..count {
                        self.block(i + 1, close, &map.after(&own), nested + 1)?;
                        own = own.after(&step);
                    }
                    i = close;
                }
                "scatter" => {
                    let close = self.close(i, end)?;
                    self.scatter(&mut words, i + 1, close, map, nested)?;
                    i = close;
                }
                statement => self.statement(statement, &mut words, map)?,
            }
            i += 1;
        }
        Ok(())
    }

    fn scatter(
        &mut self,
        words: &mut Words<'a>,
        start: usize,
        end: usize,
        map: &Affine,
        nested: usize,
    ) -> Parsed<()> {
        let count = words.count("the number of copies", 20_000)?;
        let (mut within, mut sizes, mut seed) = (Vec3::ONE, (1.0, 1.0), 1);
        while let Some(word) = words.word() {
            match word {
                "within" => within = words.vector("within")?,
                "sizes" => sizes = (words.positive("sizes")?, words.positive("sizes")?),
                "seed" => seed = words.count("seed", 1_000_000_000)?,
                other => return words.unknown(other, "within, sizes or seed"),
            }
        }
        let mut key = mix_pair(seed, 77);
        let mut random = || {
            key = key.wrapping_add(1);
            unit_of(key)
        };
        for _ in 0..count {
            // A point of the unit ball; of the disc, if the region is flat.
            let p = loop {
                let p = vec3(2.0 * random() - 1.0, 2.0 * random() - 1.0, 2.0 * random() - 1.0);
                let p = if within.y == 0.0 { vec3(p.x, 0.0, p.z) } else { p };
                if p.dot(p) <= 1.0 {
                    break p;
                }
            };
            let size = sizes.0 + (sizes.1 - sizes.0) * random();
            let own = map
                .after(&Affine::shift(p * within))
                .after(&Affine::turn(1, 360.0 * random()))
                .after(&Affine::stretch(Vec3::ONE * size));
            self.block(start, end, &own, nested + 1)?;
        }
        Ok(())
    }

    /// Reads `at`, `turn` and `scale` until the end of the line; each applies within those before it.
    fn placing(&self, words: &mut Words<'a>, map: &Affine) -> Parsed<Affine> {
        let mut own = *map;
        while let Some(word) = words.word() {
            own = match word {
                "at" => own.after(&Affine::shift(words.vector("at")?)),
                "scale" => own.after(&Affine::stretch(words.vector("scale")?)),
                "turn" => {
                    let axis = match words.name("the axis of a turn")? {
                        "x" => 0,
                        "y" => 1,
                        "z" => 2,
                        other => return words.unknown(other, "x, y or z"),
                    };
                    own.after(&Affine::turn(axis, words.number("turn")?))
                }
                other => return words.unknown(other, "at, turn or scale"),
            };
        }
        Ok(own)
    }

    fn statement(&mut self, statement: &str, words: &mut Words<'a>, map: &Affine) -> Parsed<()> {
        match statement {
            "image" => {
                self.scene.width = words.count("the width", 16_384)?;
                self.scene.height = words.count("the height", 16_384)?;
                while let Some(word) = words.word() {
                    match word {
                        "samples" => self.scene.samples = words.count("samples", 65_536)?,
                        "exposure" => self.scene.exposure = words.positive("exposure")?,
                        other => return words.unknown(other, "samples or exposure"),
                    }
                }
            }
            "camera" => self.camera = Some(camera(words)?),
            "sky" => {
                while let Some(word) = words.word() {
                    let sky = &mut self.scene.sky;
                    match word {
                        "zenith" => sky.zenith = words.vector("zenith")?,
                        "horizon" => sky.horizon = words.vector("horizon")?,
                        "glow" => sky.glow = words.vector("glow")?,
                        "clouds" => sky.clouds = words.number("clouds")?,
                        other => return words.unknown(other, "zenith, horizon, glow or clouds"),
                    }
                }
            }
            "sun" => {
                while let Some(word) = words.word() {
                    let sky = &mut self.scene.sky;
                    match word {
                        "toward" => sky.sun = words.direction("toward")?,
                        "colour" => sky.sunlight = words.vector("colour")?,
                        "width" => {
                            sky.sun_cosine = (0.5 * words.positive("width")?.min(90.0)).to_radians().cos();
                        }
                        other => return words.unknown(other, "toward, colour or width"),
                    }
                }
            }
            "haze" => {
                self.scene.haze = Haze {
                    density: words.number("haze")?.max(0.0),
                    colour: words.vector("the colour of the haze")?,
                };
            }
            "water" => self.water(words)?,
            "ring" => self.ring(words)?,
            "material" => {
                let material = material(words)?;
                if self.scene.materials.iter().any(|m| m.name == material.name) {
                    return words.fail(format!("there is already a material \"{}\"", material.name));
                }
                self.scene.materials.push(material);
            }
            "sphere" | "box" | "cylinder" | "tube" | "cone" | "gable" => self.shape(statement, words, map)?,
            other => {
                return words.unknown(
                    other,
                    "image, camera, sky, sun, haze, water, ring, material, group, repeat, scatter, end \
                     or a shape (sphere, box, cylinder, tube, cone, gable)",
                );
            }
        }
        match words.word() {
            Some(extra) => words.fail(format!("\"{extra}\" is more than {statement} takes")),
            None => Ok(()),
        }
    }

    fn water(&mut self, words: &mut Words<'a>) -> Parsed<()> {
        let mut water = Water { level: 0.0, colour: Vec3::ZERO, ripples: 0.0, rings: Vec::new() };
        while let Some(word) = words.word() {
            match word {
                "level" => water.level = words.number("level")?,
                "colour" => water.colour = words.vector("colour")?,
                "ripples" => water.ripples = words.number("ripples")?,
                other => return words.unknown(other, "level, colour or ripples"),
            }
        }
        self.scene.water = Some(water);
        Ok(())
    }

    fn ring(&mut self, words: &mut Words<'a>) -> Parsed<()> {
        let mut ring = Ring { x: 0.0, z: 0.0, wavelength: 1.0, steepness: 0.1, reach: 2.0 };
        while let Some(word) = words.word() {
            match word {
                "at" => (ring.x, ring.z) = (words.number("at")?, words.number("at")?),
                "wave" => ring.wavelength = words.positive("wave")?,
                "steep" => ring.steepness = words.number("steep")?,
                "reach" => ring.reach = words.positive("reach")?,
                other => return words.unknown(other, "at, wave, steep or reach"),
            }
        }
        match &mut self.scene.water {
            Some(water) => water.rings.push(ring),
            None => return words.fail("a ring needs a water line above it"),
        }
        Ok(())
    }

    fn shape(&mut self, kind: &str, words: &mut Words<'a>, map: &Affine) -> Parsed<()> {
        let name = words.name("the material")?;
        let Some(material) = self.scene.materials.iter().position(|m| m.name == name) else {
            return words.fail(format!("there is no material \"{name}\" above this line"));
        };
        let size = vec3(words.positive("width")?, words.positive("height")?, words.positive("depth")?);
        let shape = match kind {
            "sphere" => Shape::Sphere,
            "box" => Shape::Box,
            "cylinder" => Shape::Cylinder,
            "cone" => Shape::Cone,
            "gable" => Shape::Gable,
            _ => {
                let bore = words.positive("the bore")?;
                if bore >= 1.0 {
                    return words.fail("the bore must be below 1: it is a share of the radius");
                }
                Shape::Tube(bore)
            }
        };
        let own = self.placing(words, map)?.after(&Affine::stretch(size * 0.5));
        if self.shapes.len() >= MOST_SHAPES {
            return words.fail(format!("more than {MOST_SHAPES} shapes"));
        }
        let Some(placed) = Placed::new(shape, material, &own, self.shapes.len() as u32) else {
            return words.fail("this shape is flattened to nothing");
        };
        let kept = &self.scene.materials[material];
        if kept.surface == Surface::Glow && shape == Shape::Sphere {
            let radius = own.lengths().largest();
            self.scene.lamps.push(Lamp { centre: own.point(Vec3::ZERO), radius, colour: kept.colour });
        }
        self.shapes.push(placed);
        Ok(())
    }
}

fn camera(words: &mut Words<'_>) -> Parsed<Camera> {
    let mut camera = Camera { from: vec3(0.0, 1.0, 10.0), to: Vec3::ZERO, view: 40.0, lens: 0.0, focus: 0.0 };
    while let Some(word) = words.word() {
        match word {
            "from" => camera.from = words.vector("from")?,
            "to" => camera.to = words.vector("to")?,
            "view" => camera.view = words.positive("view")?,
            "lens" => camera.lens = words.number("lens")?.max(0.0),
            "focus" => camera.focus = words.positive("focus")?,
            other => return words.unknown(other, "from, to, view, lens or focus"),
        }
    }
    let line = camera.to - camera.from;
    if line.cross(Vec3::UP).length() == 0.0 {
        return words.fail("the camera must not look straight up or down, nor at itself");
    }
    if camera.view >= 170.0 {
        return words.fail("view must be below 170 degrees");
    }
    if camera.focus == 0.0 {
        camera.focus = line.length();
    }
    Ok(camera)
}

fn material(words: &mut Words<'_>) -> Parsed<Material> {
    let name = words.name("the name of the material")?.to_string();
    let kind = words.name("the kind of the material")?;
    let mut surface = match kind {
        "diffuse" => Surface::Diffuse { gloss: 0.0 },
        "metal" => Surface::Metal { rough: 0.0 },
        "glass" => Surface::Glass { index: 1.5 },
        "glow" => Surface::Glow,
        other => return words.unknown(other, "diffuse, metal, glass or glow"),
    };
    let colour = words.vector("the colour")?;
    if colour.min(Vec3::ZERO) != Vec3::ZERO {
        return words.fail("a colour must not be below 0");
    }
    let mut pattern = Pattern::Plain;
    while let Some(word) = words.word() {
        match (word, &mut surface) {
            ("gloss", Surface::Diffuse { gloss }) => *gloss = words.number("gloss")?.clamp(0.0, 1.0),
            ("rough", Surface::Metal { rough }) => *rough = words.number("rough")?.clamp(0.0, 1.0),
            ("index", Surface::Glass { index }) => *index = words.positive("index")?,
            ("boards", _) => pattern = Pattern::Boards(words.positive("boards")?),
            ("stones", _) => pattern = Pattern::Stones(words.positive("stones")?, words.positive("stones")?),
            ("shingles", _) => {
                pattern = Pattern::Shingles(words.positive("shingles")?, words.positive("shingles")?)
            }
            ("grain", _) => pattern = Pattern::Grain,
            ("mottle", _) => {
                pattern = Pattern::Mottle(words.positive("mottle")?, words.positive("mottle")?.min(0.7));
            }
            (other, _) => {
                return words.unknown(
                    other,
                    &format!("a pattern (boards, stones, shingles, grain, mottle) or what {kind} takes"),
                );
            }
        }
    }
    Ok(Material { name, colour, surface, pattern })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        scene(text).unwrap_err().to_string()
    }

    #[test]
    fn blocks_repeat_and_place() {
        let text = "camera from 0 1 9 to 0 0 0\nmaterial m diffuse 1 1 1\n\
                    group at 0 0 -5\nrepeat 4 at 2 0 0\nbox m 1 1 1 turn y 45\nend\nend\nscatter 7 within 1 0 1\n\
                    sphere m 1 1 1\nend";
        let scene = scene(text).unwrap();
        assert_eq!(scene.shapes.len(), 11);
    }

    #[test]
    fn errors_name_the_line_and_the_cause() {
        assert_eq!(
            error("\n\nbox wood 1 1 1"),
            "scene line 3: there is no material \"wood\" above this line"
        );
        assert_eq!(error("camera from 1 x 1"), "scene line 1: from: \"x\" is not a number");
        assert!(error("# only a remark").contains("no camera"));
        assert_eq!(error("group"), "scene line 1: this group has no end");
        assert_eq!(error("end"), "scene line 1: this end closes nothing");
        assert!(error("camera from 0 1 0 to 0 0 0").contains("straight up or down"));
        assert!(error("image 0 10").contains("whole number from 1"));
        assert!(error("teapot").contains("unknown word \"teapot\""));
        assert!(
            error("material m diffuse 1 1 1\nbox m 1 0 1").contains("scene line 2: height must be above 0")
        );
        assert!(error("material m glass 1 1 1 rough 0.1").contains("unknown word \"rough\""));
    }
}
