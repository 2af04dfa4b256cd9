//! What a registry and its token service answer: challenge, token, media type, manifest, link, list of referrers,
//! separated by lines with `--`.

use std::{cell::LazyCell, time::Duration};

use rocketos_model::{ImageReference, ManifestDigest};
use rocketos_oci::{Patience, Reader, ReaderConfig};
use tokio::runtime::Runtime;

use crate::{
    layout, scratch,
    server::{Answer, Server},
};

const SEPARATOR: &str = "\n--\n";
/// Longest wait for an answer: all come from this thread.
const STALL: Duration = Duration::from_secs(2);

struct Asking {
    runtime: Runtime,
    server: Server,
    reader: Reader,
}

thread_local! {
    // Never dropped: the tasks of a runtime want a thread that is whole.
    static ASKING: LazyCell<&'static Asking> = LazyCell::new(|| Box::leak(Box::new(Asking::new())));
}

impl Asking {
    fn new() -> Self {
        let (folder, runtime) = (scratch::folder(), scratch::runtime());
        let server = runtime.block_on(Server::start());
        let conf = folder.path().join("registries.conf");
        let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", server.address);
        scratch::write(&conf, text.as_bytes());
        let config = ReaderConfig {
            registries_conf: Some(conf),
            architecture: layout::ARCHITECTURE.to_owned(),
            patience: Patience { attempts: 1, first_delay: Duration::ZERO, stall: STALL, drip: STALL },
            ..ReaderConfig::default()
        };
        let reader = Reader::new(config).expect("the configuration is good");
        Self { runtime, server, reader }
    }
}

/// What may stand in a header.
fn header(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let parts: Vec<String> = text.split(SEPARATOR).map(str::to_owned).collect();
    let Ok([challenge, token, media_type, manifest, link, list]) = <[String; 6]>::try_from(parts) else { return };
    // The realm is ours, so that nobody else is asked.
    if challenge.to_ascii_lowercase().contains("realm") || ![&challenge, &media_type, &link].iter().all(|t| header(t)) {
        return;
    }
    ASKING.with(|asking| {
        let realm = format!("Bearer realm=\"http://{}/token\",{challenge}", asking.server.address);
        asking.server.says(Box::new(move |head| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let ok = |headers, body: &str| Answer { status: "200 OK", headers, body: body.as_bytes().to_vec() };
            if path.starts_with("/token") {
                ok(vec![], &token)
            } else if !head.to_ascii_lowercase().contains("\r\nauthorization:") {
                let asked = [&challenge, &realm].map(|value| ("WWW-Authenticate", value.as_bytes().to_vec()));
                Answer { status: "401 Unauthorized", headers: asked.into(), body: Vec::new() }
            } else if path.contains("/referrers/") {
                ok(vec![("Link", link.as_bytes().to_vec())], &list)
            } else if path.contains("/manifests/") {
                ok(vec![("Content-Type", media_type.as_bytes().to_vec())], &manifest)
            } else {
                Answer { status: "404 Not Found", ..Answer::default() }
            }
        }));
        ask(asking);
    });
}

fn ask(asking: &Asking) {
    let reference: ImageReference = format!("docker://{}/a/b", asking.server.address).parse().expect("a name");
    let run = asking.server.tasks.run_until(async {
        if let Ok(resolved) = asking.reader.resolve(&reference).await {
            layout::check(&resolved);
        }
        let mut beside = asking.reader.beside(&reference).expect("the configuration is good");
        let _ = beside.referring(ManifestDigest::from_bytes([1; 32]), &[]).await;
        let _ = beside.files("files").await;
    });
    asking.runtime.block_on(run);
}
