//! Why tests failed, taken from what they printed: the end of a long log is what people read.

/// How many lines of one cause are shown from its beginning.
const FIRST: usize = 3;
/// How many lines of one cause are shown from its end; a program that failed says there why.
const LAST: usize = 8;
/// How many characters of a line are shown.
const WIDTH: usize = 400;

/// Returns the errors and panics that a section wrote to standard error, each shortened in the middle.
pub(super) fn of(printed: &str) -> String {
    let mut causes: Vec<Vec<&str>> = Vec::new();
    let mut within = false;
    for line in printed.lines() {
        if line.starts_with("Error: ") || (line.starts_with("thread '") && line.contains("panicked at")) {
            causes.push(Vec::new());
            within = true;
        } else if line.starts_with("   … ") || line.starts_with("+ ") {
            within = false;
        }
        if let Some(cause) = causes.last_mut().filter(|_| within && !line.trim().is_empty()) {
            cause.push(line);
        }
    }
    causes.iter().map(|cause| shorten(cause)).collect()
}

fn shorten(lines: &[&str]) -> String {
    let left_out = lines.len().saturating_sub(FIRST + LAST);
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == FIRST && left_out > 0 {
            text.push_str(&format!("  … {left_out} lines\n"));
        }
        if at < FIRST || at >= FIRST + left_out {
            text.extend(line.chars().take(WIDTH));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_found_and_nothing_else() {
        let printed = "   … building\n     1.0 s  FAILED  building\nError: sealing\n\nCaused by:\n    it is full\n   … more\nnoise\n";
        assert_eq!(of(printed), "Error: sealing\nCaused by:\n    it is full\n");
        let printed = "noise\nthread 'x' (3) panicked at src/a.rs:1:2:\nleft is 1\n   … more\n";
        assert_eq!(of(printed), "thread 'x' (3) panicked at src/a.rs:1:2:\nleft is 1\n");
    }

    #[test]
    fn a_long_cause_keeps_its_beginning_and_its_end() {
        let lines: String = (0..40).map(|at| format!("line {at}\n")).collect();
        let shown = of(&format!("Error: {lines}"));
        assert!(shown.starts_with("Error: line 0\nline 1\nline 2\n  … 29 lines\nline 32\n"), "{shown}");
        assert!(shown.ends_with("line 39\n"), "{shown}");
    }
}
