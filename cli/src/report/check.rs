//! Report of `heapledger verify`: every conservation law with its figures, and the certainty of every group of figures.

use std::io::{self, Write};

use super::certainty_text;
use super::escape::escaped;
use super::text::title;
use super::text_page::{Layout, TextPage, Tone};
use super::units::{count, wide_count};
use crate::analysis::{LawState, Origin, Verification};
use heapledger::profile::Profile;
use heapledger::quality::completeness_percent;

/// Writes the result of [`verify`](crate::analysis::verify()), with the damage and the notes of the file.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_verdict(
    profile: &Profile,
    verdict: &Verification,
    origin: &Origin,
    layout: &Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    let page = &mut TextPage::new(out, layout);
    title(page, profile)?;
    page.heading("File")?;
    let quality = &profile.quality;
    let lost = quality.lost.total();
    let completeness = if quality.installed {
        completeness_percent(quality.recorded, lost)
    } else {
        certainty_text::no_completeness(origin.is_whole()).into()
    };
    page.fact("completeness", &completeness)?;
    for (reason, events) in quality.lost.iter().filter(|(_, events)| *events > 0) {
        page.toned("lost", &format!("{} {}", reason.name(), count(events)), Tone::Bad)?;
    }
    for part in &origin.damage {
        page.toned("damage", &escaped(part), Tone::Bad)?;
    }
    if origin.is_whole() {
        page.fact("damage", "none")?;
    }
    for note in &origin.notes {
        page.fact("note", &escaped(note))?;
    }
    page.heading("Laws")?;
    for law in &verdict.laws {
        let relation = match (law.law.contains("<="), law.left.cmp(&law.right)) {
            (_, std::cmp::Ordering::Equal) => "=",
            (true, std::cmp::Ordering::Less) => "<=",
            _ => "is not",
        };
        let figures = match (law.state, relation) {
            (LawState::Broken, "is not") if law.law.contains("<=") => "is more than",
            (_, relation) => relation,
        };
        let text = format!("{}: {} {figures} {}", law.law, wide_count(law.left), wide_count(law.right));
        let tone = match law.state {
            LawState::Holds => Tone::Good,
            LawState::Broken => Tone::Bad,
            LawState::NotCheckable => Tone::Faint,
        };
        let state = if law.state == LawState::Broken { "BROKEN" } else { law.state.name() };
        page.toned(state, &text, tone)?;
    }
    page.heading("Conclusions")?;
    for conclusion in &verdict.conclusions {
        let tone = if conclusion.certainty.is_exact() { Tone::Good } else { Tone::Plain };
        let text = certainty_text::phrase(&conclusion.certainty, conclusion.figure);
        page.toned(certainty_text::figure_name(conclusion.figure), &text, tone)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{sample, verify};
    use heapledger::profile::LossReason;

    fn verdict(profile: &Profile, origin: &Origin) -> String {
        let mut out = Vec::new();
        let found = verify(profile, origin);
        write_verdict(profile, &found, origin, &Layout::default(), &mut out).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn laws_are_listed_with_their_figures() {
        let text = verdict(&sample::complete(), &Origin::default());
        assert!(
            text.contains("  holds             attempted = recorded + lost + in_flight: 14 = 14\n"),
            "{text}"
        );
        assert!(
            text.contains("  holds             live_bytes <= peak_bytes + uncertainty: 2,200 <= 3,500\n")
        );
        assert!(text.contains("  totals            exact\n"));
    }

    #[test]
    fn a_broken_law_stands_out() {
        let mut profile = sample::complete();
        profile.quality.attempted = 15;
        profile.totals.peak_bytes = 2;
        let text = verdict(&profile, &Origin::default());
        assert!(text.contains("  BROKEN            attempted = recorded + lost + in_flight: 15 is not 14\n"));
        assert!(
            text.contains(
                "  BROKEN            live_bytes <= peak_bytes + uncertainty: 2,200 is more than 2\n"
            )
        );
        assert!(text.contains("uncertain: the books contradict each other in 3 laws"), "{text}");
    }

    #[test]
    fn loss_and_damage_show() {
        for reason in LossReason::ALL {
            let text = verdict(
                &sample::with_loss(reason, 5),
                &Origin::new(vec!["section sites: cut".into()], Vec::new()),
            );
            assert!(text.contains(&format!("{} 5", reason.name())), "{text}");
            assert!(text.contains("section sites: cut") && text.contains("not checkable"));
        }
    }
}
