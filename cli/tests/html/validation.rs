//! The page of a validation, as a browser shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use heapledger::validation::*;

use super::shown::{CONTRAST, assert_quiet, browser, keep_picture, kept};
use super::workloads::UslWorkload;

/// A tracker that observes ten events per snapshot, and, if `loses` is set, loses one event in a thousand.
#[derive(Default)]
struct Fake {
    loses: bool,
    seen: AtomicU64,
}

impl TrackerProbe for Fake {
    fn snapshot(&self) -> TrackerSnapshot {
        let observed = self.seen.fetch_add(100_000, Relaxed);
        let lost = if self.loses { observed / 1000 } else { 0 };
        TrackerSnapshot {
            observed,
            aggregated: observed - lost,
            dropped_ring_full: lost,
            ..Default::default()
        }
    }

    fn quiesce(&self, _: Duration) -> Result<(), QuiesceError> {
        Ok(())
    }
}

/// Returns the report of a system that follows a known law, on a virtual clock, with a cost of six percent.
fn report(loses: bool, workload: &str) -> ValidationReport {
    let thresholds = vec!["completeness>=1".parse().unwrap(), "p99(response_ms)<1000".parse().unwrap()];
    let config = BenchmarkConfig { thresholds, ..BenchmarkConfig::bare() };
    let law = UslWorkload::new(100.0, 0.05, 0.005);
    let probe = Arc::new(Fake { loses, ..Fake::default() });
    let b = ConcurrentBenchmark::new(law, config.clone()).unwrap().with_probe(probe);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let levels = Levels::List(vec![2, 4, 8, 16, 32]);
    let series = b.drive_scalability_test(levels, Duration::from_secs(30));
    let mut series = runtime.unwrap().block_on(series).unwrap();
    let pair = |on_rps, cpu| OverheadPair {
        on_rps,
        off_rps: 100.0,
        on_cpu_ms: Some(cpu),
        off_cpu_ms: Some(1.0),
        ..Default::default()
    };
    for users in [1, 2, 4, 8, 16, 32] {
        let cost = Overhead::from_pairs(&[pair(93.0, 1.08), pair(95.0, 1.1), pair(94.0, 1.06)]).unwrap();
        series.set_overhead(users, cost, &config);
    }
    let mut report = ValidationReport::new(workload, &config);
    report.tracker = Some("heapledger, mode perfect".to_owned());
    report.scalability = Some(series);
    report
}

fn written(directory: &tempfile::TempDir, name: &str, report: &ValidationReport) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, validation_html(report)).expect("a file");
    if let Some(kept) = kept() {
        std::fs::copy(&path, kept.join(name)).expect("a file");
    }
    path
}

/// Script that returns the lowest contrast of a text in a drawing and its background.
fn of_drawings() -> String {
    let fill = CONTRAST.replace("getComputedStyle(one).color", "getComputedStyle(one).fill");
    fill.replace("'body *'", "'svg text'").replace("c.length < 4 || c[3] > 0.9", "at.tagName === 'SECTION'")
}

#[test]
fn a_validation_is_readable_in_light_and_dark_at_both_widths() {
    let Some(mut browser) = browser() else { return };
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("validation", written(&directory, "validation.html", &report(false, "planted law"))),
        ("validation-loss", written(&directory, "validation-loss.html", &report(true, "planted law"))),
    ];
    for (name, path) in &files {
        for dark in [false, true] {
            for width in [1280, 390] {
                browser.open_plain(path, width, dark);
                let wide = browser.number("document.documentElement.scrollWidth");
                assert!(wide <= f64::from(width), "{name} is {wide} wide on {width} pixels");
                for script in [CONTRAST, &of_drawings()] {
                    let worst = browser.value(script);
                    assert!(worst[0].as_f64().unwrap() >= 4.5, "{name}, dark {dark}: {worst}");
                }
                keep_picture(
                    &mut browser,
                    &format!("{name}-{}-{width}.png", if dark { "dark" } else { "light" }),
                );
            }
        }
    }
    browser.open_plain(&files[0].1, 1280, false);
    assert_eq!(browser.text(".headline"), "100.000 %");
    assert!(browser.text(".banner").contains("every event booked in all 6 runs"));
    assert_eq!(browser.number("document.querySelectorAll('#levels tbody tr').length"), 6.0);
    assert_eq!(browser.number("document.querySelectorAll('#windows figure').length"), 6.0);
    assert_eq!(browser.text("#cost tbody tr td"), "-6.0");
    let drawn = browser.number("document.querySelector('#plot svg').getBoundingClientRect().height");
    assert!(drawn > 400.0, "the plot has a height: {drawn}");
    browser.open_plain(&files[1].1, 1280, false);
    assert_eq!(browser.text(".headline"), "99.900 %");
    assert!(browser.text(".banner").contains("thresholds were breached"));
    assert_quiet(&browser);
}

#[test]
fn a_hostile_workload_is_shown_and_does_nothing() {
    let Some(mut browser) = browser() else { return };
    let directory = tempfile::tempdir().unwrap();
    let name = "</title></style><script>window.broken = 1</script><img src=x onerror=window.broken=1>";
    let path = written(&directory, "validation-hostile.html", &report(false, name));
    browser.open_plain(&path, 1280, false);
    assert!(browser.text("h1").contains(name));
    assert!(browser.value("window.broken === undefined && document.images.length === 0").as_bool().unwrap());
    assert_quiet(&browser);
}
