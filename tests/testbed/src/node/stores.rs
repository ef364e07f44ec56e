//! Databases outside of the cluster: PostgreSQL and Redis from Debian, on a host of their own that pods reach as any other.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::directory::{Directory, write};
use crate::error::{Doing, Error, Result};
use crate::node::network::Network;
use crate::node::{needs, tool};
use crate::process::Process;
use crate::ready;

/// The addresses of the host.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(10, 30, 0, 7)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 7)),
];

/// Who PostgreSQL runs as, as it refuses to be root: `nobody`, everywhere in Debian.
const NOBODY: u32 = 65534;

/// What the administrator of Redis, who is this file, shows.
const ADMINISTRATOR: &str = "administrator";

/// PostgreSQL and Redis, as others keep them: on a host outside of the cluster, in both families. Nobody is let in before
/// [`Stores::admit`].
#[derive(Debug, Clone)]
pub struct Stores {
    /// Where PostgreSQL listens, in IPv4 and IPv6. Its database is `postgres`.
    pub postgres: [SocketAddr; 2],
    /// Where Redis listens, in IPv4 and IPv6.
    pub redis: [SocketAddr; 2],
    folder: PathBuf,
    programs: PathBuf,
}

impl Stores {
    /// Those of a cluster, whether they run or not.
    pub(crate) fn of(directory: &Directory) -> Result<Self> {
        Ok(Self {
            postgres: ADDRESSES.map(|address| (address, 5432).into()),
            redis: ADDRESSES.map(|address| (address, 6379).into()),
            programs: needs::databases()?,
            folder: directory.path().join("stores"),
        })
    }

    /// Starts both, and waits until they answer.
    pub(crate) fn start(
        &self,
        directory: &Directory,
        node: &Network,
        number: usize,
    ) -> Result<[(&'static str, Process); 2]> {
        fs::create_dir(&self.folder).doing("making", &self.folder)?;
        let host = node.of_host(directory, "stores", number, &ADDRESSES)?;
        let postgres = postgres(&host, &self.programs, &self.folder)?;
        let running = [
            ("postgres", directory.spawn("postgres", &postgres)?),
            ("redis", directory.spawn("redis", &redis(&host, &self.folder)?)?),
        ];
        ready::until("PostgreSQL", &directory.logs(), || Ok(said(self.sql("SELECT 1"))))?;
        ready::until("Redis", &directory.logs(), || Ok(said(self.redis(&["PING"]))))?;
        // What one user makes the next one has to reach: they all act as this one.
        self.sql("CREATE ROLE everybody; GRANT ALL ON SCHEMA public TO everybody")?;
        Ok(running)
    }

    /// Lets a user in with a password, from now on: into PostgreSQL and Redis, where it may read and write all that other
    /// users may. A password is changed without a gap by another user beside the one before.
    ///
    /// # Errors
    ///
    /// When there is such a user, or a name or a password has anything but letters and digits.
    pub fn admit(&self, user: &str, password: &str) -> Result<()> {
        let (user, password) = (plain("a user", user)?, plain("a password", password)?);
        self.sql(&format!(
            "CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE everybody; \
             ALTER ROLE {user} SET role TO everybody"
        ))?;
        let password = format!(">{password}");
        self.redis(&["ACL", "SETUSER", user, "on", &password, "~*", "&*", "+@all"])?;
        Ok(())
    }

    /// Lets a user in no more, and ends its connections.
    ///
    /// # Errors
    ///
    /// When there is no such user.
    pub fn dismiss(&self, user: &str) -> Result<()> {
        let user = plain("a user", user)?;
        self.sql(&format!(
            "ALTER ROLE {user} NOLOGIN; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"
        ))?;
        self.redis(&["ACL", "DELUSER", user])?;
        Ok(())
    }

    /// Runs SQL as the administrator. Rows are lines, with `|` between columns.
    ///
    /// # Errors
    ///
    /// When PostgreSQL refuses it.
    pub fn sql(&self, statements: &str) -> Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        command.args(["--set=ON_ERROR_STOP=1", "--username=postgres", "--dbname=postgres"]);
        tool::output(command.arg("--host").arg(&self.folder).args(["--command", statements]))
    }

    /// Runs a command of Redis as the administrator.
    ///
    /// # Errors
    ///
    /// When Redis refuses it.
    pub fn redis(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("redis-cli");
        // -e: an answer that is an error is a failure.
        command.args(["-e", "-s"]).arg(self.folder.join("redis.sock"));
        tool::output(command.env("REDISCLI_AUTH", ADMINISTRATOR).args(words))
    }
}

/// Makes an empty database, and the command that serves it. What a crash may lose is no loss here.
fn postgres(host: &Network, programs: &Path, folder: &Path) -> Result<Command> {
    let data = folder.join("postgres");
    fs::DirBuilder::new().mode(0o700).create(&data).doing("making", &data)?;
    chown(&data, Some(NOBODY), Some(NOBODY)).doing("giving away", &data)?;
    // Its socket is the administrator's, as the folder around it is root's.
    let hosts = folder.join("hosts");
    write(&hosts, "local all all trust\nhost all all all scram-sha-256\n")?;

    let mut initialise = as_nobody(Command::new("setpriv"), &programs.join("initdb"));
    initialise.arg("--pgdata").arg(&data);
    initialise.args(["--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C"]);
    tool::run(initialise.args(["--no-sync", "--no-instructions"]))?;

    // A segment of shared memory that a killed one leaves goes with a namespace of its own.
    let mut serve = host.command("unshare");
    serve.args(["--ipc", "setpriv"]);
    let mut serve = as_nobody(serve, &programs.join("postgres"));
    let (data, hosts, folder) = (data.display(), hosts.display(), folder.display());
    for setting in [
        format!("data_directory={data}"),
        format!("hba_file={hosts}"),
        format!("unix_socket_directories={folder}"),
        "listen_addresses=*".into(),
        "fsync=off".into(),
        "dynamic_shared_memory_type=mmap".into(),
    ] {
        serve.args(["-c", &setting]);
    }
    serve.arg("-D").arg(data.to_string());
    Ok(serve)
}

/// Goes on as nobody, who may still go through root's folders to its own.
fn as_nobody(mut setpriv: Command, program: &Path) -> Command {
    setpriv.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    setpriv.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]).arg(program);
    setpriv
}

fn redis(host: &Network, folder: &Path) -> Result<Command> {
    // Debian's `redis-server` is a link too, in a package that also brings a service. It goes by its name.
    let program = folder.join("redis-server");
    symlink("/usr/bin/redis-check-rdb", &program).doing("making", &program)?;
    let mut serve = host.command(program);
    serve.args(["--bind", "0.0.0.0", "::", "--unixsocket"]).arg(folder.join("redis.sock"));
    serve.args(["--requirepass", ADMINISTRATOR, "--save", "", "--dir"]).arg(folder);
    Ok(serve)
}

/// Names and passwords are written into SQL as they are.
fn plain<'a>(what: &'static str, value: &'a str) -> Result<&'a str> {
    let is_plain = value.starts_with(|first: char| first.is_ascii_lowercase())
        && value.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit());
    let mend = "write small letters and digits, a letter first";
    if is_plain { Ok(value) } else { Err(Error::Invalid { what, value: value.into(), mend }) }
}

fn said(answer: Result<String>) -> Result<(), String> {
    answer.map(|_| ()).map_err(|error| error.to_string())
}
