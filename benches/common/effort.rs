//! The amount of work that a bench does, chosen by the program's arguments.

/// Amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Hardly any work: only checks that the bench runs.
    Smoke,
    Quick,
    Full,
}

impl Effort {
    const ALL: [Effort; 3] = [Effort::Smoke, Effort::Quick, Effort::Full];

    /// Returns the effort that the arguments of this program ask for: `cargo bench` passes `--bench`, `cargo test` does
    /// not, and the user may pass `--quick`.
    pub fn of_arguments() -> Effort {
        let has = |word: &str| std::env::args().skip(1).any(|argument| argument == word);
        match (has("--bench"), has("--quick")) {
            (false, _) => Effort::Smoke,
            (true, true) => Effort::Quick,
            (true, false) => Effort::Full,
        }
    }

    /// Returns the effort with this name, for a child that works as much as its parent.
    pub fn of_name(name: &str) -> Option<Effort> {
        Effort::ALL.into_iter().find(|known| known.name() == name)
    }

    pub fn name(self) -> &'static str {
        self.pick("smoke", "quick", "full")
    }

    /// Returns the value for this effort.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Effort::Smoke => smoke,
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// Returns the amount of work for this effort, where `count` is the full amount.
    pub fn scaled(self, count: u64) -> u64 {
        self.pick(count / 1_000 + 1, count / 2, count)
    }
}
