//! CIL's outer form: lists of words and lists, with the comments beside them.

/// A statement, with what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) list: Vec<Expr>,
    /// The comment behind it on its line, else the one above it, or above the statements it directly follows.
    pub(crate) comment: String,
}

/// A word, or a list in parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    Word(String),
    List(Vec<Expr>),
}

impl Expr {
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::List(_) => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Expr]> {
        match self {
            Self::Word(_) => None,
            Self::List(list) => Some(list),
        }
    }
}

/// What is no CIL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct CilError {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Reads a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, CilError> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut open: Vec<Vec<Expr>> = Vec::new();
    let mut above = String::new();
    for (at, line) in text.lines().enumerate() {
        let error = |what| CilError { line: at + 1, what };
        let (code, comment) = split(line);
        let comment = comment.map(|comment| comment.trim_start_matches(';').trim());
        if code.trim().is_empty() && open.is_empty() {
            match comment {
                Some(comment) if statements.last().is_some_and(|last| last.comment == above) && !above.is_empty() => {
                    // A comment after statements begins anew.
                    above = comment.to_owned();
                }
                Some(comment) => join(&mut above, comment),
                None => above.clear(),
            }
            continue;
        }
        let before = statements.len();
        for token in tokens(code) {
            match token {
                "(" => open.push(Vec::new()),
                ")" => {
                    let list = open.pop().ok_or_else(|| error("a parenthesis too many"))?;
                    match open.last_mut() {
                        Some(outer) => outer.push(Expr::List(list)),
                        None => statements.push(Statement { list, comment: above.clone() }),
                    }
                }
                word => open
                    .last_mut()
                    .ok_or_else(|| error("a word outside of parentheses"))?
                    .push(Expr::Word(word.to_owned())),
            }
        }
        if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
            statements[before..].iter_mut().for_each(|statement| comment.clone_into(&mut statement.comment));
        }
    }
    match open.is_empty() {
        true => Ok(statements),
        false => Err(CilError { line: text.lines().count(), what: "a parenthesis is not closed" }),
    }
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

/// A line's code, and its comment with the semicolon.
fn split(line: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    let at = line.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == ';' && !quoted
    });
    match at {
        Some((at, _)) => (&line[..at], Some(&line[at..])),
        None => (line, None),
    }
}

/// Parentheses and words; a string with its quotes is a word.
fn tokens(code: &str) -> impl Iterator<Item = &str> {
    let mut rest = code.trim_start();
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '(' | ')' => 1,
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ => rest.find(|letter: char| letter.is_whitespace() || "()".contains(letter)).unwrap_or(rest.len()),
        };
        let (token, left) = rest.split_at(length);
        rest = left.trim_start();
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_the_comments_that_stand_beside_them() {
        let text = "; Heading.\n\n; The image.\n; All of it.\n(type image_t)\n(type init_t) ; systemd\n\n(type \"a;b\"\n  (x y))\n";
        let read = parse(text).unwrap();
        let told: Vec<_> = read.iter().map(|statement| statement.comment.as_str()).collect();
        assert_eq!(told, ["The image. All of it.", "systemd", ""]);
        let words = [Expr::Word("x".to_owned()), Expr::Word("y".to_owned())];
        assert_eq!(read[2].list[1..], [Expr::Word("\"a;b\"".to_owned()), Expr::List(words.to_vec())]);
    }

    #[test]
    fn a_comment_between_statements_is_that_of_the_next() {
        let read = parse("; One.\n(a)\n; Two.\n(b)\n(c)\n").unwrap();
        let told: Vec<_> = read.iter().map(|statement| statement.comment.as_str()).collect();
        assert_eq!(told, ["One.", "Two.", "Two."]);
    }

    #[test]
    fn says_where_parentheses_are_wrong() {
        assert_eq!(parse("(a)\n)").unwrap_err().to_string(), "line 2: a parenthesis too many");
        assert_eq!(parse("(a\n(b)").unwrap_err().to_string(), "line 2: a parenthesis is not closed");
        assert_eq!(parse("a").unwrap_err().to_string(), "line 1: a word outside of parentheses");
    }
}
