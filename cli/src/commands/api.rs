//! `api`: a request as it is typed, and its answer as it comes.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};

use crate::{api::Client, args::Api};

/// Bytes of a body that is typed or piped in.
const BODY: u64 = 16 << 20;

/// Asks, and prints what is answered.
pub fn run(args: &Api) -> anyhow::Result<()> {
    let body = args.body.clone().map(|body| if body == "-" { piped() } else { Ok(body) }).transpose()?;
    let mut out = std::io::stdout().lock();
    let mut ends_line = true;
    let client = Client::at(&args.asked.socket)?;
    let asked = client.stream(&args.method, &args.path, args.if_match, body, |chunk| {
        ends_line = chunk.ends_with(b"\n");
        out.write_all(chunk).and_then(|()| out.flush()).context("writing to standard output")
    });
    if !ends_line {
        writeln!(out).context("writing to standard output")?;
    }
    asked
}

/// What is on standard input.
pub(super) fn piped() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(BODY + 1).read_to_string(&mut text).context("reading standard input")?;
    ensure!(read as u64 <= BODY, "standard input has more than {BODY} bytes");
    Ok(text)
}
