//! `image verify`.

use anyhow::Context as _;
use rocketos_model::ImageReference;

use crate::{args::Verify, pull::Puller, trust::Guard};

/// Says what the policy says of an image, and of every signature; a refusal is an error besides.
pub fn run(args: &Verify) -> anyhow::Result<()> {
    let reference: ImageReference = args.reference.parse()?;
    let guard = Guard::given_or(args.policy.as_deref(), Guard::of_machine)?;
    let puller = Puller::new()?;
    let resolved = puller.resolve(&reference).with_context(|| format!("resolving {reference}"))?;
    let judged = guard.judge(&puller, &resolved, None)?;
    match args.json {
        true => println!("{}", judged.document()),
        false => print!("{}", judged.in_words()),
    }
    Ok(judged.verdict.require()?)
}
