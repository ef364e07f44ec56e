//! `catalyst crds`: the five CRDs, as the repository shows them.

use std::io::{self, Write};

use catalyst_crds::MANIFESTS;
use clap::Args;

use super::{Format, show};

/// Print the custom resource definitions.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  catalyst crds | kubectl apply --server-side -f -
  catalyst crds -o json | jq -r '.items[].spec.names.kind'")]
pub(super) struct Crds {
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Crds {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.output {
            Format::Yaml => {
                MANIFESTS.iter().try_for_each(|manifest| write!(out, "---\n{manifest}"))
            }
            Format::Json => {
                let crds = catalyst_crds::definitions();
                let items = crds.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
                out.write_all(show::json_list(&items).map_err(io::Error::other)?.as_bytes())
            }
        }
    }
}
