//! Asking web servers for user data, within the limits of `rocketos_settings::provider::web`.

use std::{thread, time::Duration};

use anyhow::Context as _;
use reqwest::{Client, RequestBuilder, Response, header::HeaderValue, redirect};
use rocketos_settings::provider::{Answer, Method, Request, Way, Web, web};
use tokio::runtime::Runtime;

use crate::{exit, pull::runtime};

/// Servers with trouble of their own, who are asked again.
const TROUBLE: u16 = 500;

/// How long is waited for servers, and how often they are asked.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// What a request may take.
    pub whole: Duration,
    /// What is waited before the second; twice as long each time.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { whole: web::WHOLE, pause: web::PAUSE }
    }
}

/// Asks by HTTP and HTTPS.
#[derive(Debug)]
pub struct Http {
    web: Client,
    platform: Client,
    runtime: Runtime,
    patience: Patience,
}

impl Http {
    /// Proxies are those of the environment; a platform's own service is reached by none.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub fn new(patience: Patience) -> anyhow::Result<Self> {
        let builder = || {
            let client = Client::builder().user_agent("rocketctl").connect_timeout(web::CONNECT);
            client.timeout(patience.whole)
        };
        let web = builder().redirect(redirect::Policy::custom(follow)).build().context("preparing for HTTP")?;
        let platform = builder().no_proxy().redirect(redirect::Policy::none()).build().context("preparing for HTTP")?;
        Ok(Self { web, platform, runtime: runtime()?, patience })
    }

    fn prepare(&self, request: &Request<'_>) -> Result<RequestBuilder, String> {
        let client = match request.way {
            Way::Web => &self.web,
            Way::Platform => &self.platform,
        };
        let prepared = match request.method {
            Method::Get => client.get(request.url),
            Method::Put => client.put(request.url),
        };
        let Some((name, value)) = request.header else { return Ok(prepared) };
        let mut value = HeaderValue::from_str(value).map_err(|_| format!("what {name} is to be is no header"))?;
        // A token is repeated nowhere.
        value.set_sensitive(true);
        Ok(prepared.header(name, value))
    }
}

impl Web for Http {
    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, String> {
        let mut pause = self.patience.pause;
        for attempt in 1.. {
            let prepared = self.prepare(request)?;
            let (answer, is_last) = (self.runtime.block_on(once(prepared, request.most)), attempt == web::ATTEMPTS);
            match answer {
                // Who is there and says something else says so the next time too.
                Ok(Answer { status, .. }) | Err(Failed::For { status, .. }) if status >= TROUBLE && !is_last => {}
                Err(Failed::ForNow(_)) if !is_last => {}
                Ok(answer) => return Ok(answer),
                Err(Failed::ForNow(why) | Failed::For { why, .. }) => return Err(why),
            }
            thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

/// Why there is no answer.
enum Failed {
    /// Nobody, or not all of it, in time.
    ForNow(String),
    /// One that is not taken.
    For { status: u16, why: String },
}

async fn once(request: RequestBuilder, most: usize) -> Result<Answer, Failed> {
    // Without its address, which whoever asks names.
    let failed = |error: reqwest::Error| match error.is_redirect() {
        true => Failed::For { status: 0, why: exit::causes(&error.without_url()) },
        false => Failed::ForNow(exit::causes(&error.without_url())),
    };
    let mut response: Response = request.send().await.map_err(failed)?;
    let (status, mut bytes) = (response.status().as_u16(), Vec::new());
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if bytes.len() + piece.len() > most {
            return Err(Failed::For { status, why: format!("the answer has more than {most} bytes") });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Answer { status, bytes })
}

/// What was asked for by HTTPS is not fetched by HTTP, and nothing by anything else.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from = attempt.previous().last().map(|url| url.scheme().to_owned());
    if attempt.previous().len() > web::REDIRECTS {
        return attempt.error(format!("it redirects more than {} times", web::REDIRECTS));
    }
    match from.is_some_and(|scheme| scheme == attempt.url().scheme()) {
        true => attempt.follow(),
        false => attempt.error("it redirects to another scheme"),
    }
}
