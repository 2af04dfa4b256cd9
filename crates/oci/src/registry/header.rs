//! The two answers of a registry that need a parser: `WWW-Authenticate` and `Content-Range`.

/// What a registry asks for (RFC 9110, "WWW-Authenticate").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 7617.
    Basic,
    /// The token specification of Docker and the distribution project.
    Bearer {
        /// Where tokens come from.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// Reads one header, which may hold several challenges; unknown schemes are passed over.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut current: Option<(String, Vec<(String, String)>)> = None;
    for part in split(header) {
        // A new challenge begins with `scheme SP`; a parameter has `=` before any space.
        let (scheme, parameter) = match part.split_once(' ') {
            Some((scheme, rest)) if !scheme.contains('=') => (Some(scheme), rest.trim()),
            None if !part.contains('=') => (Some(part), ""),
            _ => (None, part),
        };
        if let Some(scheme) = scheme {
            found.extend(current.take().and_then(finish));
            current = Some((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, parameters)), Some((key, value))) = (&mut current, parameter.split_once('=')) {
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = quoted.unwrap_or(value).replace("\\\"", "\"");
            parameters.push((key.trim().to_ascii_lowercase(), value));
        }
    }
    found.extend(current.and_then(finish));
    found
}

/// Splits at commas outside quotes.
fn split(header: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    header
        .split(move |c: char| {
            let plain = !escaped;
            escaped = c == '\\' && plain;
            quoted ^= c == '"' && plain;
            c == ',' && !quoted
        })
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn finish((scheme, mut parameters): (String, Vec<(String, String)>)) -> Option<Challenge> {
    let mut take = |name: &str| {
        let at = parameters.iter().position(|(key, _)| key == name)?;
        Some(parameters.swap_remove(at).1)
    };
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: take("realm")?, service: take("service"), scope: take("scope") }),
        _ => None,
    }
}

/// `Content-Range: bytes first-last/total` (RFC 9110, "Content-Range"); a total of `*` is absent.
pub fn content_range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last): (u64, u64) = (digits(first)?, digits(last)?);
    let total = match total {
        "*" => None,
        total => Some(digits(total)?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn reads_challenges() {
        for (header, wanted) in [
            ("Basic realm=\"x\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull,push\"",
                vec![bearer("https://auth.example/token", Some("registry.example"), Some("repository:a/b:pull,push"))],
            ),
            (
                "Digest realm=\"x\", nonce=\"a,b\", Bearer realm=https://t.example/ , Basic realm=\"y\"",
                vec![bearer("https://t.example/", None, None), Challenge::Basic],
            ),
            ("Bearer service=\"a \\\"b\\\"\", realm=\"r\"", vec![bearer("r", Some("a \"b\""), None)]),
            ("Bearer service=\"no realm\"", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(challenges(header), wanted, "{header}");
        }
    }

    #[test]
    fn reads_content_ranges() {
        for (header, wanted) in [
            ("bytes 10-99/100", Some((10, 99, Some(100)))),
            ("bytes 0-0/*", Some((0, 0, None))),
            ("bytes 10-100/100", None),
            ("bytes 10-9/100", None),
            ("bytes */100", None),
            ("bytes +1-2/3", None),
            ("items 1-2/3", None),
            ("bytes 1-2", None),
            ("bytes -2/3", None),
        ] {
            assert_eq!(content_range(header), wanted, "{header}");
        }
    }
}
