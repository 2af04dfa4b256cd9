//! Providers that need the network, with servers that answer, lie, or do not.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rocketos_settings::{
    Layers,
    provider::{Machine, Taken, collect, ec2, take, web},
    store::Content,
    userdata::DOCUMENT_BYTES,
};

use super::{Http, set_waiting, waiting, web::Patience};

const TEXT: &str = "[settings]\nmotd = 'hello'\n";
/// The SHA-256 of it.
const TEXT_SHA256: &str = "5a4c7bc1dd095a5f7f4574919d7bb6c223de5e83202424de0dd2a8ceca8e028e";
/// What a server's handler gives: status, further headers, body.
type Said = (u16, String, Vec<u8>);

/// A web server on the loopback, until the process ends.
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` is given the request's line and headers, in small letters; silent where it says nothing.
    fn start(answer: impl Fn(&str) -> Option<Said> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            // Those who were not answered are kept waiting.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = head(&stream);
                all.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                match answer(&head) {
                    Some((status, headers, body)) => {
                        let length = body.len();
                        let begin = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
                        );
                        // Who has heard enough hangs up.
                        let _ = stream.write_all(begin.as_bytes()).and_then(|()| stream.write_all(&body));
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { base, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase() + "\n").collect()
}

fn said(status: u16, body: &str) -> Option<Said> {
    Some((status, String::new(), body.as_bytes().to_vec()))
}

/// A machine with nothing but a command line.
struct Cmdline(tempfile::TempDir);

impl Cmdline {
    fn new(line: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/cmdline"), line).unwrap();
        Self(root)
    }
}

impl Machine for Cmdline {
    fn root(&self) -> &Path {
        self.0.path()
    }
    fn on_esp(&mut self, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
    fn on_labelled(&mut self, _: &str, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// What a machine with this command line takes.
fn taken(line: &str) -> Taken {
    let patience = Patience { whole: Duration::from_millis(500), pause: Duration::from_millis(5) };
    let mut http = Http::new(patience).unwrap();
    let handed = collect(&mut Cmdline::new(line), Some(&mut http), &Content::default(), None);
    take(&Content::default(), &Layers::default(), handed)
}

fn told(taken: &Taken) -> String {
    let problems = taken.refused.iter().flat_map(|refused| &refused.problems);
    problems.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn motd(taken: &Taken) -> &str {
    assert_eq!(told(taken), "");
    let data = taken.content.user_data.first().expect("there is user data");
    data.tree.get(&"motd".parse().unwrap()).and_then(|motd| motd.as_str()).unwrap()
}

/// The command line of a machine whose user data is there.
fn at(url: &str) -> String {
    format!("rocketos.user-data-url={url} rocketos.user-data-sha256={TEXT_SHA256}")
}

/// EC2's service, which wants this token.
fn metadata(token: &'static str, wanted: &'static str) -> Server {
    Server::start(move |head| {
        if head.starts_with("put /latest/api/token ") {
            return match head.contains("x-aws-ec2-metadata-token-ttl-seconds: 300\n") {
                true => said(200, token),
                false => said(400, ""),
            };
        }
        let with = format!("x-aws-ec2-metadata-token: {wanted}\n");
        match (head.starts_with("get /latest/user-data "), head.contains(&with)) {
            (true, true) => said(200, TEXT),
            (true, false) => said(401, ""),
            _ => said(404, ""),
        }
    })
}

#[test]
fn a_metadata_service_is_asked_for_a_token_and_then_for_user_data() {
    let server = metadata("abc=", "abc=");
    let taken = taken(&format!("{}={}", ec2::ARGUMENT, server.base));
    assert_eq!(motd(&taken), "hello");
    assert_eq!(server.asked(), ["put /latest/api/token http/1.1", "get /latest/user-data http/1.1"]);
}

#[test]
fn a_token_that_the_service_does_not_take_is_told_and_not_repeated() {
    let server = metadata("wrong-token", "right-token");
    let taken = taken(&format!("{}={}", ec2::ARGUMENT, server.base));
    assert!(told(&taken).contains("(ec2): ") && told(&taken).contains("status 401"), "{}", told(&taken));
    assert!(!told(&taken).contains("wrong-token"));
    // And it is asked once: it will not think otherwise.
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_service_without_tokens_that_wants_one_refuses() {
    let server = Server::start(|head| said(if head.starts_with("put ") { 404 } else { 401 }, ""));
    let taken = taken(&format!("{}={}", ec2::ARGUMENT, server.base));
    assert!(told(&taken).contains("status 401"), "{}", told(&taken));
}

#[test]
fn a_metadata_service_that_redirects_is_not_followed() {
    let elsewhere = Server::start(|_| said(200, TEXT));
    let to = format!("location: {}/\r\n", elsewhere.base);
    let server = Server::start(move |_| Some((302, to.clone(), Vec::new())));
    let taken = taken(&format!("{}={}", ec2::ARGUMENT, server.base));
    assert!(told(&taken).contains("status 302") && elsewhere.asked().is_empty(), "{}", told(&taken));
}

#[test]
fn a_server_that_is_silent_or_not_there_is_asked_a_few_times_and_given_up() {
    let silent = Server::start(|_| None);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    for base in [silent.base.clone(), format!("http://{nobody}")] {
        let taken = taken(&format!("{}={base}", ec2::ARGUMENT));
        assert!(told(&taken).contains("the user data (ec2): "), "{}", told(&taken));
        assert!(taken.content.user_data.is_empty());
    }
    assert_eq!(silent.asked().len(), web::ATTEMPTS as usize);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_server_with_trouble_is_asked_again() {
    let count = Mutex::new(0);
    let server = Server::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count < 3 { said(503, "") } else { said(200, TEXT) }
    });
    assert_eq!(motd(&taken(&at(&server.base))), "hello");
    let broken = Server::start(|_| said(500, ""));
    let given_up = taken(&at(&broken.base));
    assert!(told(&given_up).contains("status 500") && broken.asked().len() == web::ATTEMPTS as usize);
}

#[test]
fn a_document_with_another_hash_is_refused() {
    let server = Server::start(|_| said(200, "[settings]\nmotd = 'another'\n"));
    let taken = taken(&at(&server.base));
    assert!(told(&taken).contains(&format!("not {TEXT_SHA256}")), "{}", told(&taken));
    assert!(taken.content.user_data.is_empty());
}

#[test]
fn a_document_without_end_is_not_read_to_its_end() {
    let server = Server::start(|_| Some((200, String::new(), vec![b'#'; DOCUMENT_BYTES + 1])));
    let taken = taken(&at(&server.base));
    assert!(told(&taken).contains("more than 1048576 bytes") && server.asked().len() == 1, "{}", told(&taken));
}

#[test]
fn redirections_are_followed_within_a_scheme_and_not_for_ever() {
    let document = Server::start(|_| said(200, TEXT));
    let to = |url: String| Server::start(move |_| Some((302, format!("location: {url}\r\n"), Vec::new())));
    assert_eq!(motd(&taken(&at(&to(document.base.clone()).base))), "hello");
    for url in ["https://127.0.0.1:1/", "file:///etc/hostname", "ftp://127.0.0.1/"] {
        let server = to(url.to_owned());
        let told = told(&taken(&at(&server.base)));
        assert!(told.contains("another scheme") || told.contains("status 302"), "{url}: {told}");
        assert_eq!(server.asked().len(), 1, "{url}");
    }
    let round = Server::start(|_| Some((302, "location: /\r\n".to_owned(), Vec::new())));
    assert!(told(&taken(&at(&round.base))).contains("redirects more than 5 times"));
    assert_eq!(round.asked().len(), web::REDIRECTS + 1);
}

#[test]
fn who_waits_for_the_network_is_written_down_and_taken_away() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/rocketos")).unwrap();
    assert!(waiting(root.path()).unwrap().is_empty());
    set_waiting(root.path(), &["nocloud", "url"]).unwrap();
    assert_eq!(waiting(root.path()).unwrap(), ["nocloud", "url"]);
    set_waiting(root.path(), &[]).unwrap();
    set_waiting(root.path(), &[]).unwrap();
    assert!(waiting(root.path()).unwrap().is_empty());
}
