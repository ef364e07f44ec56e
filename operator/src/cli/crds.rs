//! `catalyst crds`: the five CRDs, as the repository shows them.

mod apply;

use std::io::{self, Write};

use catalyst_crds::MANIFESTS;
use clap::Args;

use super::{Format, block_on, show};

/// Print the custom resource definitions, or bring those of a cluster up to date.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  catalyst crds | kubectl apply --server-side -f -
  catalyst crds -o json | jq -r '.items[].spec.names.kind'
  catalyst crds --apply")]
pub(super) struct Crds {
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Instead of printing, put them into the cluster of KUBECONFIG: what is missing is made, the rest
    /// replaced. The chart does so before an upgrade.
    #[arg(long, conflicts_with = "output")]
    apply: bool,
}

impl Crds {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.apply {
            return block_on(apply::apply(out))
                .map_err(|error| io::Error::other(format!("{error:#}")));
        }
        match self.output {
            Format::Yaml => {
                MANIFESTS.iter().try_for_each(|manifest| write!(out, "---\n{manifest}"))
            }
            Format::Json => {
                let crds = catalyst_crds::definitions();
                let items = crds.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
                show::json_list(out, items.into_iter())
            }
        }
    }
}
