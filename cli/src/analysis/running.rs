//! Names for the call stacks of a running process. Each stack is looked up once, because a stack keeps its number as
//! long as the process runs.

use std::collections::HashMap;

use heapledger::live::Live;
use heapledger::profile::{Profile, Site, Stack};

use super::code_owner::CodeOwners;
use super::frames::StackReader;
use super::name_simplify::without_generics;

/// Maximum number of stacks whose names are kept. Above this number, all names are dropped and looked up again. A page
/// of live figures lists at most 64 stacks at a time, but the stacks change.
const NAMED_STACKS_KEPT: usize = 4_096;

/// A function in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFrame {
    /// Name of the function, without generic arguments. A function without a name has the name of its object with the
    /// offset.
    pub name: String,
    /// Source file; empty if unknown.
    pub file: String,
    /// Line in the file; 0 if unknown.
    pub line: u32,
}

/// Stack with the names of its functions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedStack {
    /// Functions, innermost first, without those of the recorder.
    pub frames: Vec<NamedFrame>,
    /// Index in `frames` of the function that a report shows: the innermost function of the program, else the innermost
    /// function of a dependency, else the innermost of all.
    pub place: usize,
}

impl NamedStack {
    /// Returns the function that a report shows for the site; `None` for a site without a stack.
    pub fn place(&self) -> Option<&NamedFrame> {
        self.frames.get(self.place)
    }
}

/// Names that were found so far, by number of the stack.
#[derive(Debug, Clone, Default)]
pub struct LiveNames {
    stacks: HashMap<u32, NamedStack>,
}

impl LiveNames {
    /// Returns a profile with those stacks of `live` that have no names yet; `None` if all stacks have names. The
    /// caller looks up the names for that profile, and passes it to [`LiveNames::add`].
    pub fn missing(&mut self, live: &Live) -> Option<Profile> {
        if self.stacks.len() > NAMED_STACKS_KEPT {
            self.stacks.clear();
        }
        let unnamed: Vec<_> =
            live.sites.iter().filter(|site| !self.stacks.contains_key(&site.stack)).collect();
        if unnamed.is_empty() {
            return None;
        }
        let mut profile =
            Profile { stacks: vec![Stack::default()], modules: live.modules.clone(), ..Profile::default() };
        for site in unnamed {
            profile.stacks.push(Stack { frames: site.frames.clone(), truncated: site.is_cut });
            // The field `total_blocks` is used for the number that the stack has in the process; `add` reads it there.
            let stack = profile.stacks.len() as u32 - 1;
            profile.sites.push(Site { stack, total_blocks: u64::from(site.stack), ..Site::default() });
        }
        Some(profile)
    }

    /// Adds the names of a profile that [`LiveNames::missing`] returned.
    pub fn add(&mut self, profile: &Profile) {
        let (reader, owners) = (StackReader::new(profile), CodeOwners::of(profile));
        for site in &profile.sites {
            let frames = reader.frames(site.stack);
            let place = (0..frames.len()).min_by_key(|at| (owners.owner(&frames[*at]), *at)).unwrap_or(0);
            let named = frames.iter().map(|frame| NamedFrame {
                name: without_generics(&frame.display_name()),
                file: frame.file.to_owned(),
                line: frame.line,
            });
            self.stacks.insert(site.total_blocks as u32, NamedStack { frames: named.collect(), place });
        }
    }

    /// Returns the names of a stack; `None` if the stack was not looked up.
    pub fn of(&self, stack: u32) -> Option<&NamedStack> {
        self.stacks.get(&stack)
    }
}

#[cfg(test)]
mod tests {
    use heapledger::live::LiveSite;

    use super::super::sample;
    use super::*;

    #[test]
    fn each_stack_is_looked_up_once_and_its_place_is_in_the_program() {
        let named = sample::named();
        let mut live = Live::default();
        live.modules.clone_from(&named.modules);
        let frames = named.stacks[1].frames.clone();
        live.sites = vec![LiveSite { stack: 77, frames, ..LiveSite::default() }];
        let mut names = LiveNames::default();
        let mut profile = names.missing(&live).unwrap();
        profile.symbols = named.symbols.clone();
        profile.symbols.strings[2] = "/rustc/1/library/alloc/src/vec/mod.rs".into();
        names.add(&profile);
        assert!(names.missing(&live).is_none());
        let stack = names.of(77).unwrap();
        assert_eq!(stack.place().unwrap().name, "parse", "{stack:?}");
        assert_eq!(names.of(1), None);
    }
}
