//! `keys`: Secure Boot's keys, what they sign, and what firmware is told of them.

mod apply;
mod init;
mod revoke;
mod rotate;
mod sign;

pub use apply::enrolment;
use rocketos_boot::secure_boot::SecureBoot;
use serde_json::json;

use crate::args::Keys;

/// Does it.
pub fn run(verb: &Keys) -> anyhow::Result<()> {
    match verb {
        Keys::Init(args) => init::run(args),
        Keys::Rotate(args) => rotate::run(args),
        Keys::Sign(args) => sign::sign(args),
        Keys::Verify(args) => sign::verify(args),
        Keys::Addon(args) => sign::addon(args),
        Keys::Revoke(args) => revoke::run(args),
        Keys::Apply(args) => apply::run(args),
        Keys::Status { json } => status(*json),
    }
}

fn status(json: bool) -> anyhow::Result<()> {
    let (word, text) = match SecureBoot::of_machine()? {
        SecureBoot::Enforcing => ("enforcing", "Firmware starts only what is signed by keys in its db."),
        SecureBoot::Setup => {
            ("setup", "Firmware is in setup mode: it starts anything, and takes the first keys it is given.")
        }
        SecureBoot::Off => ("off", "Firmware has keys, and starts anything: Secure Boot is switched off."),
        SecureBoot::Absent => ("absent", "This machine's firmware has no Secure Boot."),
    };
    match json {
        true => println!("{}", json!({ "secureBoot": word })),
        false => println!("{text}"),
    }
    Ok(())
}
