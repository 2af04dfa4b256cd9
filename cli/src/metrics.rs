//! What a node tells of itself, where settings name somebody: that its boot is complete, once in a boot, and from time to time whether units
//! run. Nothing is told otherwise, and nobody is named by an image of ours.
//!
//! ```text
//! GET <url>?sender=rocketctl&event=boot_success&version=…&variant=…&arch=…&region=&seed=…&version_lock=…&ignore_waves=…
//! GET <url>?sender=rocketctl&event=health_ping&…&failed_services=a.service:1,b.service&is_healthy=false
//! ```
//!
//! These are the words of Bottlerocket's metricdog, so that who hears those hears these. What is answered is not read but for its status.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Url, redirect};
use rocketos_model::{layout, limits::CONFIG_FILE_BYTES};
use serde::Deserialize;

use crate::{
    adapters::systemctl::{self, Ended, Run},
    automatic::Schedule,
    config,
    pull::runtime,
};

/// The name of the files.
const NAME: &str = "metrics";
/// What the image says of itself.
const RELEASE: &str = "usr/lib/os-release";
/// What the first event of a boot waits for.
const COMPLETE: &str = "boot-complete.target";
/// Who tells.
const SENDER: &str = "rocketctl";
/// What a request may take.
const WHOLE: Duration = Duration::from_secs(20);
/// Units whose state is told.
const UNITS: usize = 64;

/// `metrics.toml`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// Whom.
    url: Url,
    /// Of which units.
    #[serde(default)]
    services: Vec<String>,
}

impl Told {
    /// Nothing where nobody is named.
    fn read(root: &Path) -> anyhow::Result<Option<Self>> {
        let table = config::read(root, NAME)?;
        if table.is_empty() {
            return Ok(None);
        }
        let told: Self = table.try_into().context("reading whom this node tells of itself (metrics.toml)")?;
        ensure!(told.url.scheme() == "https", "'{}' is told over https:// alone", told.url);
        ensure!(told.services.len() <= UNITS, "metrics.toml names more than {UNITS} units");
        Ok(Some(told))
    }
}

/// Tells what there is to tell.
///
/// # Errors
/// When nobody can be told. It is told anew the next time.
pub fn tell() -> anyhow::Result<()> {
    let root = Path::new("/");
    let Some(told) = Told::read(root)? else { return Ok(()) };
    let same = same(root, &Schedule::of_node()?)?;
    let mark = Path::new(layout::node::BOOT_TOLD);
    if !mark.exists() && systemctl::is_active(COMPLETE)? {
        send(request(&told.url, "boot_success", &same, &[]))?;
        fs::write(mark, "").with_context(|| format!("writing {}", mark.display()))?;
    }
    let failed = failed(&told.services, &systemctl::runs(&told.services)?);
    let healthy = failed.is_empty().to_string();
    send(request(&told.url, "health_ping", &same, &[("failed_services", &failed.join(",")), ("is_healthy", &healthy)]))
}

/// What every event says. There is no region here.
fn same(root: &Path, schedule: &Schedule) -> anyhow::Result<Vec<(&'static str, String)>> {
    let path = root.join(RELEASE);
    let text = rocketos_dropins::text(&path, CONFIG_FILE_BYTES)?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    Ok(vec![
        ("version", field("IMAGE_VERSION").or_else(|| field("VERSION_ID")).unwrap_or_default()),
        ("variant", field("VARIANT_ID").unwrap_or_default()),
        ("arch", std::env::consts::ARCH.to_owned()),
        ("region", String::new()),
        ("seed", schedule.seed.map(|seed| seed.to_string()).unwrap_or_default()),
        ("version_lock", schedule.lock().map_or("latest", |lock| lock.as_str()).to_owned()),
        ("ignore_waves", schedule.wish(rocketos_update::Wish::default()).now.to_string()),
    ])
}

fn request(url: &Url, event: &str, same: &[(&str, String)], more: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    let all = same.iter().map(|(name, value)| (*name, value.as_str()));
    url.query_pairs_mut().extend_pairs([("sender", SENDER), ("event", event)]).extend_pairs(all).extend_pairs(more);
    url
}

/// Units that are not active, each with its program's last exit code where it has one, by name.
fn failed(units: &[String], runs: &[Run]) -> Vec<String> {
    let down = units.iter().zip(runs).filter(|(_, run)| run.state.active != "active");
    let mut down: Vec<String> = down
        .map(|(unit, run)| match run.ended {
            Some(Ended::With(code) | Ended::By(code)) => format!("{unit}:{code}"),
            None => unit.clone(),
        })
        .collect();
    down.sort();
    down
}

fn send(url: Url) -> anyhow::Result<()> {
    let whom = url.host_str().unwrap_or_default().to_owned();
    // Where somebody is sent on to, settings do not say.
    let client = Client::builder().user_agent(SENDER).timeout(WHOLE).redirect(redirect::Policy::none()).build();
    let client = client.context("preparing for HTTP")?;
    let telling = || format!("telling {whom} of this node");
    let status = runtime()?.block_on(async { client.get(url).send().await.map(|answer| answer.status()) });
    match status.map_err(reqwest::Error::without_url).with_context(telling)? {
        status if status.is_success() => Ok(()),
        status => bail!("{whom} answers with {status} to what this node tells of itself"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;
    use crate::adapters::systemctl::State;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn read(text: &str) -> anyhow::Result<Option<Told>> {
        Told::read(root(&[("etc/rocketos/metrics.toml.d/90-settings.toml", text)]).path())
    }

    #[test]
    fn nobody_is_told_who_is_not_named_and_none_in_the_clear() {
        assert_eq!(Told::read(root(&[]).path()).unwrap(), None);
        let told = read("url = 'https://metrics.example/v1'\nservices = ['a.service']\n").unwrap().unwrap();
        assert_eq!((told.url.as_str(), told.services.len()), ("https://metrics.example/v1", 1));
        for (text, says) in [
            ("url = 'http://metrics.example/v1'", "https:// alone"),
            ("services = ['a.service']", "url"),
            ("url = 'https://a.example'\nmore = 1", "more"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
        let many = format!("url = 'https://a.example'\nservices = {:?}", vec!["a.service"; UNITS + 1]);
        assert!(read(&many).unwrap_err().to_string().contains("more than 64"));
    }

    #[test]
    fn says_in_bottlerockets_words_what_runs_and_what_does_not() {
        let root = root(&[
            (RELEASE, "NAME=\"Rocket OS\"\nVERSION_ID=13\nVARIANT_ID=standalone\nIMAGE_VERSION=\"1.4.0\"\n"),
            ("etc/rocketos/update.toml", "seed = 12\nversion-lock = '1.4.0'\nignore-waves = true\n"),
        ]);
        let run = |active: &str, ended| Run {
            state: State { active: active.to_owned(), ..State::default() },
            ended,
            ..Run::default()
        };
        let units = ["c.service", "b.service", "a.service"].map(str::to_owned);
        let runs = [run("active", None), run("inactive", None), run("failed", Some(Ended::With(3)))];
        let failed = failed(&units, &runs);
        assert_eq!(failed, ["a.service:3", "b.service"]);
        let same = same(root.path(), &Schedule::read(root.path()).unwrap()).unwrap();
        let url = "https://metrics.example/v1?key=a".parse().unwrap();
        let more = [("failed_services", failed.join(",")), ("is_healthy", "false".to_owned())];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        let expected = format!(
            "https://metrics.example/v1?key=a&sender=rocketctl&event=health_ping&version=1.4.0&variant=standalone&arch={}\
             &region=&seed=12&version_lock=1.4.0&ignore_waves=true&failed_services=a.service%3A3%2Cb.service&is_healthy=false",
            std::env::consts::ARCH
        );
        assert_eq!(request(&url, "health_ping", &same, &more).as_str(), expected);
    }

    /// What a server was asked that answers so, and what came of it.
    fn told(answer: &'static str) -> (String, anyhow::Result<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1?event=health_ping", listener.local_addr().unwrap()).parse().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let first = lines.next().unwrap();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            first
        });
        let sent = send(url);
        (server.join().unwrap(), sent)
    }

    #[test]
    fn who_does_not_take_it_is_named_and_who_sends_on_is_not_followed() {
        let (asked, sent) = told("200 OK");
        assert_eq!(asked, "GET /v1?event=health_ping HTTP/1.1");
        sent.unwrap();
        for answer in ["500 No", "302 Found\r\nLocation: http://127.0.0.1:9/"] {
            let error = told(answer).1.unwrap_err().to_string();
            assert!(error.starts_with("127.0.0.1 answers with "), "{error}");
        }
    }
}
