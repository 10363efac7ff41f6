//! The curves of a run while it goes on, served to a browser on this machine.

use super::curves;
use super::history::Follow;
use super::html::Html;
use super::page::{Liveness, Section, page};
use crate::error::{Error, Result};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most bytes of a request that are read.
const LONGEST: usize = 8192;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a server looks whether it is asked, or to stop.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections at a time: browsers open some before they ask.
const CLIENTS: usize = 64;

/// A server of one page for one run, reachable from this machine alone.
///
/// It answers `GET /` and `GET /curves.json`, and nothing else: no path of a request is ever a path of a file. Requests whose
/// `Host` is another than its own are refused, so that no page elsewhere can read it by a name of its own.
pub struct Watch {
    run: PathBuf,
    follow: Follow,
    listener: TcpListener,
    address: SocketAddr,
    /// Changes of the journal seen so far.
    changes: u64,
}

impl Watch {
    /// Listens at 127.0.0.1; port 0 is any free one.
    ///
    /// # Errors
    /// The folder is no run, or the port is taken.
    pub fn new(run: &Path, port: u16) -> Result<Self> {
        let follow = Follow::new(run)?;
        let failed = |error: std::io::Error| Error::Run {
            path: format!("127.0.0.1:{port}").into(),
            reason: format!("cannot listen: {error}"),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            run: run.to_owned(),
            follow,
            listener,
            address,
            changes: 0,
        })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is true.
    ///
    /// # Errors
    /// The system gives no more connections. What a client does wrong ends its connection alone.
    pub fn serve(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut clients: Vec<Client> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            clients.retain_mut(|client| self.attend(client));
            match self.listener.accept() {
                Ok((stream, _)) if clients.len() < CLIENTS => clients.extend(Client::new(stream)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads from a client and answers it once it has asked; whether it still has to be waited for.
    fn attend(&mut self, client: &mut Client) -> bool {
        match client.asked() {
            Ok(Some(request)) => {
                let answer = self.reply(&request);
                // A client that goes away is no failure of the server's.
                drop(client.tell(&answer));
                false
            }
            Ok(None) => client.since.elapsed() < PATIENCE,
            Err(_) => false,
        }
    }

    fn reply(&mut self, request: &str) -> Answer {
        let mut lines = request.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) =
            (words.next(), words.next(), words.next())
        else {
            return Answer::refusal("400 Bad Request");
        };
        if !version.starts_with("HTTP/1.") {
            return Answer::refusal("400 Bad Request");
        }
        if !self.is_own_host(lines) {
            return Answer::refusal("403 Forbidden");
        }
        if method != "GET" {
            return Answer::refusal("405 Method Not Allowed");
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/" => self.page(),
            "/curves.json" => self.news(query.strip_prefix("seen=").unwrap_or_default()),
            _ => Answer::refusal("404 Not Found"),
        }
    }

    /// Whether the one `Host` of a request is this server's.
    fn is_own_host<'a>(&self, lines: impl Iterator<Item = &'a str>) -> bool {
        let heads = lines.filter_map(|line| line.split_once(':'));
        let mut hosts = heads.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
        let (host, other) = (hosts.next(), hosts.next());
        let port = self.address.port();
        let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        other.is_none() && host.is_some_and(|(_, host)| own.iter().any(|own| own == host.trim()))
    }

    /// Reads what the run has added; what is wrong with the journal, in words.
    fn look(&mut self) -> std::result::Result<(), String> {
        let changed = self.follow.more().map_err(|error| error.to_string())?;
        self.changes += u64::from(changed);
        Ok(())
    }

    fn lead(&self) -> String {
        let Some(last) = self.follow.history.steps.last() else {
            return "Waiting for the first step.".into();
        };
        let loss = last
            .loss
            .map_or(String::new(), |loss| format!(", loss {loss:.4}"));
        let done = if self.run.join("model").is_dir() {
            "; the run is done: nearkin report has its map and neighbors"
        } else {
            ""
        };
        format!("Step {}{loss}{done}.", last.step)
    }

    fn page(&mut self) -> Answer {
        let problem = self.look().err();
        let mut body = Html::default();
        body.raw("<div id=\"live\">")
            .add(&curves::figures(&self.follow.history))
            .raw("</div>");
        let sections = [Section::new("curves", "Training curves", body)];
        let lead = problem.unwrap_or_else(|| self.lead());
        Answer {
            status: "200 OK",
            kind: "text/html",
            body: page(
                &self.run.display().to_string(),
                &lead,
                &sections,
                Liveness::Live,
            ),
        }
    }

    /// What has changed since a client has `seen` the journal last.
    fn news(&mut self, seen: &str) -> Answer {
        let body = if let Err(error) = self.look() {
            json!({ "error": error })
        } else {
            let fresh = self.changes.to_string();
            let curves = (fresh != seen).then(|| curves::figures(&self.follow.history));
            let curves = curves.as_ref().map(Html::as_str);
            json!({ "lead": self.lead(), "seen": fresh, "curves": curves })
        };
        Answer {
            status: "200 OK",
            kind: "application/json",
            body: body.to_string(),
        }
    }
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn refusal(status: &'static str) -> Self {
        Self {
            status,
            kind: "text/plain",
            body: format!("{status}\n"),
        }
    }
}

/// A connection that may have asked for something.
struct Client {
    stream: TcpStream,
    head: Vec<u8>,
    since: Instant,
}

impl Client {
    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            head: Vec::new(),
            since: Instant::now(),
        })
    }

    /// The head of its request, once it is whole.
    fn asked(&mut self) -> std::io::Result<Option<String>> {
        let mut part = [0; 1024];
        loop {
            if self.head.windows(4).any(|end| end == b"\r\n\r\n") {
                return Ok(Some(String::from_utf8_lossy(&self.head).into_owned()));
            }
            if self.head.len() >= LONGEST {
                return Err(ErrorKind::InvalidData.into());
            }
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.head.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn tell(&mut self, Answer { status, kind, body }: &Answer) -> std::io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn watch() -> (tempfile::TempDir, Watch) {
        let run = tempfile::tempdir().unwrap();
        fs_err::write(run.path().join("metrics.jsonl"), "").unwrap();
        let watch = Watch::new(run.path(), 0).unwrap();
        (run, watch)
    }

    fn ask(watch: &mut Watch, line: &str) -> Answer {
        let port = watch.address().port();
        watch.reply(&format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        ))
    }

    #[test]
    fn curves_come_anew_when_the_journal_has_grown() {
        let (run, mut watch) = watch();
        assert!(
            ask(&mut watch, "GET /")
                .body
                .contains("Waiting for the first step.")
        );
        let mut news = |seen: &str| -> Value {
            let answer = ask(&mut watch, &format!("GET /curves.json?seen={seen}"));
            serde_json::from_str(&answer.body).unwrap()
        };
        let journal = run.path().join("metrics.jsonl");
        fs_err::write(&journal, "{\"step\":1,\"loss\":0.25}\n{\"st").unwrap();
        let first = news("");
        assert_eq!(first["lead"], "Step 1, loss 0.2500.");
        assert!(first["curves"].as_str().unwrap().contains("<svg"));
        let seen = first["seen"].as_str().unwrap();
        assert!(news(seen)["curves"].is_null());
        fs_err::write(
            &journal,
            "{\"step\":1,\"loss\":0.25}\n{\"step\":2,\"loss\":0.125}\n",
        )
        .unwrap();
        assert!(news(seen)["curves"].is_string());
        fs_err::write(
            &journal,
            "no journal at all, and longer than all that there was before it in the file\n",
        )
        .unwrap();
        assert!(news(seen)["error"].as_str().unwrap().contains("line 3"));
    }

    #[test]
    fn only_its_own_name_and_two_pages_are_answered() {
        let (_run, mut watch) = watch();
        let port = watch.address().port();
        assert!(watch.address().ip().is_loopback());
        for host in [
            "Host: evil.example",
            "Host: 127.0.0.1:1",
            "",
            &format!("Host: 127.0.0.1:{port}\r\nHost: evil.example"),
        ] {
            let answer = watch.reply(&format!("GET / HTTP/1.1\r\n{host}\r\n\r\n"));
            assert_eq!(answer.status, "403 Forbidden", "{host}");
        }
        let named = watch.reply(&format!("GET / HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n"));
        assert_eq!(named.status, "200 OK");
        for path in [
            "/metrics.jsonl",
            "/../../etc/passwd",
            "/%2e%2e/recipe.toml",
            "//",
            "http://x/",
        ] {
            assert_eq!(
                ask(&mut watch, &format!("GET {path}")).status,
                "404 Not Found",
                "{path}"
            );
        }
        assert_eq!(ask(&mut watch, "POST /").status, "405 Method Not Allowed");
        assert_eq!(watch.reply("").status, "400 Bad Request");
    }

    #[test]
    fn a_silent_client_does_not_hold_the_server_and_stop_ends_it() {
        let (_run, mut watch) = watch();
        let address = watch.address();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| watch.serve(&stop));
            let silent = TcpStream::connect(address).unwrap();
            let mut client = TcpStream::connect(address).unwrap();
            let port = address.port();
            write!(client, "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert!(
                said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("</html>\n"),
                "{said}"
            );
            stop.store(true, Ordering::Relaxed);
            server.join().unwrap().unwrap();
            drop(silent);
        });
    }
}
