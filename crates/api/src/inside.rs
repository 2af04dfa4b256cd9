//! The API without its socket: for who runs the node itself, by the same table, limits and words as everybody's.

use std::{path::Path, sync::Arc};

use axum::{Router, body::Body};
use http_body_util::BodyExt as _;
use hyper::{Request, StatusCode, header};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use crate::{
    Access, Kind, Node, Problem,
    limits::Patience,
    news::News,
    operations::Shared,
    router::{Caller, Serving, router},
    transactions::Transactions,
};

/// Whoever asks inside.
pub struct Inside {
    router: Router,
    // What is served ends with this.
    _end: watch::Sender<bool>,
}

impl Inside {
    /// Of this node; `transactions` is the folder that the service has.
    pub fn new(node: Arc<dyn Node>, transactions: &Path) -> Self {
        let (end, ends) = watch::channel(false);
        let shared = Arc::new(Shared { node, transactions: Transactions::at(transactions), news: News::new() });
        let Patience { body, look, .. } = Patience::default();
        // A program is somebody's with a connection, and here is none.
        let programs = Arc::new(Semaphore::new(0));
        Self { router: router(&Serving { shared, body, look, ends, live: Arc::new(()), programs }), _end: end }
    }

    /// Asks as root, in the name of `who`, and waits until it is done; `path` is with its query.
    ///
    /// # Errors
    /// What the API answers, where it was not done.
    pub async fn ask(&self, who: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Problem> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request =
            request.body(bytes).map_err(|error| Problem::new(Kind::Malformed, format!("the request: {error}")))?;
        let access = Access { who: who.to_owned(), read: true, change: true };
        request.extensions_mut().insert(Caller { uid: 0, access });
        let Ok(response) = self.router.clone().call(request).await;
        let (status, defect) = (response.status(), |why: String| Problem::new(Kind::Failed, why));
        let collected = response.into_body().collect().await.map_err(|error| defect(error.to_string()))?;
        let bytes = collected.to_bytes();
        if status.is_client_error() || status.is_server_error() {
            return Err(serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| defect(format!("the API answered {status}, and nothing that says why"))));
        }
        match status {
            _ if bytes.is_empty() => Ok(Value::Null),
            StatusCode::OK | StatusCode::CREATED => {
                serde_json::from_slice(&bytes).map_err(|error| defect(format!("reading the answer: {error}")))
            }
            other => Err(defect(format!("the API answered {other}"))),
        }
    }
}
