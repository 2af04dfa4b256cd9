//! Patterns of target paths (specification 4.5, PATHPATTERN): glob(7) for pathnames.

/// True where `pattern` describes `path`. `*`, `?` and `[…]` never match a `/`.
///
/// Takes time of the order of the two lengths multiplied, however many stars there are.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut parts = path.split('/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if component(pattern, part) => {}
            _ => return false,
        }
    }
}

fn component(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and the text it was last tried from.
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(width) = one(&pattern[p..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern's beginning, which is no star, describes this character; none where it does not.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern, c) {
            Some((width, fits)) => fits.then_some(width),
            // Without an end it is a bracket.
            None => (c == '[').then_some(1),
        },
        plain => (*plain == c).then_some(1),
    }
}

/// The width of `[…]` and whether it has the character; none where it has no end.
fn set(pattern: &[char], c: char) -> Option<(usize, bool)> {
    let negated = pattern.get(1) == Some(&'!');
    let first = if negated { 2 } else { 1 };
    // A `]` that comes first is one of the set.
    let end = (first + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
    let members = &pattern[first..end];
    let (mut at, mut found) = (0, false);
    while at < members.len() {
        match members[at..] {
            [low, '-', high, ..] => {
                found |= (low..=high).contains(&c);
                at += 3;
            }
            [single, ..] => {
                found |= single == c;
                at += 1;
            }
            [] => break,
        }
    }
    Some((end + 1, found != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_specifications_examples() {
        for (pattern, path, expected) in [
            ("targets/*.tgz", "targets/foo.tgz", true),
            ("targets/*.tgz", "targets/foo.txt", false),
            ("foo-version-?.tgz", "foo-version-a.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("*.tgz", "foo.tgz", true),
            ("*.tgz", "targets/foo.tgz", false),
            ("foo.tgz", "foo.tgz", true),
            ("foo.tgz", "FOO.tgz", false),
            ("*", "", true),
            ("", "a", false),
            ("**/a", "b/c/a", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]y", "]y", true),
            ("[a", "[a", true),
            ("a[/]b", "a/b", false),
            ("ä?", "äö", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn takes_no_time_for_many_stars() {
        assert!(!matches(&"a*".repeat(500), &"a".repeat(499)));
        assert!(!matches(&format!("{}b", "*a".repeat(300)), &"a".repeat(1000)));
    }
}
