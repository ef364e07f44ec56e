//! The figures: shown as a table, kept as `target/bench.json`.

use std::io::Write as _;

use serde_json::{Map, Value, json};

/// Figures by key, in the order in which they were taken.
#[derive(Default)]
pub(crate) struct Table(Map<String, Value>, Vec<String>);

impl Table {
    /// A figure that stands for itself, with a goal that it should not exceed.
    pub(crate) fn plain(&mut self, key: &str, value: f64, goal: Option<f64>, unit: &str) {
        self.add(key, json!({"value": value, "goal": goal, "floor": null, "unit": unit}));
    }

    /// A figure over the floor that a plain client sets.
    pub(crate) fn ratio(&mut self, key: &str, value: f64, floor: f64, goal: f64, unit: &str) {
        let figure = json!({"value": value / floor, "goal": goal, "floor": floor, "unit": unit, "measured": value});
        self.add(key, figure);
    }

    fn add(&mut self, key: &str, figure: Value) {
        let line = line(key, &figure);
        eprintln!("{line}");
        self.1.push(line);
        self.0.insert(key.into(), figure);
    }

    /// Prints the table and writes the file.
    pub(crate) fn finish(self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "| key | value | goal | measured | floor |\n|---|---|---|---|---|")?;
        for line in &self.1 {
            writeln!(out, "{line}")?;
        }
        std::fs::create_dir_all("target")?;
        std::fs::write("target/bench.json", format!("{:#}\n", Value::Object(self.0)))
    }
}

fn line(key: &str, figure: &Value) -> String {
    let number =
        |name: &str| figure[name].as_f64().map_or(String::new(), |value| format!("{value:.3}"));
    let unit = figure["unit"].as_str().unwrap_or_default();
    let goal = figure["goal"].as_f64().map_or(String::new(), |goal| {
        let kept = figure["value"].as_f64().is_some_and(|value| value <= goal);
        format!("<= {goal}{}", if kept { "" } else { ", missed" })
    });
    let with_unit = |text: String| if text.is_empty() { text } else { format!("{text} {unit}") };
    let value =
        if figure["floor"].is_null() { with_unit(number("value")) } else { number("value") };
    format!(
        "| `{key}` | {value} | {goal} | {} | {} |",
        with_unit(number("measured")),
        with_unit(number("floor"))
    )
}

/// The value that so many percent do not exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// The value in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}
