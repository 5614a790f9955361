//! Pictures of what was measured, as SVG.

use std::fmt::Write;

/// A line or a row of points.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it shows.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Whether the points are joined.
    pub is_line: bool,
}

/// A picture with logarithmic axes where they are wanted.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// What is along the horizontal axis, and whether in powers of ten.
    pub x: (String, bool),
    /// The same for the vertical one.
    pub y: (String, bool),
    /// What is drawn.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 220.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

/// Colours that are told apart by those who see few of them, too (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

/// The ends of an axis, and where it has marks.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    marks: Vec<f64>,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, is_log: bool) -> Self {
        let fits = |value: &f64| value.is_finite() && (!is_log || *value > 0.0);
        let (low, high) = values
            .filter(fits)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        if is_log {
            let (first, last) = (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0));
            let marks = (first as i32..=last as i32).map(|power| 10_f64.powi(power)).collect();
            return Self { low: 10_f64.powf(first), high: 10_f64.powf(last), is_log, marks };
        }
        let span = if high > low { high - low } else { 1.0 };
        let rough = span / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|of| of * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let (first, last) = ((low / step).floor() * step, (high / step).ceil() * step);
        let count = ((last - first) / step).round() as i32;
        let marks = (0..=count).map(|at| first + f64::from(at) * step).collect();
        Self { low: first, high: last.max(first + step), is_log, marks }
    }

    /// Where a value is, from 0 to 1; what has no place is at the low end.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| if self.is_log { value.max(self.low).log10() } else { value };
        ((of(value) - of(self.low)) / (of(self.high) - of(self.low))).clamp(0.0, 1.0)
    }

    fn label(&self, value: f64) -> String {
        if self.is_log && !(0.001..10_000.0).contains(&value) {
            return format!("1e{}", value.log10().round());
        }
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Plot {
    /// Draws it.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::of(points().map(|(x, _)| *x), self.x.1);
        let y = Axis::of(points().map(|(_, y)| *y), self.y.1);
        let at_x = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let at_y = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        let mut say = |line: std::fmt::Arguments<'_>| {
            // A string takes everything.
            let _ = svg.write_fmt(line);
            svg.push('\n');
        };
        let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
        say(format_args!("<text x=\"{left}\" y=\"24\" font-size=\"15\">{}</text>", escaped(&self.title)));
        for mark in &x.marks {
            let at = at_x(*mark);
            say(format_args!(
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#e4e4e4\"/>"
            ));
            say(format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                x.label(*mark)
            ));
        }
        for mark in &y.marks {
            let at = at_y(*mark);
            say(format_args!(
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>"
            ));
            say(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.0,
                y.label(*mark)
            ));
        }
        say(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            HEIGHT - 14.0,
            escaped(&self.x.0)
        ));
        let middle = (top + bottom) / 2.0;
        say(format_args!(
            "<text x=\"18\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle:.1})\">{}</text>",
            escaped(&self.y.0)
        ));
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places: Vec<(f64, f64)> = series.points.iter().map(|(x, y)| (at_x(*x), at_y(*y))).collect();
            if series.is_line {
                let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                say(format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    path.join(" ")
                ));
            }
            for (x, y) in &places {
                say(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"));
            }
            let at = top + 12.0 + 20.0 * number as f64;
            say(format_args!(
                "<circle cx=\"{:.1}\" cy=\"{at:.1}\" r=\"4\" fill=\"{colour}\"/>",
                right + 18.0
            ));
            say(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                right + 28.0,
                at + 4.0,
                escaped(&series.name)
            ));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
