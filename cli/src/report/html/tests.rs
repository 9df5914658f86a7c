use super::*;
use crate::analysis::sample;

fn page(profile: &Profile) -> String {
    let mut out = Vec::new();
    write_page(profile, &Origin::default(), &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("text")
}

/// Returns the JSON data of the page, read back from its HTML.
fn document(profile: &Profile) -> serde_json::Value {
    let page = page(profile);
    let start = "<script type=\"application/json\" id=\"document\">";
    let text = page.split(start).nth(1).expect("a document").split("</script>").next().expect("its end");
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn vendored_files_are_what_their_projects_published() {
    let files: [(&str, &[u8], &str); 3] = [
        (
            "uPlot-1.6.32.iife.min.js",
            include_bytes!("vendor/uPlot-1.6.32.iife.min.js"),
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        ),
        (
            "uPlot-1.6.32.min.css",
            include_bytes!("vendor/uPlot-1.6.32.min.css"),
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        ),
        (
            "uPlot-LICENSE",
            include_bytes!("vendor/uPlot-LICENSE"),
            "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
        ),
    ];
    for (name, bytes, known) in files {
        let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, known, "{name}");
    }
}

#[test]
fn scripts_are_short_and_say_what_they_are() {
    for text in SCRIPTS.iter().skip(1) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("// "), "{first}");
        assert!(text.lines().count() < 600, "{first}");
    }
    let joined = [STYLES.join(""), SCRIPTS.join("")];
    assert!(joined.iter().all(|text| !text.contains("</")), "nothing ends the element that it stands in");
}

#[test]
fn texts_cannot_end_the_element_that_they_stand_in() {
    let mut profile = sample::complete();
    profile.process.program = "</script><script>alert(1)</script><!-- & ]]>".into();
    let page = page(&profile);
    assert!(page.contains("\\u003c/script\\u003e\\u003cscript\\u003ealert(1)"));
    assert_eq!(page.matches("</script").count(), 2, "the document's and the scripts' own");
    assert_eq!(document(&profile)["program"], "</script><script>alert(1)</script><!-- & ]]>");
}

#[test]
fn the_document_says_what_the_analysis_found() {
    let found = document(&sample::complete());
    assert_eq!(found["banner"]["headline"], "100.000 %");
    assert_eq!(found["banner"]["tone"], "good");
    assert_eq!(found["sites"]["total"], serde_json::json!([4_600, 400]));
    assert_eq!(found["sites"]["live"], serde_json::json!([2_200, 0]));
    assert_eq!(found["timeline"]["highest_bytes"], serde_json::json!([2_000, 3_500, 3_000, 2_200]));
    assert_eq!(found["timeline"]["freed_bytes"], serde_json::json!([0, 1_000, 1_800, 0]));
    assert_eq!(found["threads"]["lines"][0]["name"], "main");
    assert_eq!(found["calls"]["strings"][1], "(no stack)", "site 0 has none: {}", found["calls"]);
}

#[test]
fn without_stacks_the_page_says_so() {
    let mut profile = sample::complete();
    profile.stacks.truncate(1);
    let found = document(&profile);
    assert!(found["calls"].is_null());
    let note = found["calls_note"].as_str().expect("a note");
    assert!(note.contains("No call stacks were taken") && note.contains("HEAPLEDGER_STACKS=auto"), "{note}");
}

#[test]
fn what_is_not_looked_at_and_what_is_suppressed_is_said() {
    use crate::analysis::Suppression;
    use crate::analysis::paths::View;
    let mut profile = sample::complete();
    profile.symbols.strings = vec![String::new(), "demo::load".into()];
    let symbol = heapledger::profile::SymbolFrame { function: 1, ..Default::default() };
    profile.symbols.frames.insert(0x1000, vec![symbol]);
    let with = |detail: &Detail<'_>| {
        let document = document::document(&profile, &Origin::default(), detail);
        serde_json::to_value(document).expect("JSON")
    };
    let is_load = |text: &str| text.contains("load");
    let view = View { ignore: vec![&is_load], ..View::default() };
    let found = with(&Detail { view, looked_at: "--ignore load".into(), ..Detail::default() });
    assert_eq!(found["sites"]["total"], serde_json::json!([4_600]));
    let note = found["sites_note"].as_str().expect("a note");
    assert!(note.contains("--ignore load") && note.contains("1 site with 400 B allocated"), "{note}");
    let suppressions: Vec<Suppression> =
        crate::analysis::suppressions::parse("leak:demo::load\n").expect("one");
    let found = with(&Detail { suppressions: &suppressions, ..Detail::default() });
    assert_eq!(found["sites"]["suppressed"], serde_json::json!([0, 1]));
    assert_eq!(found["live"]["suppressed"][0][0], "demo::load");
}

#[test]
fn losses_and_damage_are_at_the_top() {
    let profile = sample::with_loss(heapledger::profile::LossReason::RingFull, 3);
    let found = document(&profile);
    assert_eq!(found["banner"]["tone"], "bad");
    assert_eq!(found["banner"]["lost"], serde_json::json!([["ring_full", "3"]]));
    assert_eq!(found["timeline"]["losses"], serde_json::json!([[500_000_000, 1_000_000_000, 3]]));
    let mut out = Vec::new();
    let origin = Origin::new(vec!["section <b>: cut".into()], Vec::new());
    write_page(&sample::complete(), &origin, &mut out).expect("a vector");
    let page = String::from_utf8(out).expect("text");
    assert!(page.contains("section \\u003cb\\u003e: cut"));
}

#[test]
fn an_error_of_the_writer_is_handed_back() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let result = write_page(&sample::empty(), &Origin::default(), &mut Full);
    assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
}
