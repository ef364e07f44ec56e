//! Says what is being waited for, so that nothing is silent for more than two seconds.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a wait may stay unmentioned; also the pace of the dots where stderr is no terminal.
const PATIENCE: Duration = Duration::from_millis(1900);

/// A line on stderr about one long step. What is over sooner than [`PATIENCE`] prints nothing.
pub(crate) struct Progress {
    over: Option<Sender<()>>,
    printer: Option<JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn of(step: impl Into<String>) -> Self {
        let step = step.into();
        let (over, ended) = channel::<()>();
        let printer = std::thread::spawn(move || {
            let since = Instant::now();
            let mut pace = PATIENCE;
            let mut begun = false;
            while ended.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                let seconds = since.elapsed().as_secs();
                if stderr().is_terminal() {
                    say(&format!("\r{step} ... {seconds} s"));
                    pace = Duration::from_secs(1);
                } else if begun {
                    say(".");
                } else {
                    say(&format!("{step} ."));
                }
                begun = true;
            }
            if begun && stderr().is_terminal() {
                say(&format!("\r{step} ... {:.1} s\n", since.elapsed().as_secs_f32()));
            } else if begun {
                say(&format!(" {:.1} s\n", since.elapsed().as_secs_f32()));
            }
        });
        Self { over: Some(over), printer: Some(printer) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(printer) = self.printer.take() {
            // The printer has nothing that could fail: it ignores a closed stderr.
            let _ = printer.join();
        }
    }
}

/// Straight to stderr: the print macros are captured in tests, which would be silence.
fn say(text: &str) {
    let mut stderr = stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
