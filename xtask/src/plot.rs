//! Line plots as SVG, small enough to be read as text, with a background of their own, light or dark as the reader's
//! system is.

use std::fmt::Write;

/// Points of one line, in the plot's units.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// x and y, by x.
    pub points: Vec<(f64, f64)>,
}

/// One pair of axes.
pub struct Panel {
    /// Under the x axis.
    pub x_name: String,
    /// Where the x axis is marked, and with what. Its scale is logarithmic: each doubling takes the same room.
    pub x_marks: Vec<(f64, String)>,
    /// Its lines. The first panel's names are the legend.
    pub series: Vec<Series>,
}

/// Panels side by side with one y axis.
pub struct Plot {
    /// Above everything.
    pub title: String,
    /// Beside the y axis.
    pub y_name: String,
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// Colours by their class in the style: told apart by people who see red and green alike.
const STYLE: &str = "\
  text { font: 13px sans-serif; fill: #333 }\n\
  .page { fill: #fff }\n\
  .title { font-weight: bold }\n\
  .axis { stroke: #333; fill: none }\n\
  .grid { stroke: #ccc; fill: none }\n\
  .line { stroke-width: 2; fill: none }\n\
  .s0 { stroke: #0072b2; fill: #0072b2 } .s1 { stroke: #d55e00; fill: #d55e00 }\n\
  .s2 { stroke: #009e73; fill: #009e73 } .s3 { stroke: #cc79a7; fill: #cc79a7 }\n\
  .line.s0, .line.s1, .line.s2, .line.s3 { fill: none }\n\
  @media (prefers-color-scheme: dark) {\n\
    .page { fill: #1b1d20 } text { fill: #ddd } .axis { stroke: #ddd } .grid { stroke: #555 }\n\
    .s0 { stroke: #56b4e9; fill: #56b4e9 } .s1 { stroke: #e69f00; fill: #e69f00 }\n\
  }\n";

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 62.0;
const GAP: f64 = 40.0;

impl Plot {
    /// The file's text.
    pub fn svg(&self) -> String {
        let highest = self
            .panels
            .iter()
            .flat_map(|panel| &panel.series)
            .flat_map(|series| &series.points)
            .map(|point| point.1)
            .fold(0.0, f64::max);
        let step = step(highest);
        let steps = (highest / step).ceil().max(1.0);
        let top = steps * step;
        let count = self.panels.len() as f64;
        let (width, height) = (LEFT + count * (WIDTH + GAP), TOP + HEIGHT + 56.0);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<style>\n{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
        );
        let mut word = |x: f64, y: f64, anchor: &str, class: &str, words: &str| {
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
                escape(words)
            );
        };
        word(LEFT, 18.0, "start", "title", &self.title);
        word(8.0, TOP - 14.0, "start", "", &self.y_name);
        for mark in 0..=steps as u32 {
            let value = f64::from(mark) * step;
            let y = TOP + HEIGHT * (1.0 - value / top);
            word(LEFT - 8.0, y + 4.0, "end", "", &trimmed(value));
        }
        for (number, panel) in self.panels.iter().enumerate() {
            let left = LEFT + number as f64 * (WIDTH + GAP);
            let middle = left + WIDTH / 2.0;
            word(middle, TOP + HEIGHT + 44.0, "middle", "", &panel.x_name);
            for (x, name) in &panel.x_marks {
                let x = left + panel.place(*x);
                word(x, TOP + HEIGHT + 20.0, "middle", "", name);
            }
        }
        let legend = self.panels.first().map_or(&[][..], |panel| &panel.series);
        let mut x = LEFT + 24.0;
        for (class, series) in legend.iter().enumerate() {
            let _ = writeln!(
                text,
                "<path class=\"line s{class}\" d=\"M{} 34 h18\"/>\n\
                 <text x=\"{}\" y=\"38\">{}</text>",
                x,
                x + 24.0,
                escape(&series.name)
            );
            x += 44.0 + 7.0 * series.name.len() as f64;
        }
        for (number, panel) in self.panels.iter().enumerate() {
            let left = LEFT + number as f64 * (WIDTH + GAP);
            for mark in 1..=steps as u32 {
                let y = TOP + HEIGHT * (1.0 - f64::from(mark) / steps);
                let _ = writeln!(text, "<path class=\"grid\" d=\"M{left} {y:.1} h{WIDTH}\"/>");
            }
            let _ = writeln!(
                text,
                "<path class=\"axis\" d=\"M{left} {TOP} v{HEIGHT} h{WIDTH}\"/>"
            );
            for (class, series) in panel.series.iter().enumerate() {
                let points: Vec<(f64, f64)> = series
                    .points
                    .iter()
                    .map(|(x, y)| (left + panel.place(*x), TOP + HEIGHT * (1.0 - y / top)))
                    .collect();
                let path: Vec<String> = points
                    .iter()
                    .map(|(x, y)| format!("{x:.1},{y:.1}"))
                    .collect();
                let _ = writeln!(
                    text,
                    "<polyline class=\"line s{class}\" points=\"{}\"/>",
                    path.join(" ")
                );
                for (x, y) in points {
                    let _ = writeln!(
                        text,
                        "<circle class=\"s{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                    );
                }
            }
        }
        text.push_str("</svg>\n");
        text
    }
}

impl Panel {
    /// Where a value of x is, from the panel's left edge.
    fn place(&self, x: f64) -> f64 {
        const MARGIN: f64 = 20.0;
        let (Some(first), Some(last)) = (self.x_marks.first(), self.x_marks.last()) else {
            return 0.0;
        };
        let span = (last.0 / first.0).log2().max(f64::MIN_POSITIVE);
        MARGIN + (WIDTH - 2.0 * MARGIN) * (x / first.0).log2() / span
    }
}

/// A round distance between marks, for about five of them.
fn step(highest: f64) -> f64 {
    let rough = (highest / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power)
}

/// A mark's value without what floating point adds to it.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(trimmed(step(2.3)), "0.5");
        assert_eq!(trimmed(step(0.9)), "0.2");
        assert_eq!(trimmed(step(47.0)), "10");
        assert_eq!(trimmed(0.1 + 0.2), "0.3");
    }

    #[test]
    fn every_point_is_drawn_inside() {
        let plot = Plot {
            title: "a < b".to_owned(),
            y_name: "s".to_owned(),
            panels: vec![Panel {
                x_name: "x".to_owned(),
                x_marks: vec![(1.0, "1".to_owned()), (16.0, "16".to_owned())],
                series: vec![Series {
                    name: "one".to_owned(),
                    points: vec![(1.0, 2.0), (4.0, 1.0), (16.0, 0.0)],
                }],
            }],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b"));
        // Left at the top, in the middle half-way, right at the bottom.
        for point in ["80.0,62.0", "225.0,167.0", "370.0,272.0"] {
            assert!(svg.contains(point), "{point} in {svg}");
        }
    }
}
