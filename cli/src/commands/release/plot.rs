//! The fleet over time, as SVG.

use std::fmt::Write as _;

use rocketos_update::Moment;

/// Of the picture, in pixels.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
/// Around the plot.
const MARGIN: f64 = 50.0;
/// Marks on each axis.
const MARKS: u32 = 5;

/// Draws the open share, and the shares that took the release and where it failed.
pub fn svg(line: &[Moment], nodes: u32) -> String {
    let end = line.last().map_or(1.0, |moment| moment.after.as_seconds_f64().max(1.0));
    let nodes = f64::from(nodes.max(1));
    let x = |share: f64| MARGIN + share * (WIDTH - 2.0 * MARGIN);
    let y = |share: f64| HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for mark in 0..=MARKS {
        let share = f64::from(mark) / f64::from(MARKS);
        let hours = end * share / 3600.0;
        let (left, right, height) = (x(0.0), x(1.0), y(share));
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<line x1=\"{left:.1}\" y1=\"{height:.1}\" x2=\"{right:.1}\" y2=\"{height:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hours:.1} h</text>\n",
            left - 6.0,
            height + 4.0,
            share * 100.0,
            x(share),
            HEIGHT - MARGIN + 18.0,
        );
    }
    for (name, colour, row, of) in [
        ("open", "#888", 0.0, (|moment, _| moment.open) as fn(&Moment, f64) -> f64),
        ("took it", "#1a7f37", 1.0, |moment, nodes| f64::from(moment.took) / nodes),
        ("failed", "#cf222e", 2.0, |moment, nodes| f64::from(moment.failed) / nodes),
    ] {
        let points: String = line
            .iter()
            .map(|moment| format!("{:.1},{:.1} ", x(moment.after.as_seconds_f64() / end), y(of(moment, nodes))))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>\n",
            points.trim_end(),
            x(0.02),
            y(1.0) + 16.0 * (row + 1.0),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
