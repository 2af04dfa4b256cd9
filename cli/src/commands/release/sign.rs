//! `release sign`.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, bail, ensure};

use crate::{
    args::SignDraft,
    keys,
    publisher::{Publisher, Report},
};

/// Shows what is drafted, asks, and signs it.
pub fn run(args: &SignDraft) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    ensure!(publisher.repository.is_drafted(), "nothing is drafted that could be signed");
    let report = Report::new(&publisher.repository, 0)?;
    // People read on standard error what programs do not want in their JSON.
    match args.desk.json {
        true => eprint!("{}", report.text()),
        false => print!("{}", report.text()),
    }
    if !args.yes && !confirmed()? {
        bail!("nothing was signed");
    }
    for spec in &args.key {
        let signer = keys::signer(spec)?;
        let roles = publisher.repository.sign(&*signer)?;
        let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
        eprintln!("Signed {} with {}.", roles.join(" and "), signer.public_key().name());
    }
    publisher.save_draft()?;
    Report::new(&publisher.repository, 0)?.print_signatures(args.desk.json);
    Ok(())
}

fn confirmed() -> anyhow::Result<bool> {
    ensure!(std::io::stdin().is_terminal(), "nobody can be asked here: say --yes to sign what is shown above");
    eprint!("Sign this? [y/N] ");
    std::io::stderr().flush().context("asking")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
