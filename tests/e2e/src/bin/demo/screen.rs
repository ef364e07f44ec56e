//! What people look at: what is said, and a dot every two seconds where it would stand still.

use std::io::{Write, stdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the screen may stand still.
const SILENCE: Duration = Duration::from_millis(1970);

/// Shows that it lives, for as long as the process does.
pub(crate) fn breathe() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            SCREEN.breathe();
        }
    });
}

pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn title(text: &str) {
    say(&format!("\n{text}"));
}

pub(crate) fn done(text: &str, since: Instant) {
    say(&format!("  {text}: {:.2} s", since.elapsed().as_secs_f32()));
}

pub(crate) fn say(text: &str) {
    SCREEN.say(text);
}

static SCREEN: Screen = Screen(Mutex::new(None));

/// When something was last said, and whether dots follow it.
struct Screen(Mutex<Option<(Instant, bool)>>);

impl Screen {
    fn say(&self, text: &str) {
        let Ok(mut last) = self.0.lock() else { return };
        let dots = last.is_some_and(|(_, dots)| dots);
        // Whoever closed the pipe wants no more of it.
        let _ = writeln!(stdout(), "{}{text}", if dots { "\n" } else { "" });
        *last = Some((Instant::now(), false));
    }

    fn breathe(&self) {
        let Ok(mut last) = self.0.lock() else { return };
        if last.is_none_or(|(since, _)| since.elapsed() > SILENCE) {
            if last.is_some() {
                let _ = stdout().write_all(b".").and_then(|()| stdout().flush());
            }
            *last = Some((Instant::now(), last.is_some()));
        }
    }
}
