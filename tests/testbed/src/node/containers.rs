//! containerd with runc, in the cluster's folder: its configuration, how pods get addresses, and their images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::directory::{Directory, write};
use crate::error::{Doing, Result};
use crate::node::network::Network;
use crate::node::{needs, tool};
use crate::process::Process;
use crate::ready;

/// What waits in each pod, and what test pods run.
pub(crate) const POD_IMAGE: &str = "localhost/testbed/pod:1";

/// The first node's share of the cluster's addresses.
const PODS: [&str; 2] = ["10.244.0.0/24", "fd00:244::/64"];

/// A containerd.
#[derive(Debug, Clone)]
pub(crate) struct Containers {
    directory: PathBuf,
    logs: PathBuf,
}

impl Containers {
    /// Writes what it is configured by.
    pub(crate) fn configure(directory: &Directory) -> Result<Self> {
        let path = directory.path();
        let networks = path.join("cni");
        for folder in [&networks, &path.join("cd")] {
            fs::create_dir(folder).doing("making", folder)?;
        }
        write(&networks.join("10-bridge.conflist"), &bridge(path).to_string())?;
        write(&path.join("containerd.toml"), &configuration(path))?;
        Ok(Self { directory: path.to_owned(), logs: directory.logs() })
    }

    pub(crate) fn start(&self, directory: &Directory, network: &Network) -> Result<Process> {
        let configuration = self.directory.join("containerd.toml");
        directory
            .spawn("containerd", network.command("containerd").arg("--config").arg(configuration))
    }

    /// Where kubelet finds it.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// Waits until it answers.
    pub(crate) fn until_it_answers(&self) -> Result<()> {
        ready::until("containerd", &self.logs, || {
            if !self.socket().exists() {
                return Ok(Err("there is no socket".into()));
            }
            Ok(tool::run(self.ctr().arg("version")).map_err(|error| error.to_string()))
        })
    }

    /// Takes an image in, from an archive.
    pub(crate) fn load(&self, archive: &Path) -> Result<()> {
        tool::run(self.ctr().args(["images", "import"]).arg(archive))
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        // The namespace in which kubelet's images are.
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]);
        command
    }
}

/// `janitor.sh` knows it too: by this word in their arguments it finds what containerd leaves.
fn socket(directory: &Path) -> PathBuf {
    directory.join("cd/c.sock")
}

fn configuration(directory: &Path) -> String {
    let socket = socket(directory);
    let (directory, socket) = (directory.display(), socket.display());
    format!(
        r#"version = 2
root = "{directory}/cd/root"
state = "{directory}/cd/state"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/cd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{POD_IMAGE}"
  # Programs that are not root's may listen on 53 and 80, as in Docker.
  enable_unprivileged_ports = true
  # In a container without CAP_SYS_RESOURCE runc can't lower the score, and no pod would start.
  restrict_oom_score_adj = true
  # Below the folder, which is cleaned, and not in /run/netns, which is everybody's.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{directory}/runc"
"#,
        plugins = needs::PLUGINS,
    )
}

/// Pods hang on one bridge, with an address of each family, and are reached without translation.
fn bridge(directory: &Path) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": true,
            "ipMasq": false,
            // A pod may reach itself by its service.
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": directory.join("cni/addresses"),
                "ranges": PODS.map(|subnet| [json!({"subnet": subnet})]),
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }],
    })
}

/// The bridge that pods hang on.
pub(crate) const BRIDGE: &str = "cni0";
