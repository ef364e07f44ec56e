//! The testbed by hand: build its Kubernetes, start one, stop it.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use catalyst_testbed::{
    ControlPlane, Image, Kubernetes, Node, Options, app_image, dapr_images, stop_kept,
};

const USAGE: &str = "\
A real Kubernetes control plane on loopback.

Usage: testbed up [--keep] [--pods [--dapr]] [--crds PATH]...
                       start one; it ends with this command, or with --keep by `testbed down`
                       --pods: as root, with a node of its own that runs pods and enforces network policies
                       --dapr: with Dapr's images and a test application's on it, and databases outside of it
       testbed down    stop those that were started with --keep
       testbed build   only build the binaries, into the user's cache
       testbed image NAME ARCHIVE /PATH=FILE...
                       put files into an image that runs the first of them, and print its digest

`up` prints KUBECONFIG=... and PATH=..., to be exported, when the cluster answers.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["up", ref options @ ..] => match options_of(options) {
            Some(wanted) => up(&wanted),
            None => return usage(),
        },
        ["down"] => down(),
        ["build"] => build(),
        ["image", name, archive, ref files @ ..] => match files_of(files) {
            Some(files) => image(name, archive, files),
            None => return usage(),
        },
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

/// What `up` is asked for.
#[derive(Default)]
struct Wanted {
    options: Options,
    keep: bool,
    pods: bool,
    dapr: bool,
}

fn options_of(mut words: &[&str]) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    loop {
        match words {
            [] => return Some(wanted).filter(|wanted| wanted.pods || !wanted.dapr),
            ["--keep", rest @ ..] => (wanted.keep, words) = (true, rest),
            ["--pods", rest @ ..] => (wanted.pods, words) = (true, rest),
            ["--dapr", rest @ ..] => (wanted.dapr, words) = (true, rest),
            ["--crds", path, rest @ ..] => {
                wanted.options.crds.push(path.into());
                words = rest;
            }
            _ => return None,
        }
    }
}

fn up(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    let kubernetes = Kubernetes::build()?;
    let mut images = Vec::new();
    if wanted.dapr {
        images = dapr_images()?;
        images.push(app_image()?);
    }
    let since = Instant::now();
    if wanted.pods {
        let node = Node::start(&wanted.options)?;
        images.iter().try_for_each(|image| node.load(image))?;
        if wanted.dapr {
            let stores = node.stores()?;
            let [postgres, redis] = [stores.postgres[0], stores.redis[0]];
            stores.admit("app", "secret")?;
            say(&format!("PostgreSQL at {postgres}, Redis at {redis}: user app, password secret"));
        }
        announce(&kubernetes, node.kubeconfig(), since)?;
        return if wanted.keep { kept(node.keep()) } else { until_it_fails(|| node.check()) };
    }
    let cluster = ControlPlane::start(&wanted.options)?;
    announce(&kubernetes, cluster.kubeconfig(), since)?;
    if wanted.keep { kept(cluster.keep()) } else { until_it_fails(|| cluster.check()) }
}

fn announce(
    kubernetes: &Kubernetes,
    kubeconfig: &Path,
    since: Instant,
) -> Result<(), Box<dyn Error>> {
    let seconds = since.elapsed().as_secs_f32();
    say(&format!("Kubernetes {} is up after {seconds:.1} s", kubernetes.version));
    // In one piece: who reads only the first line and closes the pipe is no reason to fail.
    let (config, bin) = (kubeconfig.display(), kubernetes.bin.display());
    let exports = format!("KUBECONFIG={config}\nPATH={bin}:$PATH\n");
    Ok(stdout().write_all(exports.as_bytes())?)
}

fn kept(cluster: catalyst_testbed::Result<PathBuf>) -> Result<(), Box<dyn Error>> {
    cluster?;
    say("stop it with: testbed down");
    Ok(())
}

fn until_it_fails(check: impl Fn() -> catalyst_testbed::Result<()>) -> Result<(), Box<dyn Error>> {
    say("stop it with Ctrl-C");
    loop {
        // Ctrl-C ends this process, and that ends the cluster: there is nothing to be caught.
        std::thread::sleep(Duration::from_secs(1));
        check()?;
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
    let Kubernetes { version, bin, .. } = Kubernetes::build()?;
    let seconds = since.elapsed().as_secs_f32();
    say(&format!("Kubernetes {version}: {} ({seconds:.1} s)", bin.display()));
    Ok(())
}

/// Each `/PATH=FILE`: where a file lies in an image, and where it is taken from. At least one.
fn files_of(words: &[&str]) -> Option<Vec<(String, PathBuf)>> {
    let files = words.iter().map(|word| {
        let (path, file) = word.split_once('=')?;
        path.starts_with('/').then(|| (path.to_owned(), file.into()))
    });
    files.collect::<Option<Vec<_>>>().filter(|files| !files.is_empty())
}

fn image(name: &str, archive: &str, files: Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    let entrypoint = vec![files[0].0.clone()];
    // Nobody in particular, as distroless images have it.
    let user = "65532:65532".to_owned();
    let image = Image { name: name.to_owned(), files, entrypoint, user };
    let digest = image.archive(Path::new(archive))?;
    Ok(writeln!(stdout(), "{digest}")?)
}

fn usage() -> ExitCode {
    let _ = stderr().write_all(USAGE.as_bytes());
    ExitCode::from(2)
}

fn say(text: &str) {
    // Nobody to tell when stderr is closed.
    let _ = writeln!(stderr(), "{text}");
}
