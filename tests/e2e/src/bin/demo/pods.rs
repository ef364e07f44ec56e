//! What pods of two projects reach, packet by packet. Hosts outside of the cluster are played by one with the addresses
//! of all of them, in a network of its own that leads nowhere.

use std::time::{Duration, Instant};

use catalyst_e2e::Installation;
use catalyst_testbed::{Dialled, Node, Result};

use crate::PATIENCE;
use crate::screen::{done, indented, say, title};

/// Who dials.
const ORDERS: (&str, &str) = ("prj-shop", "orders");

/// How long an answer may take; one that is stopped never comes.
const WITHIN: Duration = Duration::from_secs(1);

/// What else there is in the cluster, the port on which it answers, and whether the rules of the examples let orders
/// reach it.
const INSIDE: [(&str, &str, u16, bool); 2] =
    [("prj-shop", "checkout", 8080, true), ("prj-blog", "web", 8080, false)];

/// And outside.
const OUTSIDE: [(&str, &str, u16, bool); 4] = [
    ("a host on the internet", "11.0.0.7", 443, true),
    ("its own database", "10.20.5.6", 5432, true),
    ("the mail server", MAIL, 465, false),
    ("the cloud's metadata", "169.254.169.254", 80, false),
];

const MAIL: &str = "10.20.0.25";

/// Within what is delegated to the project.
const POLICY: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: mail, namespace: prj-shop}
spec:
  appIds: [orders]
  allowed:
  - {name: mail, cidrs: [10.20.0.25/32], ports: [{port: 465}]}
";

/// A row of the table: who is dialled, where, and whether an answer is to come.
type Row = (String, String, bool);

pub(crate) fn fenced(catalyst: &Installation, node: &Node) -> Result<()> {
    title("pods of two teams start");
    let since = Instant::now();
    let addresses = OUTSIDE.map(|(_, address, ..)| address);
    node.outside("outside", &addresses, &OUTSIDE.map(|(_, _, port, _)| port))?;
    let apps = [ORDERS].into_iter().chain(INSIDE.map(|(namespace, name, ..)| (namespace, name)));
    let pods: Vec<_> = apps.map(|(namespace, name)| (namespace, name, Some(name))).collect();
    catalyst.run_pods(&pods, &[INSIDE[0].2]);
    done("they run: orders and checkout in prj-shop, web in prj-blog", since);

    title("orders dials");
    let since = Instant::now();
    let rows: Vec<Row> = inside(catalyst).chain(outside()).collect();
    let targets: Vec<&String> = rows.iter().map(|(_, target, _)| target).collect();
    let dialled = catalyst.until(PATIENCE, "packets follow the rules", || {
        let dialled = node.dial(ORDERS, &targets, WITHIN).map_err(|error| error.to_string())?;
        let mut pairs = rows.iter().zip(&dialled);
        let right = pairs.all(|((.., open), dial)| dial.answered.is_some() == *open);
        if right { Ok(dialled) } else { Err(table(&rows, &dialled)) }
    });
    say(&table(&rows, &dialled));
    done("as the rules say", since);

    title("its team opens the way to the mail server, which is delegated to the project");
    say("  EgressPolicy mail:");
    say(&indented(POLICY.split_once("spec:\n").map_or("", |(_, spec)| spec).trim_end()));
    let since = Instant::now();
    catalyst.apply(POLICY);
    let mail = [format!("tcp4://{MAIL}:465")];
    catalyst.until(PATIENCE, "the mail server answers", || {
        let dialled = node.dial(ORDERS, &mail, Duration::from_millis(200));
        let dialled = dialled.map_err(|error| error.to_string())?;
        if dialled[0].answered.is_some() { Ok(()) } else { Err(dialled[0].failed.clone()) }
    });
    done("it answers", since);
    Ok(())
}

fn inside(catalyst: &Installation) -> impl Iterator<Item = Row> {
    INSIDE.into_iter().map(|(namespace, name, port, open)| {
        let pod = catalyst.the("Pod", Some(namespace), name);
        let address = pod["status"]["podIP"].as_str().unwrap_or_default();
        (format!("{name} in {namespace}"), format!("tcp4://{address}:{port}"), open)
    })
}

fn outside() -> impl Iterator<Item = Row> {
    OUTSIDE.into_iter().map(|(name, address, port, open)| {
        (name.to_owned(), format!("tcp4://{address}:{port}"), open)
    })
}

fn table(rows: &[Row], dialled: &[Dialled]) -> String {
    let line = |((name, target, _), dial): (&Row, &Dialled)| {
        let came = if dial.answered.is_some() { "answers" } else { "nothing comes back" };
        let address = target.trim_start_matches("tcp4://");
        format!("    {name:<24}{address:<20}{came}")
    };
    rows.iter().zip(dialled).map(line).collect::<Vec<_>>().join("\n")
}
