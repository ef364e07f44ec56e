//! Reads what an object says of itself, as kstatus does: a condition counts for the generation it was made from.

use serde_json::Value;

/// The condition of a type; null if there is none.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// Whether an object is Ready as it stands. What it says instead is the error.
///
/// # Errors
///
/// With its conditions, if it is not.
pub fn is_ready(object: &Value) -> Result<(), String> {
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let calm = ["Reconciling", "Stalled"].map(|type_| condition(object, type_).is_null());
    if current && calm == [true, true] && condition(object, "Ready")["status"] == "True" {
        return Ok(());
    }
    Err(shown(object))
}

/// Whether an object says of its current generation that it is not Ready, for this reason, as
/// `Stalled` (to be mended) or `Reconciling` (to be waited for). Returns the message.
///
/// # Errors
///
/// With its conditions, if it does not.
pub fn says(object: &Value, as_: &str, reason: &str) -> Result<String, String> {
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let ready = condition(object, "Ready");
    let named = condition(object, as_);
    let told = ready["status"] == "False" && named["status"] == "True";
    if current && told && ready["reason"] == reason && named["reason"] == reason {
        return Ok(ready["message"].as_str().unwrap_or_default().into());
    }
    Err(shown(object))
}

/// Conditions, one a line.
fn shown(object: &Value) -> String {
    let mut lines = vec![format!(
        "{} {}, generation {} of which {} is observed",
        object["kind"],
        object["metadata"]["name"],
        object["metadata"]["generation"],
        object["status"]["observedGeneration"]
    )];
    lines.extend(object["status"]["conditions"].as_array().into_iter().flatten().map(|one| {
        format!("  {} {} {}: {}", one["type"], one["status"], one["reason"], one["message"])
    }));
    lines.join("\n")
}
