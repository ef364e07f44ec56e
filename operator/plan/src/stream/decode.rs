//! Finds what the API server takes and servers can't read: one such object in a list ends a server that starts.

use serde_json::Value;

use super::Kind;

/// Where a kind has a duration that servers decode as one, and the API server as any text.
fn durations(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Configuration => &[
            "spec.tracing.otel.timeout",
            "spec.workflow.stateRetentionPolicy.anyTerminal",
            "spec.workflow.stateRetentionPolicy.completed",
            "spec.workflow.stateRetentionPolicy.failed",
            "spec.workflow.stateRetentionPolicy.terminated",
        ],
        Kind::McpServer => &["spec.endpoint.streamableHTTP.timeout", "spec.endpoint.sse.timeout"],
        _ => &[],
    }
}

/// What keeps servers from reading an object, if anything.
pub(super) fn undecodable(kind: Kind, object: &Value) -> Option<String> {
    durations(kind).iter().find_map(|path| {
        let text = object.pointer(&format!("/{}", path.replace('.', "/")))?.as_str()?;
        (!is_duration(text))
            .then(|| format!("{path} is \"{text}\": write a duration, such as 10s or 1h30m"))
    })
}

/// Whether Go takes a text for a duration. <https://pkg.go.dev/time#ParseDuration>
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let dots = digits.matches('.').count();
        if dots > 1 || digits.len() == dots {
            return false;
        }
        let Some(unit) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| after.starts_with(unit))
            .max_by_key(|unit| unit.len())
        else {
            return false;
        };
        rest = &after[unit.len()..];
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_what_go_takes_for_one() {
        for text in ["0", "10s", "1h30m", "-1.5h", "+5ms", ".5s", "100us", "3µs", "1m0.5s"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "s", "10", "soon", "1d", "10 s", "1..5s", ".s", "5mss"] {
            assert!(!is_duration(text), "{text}");
        }
    }
}
