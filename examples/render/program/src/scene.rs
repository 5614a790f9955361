//! What is to be rendered.

use crate::bvh::Bvh;
use crate::math::Vec3;
use crate::pattern::Pattern;
use crate::sky::Sky;
use crate::water::Water;

/// How a surface scatters light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surface {
    /// Scatters evenly; a share `gloss` of a mirror-like varnish lies on top.
    Diffuse {
        /// How strong the varnish is, 0 to 1.
        gloss: f64,
    },
    /// Mirrors in its colour, blurred by `rough` (0 to 1).
    Metal {
        /// How blurred the mirror is.
        rough: f64,
    },
    /// Refracts, with this refractive index.
    Glass {
        /// How strongly light bends.
        index: f64,
    },
    /// Shines in its colour and reflects nothing.
    Glow,
}

/// A named material.
#[derive(Clone, Debug)]
pub struct Material {
    /// The name the scene file calls it by.
    pub name: String,
    /// Its colour; for glowing surfaces the radiance.
    pub colour: Vec3,
    /// How it scatters.
    pub surface: Surface,
    /// How colour and normal vary.
    pub pattern: Pattern,
}

/// A glowing ball that lights its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Lamp {
    /// Its middle.
    pub centre: Vec3,
    /// Its radius.
    pub radius: f64,
    /// Its radiance.
    pub colour: Vec3,
}

/// A thin-lens camera.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Where it stands.
    pub from: Vec3,
    /// What it looks at.
    pub to: Vec3,
    /// The angle of view over the height of the picture, in degrees.
    pub view: f64,
    /// The radius of the lens.
    pub lens: f64,
    /// The distance at which the picture is sharp.
    pub focus: f64,
}

/// Haze that fades distant things into one colour.
#[derive(Clone, Copy, Debug)]
pub struct Haze {
    /// The share lost per unit of length.
    pub density: f64,
    /// What everything fades into.
    pub colour: Vec3,
}

/// A complete scene.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Paths per pixel.
    pub samples: u32,
    /// Multiplies all light before tone mapping.
    pub exposure: f64,
    /// The camera.
    pub camera: Camera,
    /// Sky and sun.
    pub sky: Sky,
    /// The haze.
    pub haze: Haze,
    /// The water, if any.
    pub water: Option<Water>,
    /// All materials; shapes name them by number.
    pub materials: Vec<Material>,
    /// Balls that glow.
    pub lamps: Vec<Lamp>,
    /// All shapes.
    pub shapes: Bvh,
}
