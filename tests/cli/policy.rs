//! A node takes what its policy allows, and no other image.

use anyhow::{Context, Result};
use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig};
use rocketos_tests::Guest;
use rocketos_tests::fixture::{Fixture, REPOSITORY, UPGRADE, VERSIONS};
use rocketos_trust::{PrivateKey, Subject, sign_payload, signature_manifest, signature_tag};

use crate::refusals::{expect, refuses};

/// The policy does not allow the image.
const NOT_ALLOWED: i32 = 77;
/// Where an administrator's word goes.
const DROP_IN: &str = "/etc/rocketos/trust/policy.d/50-test.toml";
/// A key for nothing but this test.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEICUI4ZJqyzbWXkGeB+rgbFDJKYget7PvcXNxKGEOFu7n\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA3Ns4Mil7wdKuGIetY2z4St4oOtD3BBQonBPbIgrAEUo=\n-----END PUBLIC KEY-----\n";

/// From now on the node wants signatures of everything at the fixture's registry.
fn demand(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    let policy = format!(
        "[key.test]\npem = '''\n{PUBLIC}'''\n[repository.\"{}\"]\naccept = \"signed\"\nkeys = [\"test\"]\n",
        fixture.registry.in_guest()
    );
    guest.write_file(DROP_IN, policy.as_bytes())
}

/// What nobody signed is refused, and the disk is as it was.
pub fn refuses_the_unsigned(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    demand(guest, fixture)?;
    let parts = ["is refused", DROP_IN, "wants a signature by test, and no signature was found"];
    for command in ["rocketctl upgrade --check", "rocketctl upgrade", "rocketctl upgrade --download-only"] {
        refuses(guest, command, NOT_ALLOWED, &parts)?;
    }
    guest.write_file(DROP_IN, b"[key.test")?;
    refuses(guest, "rocketctl upgrade", NOT_ALLOWED, &["reading the policy of this node", DROP_IN])?;
    guest.ask(&format!("rm {DROP_IN}")).map(drop)
}

/// What the key signed is taken.
pub fn takes_the_signed(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    demand(guest, fixture)?;
    // A repository of its own: signatures stay in the fixture's registry, and another run must not find them.
    let repository = format!("rocketos/signed-{}", std::process::id());
    let name = |host: &str| format!("docker://{host}/{repository}:1");
    let host = fixture.registry.on_host();
    fixture
        .tools
        .run("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([format!("docker://{host}/{REPOSITORY}:{}", VERSIONS[2]), name(&host)])
        .quiet()
        .context("copying a release to sign")?;
    let switch = format!("rocketctl switch {}", name(&fixture.registry.in_guest()));
    refuses(guest, &switch, NOT_ALLOWED, &["wants a signature by test, and no signature was found"])?;
    sign(fixture, &name(&host)).context("signing a release")?;
    let answer = guest.run(&switch, UPGRADE)?;
    expect(&switch, &answer, 0, &["signed by test", DROP_IN, "boots next"])
}

/// Puts a signature beside an image, as `rocketctl image sign` does.
fn sign(fixture: &Fixture, name: &str) -> Result<()> {
    let conf = fixture.scratch().join("registries.conf");
    std::fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", fixture.registry.on_host()))?;
    let reader = Reader::new(ReaderConfig { registries_conf: Some(conf), ..ReaderConfig::default() })?;
    let reference: ImageReference = name.parse()?;
    let key = PrivateKey::from_pem("test", PRIVATE.as_bytes())?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let named = reader.named(&reference).await?;
        let payload = sign_payload(&Subject::of(&named.bytes), &reference, &key)?;
        let made = signature_manifest(None, &payload)?;
        let blobs = vec![payload.payload, made.config];
        Ok(reader.put(&reference, &signature_tag(named.digest), blobs, made.manifest).await?)
    })
}
