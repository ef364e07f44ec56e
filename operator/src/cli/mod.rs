//! What people and Deployments run: one binary, a subcommand each.

mod canary;
mod config_stream;
mod crds;
pub mod render;
mod show;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::agent::{self, Options};
use crate::controllers;

/// Turns a cluster into a self-hosted Dapr region.
#[derive(Debug, Parser)]
#[command(name = "catalyst", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controllers. This is what the Deployments do.
    Agent(Agent),
    Render(render::Render),
    Crds(crds::Crds),
    Canary(canary::Canary),
    ConfigStream(config_stream::ConfigStream),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// YAML documents.
    #[default]
    Yaml,
    /// One JSON List.
    Json,
}

#[derive(Args, Debug)]
struct Agent {
    /// The controllers to run.
    #[arg(long, value_delimiter = ',', default_values = controllers::DEFAULT.iter().copied(), value_parser = controllers::ALL)]
    controllers: Vec<String>,
    /// The namespace of the release; the Lease lies there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "catalyst-system")]
    namespace: String,
    /// The name of the Lease; one for each Deployment.
    #[arg(long, default_value = "catalyst-agent")]
    lease: String,
    /// Who holds the lease; the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "catalyst-agent-0")]
    identity: String,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
}

/// Runs what the arguments say. 0: done; 1: it failed, or there is a finding; 2: the arguments are wrong.
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            // Help goes to stdout, a wrong argument to stderr; if neither can be written there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    match cli.command {
        Command::Agent(agent) => run_agent(agent),
        Command::Render(render) => {
            print(|out| render.run(&mut io::stdin().lock(), out, &mut io::stderr().lock()))
        }
        Command::Crds(crds) => print(|out| crds.run(out).map(|()| true)),
        Command::Canary(canary) => canary.run(),
        Command::ConfigStream(stream) => stream.run(),
    }
}

/// The arguments. As `kubectl-catalyst`, which kubectl runs for `kubectl catalyst`, help calls it so.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let program = std::env::args_os().next().unwrap_or_default();
    if Path::new(&program).file_stem().is_some_and(|name| name == "kubectl-catalyst") {
        command = command.bin_name("kubectl catalyst");
        for command in command.get_subcommands_mut() {
            let name = format!("catalyst {}", command.get_name());
            if let Some(examples) = command.get_after_help().map(ToString::to_string) {
                let examples = examples.replace(&name, &format!("kubectl {name}"));
                *command = command.clone().after_help(examples);
            }
        }
    }
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Runs what talks to a cluster.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // One TLS stack: nothing else may choose another one first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Runs what writes to stdout and says whether all is well. A reader that stops reading, as `head` does, is no fault.
fn print(run: impl FnOnce(&mut dyn Write) -> io::Result<bool>) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match run(&mut out).and_then(|well| out.flush().map(|()| well)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            // If stderr can't be written there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to stderr, a JSON object a line.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

fn run_agent(agent: Agent) -> ExitCode {
    log();
    let options = Options {
        controllers: agent.controllers.into_iter().collect::<BTreeSet<_>>(),
        namespace: agent.namespace,
        lease: agent.lease,
        identity: agent.identity,
        listen: agent.listen,
    };
    match block_on(agent::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "agent ends");
            ExitCode::FAILURE
        }
    }
}
