//! `exec`: a program in a host container, by this node's API.

use std::process::ExitCode;

use rocketos_api::wire;

use crate::{api::Client, args::Exec, terminal};

/// What it ends with that ended with what no exit code is.
const FAILED: u8 = 1;

/// Starts it, passes on what is said, and ends with its code.
pub fn run(args: &Exec) -> anyhow::Result<ExitCode> {
    let client = Client::at(&args.asked.socket)?;
    let with = args.tty || (!args.no_tty && terminal::is_somebodys());
    let asked = wire::Exec { command: args.command.clone(), terminal: with.then(terminal::here) };
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    let code = client.exec(args.container.as_str(), &asked, std::io::stdin(), out, err)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
}
