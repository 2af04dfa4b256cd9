//! A metadata service as EC2's: a token first, then user data with it (Amazon EC2, "Use IMDSv2").
//!
//! It is asked where the firmware names a platform that has one, or the command line names its address.

use std::path::Path;

use super::{
    Answer, DOCUMENT_BYTES, Machine, Method, Provider, Request, Seen, Way, Web, When, argument, file, nothing_promised,
    web::OK,
};
use crate::model::value::HttpUrl;

/// The argument with the service's address.
pub const ARGUMENT: &str = "rocketos.user-data-metadata";
/// Where it is on platforms that have one.
pub const ADDRESS: &str = "http://169.254.169.254/";
/// What the firmware says on them: attribute, and how its value begins.
pub const PLATFORMS: [(&str, &str); 5] = [
    ("sys_vendor", "Amazon EC2"),
    ("bios_vendor", "Amazon EC2"),
    ("product_name", "OpenStack Nova"),
    ("product_name", "OpenStack Compute"),
    ("chassis_asset_tag", "OpenStack"),
];
/// Where the kernel shows what the firmware says.
const FIRMWARE: &str = "sys/class/dmi/id";
/// Bytes of such an attribute.
const ATTRIBUTE_BYTES: usize = 4096;
/// Bytes of a token.
pub const TOKEN_BYTES: usize = 1024;
/// Seconds that a token counts: one document is fetched with it.
const TOKEN_SECONDS: &str = "300";
/// What servers say that know no tokens, or no user data.
const ABSENT: u16 = 404;
/// The same of tokens.
const NOT_ALLOWED: u16 = 405;

/// User data of an instance changes only while it is stopped, and a node boots without the service.
pub const PROVIDER: Provider =
    Provider { order: 50, name: "ec2", when: When::FirstBoot, look, promised: nothing_promised };

fn look(machine: &mut dyn Machine, web: Option<&mut dyn Web>) -> Result<Seen, String> {
    let Some(address) = address(machine.root())? else { return Ok(Seen::Nothing) };
    match web {
        None => Ok(Seen::Later),
        // That there is none is an answer too, and is remembered as a document that says nothing.
        Some(web) => Ok(Seen::Bytes(read(web, &address)?.unwrap_or_default())),
    }
}

/// The service's address, where there is one to be asked; it ends with a slash.
fn address(root: &Path) -> Result<Option<String>, String> {
    if let Some(named) = argument(root, ARGUMENT)? {
        let url: HttpUrl = named.parse().map_err(|error| format!("{ARGUMENT}: {error}"))?;
        return Ok(Some(format!("{}/", url.as_str().trim_end_matches('/'))));
    }
    for (attribute, beginning) in PLATFORMS {
        let value = file(&root.join(FIRMWARE).join(attribute), ATTRIBUTE_BYTES)?.unwrap_or_default();
        if value.starts_with(beginning.as_bytes()) {
            return Ok(Some(ADDRESS.to_owned()));
        }
    }
    Ok(None)
}

/// Asks the service; nothing where it has none.
fn read(web: &mut dyn Web, address: &str) -> Result<Option<Vec<u8>>, String> {
    let token = token(web, address)?;
    let header = token.as_deref().map(|token| ("x-aws-ec2-metadata-token", token));
    let url = format!("{address}latest/user-data");
    let request = Request { method: Method::Get, url: &url, header, most: DOCUMENT_BYTES, way: Way::Platform };
    match web.ask(&request)? {
        Answer { status: OK, bytes } => Ok(Some(bytes)),
        Answer { status: ABSENT, .. } => Ok(None),
        Answer { status, .. } => Err(format!("{url} answers with status {status}")),
    }
}

/// A token; none where the service knows none (OpenStack's).
fn token(web: &mut dyn Web, address: &str) -> Result<Option<String>, String> {
    let url = format!("{address}latest/api/token");
    let header = Some(("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS));
    let request = Request { method: Method::Put, url: &url, header, most: TOKEN_BYTES, way: Way::Platform };
    match web.ask(&request)? {
        Answer { status: OK, bytes } => match String::from_utf8(bytes) {
            Ok(token) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(token)),
            _ => Err(format!("{url} answers with something that is no token")),
        },
        Answer { status: ABSENT | NOT_ALLOWED, .. } => Ok(None),
        Answer { status, .. } => Err(format!("{url} answers with status {status}")),
    }
}
