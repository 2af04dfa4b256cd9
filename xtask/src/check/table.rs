//! Tables in pages of docs/.

/// The cells of each row of the tables below a heading, up to the next of its level or above; rows before the line of dashes
/// are headings.
pub(super) fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let ends = |line: &&str| {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        (1..=level).contains(&hashes) && line[hashes..].starts_with(' ')
    };
    let below = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !ends(line));
    let mut rows = Vec::new();
    let mut inside = false;
    for line in below {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':')) {
            inside = true;
        } else if inside {
            rows.push(cells);
        }
    }
    rows
}

/// `| a | b |`; a bar inside of backquotes is text.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in inner.chars() {
        quoted ^= c == '`';
        match cells.last_mut() {
            Some(cell) if c != '|' || quoted => cell.push(c),
            _ => cells.push(String::new()),
        }
    }
    Some(cells.into_iter().map(|cell| cell.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn reads_the_rows_below_a_heading() {
        let page = "# Page\n\n| x | y |\n|---|---|\n| no | no |\n\n## Here\n\nWords.\n\n| a | b |\n|:--|---|\n| 1 | `2|3` |\n|  | 4 |\n\n\
                    ### Deeper\n\n| c |\n|---|\n| 5 |\n\n## There\n\n| d |\n|---|\n| 6 |\n";
        assert_eq!(rows(page, "## Here"), [vec!["1", "`2|3`"], vec!["", "4"], vec!["5"]]);
        assert!(rows(page, "## Nowhere").is_empty());
    }
}
