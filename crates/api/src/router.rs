//! From a request to an operation and back: who may, what is read, what an answer looks like.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRequestParts as _;
use axum::{
    Router,
    body::{Body as Bytes, HttpBody as _},
    extract::{RawPathParams, Request},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
    routing::{MethodFilter, on},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{
    Kind, Problem, exec, limits,
    node::Access,
    operations::{self, Answer, Asked, Body, Method, Operation, Run, Says, Shared},
    problem,
    service::Live,
};

/// The media type of an archive (RFC 6713).
pub(crate) const ARCHIVE: &str = "application/gzip";

/// What every request of a connection has in common.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) access: Access,
}

/// What every request has.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) shared: Arc<Shared>,
    pub(crate) body: Duration,
    pub(crate) look: Duration,
    pub(crate) ends: watch::Receiver<bool>,
    pub(crate) live: Live,
    /// Places for programs in host containers.
    pub(crate) programs: Arc<Semaphore>,
}

/// Every operation at its path.
pub(crate) fn router(serving: &Serving) -> Router {
    let mut router = Router::new();
    for operation in operations::all() {
        let filter = match operation.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        };
        let serving = serving.clone();
        let handler = on(filter, async move |request: Request| answer(operation, serving, request).await);
        router = router.route(operation.path, handler);
    }
    router.fallback(nowhere).method_not_allowed_fallback(no_such_method)
}

async fn nowhere(request: Request) -> Response<Bytes> {
    let problem = match may_read(&request) {
        Ok(_) => Problem::new(Kind::NotFound, "nothing is at this path; /v1/openapi.json says what is where"),
        Err(problem) => problem,
    };
    refuse(&problem)
}

async fn no_such_method(request: Request) -> Response<Bytes> {
    let problem = match may_read(&request) {
        Ok(_) => Problem::new(Kind::Method, format!("{} does not do this", request.method())),
        Err(problem) => problem,
    };
    refuse(&problem)
}

fn caller(request: &Request) -> Result<&Caller, Problem> {
    request.extensions().get().ok_or_else(|| Problem::new(Kind::NotPermitted, "who asks is not known"))
}

fn may_read(request: &Request) -> Result<&Caller, Problem> {
    let caller = caller(request)?;
    match caller.access.read || caller.access.change {
        true => Ok(caller),
        false => Err(Problem::new(Kind::NotPermitted, format!("{} may not ask this node", caller.access.who))),
    }
}

/// Who asks, if they may do this.
fn permitted(operation: &Operation, request: &Request) -> Result<Caller, Problem> {
    let caller = caller(request)?;
    let (may, what) = match operation.changes {
        true => (caller.access.change, "change"),
        false => (caller.access.read, "read"),
    };
    match may {
        true => Ok(caller.clone()),
        false => Err(Problem::new(Kind::NotPermitted, format!("{} may not {what} this node", caller.access.who))),
    }
}

async fn answer(operation: &'static Operation, serving: Serving, request: Request) -> Response<Bytes> {
    let done = async {
        // Before anything else of the request is looked at.
        let caller = permitted(operation, &request)?;
        match operation.run {
            Run::Events => events(&serving, &request),
            Run::Exec => exec::answer(operation, &serving, caller, request).await,
            Run::Work(work) => {
                let asked = asked(operation, &serving, caller, request).await?;
                // It goes on where who asked leaves: what began is done wholly.
                let live = serving.live.clone();
                let done = tokio::task::spawn_blocking(move || {
                    let done = work(&asked);
                    drop(live);
                    done
                });
                let done = done.await.map_err(|_| Problem::new(Kind::Failed, "the service has a defect"))?;
                written(operation, done?)
            }
        }
    };
    done.await.unwrap_or_else(|problem: Problem| refuse(&problem))
}

fn events(serving: &Serving, request: &Request) -> Result<Response<Bytes>, Problem> {
    let operations::Nothing {} = operations::query(request.uri())?;
    let body = serving.shared.news.listen(&serving.shared.node, serving.look, serving.ends.clone())?;
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// Reads a request.
pub(crate) async fn asked(
    operation: &Operation,
    serving: &Serving,
    caller: Caller,
    request: Request,
) -> Result<Asked, Problem> {
    let (mut parts, body) = request.into_parts();
    let parameters = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
    let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let if_match = if operation.if_match { if_match(&parts.headers)? } else { None };
    let body = match operation.body {
        Body::None => Value::Null,
        Body::Settings | Body::Of(_) => {
            let read = timeout(serving.body, json(&parts.headers, body)).await;
            read.map_err(|_| Problem::new(Kind::Timeout, format!("the body took more than {:?}", serving.body)))??
        }
    };
    let (uid, who) = (caller.uid, caller.access.who);
    Ok(Asked { shared: Arc::clone(&serving.shared), uid, who, parameters, uri: parts.uri, if_match, body })
}

/// The generation that a change is made to (RFC 9110, 13.1.1); none for any.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let wrong = || {
        let detail = "If-Match is one generation, such as \"7\", or *";
        Problem::new(Kind::Malformed, detail)
    };
    let mut all = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    if all.next().is_some() {
        return Err(wrong());
    }
    if text == "*" {
        return Ok(None);
    }
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().map(Some).map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

/// Reads a body.
async fn json(headers: &HeaderMap, body: Bytes) -> Result<Value, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Kind::MediaType, "say Content-Type: application/json"));
    }
    let most = limits::BODY_BYTES;
    let too_large = || Problem::new(Kind::TooLarge, format!("a body has at most {most} bytes"));
    // Told before it is sent, where it says so itself.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let bytes = match Limited::new(body, most).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(Problem::new(Kind::Malformed, "the body is cut short, or not sent as HTTP has it")),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // Not what it says: it may have secrets.
        Problem::new(Kind::Malformed, format!("the body is no JSON (line {line}, column {column})"))
    })
}

fn written(operation: &Operation, answer: Answer) -> Result<Response<Bytes>, Problem> {
    let status = StatusCode::from_u16(operation.status).unwrap_or(StatusCode::OK);
    let mut response = match (answer.body, answer.bytes) {
        (None, None) => status.into_response(),
        (None, Some(bytes)) => (status, [(header::CONTENT_TYPE, ARCHIVE)], bytes).into_response(),
        (Some(value), _) => {
            let media =
                if matches!(operation.says, Says::Schema) { "application/schema+json" } else { "application/json" };
            (status, [(header::CONTENT_TYPE, media)], value.to_string()).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let tag = answer.generation.and_then(|number| HeaderValue::from_str(&format!("\"{number}\"")).ok());
    let location = answer.location.and_then(|path| HeaderValue::from_str(&path).ok());
    for (name, value) in [(header::ETAG, tag), (header::LOCATION, location)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// A problem as an answer.
fn refuse(problem: &Problem) -> Response<Bytes> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_string(problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, problem::MEDIA_TYPE)], text).into_response()
}
