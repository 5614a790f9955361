//! The picture of the forecast: mean vorticity with contours of depth, and the spread below.

use crate::canvas::{Area, Canvas, Colour, DIVERGING, RISING, Scale};
use crate::ensemble::Ensemble;
use crate::grid::Shape;
use crate::start::LENGTH;

const WIDTH: usize = 1200;
const HEIGHT: usize = 1010;
const PAPER: Colour = [250, 249, 246];
const INK: Colour = [38, 42, 50];
const FAINT: Colour = [120, 124, 130];
/// The part of the channel that is shown, from south to north: beyond it the layer is calm.
const SHOWN: (f64, f64) = (0.1, 0.9);
const CONTOUR: f64 = 100.0;

/// A field that can be read between its cells.
struct Smooth<'a> {
    shape: Shape,
    values: &'a [f64],
}

impl Smooth<'_> {
    /// The value at `x` along and `y` across the channel, both 0 to 1, by cubic splines (Catmull and
    /// Rom) in both directions.
    fn at(&self, x: f64, y: f64) -> f64 {
        let Shape { nx, ny } = self.shape;
        let (px, py) = (x * nx as f64 - 0.5, y * ny as f64 - 0.5);
        let (fx, fy) = (px.floor(), py.floor());
        let (wx, wy) = (spline(px - fx), spline(py - fy));
        let mut sum = 0.0;
        for (b, row_weight) in wy.into_iter().enumerate() {
            let j = (fy as isize + b as isize - 1).clamp(0, ny as isize - 1) as usize;
            for (a, weight) in wx.into_iter().enumerate() {
                let i = (fx as isize + a as isize - 1).rem_euclid(nx as isize) as usize;
                sum += row_weight * weight * self.values[j * nx + i];
            }
        }
        sum
    }
}

fn spline(t: f64) -> [f64; 4] {
    [
        0.5 * t * ((2.0 - t) * t - 1.0),
        0.5 * (t * t * (3.0 * t - 5.0) + 2.0),
        0.5 * t * ((4.0 - 3.0 * t) * t + 1.0),
        0.5 * t * t * (t - 1.0),
    ]
}

/// A number not below `x` whose quarters are short to write.
fn round_up(x: f64) -> f64 {
    if !(x > 0.0 && x.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(x.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0].into_iter().map(|k| k * power).find(|&k| k >= x * 0.999).unwrap_or(10.0 * power)
}

/// How a panel maps numbers to colours.
struct Key {
    scale: Scale,
    low: f64,
    high: f64,
}

fn short(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_string()
}

fn panel(
    canvas: &mut Canvas,
    area: Area,
    field: &Smooth<'_>,
    key: &Key,
    contours: Option<&Smooth<'_>>,
    line: Colour,
) {
    let place = |x: usize, y: usize| {
        let up = 1.0 - (y as f64 + 0.5) / area.height as f64;
        ((x as f64 + 0.5) / area.width as f64, SHOWN.0 + (SHOWN.1 - SHOWN.0) * up)
    };
    for y in 0..area.height {
        for x in 0..area.width {
            let (px, py) = place(x, y);
            let mut colour = key.scale.at((field.at(px, py) - key.low) / (key.high - key.low));
            if let Some(heights) = contours {
                let here = heights.at(px, py) / CONTOUR;
                let ((ex, ey), (nx, ny)) = (place(x + 1, y), place(x, y + 1));
                let (dx, dy) = (heights.at(ex, ey) / CONTOUR - here, heights.at(nx, ny) / CONTOUR - here);
                let slope = (dx * dx + dy * dy).sqrt().max(1e-9);
                // The distance to the nearest contour in pixels; lines fade where the field is flat.
                let away = (here - here.round()).abs() / slope;
                let strength = 0.55 * (1.3 - away).clamp(0.0, 1.0) * (slope * 400.0).min(1.0);
                for (c, l) in colour.iter_mut().zip(line) {
                    *c = (f64::from(*c) * (1.0 - strength) + f64::from(l) * strength).round() as u8;
                }
            }
            canvas.set(area.x + x, area.y + y, colour);
        }
    }
    canvas.outline(area, INK);
    axes(canvas, area);
    bar(canvas, area, key);
}

fn axes(canvas: &mut Canvas, area: Area) {
    let thousand = area.width as f64 * 1e6 / LENGTH;
    let mut km = 0;
    while f64::from(km) * thousand / 1000.0 <= area.width as f64 {
        let x = area.x + (f64::from(km) * thousand / 1000.0) as usize;
        canvas.fill(Area { x, y: area.y + area.height, width: 1, height: 6 }, INK);
        let text = km.to_string();
        canvas.text(x.saturating_sub(3 * text.len()), area.y + area.height + 10, 1, INK, &text);
        km += 2000;
    }
    canvas.text(area.x + area.width - 12, area.y + area.height + 10, 1, INK, "KM");
    let mut km = 0;
    while f64::from(km) * thousand / 1000.0 <= area.height as f64 {
        let y = area.y + area.height - (f64::from(km) * thousand / 1000.0) as usize;
        canvas.fill(Area { x: area.x - 6, y, width: 6, height: 1 }, INK);
        let text = km.to_string();
        canvas.text(area.x - 10 - 6 * text.len(), y.saturating_sub(3), 1, INK, &text);
        km += 1000;
    }
}

fn bar(canvas: &mut Canvas, area: Area, key: &Key) {
    let bar = Area { x: area.x + area.width + 24, y: area.y, width: 18, height: area.height };
    for y in 0..bar.height {
        let t = 1.0 - (y as f64 + 0.5) / bar.height as f64;
        canvas.fill(Area { x: bar.x, y: bar.y + y, width: bar.width, height: 1 }, key.scale.at(t));
    }
    canvas.outline(bar, INK);
    for i in 0..=4 {
        let t = f64::from(i) / 4.0;
        let y = bar.y + ((1.0 - t) * bar.height as f64) as usize;
        canvas.fill(Area { x: bar.x + bar.width, y, width: 6, height: 1 }, INK);
        let value = key.low + t * (key.high - key.low);
        canvas.text(bar.x + bar.width + 10, y.saturating_sub(3), 1, INK, &short(value * 1e5));
    }
}

/// The largest of all but the most extreme thousandth, so that one cell does not set the scale.
fn nearly_largest(values: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = values.iter().map(|x| x.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() - 1 - sizes.len() / 1000).copied().unwrap_or(0.0)
}

/// Draws the forecast.
pub fn draw(ensemble: &Ensemble) -> Canvas {
    let first = &ensemble.members[0];
    let smooth = |values| Smooth { shape: first.shape, values };
    let mut canvas = Canvas::new(WIDTH, HEIGHT, PAPER);
    let upper = Area { x: 64, y: 84, width: 1000, height: 400 };
    let lower = Area { y: 572, ..upper };
    let title =
        format!("SHALLOW WATER ENSEMBLE: {} MEMBERS, {:.0} HOURS", ensemble.members.len(), first.hours());
    canvas.text(upper.x, 20, 3, INK, &title);
    canvas.text(upper.x, 60, 2, INK, "MEAN VORTICITY");
    let note = format!("(1E-5 PER SECOND)   LINES: MEAN DEPTH EVERY {CONTOUR} M");
    canvas.text(upper.x + 190, 64, 1, FAINT, &note);
    canvas.text(lower.x, 548, 2, INK, "SPREAD OF VORTICITY");
    canvas.text(lower.x + 250, 552, 1, FAINT, "(STANDARD DEVIATION, 1E-5 PER SECOND)   LINES: MEAN DEPTH");
    let most = round_up(nearly_largest(&ensemble.vorticity));
    let depth = smooth(&ensemble.depth);
    let key = Key { scale: DIVERGING, low: -most, high: most };
    panel(&mut canvas, upper, &smooth(&ensemble.vorticity), &key, Some(&depth), [30, 34, 40]);
    let most = round_up(nearly_largest(&ensemble.spread));
    let key = Key { scale: RISING, low: 0.0, high: most };
    panel(&mut canvas, lower, &smooth(&ensemble.spread), &key, Some(&depth), [210, 206, 220]);
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_between_cells_keeps_constants_and_slopes() {
        let shape = Shape { nx: 8, ny: 10 };
        let values: Vec<f64> = (0..80).map(|i| 2.0 + (i / 8) as f64).collect();
        let field = Smooth { shape, values: &values };
        assert!((field.at(0.99, 0.5) - 6.5).abs() < 1e-12);
        assert!((field.at(0.0, 0.3) - 4.5).abs() < 1e-12);
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!(round_up(1.3), 2.0);
        assert_eq!(round_up(7.0), 8.0);
        assert_eq!(round_up(9.0), 10.0);
        assert_eq!(round_up(f64::NAN), 1.0);
        assert_eq!((short(2.0), short(-0.5)), ("2".to_string(), "-0.5".to_string()));
    }
}
