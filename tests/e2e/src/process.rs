//! One process of the product: started as its Deployment starts it, killed, stopped and asked as Kubernetes does.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use catalyst_testbed::{ControlPlane, Process};

use crate::binary::catalyst;
use crate::wait::until;

/// Long enough for a machine that is busy with a build. On its own it takes half a second.
const START: Duration = Duration::from_secs(30);

/// Between the testbed's ports and those that the system gives to clients.
const PORTS: std::ops::Range<u16> = 30_000..32_768;

/// What is logged, unless `RUST_LOG` says something else.
const LOGGED: &str = "info,catalyst=debug";

/// A process of the operator, and how to start it again.
pub struct Operator {
    name: String,
    /// The subcommand, and how it is told where its pages are.
    command: [&'static str; 2],
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    running: Option<(Process, u16)>,
    log: PathBuf,
}

impl Operator {
    /// One that is not running yet. The name is its log's.
    pub fn new(name: &str, arguments: &[&str], kubeconfig: &Path) -> Self {
        Self {
            name: name.to_owned(),
            command: ["agent", "--listen"],
            arguments: arguments.iter().map(ToString::to_string).collect(),
            kubeconfig: kubeconfig.to_owned(),
            running: None,
            log: PathBuf::new(),
        }
    }

    /// A configuration stream, as [`Operator::new`].
    pub fn stream(name: &str, arguments: &[&str], kubeconfig: &Path) -> Self {
        Self { command: ["config-stream", "--pages"], ..Self::new(name, arguments, kubeconfig) }
    }

    /// Starts it. It may take a moment until it is ready.
    pub fn spawn(&mut self, control_plane: &ControlPlane) {
        let port = free_port();
        let mut command = Command::new(catalyst());
        let [subcommand, pages] = self.command;
        command
            .arg(subcommand)
            .args(&self.arguments)
            .args([pages, &format!("127.0.0.1:{port}")])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_LOG", std::env::var("RUST_LOG").as_deref().unwrap_or(LOGGED));
        let process = control_plane.spawn(&self.name, &command).expect("catalyst runs");
        process.log().clone_into(&mut self.log);
        self.running = Some((process, port));
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self, control_plane: &ControlPlane) {
        self.spawn(control_plane);
        until(START, &format!("{} is ready", self.name), || {
            let (process, _) = self.running.as_mut().ok_or("it was never started")?;
            if let Some(status) = process.ended().map_err(|error| error.to_string())? {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            match self.page("/readyz") {
                Some((200, _)) => Ok(()),
                other => Err(format!("/readyz says {other:?}")),
            }
        });
    }

    /// Ends it as a node that fails does: SIGKILL.
    pub fn kill(&mut self) {
        if let Some((mut process, _)) = self.running.take() {
            process.kill().expect("it can be killed");
        }
    }

    /// Ends it as Kubernetes does: SIGTERM. Returns how it ended.
    pub fn term(&mut self, within: Duration) -> ExitStatus {
        let (mut process, _) = self.running.take().expect("it runs");
        process.signal("TERM").expect("it can be signalled");
        let ended = process.wait(within).expect("it can be waited for");
        ended.unwrap_or_else(|| panic!("{} still runs {within:?} after SIGTERM", self.name))
    }

    /// Sends a signal by its short name: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let (process, _) = self.running.as_ref().expect("it runs");
        process.signal(signal).expect("it can be signalled");
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(process, _)| process.id())
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let (process, _) = self.running.as_mut()?;
        process.ended().expect("it can be asked after")
    }

    /// Whether it was started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.running.is_some() && self.ended().is_none()
    }

    /// All that it logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As [`Operator::metrics`]; nothing while it does not answer.
    pub fn metrics_now(&self) -> Option<String> {
        self.page("/metrics").map(|(_, text)| text)
    }

    /// What Prometheus reads of it.
    pub fn metrics(&self) -> String {
        match self.page("/metrics") {
            Some((200, text)) => text,
            other => panic!("/metrics of {} says {other:?}", self.name),
        }
    }

    fn page(&self, path: &str) -> Option<(u16, String)> {
        let (_, port) = self.running.as_ref()?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // 1.0, so that the answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((status, body.to_owned()))
    }
}

/// A port that nobody has, for now.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Two tests at once begin elsewhere, and so rarely meet; one never gets a port twice that is not taken yet.
    let begin = PORTS.start
        + u16::try_from(std::process::id() % 100).unwrap_or_default() * 27
        + GIVEN.fetch_add(1, Ordering::Relaxed) % 27;
    let mut ports = (begin..PORTS.end).chain(PORTS.start..begin);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).expect("a free port below 32768")
}
