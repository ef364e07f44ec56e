//! Where the program under test lies, and that it is what the sources say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

/// Another program to test than the one that cargo built, such as a release.
const OVERRIDE: &str = "CATALYST_BINARY";

/// The `catalyst` beside this test, in cargo's folder of the same profile.
///
/// Cargo tells the path of a program only to tests of its own package. It builds the program for no others, so one that
/// is missing or out of date is an error: a test of yesterday's program proves nothing.
pub(crate) fn catalyst() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(find);
    &PROGRAM
}

/// What `catalyst render -f - -o json` prints for a file: manifests, and verdicts.
pub fn catalyst_render(yaml: &str) -> (String, String) {
    let mut child = Command::new(catalyst())
        .args(["render", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("catalyst runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It reads to the end before it prints, so that neither waits for the other.
    stdin.write_all(yaml.as_bytes()).expect("it reads");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(done.stdout), text(done.stderr))
}

fn find() -> PathBuf {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("cargo's folder");
    let program = profile.join("catalyst");
    let built = modified(&program);
    // Written by cargo beside the program: `<program>: <source> <source> ...`.
    let record = fs::read_to_string(profile.join("catalyst.d")).unwrap_or_default();
    let sources = record.split_once(": ").map_or("", |(_, sources)| sources);
    let newer = sources.split_whitespace().find(|source| modified(Path::new(source)) > built);
    let problem = match (built, newer) {
        (None, _) => "is missing".to_owned(),
        (_, Some(source)) => format!("is older than {source}"),
        _ => return program,
    };
    panic!("{} {problem}; run cargo build -p catalyst first", program.display());
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
