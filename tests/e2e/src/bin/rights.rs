//! `rights FOLDER`: whether the roles we ship are what the operator used, by the audit logs of a whole test run.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use catalyst_e2e::rights::compare;
use catalyst_e2e::{AGENT, SECRETS, STREAM, documents, repository, requests};

/// The roles that the operator binds in the namespaces of projects.
const PROJECTS: [(&str, &str); 3] = [
    ("catalyst-project", AGENT),
    ("catalyst-project-secrets", SECRETS),
    ("catalyst-project-stream", STREAM),
];

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: rights FOLDER, with the audit logs of every test");
        return ExitCode::FAILURE;
    };
    let logs = fs::read_dir(&folder).expect("the folder of the audit logs");
    let logs: Vec<_> = logs.map(|entry| entry.expect("a file").path()).collect();
    let all = logs.iter().flat_map(|log| requests(Path::new(log)));
    let roles = fs::read_to_string(repository("policies/roles.yaml")).expect("the roles");
    let report = compare(&documents(&roles), &PROJECTS, all);
    let text = format!("rights used over {} clusters\n\n{report}", logs.len());
    io::stdout().write_all(text.as_bytes()).expect("somewhere to print");
    fs::create_dir_all(repository("target")).expect("a folder for the report");
    fs::write(repository("target/rights.txt"), &text).expect("the report");
    if report.is_exact() {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "policies/roles.yaml grants what nobody used, or lacks what was asked for: see above"
    );
    ExitCode::FAILURE
}
