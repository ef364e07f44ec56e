//! The commands of docs/install.md, run as they stand there.

use std::fs;
use std::process::Command;

use crate::binary::image;
use crate::helm::Helm;
use crate::installation::{Installation, repository};
use crate::server::serves_admission_policies;

/// Where the docs have the image.
const ARCHIVE: &str = "target/image/catalyst.tar";

impl Installation {
    /// Runs the command of docs/install.md that begins so, of helm, kubectl or ctr. Returns what it prints.
    pub fn documented(&self, begins: &str) -> String {
        let docs = fs::read_to_string(repository("docs/install.md")).expect("docs/install.md");
        let line = docs.lines().find(|line| line.starts_with(begins)).expect(begins);
        match line.split_once(' ') {
            Some(("helm", words)) => self.helm(&words.split_whitespace().collect::<Vec<_>>()),
            Some(("kubectl", line)) => {
                self.kubectl(&line.replace("charts/", &repository("charts/").to_string_lossy()))
            }
            Some(("ctr", line)) => self.ctr(&line.replace(ARCHIVE, &image().to_string_lossy())),
            _ => panic!("of which program is {line}?"),
        }
    }

    /// Runs helm, which has to succeed. Returns what it prints.
    ///
    /// On a server without admission policies it installs none, as the docs say.
    pub fn helm(&self, arguments: &[&str]) -> String {
        let mut arguments = arguments.to_vec();
        if arguments[0] == "install" && !serves_admission_policies(&self.control_plane) {
            arguments.push("--set=admissionPolicy.enabled=false");
        }
        Helm::run(Some(self.control_plane.kubeconfig()), &arguments).success()
    }

    /// On the node, as the docs say.
    fn ctr(&self, line: &str) -> String {
        let output = Command::new("ctr")
            .args(line.split_whitespace())
            .env("CONTAINERD_ADDRESS", self.control_plane.node().containerd())
            .output()
            .expect("ctr runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {line}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
