//! Tokens (CNCF distribution, "Token Authentication Specification" and "OAuth2 Token Authentication").

use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;

use super::{auth::Login, endpoint::Endpoint};
use crate::OciError;

/// Longest answer of a token service.
const ANSWER_BYTES: u64 = 256 << 10;
/// What messages call it.
const DOING: &str = "the request for a token";
/// How we call ourselves where OAuth2 wants a name.
const CLIENT_ID: &str = "rocketos";

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Gets a token and returns the value of `Authorization`.
pub(super) async fn fetch(
    endpoint: &Endpoint,
    client: &Client,
    mut realm: Url,
    service: Option<&str>,
    scope: &str,
    login: Option<&Login>,
) -> Result<String, OciError> {
    let service = service.unwrap_or(&endpoint.host);
    let request = if let Some(Login::Token(refresh)) = login {
        let mut form = realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", service)
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", scope)
            .append_pair("refresh_token", refresh);
        client
            .post(realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
    } else {
        realm.query_pairs_mut().append_pair("service", service).append_pair("scope", scope);
        let request = client.get(realm);
        match login.and_then(Login::basic) {
            Some(basic) => request.header(AUTHORIZATION, basic),
            None => request,
        }
    };
    let response = request.send().await.map_err(|error| endpoint.failed(error))?;
    if response.status() != StatusCode::OK {
        return Err(endpoint.status(response.status(), DOING));
    }
    let bytes = super::body(endpoint, response, ANSWER_BYTES, DOING).await?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| endpoint.protocol(DOING, error.to_string()))?;
    answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
        .map(|token| format!("Bearer {token}"))
        .ok_or_else(|| endpoint.protocol(DOING, "no token".to_owned()))
}
