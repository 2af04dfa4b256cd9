//! `keys init`.

use rocketos_trust::firmware::Variable;

use crate::{
    args::InitKeys,
    keyring::{Keyring, ROLES},
};

/// Makes keys, certificates, and what enrols them.
pub fn run(args: &InitKeys) -> anyhow::Result<()> {
    let keyring = Keyring::create(&args.dir, &args.holders)?;
    describe(&keyring)?;
    println!("Seal with --secure-boot-keys {0}, install with --secure-boot-keys {0}.", args.dir.display());
    Ok(())
}

/// Says what was made; people compare fingerprints with what firmware shows.
pub(super) fn describe(keyring: &Keyring) -> anyhow::Result<()> {
    for role in ROLES {
        let certificate = keyring.certificate(role)?;
        let fingerprint: String = certificate.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        let does = match role {
            Variable::Pk => "may change KEK and itself",
            Variable::Kek => "may change db and dbx",
            Variable::Db | Variable::Dbx => "signs loaders, kernels and addons",
        };
        println!("{:3}  {fingerprint}  {} {does}.", role.name(), certificate.name());
    }
    Ok(())
}
