//! A web server's answer.

use reqwest::{Client, redirect};

use crate::{Outcome, limits};

pub(super) async fn probe(url: &str, status: u16, body: Option<&str>) -> Outcome {
    // A redirection is an answer like any other.
    let client = match Client::builder().user_agent("rocketctl").redirect(redirect::Policy::none()).build() {
        Ok(client) => client,
        Err(error) => return Outcome::NotRun(error.to_string()),
    };
    let mut response = match client.get(url).send().await {
        Ok(response) => response,
        Err(error) => return Outcome::Failed(chain(&error)),
    };
    if response.status().as_u16() != status {
        return Outcome::Failed(format!("{url} answers {}, not {status}", response.status().as_u16()));
    }
    let Some(wanted) = body else { return Outcome::Passed };
    let mut bytes = Vec::new();
    while bytes.len() < limits::ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break,
            Err(error) => return Outcome::Failed(chain(&error)),
        }
    }
    bytes.truncate(limits::ANSWER_BYTES);
    match String::from_utf8_lossy(&bytes).contains(wanted) {
        true => Outcome::Passed,
        false => Outcome::Failed(format!("the answer of {url} does not have '{wanted}'")),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
