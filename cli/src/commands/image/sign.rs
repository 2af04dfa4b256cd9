//! `image sign`.

use anyhow::{Context as _, bail};
use rocketos_model::ImageReference;
use rocketos_trust::{BUNDLE_TYPE, Signer, Subject, sign_bundle, sign_payload, signature_manifest, signature_tag};

use crate::{adapters::signer::Program, args::Sign, keys, pull::Puller};

/// Signs what a reference names, under the signatures' tag and as a bundle among its referrers.
pub fn run(args: &Sign) -> anyhow::Result<()> {
    let reference: ImageReference = args.reference.parse()?;
    let signer = signer(args)?;
    let puller = Puller::new()?;
    let reader = puller.reader();
    let named = puller.wait(reader.named(&reference)).with_context(|| format!("resolving {reference}"))?;
    let subject = Subject::of(&named.bytes);
    let (payload, bundle) = (sign_payload(&subject, &reference, &*signer)?, sign_bundle(&subject, &*signer)?);
    let tag = signature_tag(named.digest);
    puller
        .wait(async {
            let existing = reader.beside(&reference)?.under_tag(&tag).await?;
            let made = signature_manifest(existing.as_deref(), &payload)?;
            reader.put(&reference, &tag, vec![payload.payload, made.config], made.manifest).await?;
            reader.attach_to(&reference, &named, BUNDLE_TYPE, BUNDLE_TYPE, bundle).await?;
            anyhow::Ok(())
        })
        .with_context(|| format!("putting signatures beside {reference}"))?;
    println!("Signed {reference} ({}) with {}.", named.digest, signer.public_key().name());
    Ok(())
}

fn signer(args: &Sign) -> anyhow::Result<Box<dyn Signer>> {
    match (&args.key, &args.signer, &args.public_key) {
        (Some(key), None, _) => keys::signer(key),
        (None, Some(program), Some(public)) => Ok(Box::new(Program::new(program, keys::public_file(public)?))),
        _ => bail!("say --key, or --signer and --public-key"),
    }
}
