//! A boot as a picture.

use std::fmt::Write as _;

use super::boot::{Boot, Unit};

/// Width of the picture, in pixels.
const WIDTH: f64 = 1000.0;
/// What is left free at its sides.
const MARGIN: f64 = 12.0;
/// Height of a line.
const ROW: f64 = 17.0;
/// Height of a bar in it.
const BAR: f64 = 11.0;
/// Where the phases' bar is.
const PHASES: f64 = 34.0;
/// Where the first unit's line is.
const UNITS: f64 = 104.0;
/// The units that are drawn: those that took longest.
const DRAWN: usize = 40;
/// Marks on the axis, at most.
const TICKS: f64 = 12.0;
/// From this share of the width on, words stand before a bar.
const TURN: f64 = 0.62;
/// Colours of phases, by name; the last is every other's.
const COLOURS: [(&str, &str); 5] = [
    ("firmware", "#9aa5b1"),
    ("loader", "#c3a6d8"),
    ("kernel", "#7fb3d5"),
    ("initramfs", "#f0b27a"),
    ("user space", "#82c99d"),
];
/// Of a unit.
const UNIT: &str = "#4c8f6b";
/// Of one that failed.
const FAILED: &str = "#c0392b";
/// Of one that was not done.
const UNDONE: &str = "#d4a017";

/// Where a time is.
struct Scale {
    first: f64,
    last: f64,
}

impl Scale {
    fn x(&self, us: f64) -> f64 {
        let share = (us - self.first) / (self.last - self.first).max(1.0);
        MARGIN + share.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
    }

    /// Microseconds between two marks: 1, 2 or 5 of some power of ten.
    fn step(&self) -> f64 {
        let least = ((self.last - self.first) / TICKS).max(1.0);
        let power = 10_f64.powf(least.log10().floor());
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= least).unwrap_or(least)
    }
}

/// Draws it.
pub fn draw(boot: &Boot) -> String {
    let phases = boot.phases();
    let first = phases.first().map_or(0, |phase| phase.start_us) as f64;
    let scale = Scale { first, last: boot.end() as f64 };
    let units = longest(boot);
    let height = UNITS + ROW * (units.len() as f64 + 1.5);
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let whole = seconds(scale.last - scale.first);
    let title = match boot.is_complete() {
        true => format!("Boot complete after {whole}"),
        false => format!("Boot not complete; the last that is known, after {whole}"),
    };
    text(&mut picture, MARGIN, 22.0, "start", "font-size=\"15\" font-weight=\"bold\"", &title);
    for phase in &phases {
        let colour = COLOURS.iter().find(|(name, _)| *name == phase.name).map_or(UNIT, |(_, colour)| colour);
        let (start, end) = (scale.x(phase.start_us as f64), scale.x(phase.end_us as f64));
        bar(&mut picture, start, PHASES, end - start, 20.0, colour);
    }
    let mut x = MARGIN;
    for phase in &phases {
        let colour = COLOURS.iter().find(|(name, _)| *name == phase.name).map_or(UNIT, |(_, colour)| colour);
        let words = format!("{} {}", phase.name, seconds((phase.end_us - phase.start_us) as f64));
        bar(&mut picture, x, PHASES + 27.0, 9.0, 9.0, colour);
        text(&mut picture, x + 13.0, PHASES + 35.5, "start", "", &words);
        x += 36.0 + 6.2 * words.chars().count() as f64;
    }
    axis(&mut picture, &scale, height);
    for (row, unit) in units.iter().enumerate() {
        line(&mut picture, &scale, UNITS + ROW * row as f64, unit, boot.end());
    }
    let left = boot.units().len() - units.len();
    if left > 0 {
        let words = format!("{left} more units, each faster than these");
        text(&mut picture, MARGIN, UNITS + ROW * (units.len() as f64 + 0.8), "start", "fill=\"#555555\"", &words);
    }
    picture + "</svg>\n"
}

/// Those that took longest, in the order in which they began.
fn longest(boot: &Boot) -> Vec<&Unit> {
    let mut units: Vec<&Unit> = boot.units().iter().collect();
    units.sort_by_key(|unit| (!unit.failed, std::cmp::Reverse(unit.took(boot.end()))));
    units.truncate(DRAWN);
    units.sort_by_key(|unit| unit.start_us);
    units
}

fn axis(picture: &mut String, scale: &Scale, height: f64) {
    let step = scale.step();
    let mut at = (scale.first / step).ceil() * step;
    while at <= scale.last {
        let x = scale.x(at);
        let _ = writeln!(
            picture,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
            UNITS - 12.0,
            height - ROW
        );
        text(picture, x, UNITS - 16.0, "middle", "fill=\"#555555\" font-size=\"10\"", &seconds(at));
        at += step;
    }
}

fn line(picture: &mut String, scale: &Scale, y: f64, unit: &Unit, end: u64) {
    let took = unit.took(end) as f64;
    let (start, width) = (scale.x(unit.start_us as f64), scale.x(unit.start_us as f64 + took));
    let colour = match unit.end_us {
        _ if unit.failed => FAILED,
        Some(_) => UNIT,
        None => UNDONE,
    };
    bar(picture, start, y, width - start, BAR, colour);
    let what = if unit.failed { ", failed" } else { "" };
    let words = match unit.end_us {
        Some(_) => format!("{} {}{what}", unit.name, seconds(took)),
        None => format!("{} was not done", unit.name),
    };
    let baseline = y + BAR - 1.5;
    match start > WIDTH * TURN {
        true => text(picture, start - 5.0, baseline, "end", "", &words),
        false => text(picture, width.max(start + 1.5) + 5.0, baseline, "start", "", &words),
    }
}

fn bar(picture: &mut String, x: f64, y: f64, width: f64, height: f64, colour: &str) {
    // What is too short to be seen is seen all the same.
    let width = width.max(1.5);
    let _ = writeln!(
        picture,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

fn text(picture: &mut String, x: f64, y: f64, anchor: &str, more: &str, words: &str) {
    let _ = write!(picture, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    if !more.is_empty() {
        let _ = write!(picture, " {more}");
    }
    let _ = writeln!(picture, ">{}</text>", escaped(words));
}

/// Words without what XML would take for its own, or does not allow.
fn escaped(words: &str) -> String {
    let mut text = String::new();
    for c in words.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            c if c.is_control() => text.push('?'),
            c => text.push(c),
        }
    }
    text
}

fn seconds(us: f64) -> String {
    match us.abs() {
        0.0 => "0 s".to_owned(),
        less if less < 1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.1} s", us / 1e6),
    }
}
