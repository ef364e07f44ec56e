//! Whatever `catalyst render` is given, it ends by itself with a verdict, and takes no more than 256 MiB.
//!
//! The operating system keeps the bound: what would take more address space is ended, which is not a verdict.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The promise, in KiB as `ulimit` has it.
const BOUND: usize = 256 * 1024;

/// Runs it on an input; what it says, and whether everything would be ready.
fn render(name: &str, input: &[u8], format: &str) -> (bool, String) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bounds-{name}-{format}"));
    fs::write(&file, input).expect("a file");
    let script = format!("ulimit -v {BOUND} && exec \"$@\"");
    let done = Command::new("sh")
        .args([
            "-c",
            &script,
            "sh",
            env!("CARGO_BIN_EXE_catalyst"),
            "render",
            "-f",
            "-",
            "-o",
            format,
        ])
        .stdin(File::open(&file).expect("the file"))
        .stdout(Stdio::null())
        .output()
        .expect("sh runs");
    fs::remove_file(&file).expect("the file");
    let said = String::from_utf8(done.stderr).expect("UTF-8");
    let shown: String = said.chars().take(500).collect();
    match done.status.code() {
        Some(code @ (0 | 1)) => (code == 0, said),
        _ => panic!("{name} as {format}: {}: {shown}", done.status),
    }
}

/// One that must be refused, in these words.
fn refused(name: &str, input: &[u8], words: &str) {
    let (ready, said) = render(name, input, "yaml");
    let shown: String = said.chars().take(500).collect();
    assert!(!ready && said.contains(words), "{name}: {shown}");
    assert!(said.len() < 2 * 1024 * 1024, "{name}: nobody reads {} bytes of errors", said.len());
}

const MIB: usize = 1024 * 1024;

/// Repeats a text up to some MiB.
fn much(text: &str, mib: usize) -> Vec<u8> {
    text.repeat(mib * MIB / text.len()).into_bytes()
}

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
";

fn object(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: cra.diagrid.io/v1beta1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{spec}}}
"
    )
}

fn project(name: usize) -> String {
    format!("---\napiVersion: cra.diagrid.io/v1beta1\nkind: Project\nmetadata: {{name: p{name}}}\n")
}

/// What a template comes to for each number, one after the other.
fn each(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().concat()
}

/// Some networks, others for each `from`.
fn networks(from: usize, count: usize) -> String {
    let networks = (from..from + count)
        .map(|n| format!("{}.{}.{}.0/24", 11 + n / 65_536 % 80, n / 256 % 256, n % 256));
    networks.collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_no_manifest_is_refused() {
    let none = "is no Kubernetes object";
    refused("zeros", &vec![0; 8 * MIB], "-:1:");
    refused(
        "junk",
        &(0..8 * MIB).map(|n| (n * n / 7).to_le_bytes()[0]).collect::<Vec<_>>(),
        "no UTF-8",
    );
    refused("one-text", &much("x", 8), none);
    refused("escapes", &[b"a: \"".to_vec(), much("\\n", 2), b"\"".to_vec()].concat(), none);
    refused("commas", &[b"[".to_vec(), much(",", 8)].concat(), "-:1:");
    refused("documents", &much("---\na: 1\n", 8), "has more errors than are told here");
    refused("broken-documents", &much("---\na: *x\n", 8), "has more errors than are told here");
    refused("too-large", &much("# comment\n", 17), "more than 16 MiB to read: render fewer files");
}

#[test]
fn what_is_deep_or_multiplies_is_refused() {
    let depth = 100_000;
    refused("lists", "[".repeat(depth).as_bytes(), "-:1:");
    refused("maps", "{a: ".repeat(depth).as_bytes(), "-:1:");
    refused("dashes", "- ".repeat(depth).as_bytes(), "-:1:");
    let stairs = each(2000, |n| format!("{}a:\n", " ".repeat(n)));
    refused("stairs", stairs.as_bytes(), "-:");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let ten = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{ten}]");
    }
    refused("bomb", bomb.as_bytes(), "-:");
    let texts = format!("- &a {}\n{}", "x".repeat(MIB), "- *a\n".repeat(9999));
    refused("one-text-often", texts.as_bytes(), "-:");
    let anchors = each(300_000, |n| format!("- &a{n} x\n"));
    refused("anchors", anchors.as_bytes(), "-:");
}

#[test]
fn what_is_long_is_refused() {
    let more = "-:";
    refused("list", &[b"a:\n".to_vec(), much("- x\n", 2)].concat(), more);
    refused("list-of-maps", &[b"a:\n".to_vec(), much("- {a: 1}\n", 4)].concat(), more);
    refused("same-key", &much("a: 1\n", 3), more);
    let same = "a: 1\n".repeat(50_000);
    refused("same-key-often", same.as_bytes(), "has more errors than are told here");
    let keys = each(100_000, |n| format!("{n}: 1\n"));
    refused("keys", keys.as_bytes(), "is no Kubernetes object");
    let long = format!("{}: {{{}}}\n", "k".repeat(MIB), "a: 1, ".repeat(9999));
    refused("long-key", long.as_bytes(), "-:1:");
    let fields = each(100_000, |n| format!("x{n}: 1, "));
    let fields = REGION.to_owned() + &object("EgressPolicy", "a", "prj-a", &fields);
    refused("fields", fields.as_bytes(), "has more errors than are told here");
    let name = REGION.replace("name: eu", &format!("name: \"{}\"", "\\x01".repeat(MIB)));
    refused("name", name.as_bytes(), "metadata.name is");
}

#[test]
fn ten_thousand_networks_in_one_list_are_refused_however_many_lists_there_are() {
    let mut files = REGION.to_owned();
    for n in 0..10 {
        let blocked = format!("blocked: [{{name: a, cidrs: [{}]}}]", networks(0, 10_000));
        files += &(project(n) + &object("EgressPolicy", "a", &format!("prj-p{n}"), &blocked));
    }
    refused("networks", files.as_bytes(), "has 10000 entries: write at most 1024");
}

#[test]
fn more_objects_than_are_planned_at_once_are_refused_with_what_to_do() {
    let many = each(6000, project);
    refused("projects", (REGION.to_owned() + &many).as_bytes(), "render fewer");
    let many = each(25_000, |n| object("AppIdentity", &format!("a{n}"), "prj-p0", ""));
    refused("apps", (REGION.to_owned() + &project(0) + &many).as_bytes(), "render fewer");
    let mut many = REGION.to_owned();
    for n in 0..100 {
        let blocked = format!("blocked: [{{name: a, cidrs: [{}]}}]", networks(n, 1000));
        many += &(project(n) + &object("EgressPolicy", "a", &format!("prj-p{n}"), &blocked));
    }
    render("many-networks", many.as_bytes(), "yaml");
}

#[test]
fn a_large_region_is_within_the_bound() {
    let mut files = REGION.to_owned();
    for n in 0..500 {
        let namespace = format!("prj-p{n}");
        files += &project(n);
        for app in 0..6 {
            let app = format!("a{app}");
            files += &object("AppIdentity", &app, &namespace, "");
            let rules = format!("appIds: [{app}], allowed: [{{name: a, cidrs: [1.2.3.4/32]}}]");
            files += &object("EgressPolicy", &app, &namespace, &rules);
        }
    }
    let (ready, said) = render("region", files.as_bytes(), "json");
    assert!(ready, "{}", said.lines().find(|line| !line.ends_with(": Ready")).unwrap_or(&said));
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_examples_cut_doubled_and_garbled_end_in_a_verdict() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops-examples"), &mut paths);
    paths.sort();
    let mut all = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "yaml")) {
        all.extend_from_slice(b"---\n");
        all.extend(fs::read(path).expect("an example"));
    }
    let middle = all.len() / 2;
    render("cut", &all[..middle], "yaml");
    render("turned", &[&all[middle..], &all[..middle]].concat(), "yaml");
    refused("doubled", &all.repeat(20), "is there twice");
    for (n, byte) in
        [b'\0', b'\xff', b'\n', b'{', b'&', b'-', b':', b'"', b'%', b'!'].into_iter().enumerate()
    {
        let mut garbled = all.clone();
        garbled.iter_mut().skip(n).step_by(97).for_each(|place| *place = byte);
        render(&format!("garbled-{n}"), &garbled, "json");
    }
}
