//! One host that speaks the distribution specification: TLS or not, redirects, logins.

use std::{error::Error, fs, io, path::Path, path::PathBuf, sync::Mutex, time::Duration};

use reqwest::{
    Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, LOCATION, WWW_AUTHENTICATE},
    redirect,
};
use tokio::sync::OnceCell;

use super::{
    auth::{Login, Logins},
    conf::{Location, Transport},
    header::{Challenge, challenges},
    token,
};
use crate::{ConfigError, OciError, ReaderConfig};

/// Redirects followed for one request.
const REDIRECTS: usize = 5;
/// Time to find the host and shake hands.
const CONNECT: Duration = Duration::from_secs(15);
/// Docker's registry does not live where its name says.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A repository at one host.
pub(crate) struct Endpoint {
    /// Host and port, as the user knows them.
    pub(crate) host: String,
    /// Repository there.
    pub(crate) repository: String,
    /// What waiting for a document may take.
    pub(crate) drip: Duration,
    transport: Transport,
    client: Client,
    login: Option<Login>,
    base: OnceCell<Url>,
    authorization: Mutex<Option<HeaderValue>>,
}

/// What a request may do: the scope of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

impl Access {
    fn scope(self, repository: &str) -> String {
        match self {
            Self::Pull => format!("repository:{repository}:pull"),
            Self::Push => format!("repository:{repository}:pull,push"),
        }
    }
}

impl Endpoint {
    pub(crate) fn new(location: Location, config: &ReaderConfig, logins: &Logins) -> Result<Self, OciError> {
        let login = logins.find(&location.host, &location.repository)?;
        let repository = match location.host == DOCKER_HUB.0 && !location.repository.contains('/') {
            true => format!("library/{}", location.repository),
            false => location.repository,
        };
        Ok(Self {
            client: client(&location.host, location.transport, config)?,
            host: location.host,
            repository,
            drip: config.patience.drip,
            transport: location.transport,
            login,
            base: OnceCell::new(),
            authorization: Mutex::new(None),
        })
    }

    /// `https://host/v2/`, or with HTTP where that is allowed and is all there is.
    pub(crate) async fn base(&self) -> Result<&Url, OciError> {
        self.base
            .get_or_try_init(|| async {
                let host = match self.host == DOCKER_HUB.0 {
                    true => DOCKER_HUB.1,
                    false => &self.host,
                };
                let url = |scheme: &str| {
                    Url::parse(&format!("{scheme}://{host}/v2/"))
                        .map_err(|error| OciError::Unreachable { registry: self.host.clone(), source: error.into() })
                };
                let https = url("https")?;
                if self.transport == Transport::Verified {
                    return Ok(https);
                }
                match self.client.get(https.clone()).send().await {
                    Ok(_) => Ok(https),
                    // Whatever went wrong with HTTPS, the caller hears what HTTP says.
                    Err(_) => url("http"),
                }
            })
            .await
    }

    /// The address of `path` in this repository.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, OciError> {
        let base = self.base().await?;
        base.join(&format!("{}/{path}", self.repository)).map_err(|error| self.protocol(path, error.to_string()))
    }

    /// Sends one request, logs in where asked to, follows redirects of reads. The answer may have any status but 401.
    ///
    /// `Authorization` goes to the registry's own origin alone: what it redirects to never sees it.
    pub(crate) async fn send(
        &self,
        access: Access,
        method: Method,
        url: Url,
        doing: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        let origin = self.base().await?.origin();
        let reads = method == Method::GET || method == Method::HEAD;
        let (mut url, mut logged_in, mut redirects) = (url, false, 0);
        loop {
            let ours = url.origin() == origin;
            let mut request = build(self.client.request(method.clone(), url.clone()));
            if ours && let Some(authorization) = self.authorization() {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|error| self.failed(error))?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && ours && !logged_in {
                self.log_in(access, &response).await?;
                logged_in = true;
            } else if status == StatusCode::UNAUTHORIZED {
                return Err(self.unauthorized());
            } else if status.is_redirection() && reads && response.headers().contains_key(LOCATION) {
                redirects += 1;
                url = self.follow(&response, &url, doing)?;
                if redirects > REDIRECTS {
                    return Err(self.protocol(doing, format!("more than {REDIRECTS} redirects")));
                }
            } else {
                return Ok(response);
            }
        }
    }

    fn follow(&self, response: &Response, from: &Url, doing: &str) -> Result<Url, OciError> {
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| from.join(value).ok())
            .ok_or_else(|| self.protocol(doing, "a redirect to nowhere".to_owned()))?;
        match target.scheme() {
            "https" => Ok(target),
            "http" if from.scheme() == "http" || self.transport == Transport::Insecure => Ok(target),
            _ => Err(self.protocol(doing, format!("a redirect to {target}, which is not HTTPS"))),
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Answers a 401.
    async fn log_in(&self, access: Access, response: &Response) -> Result<(), OciError> {
        let asked: Vec<Challenge> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let bearer = asked.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let value = match bearer.or(asked.first()) {
            Some(Challenge::Bearer { realm, service, scope }) => {
                let realm = self.realm(realm)?;
                let scope = scope.clone().unwrap_or_else(|| access.scope(&self.repository));
                token::fetch(self, &self.client, realm, service.as_deref(), &scope, self.login.as_ref()).await?
            }
            Some(Challenge::Basic) => self.login.as_ref().and_then(Login::basic).ok_or_else(|| self.unauthorized())?,
            None => return Err(self.unauthorized()),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| self.protocol("the request for a token", "a token that is no header value".to_owned()))?;
        value.set_sensitive(true);
        *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
        Ok(())
    }

    /// The address of the token service; a password goes there, so it is held to what the registry is held to.
    fn realm(&self, realm: &str) -> Result<Url, OciError> {
        let insecure = || OciError::InsecureRealm { registry: self.host.clone(), realm: realm.to_owned() };
        let url = Url::parse(realm).map_err(|_| insecure())?;
        match (url.scheme(), self.transport) {
            ("https", _) | ("http", Transport::Insecure) => Ok(url),
            _ => Err(insecure()),
        }
    }

    /// What a status means where it is not the hoped-for one; 404 is the caller's to name.
    pub(crate) fn status(&self, status: StatusCode, doing: &str) -> OciError {
        let registry = self.host.clone();
        match status.as_u16() {
            401 => self.unauthorized(),
            403 => OciError::Forbidden { registry, repository: self.repository.clone() },
            429 => OciError::TooManyRequests { registry },
            status @ 500.. => OciError::ServerError { registry, status, attempts: 1 },
            status => OciError::UnexpectedStatus { registry, doing: doing.to_owned(), status },
        }
    }

    pub(crate) fn protocol(&self, doing: &str, found: String) -> OciError {
        OciError::Protocol { registry: self.host.clone(), doing: doing.to_owned(), found }
    }

    fn unauthorized(&self) -> OciError {
        OciError::Unauthorized { registry: self.host.clone(), repository: self.repository.clone() }
    }

    /// Names a request that got no answer.
    pub(crate) fn failed(&self, error: reqwest::Error) -> OciError {
        let registry = self.host.clone();
        let error = error.without_url();
        match is_tls(&error) {
            true => OciError::Tls { registry, source: error.into() },
            false => OciError::Unreachable { registry, source: error.into() },
        }
    }
}

/// True where the chain of causes holds TLS's own error. Errors inside an `io::Error` are not among its sources.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<native_tls::Error>() {
        return true;
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

/// A client that trusts the system's CAs and those of `certs.d/<host>/*.crt` (containers-certs.d(5)).
fn client(host: &str, transport: Transport, config: &ReaderConfig) -> Result<Client, OciError> {
    let mut builder = Client::builder()
        .user_agent(&config.user_agent)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(config.patience.stall)
        .tls_danger_accept_invalid_certs(transport == Transport::Insecure);
    for directory in &config.certs_dirs {
        builder = builder.tls_certs_merge(certificates(&directory.join(host))?);
    }
    builder.build().map_err(|error| OciError::Client(error.into()))
}

fn certificates(directory: &Path) -> Result<Vec<Certificate>, OciError> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let read = super::conf::read_config(&path).and_then(|bytes| {
            Certificate::from_pem_bundle(&bytes.unwrap_or_default())
                .map_err(|error| ConfigError::Certificate(error.into()))
        });
        found.append(&mut read.map_err(|source| OciError::Config { path, source })?);
    }
    Ok(found)
}
