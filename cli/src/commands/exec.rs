//! `exec`: a program in a host container, by this node's API.

use std::process::ExitCode;

use crate::{api::Client, args::Exec};

/// What it ends with that ended with what no exit code is.
const FAILED: u8 = 1;

/// Starts it, passes on what is said, and ends with its code.
pub fn run(args: &Exec) -> anyhow::Result<ExitCode> {
    let client = Client::at(&args.asked.socket)?;
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    let code = client.exec(args.container.as_str(), &args.command, std::io::stdin(), out, err)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
}
