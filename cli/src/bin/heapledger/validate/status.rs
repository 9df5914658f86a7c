//! Progress on standard error: one line that is updated on a terminal, or else one line for each run.

use std::io::IsTerminal;
use std::time::Duration;

use heapledger::validation::{LoadModel, PairedPlan, Progress};
use indicatif::{ProgressBar, ProgressStyle};

pub struct Status {
    bar: Option<ProgressBar>,
    /// Description of the current run.
    run: String,
    /// Lowest completeness of the runs so far.
    lowest: Option<f64>,
}

impl Status {
    pub fn begin(plan: &PairedPlan) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(plan.runs() as u64);
            let style = ProgressStyle::with_template("{bar:24} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar
        });
        let status = Self { bar, run: String::new(), lowest: None };
        status.say(&format!("{} runs, {} by plan", plan.runs(), in_words(plan.planned())));
        status
    }

    pub fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::SettingUp { tracker } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("setting up, recording {}", on_or_off(*tracker)));
                }
            }
            Progress::Began { run, of, tracker, load } => {
                self.run =
                    format!("{run} of {of}: {}, recording {}", load_in_words(load), on_or_off(*tracker));
                if let Some(bar) = &self.bar {
                    bar.set_position(*run as u64 - 1);
                    bar.set_message(self.run.clone());
                }
            }
            Progress::Live(live) => {
                let Some(bar) = &self.bar else { return };
                let seconds = live.elapsed.as_secs_f64();
                let rate = if seconds > 0.0 { live.answered as f64 / seconds } else { 0.0 };
                let left = live.planned.saturating_sub(live.elapsed);
                let failed =
                    if live.failed > 0 { format!(", {} failed", live.failed) } else { String::new() };
                let lowest = self.completeness();
                let run = &self.run;
                bar.set_message(format!("{run}: {rate:.0}/s{failed}, {} left{lowest}", in_words(left)));
            }
            Progress::Finished { tracker, result } => {
                let completeness = result.completeness.as_ref().and_then(|c| c.completeness);
                if let (true, Some(c)) = (*tracker, completeness) {
                    self.lowest = Some(self.lowest.map_or(c, |lowest| lowest.min(c)));
                }
                if self.bar.is_none() {
                    let complete =
                        completeness.map_or_else(String::new, |c| format!(", {:.3} % complete", floor(c)));
                    self.say(&format!(
                        "{}: {:.1} answers a second{complete}",
                        self.run, result.requests_per_second
                    ));
                }
            }
            _ => {}
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn completeness(&self) -> String {
        self.lowest.map_or_else(String::new, |c| format!(", so far {:.3} % complete", floor(c)))
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(line.to_owned()),
            None => anstream::eprintln!("{line}"),
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns a share in percent, rounded down, so that 99.9995 % is not shown as 100 %.
fn floor(share: f64) -> f64 {
    (share * 1e5).floor() / 1e3
}

const fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn load_in_words(load: &LoadModel) -> String {
    match load {
        LoadModel::Open { rate_per_sec, .. } => format!("{rate_per_sec} a second"),
        load => format!("{} users", load.workers()),
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{seconds} s"),
    }
}
