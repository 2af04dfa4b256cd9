//! Canonical JSON, the form that is signed (specification 4.1: wiki.laptop.org/go/Canonical_JSON).
//!
//! It is made of the very value that is read afterwards, unknown fields included, so what was signed is what is used.
//! Strings are taken as they are: normalizing them, as some writers do, would let two names share one signature.

use serde_json::Value;

/// The canonical form; an error says which number has none.
pub(crate) fn canonical(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Number(number) => return Err(format!("{number} is no integer that canonical JSON has")),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // By code point, which is the order of UTF-8's bytes.
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by(|one, other| one.0.cmp(other.0));
            out.push(b'{');
            for (at, (name, field)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(field, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Only the quote and the backslash are escaped.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_one_form() {
        for (text, expected) in [
            (r#"{ "b": [1, -2, true, null], "a": {} }"#, r#"{"a":{},"b":[1,-2,true,null]}"#),
            (r#"{"A\nB": "\"\\\u00e9", "A": ""}"#, "{\"A\":\"\",\"A\nB\":\"\\\"\\\\é\"}"),
            ("18446744073709551615", "18446744073709551615"),
            ("\"e\u{301}\"", "\"e\u{301}\""),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn has_no_fractions() {
        for text in ["1.0", "1e3", "-0", "[18446744073709551616]"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(canonical(&value).is_err(), "{text}");
        }
    }
}
