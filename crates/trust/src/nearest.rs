//! The name that was probably meant.

/// How like two names must be for one to be offered for the other (Jaro-Winkler, 1 is equal).
const LIKE: f64 = 0.7;

/// `; did you mean 'threshold'?`, or what is known where nothing is like it.
pub(crate) fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(found, name), *name))
        .filter(|(like, _)| *like >= LIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, name)) => format!("did you mean '{name}'?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known are '{}'", known.join("', '")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_the_nearest_or_all() {
        let known = ["keys", "threshold", "identity"];
        for (found, expected) in [
            ("treshold", "did you mean 'threshold'?"),
            ("key", "did you mean 'keys'?"),
            ("xyz", "known are 'keys', 'threshold', 'identity'"),
        ] {
            assert_eq!(suggestion(found, known), expected);
        }
        assert_eq!(suggestion("a", []), "there is none");
    }
}
