//! Matching a device's `modalias` against the patterns of modules.alias, as fnmatch(3) without flags does.

/// True where `pattern` (`*`, `?`, `[a-z]`, `[!a-z]`) matches all of `text`.
///
/// A bracket that is not closed stands for itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: one byte more goes to the `*`.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if let Some(length) = text.get(t).and_then(|byte| one(&pattern[p..], *byte)) {
            p += length;
            t += 1;
        } else if let Some((star, start)) = retry.filter(|(_, start)| *start < text.len()) {
            retry = Some((star, start + 1));
            p = star + 1;
            t = start + 1;
        } else {
            return false;
        }
    }
    true
}

/// The length of the pattern's first element, where it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match bracket(pattern) {
            Some((inside, length)) => in_set(inside, byte).then_some(length),
            None => (byte == b'[').then_some(1),
        },
        literal => (*literal == byte).then_some(1),
    }
}

/// What is between the brackets the pattern begins with, and their whole length. A `]` that comes first is a member.
fn bracket(pattern: &[u8]) -> Option<(&[u8], usize)> {
    let first = if pattern.get(1) == Some(&b'!') { 2 } else { 1 };
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|byte| *byte == b']')?;
    Some((&pattern[1..end], end + 1))
}

fn in_set(inside: &[u8], byte: u8) -> bool {
    let (mut members, negated) = match inside.strip_prefix(b"!") {
        Some(rest) => (rest, true),
        None => (inside, false),
    };
    let mut found = false;
    while let Some(&low) = members.first() {
        if let [_, b'-', high, rest @ ..] = members {
            found |= (low..=*high).contains(&byte);
            members = rest;
        } else {
            found |= low == byte;
            members = &members[1..];
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_fnmatch_does() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("abcd", "abc", false),
            ("", "", true),
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*b*c", "axbybzc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "ax", false),
            ("[0-9a-f]", "e", true),
            ("[]x]", "]", true),
            ("[x-]", "-", true),
            ("[x", "[x", true),
            ("*[0-9]", "ab7", true),
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000008v00001AF4", false),
            ("pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", true),
            (
                "cpu:type:x86,ven*fam*mod*:feature:*0094*",
                "cpu:type:x86,ven0000fam0006mod000D:feature:,0000,0094,0095",
                true,
            ),
            ("usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn stays_quick_on_many_stars() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(2000)));
    }
}
