//! How much a bench does, by what it is called with.

/// How much work there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Next to nothing: does it run at all?
    Smoke,
    Quick,
    Full,
}

impl Effort {
    const ALL: [Effort; 3] = [Effort::Smoke, Effort::Quick, Effort::Full];

    /// What this program was called with: `cargo bench` adds `--bench`, where `cargo test` only wants to know that it
    /// runs; `--quick` is the caller's.
    pub fn of_arguments() -> Effort {
        let has = |word: &str| std::env::args().skip(1).any(|argument| argument == word);
        match (has("--bench"), has("--quick")) {
            (false, _) => Effort::Smoke,
            (true, true) => Effort::Quick,
            (true, false) => Effort::Full,
        }
    }

    /// The effort of that name, for a child that is to make the same.
    pub fn of_name(name: &str) -> Option<Effort> {
        Effort::ALL.into_iter().find(|known| known.name() == name)
    }

    pub fn name(self) -> &'static str {
        self.pick("smoke", "quick", "full")
    }

    /// The one of three that fits.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Effort::Smoke => smoke,
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// So much of a work that is `count` in full.
    pub fn scaled(self, count: u64) -> u64 {
        self.pick(count / 1_000 + 1, count / 2, count)
    }
}
