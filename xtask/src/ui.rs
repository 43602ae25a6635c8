//! What a person sees while something takes long: bars and spinners on a terminal, one line at the end elsewhere.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All bars there are, so that several at once and lines between them do not overwrite each other.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// One long activity. Dropped without [`Progress::done`], it leaves no trace: the error says what went wrong.
pub struct Progress {
    bar: ProgressBar,
    what: String,
    started: Instant,
}

impl Progress {
    /// Starts a spinner with elapsed time. indicatif hides it where standard error is no terminal.
    pub fn start(what: impl Into<String>) -> Progress {
        let what = what.into();
        let bar = BARS.add(ProgressBar::new_spinner().with_message(what.clone()));
        bar.set_style(style("{spinner:.cyan} {msg} {elapsed:.dim}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress {
            bar,
            what,
            started: Instant::now(),
        }
    }

    /// Shows how much of it is done, in per cent.
    pub fn percent(&self, percent: f64) {
        if self.bar.length().is_none() {
            self.bar.set_length(100);
            self.bar.set_style(style(
                "{spinner:.cyan} {msg} [{bar:30.cyan}] {percent}% {elapsed:.dim}",
            ));
        }
        self.bar.set_position(percent.clamp(0.0, 100.0) as u64);
    }

    /// Shows what it is at just now.
    pub fn detail(&self, detail: &str) {
        let short: String = detail.trim().chars().take(60).collect();
        self.bar.set_message(format!("{}: {short}", self.what));
    }

    /// Ends it with one line that says how long it took.
    pub fn done(self, result: impl AsRef<str>) {
        self.bar.finish_and_clear();
        note(format!(
            "{} ({:.1} s)",
            result.as_ref(),
            self.started.elapsed().as_secs_f64()
        ));
    }

    /// Ends it without a word: it was quick.
    pub fn quiet(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }
}

/// One line of xtask's own, on standard error: standard output is the guest's or a report's.
pub fn note(text: impl AsRef<str>) {
    BARS.suspend(|| eprintln!("xtask: {}", text.as_ref()));
}

/// A line of a report, on standard output.
pub fn say(text: impl AsRef<str>) {
    BARS.suspend(|| println!("{}", text.as_ref()));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
