//! The testbed by hand: build its Kubernetes, start one, stop it.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use catalyst_testbed::{ControlPlane, Kubernetes, Options, stop_kept};

const USAGE: &str = "\
A real Kubernetes control plane on loopback.

Usage: testbed up [--keep] [--crds PATH]...   start one; it ends with this command, or with --keep by `testbed down`
       testbed down                           stop those that were started with --keep
       testbed build                          only build the binaries, into the user's cache

`up` prints KUBECONFIG=... and PATH=..., to be exported, when the cluster answers.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["up", ref options @ ..] => match options_of(options) {
            Some((options, keep)) => up(&options, keep),
            None => return usage(),
        },
        ["down"] => down(),
        ["build"] => build(),
        ["help" | "--help" | "-h"] => stdout().write_all(USAGE.as_bytes()).map_err(Into::into),
        _ => return usage(),
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    say(&format!("error: {error}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        say(&format!("  because: {error}"));
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn options_of(mut words: &[&str]) -> Option<(Options, bool)> {
    let (mut options, mut keep) = (Options::default(), false);
    loop {
        match words {
            [] => return Some((options, keep)),
            ["--keep", rest @ ..] => (keep, words) = (true, rest),
            ["--crds", path, rest @ ..] => {
                options.crds.push(path.into());
                words = rest;
            }
            _ => return None,
        }
    }
}

fn up(options: &Options, keep: bool) -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    let kubernetes = Kubernetes::build()?;
    let cluster = ControlPlane::start(options)?;
    let seconds = since.elapsed().as_secs_f32();
    say(&format!("Kubernetes {} is up after {seconds:.1} s", kubernetes.version));
    let (config, bin) = (cluster.kubeconfig().display(), kubernetes.bin.display());
    // In one piece: who reads only the first line and closes the pipe is no reason to fail.
    let exports = format!("KUBECONFIG={config}\nPATH={bin}:$PATH\n");
    stdout().write_all(exports.as_bytes())?;
    if keep {
        cluster.keep()?;
        say("stop it with: testbed down");
        return Ok(());
    }
    say("stop it with Ctrl-C");
    loop {
        // Ctrl-C ends this process, and that ends the cluster: there is nothing to be caught.
        std::thread::sleep(Duration::from_secs(1));
        cluster.check()?;
    }
}

fn down() -> Result<(), Box<dyn Error>> {
    let stopped = stop_kept()?;
    for path in &stopped {
        say(&format!("stopped, removed {}", path.display()));
    }
    if stopped.is_empty() {
        say("nothing was kept running");
    }
    Ok(())
}

fn build() -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    let Kubernetes { version, bin } = Kubernetes::build()?;
    let seconds = since.elapsed().as_secs_f32();
    say(&format!("Kubernetes {version}: {} ({seconds:.1} s)", bin.display()));
    Ok(())
}

fn usage() -> ExitCode {
    let _ = stderr().write_all(USAGE.as_bytes());
    ExitCode::from(2)
}

fn say(text: &str) {
    // Nobody to tell when stderr is closed.
    let _ = writeln!(stderr(), "{text}");
}
