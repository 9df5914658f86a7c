//! Cache of the names that were looked up for one profile. Later profiles of the same build use the cached names.

use std::collections::HashMap;

use super::{Late, Options, Progress, holders, resolve};
use heapledger::profile::{Profile, SymbolFrame, Symbols, scope_of_address};

/// Maximum number of addresses whose names are kept. Above this number, all names are dropped.
pub const ADDRESSES_REMEMBERED_MAX: usize = 1 << 20;

/// Names of the addresses of earlier profiles, by build id of the object and offset in it.
///
/// Reading the object files takes most of the time of loading a small dump. With the cache, the second profile of the
/// same build needs few lookups.
///
/// ```
/// # let mut profiles = vec![heapledger::Profile::default()];
/// let mut names = heapledger_cli::symbols::NameCache::default();
/// for profile in &mut profiles {
///     names.resolve(profile, &Default::default(), &mut |_| {});
/// }
/// ```
#[derive(Debug, Default)]
pub struct NameCache {
    /// Names of functions and source files. The frames in `objects` hold indices into this list.
    strings: Vec<String>,
    /// Maps each build id to the functions at each return address. The addresses are those of an object that is loaded
    /// at address 0. The list of functions is empty for an address that was looked up and has no name.
    objects: HashMap<String, HashMap<u64, Vec<SymbolFrame>>>,
    addresses: usize,
}

impl NameCache {
    /// Looks up the missing symbols of `profile`, as [`resolve`] does. Takes symbols from the cache, and adds newly
    /// found symbols to the cache. The cache is not used for a profile that already has names, such as a bundled dump.
    pub fn resolve(&mut self, profile: &mut Profile, options: &Options, progress: &mut dyn FnMut(Progress)) {
        if !profile.symbols.is_empty() {
            return resolve(profile, options, progress);
        }
        if self.addresses > ADDRESSES_REMEMBERED_MAX {
            *self = NameCache::default();
        }
        let places = places(profile);
        profile.symbols = self.known(profile, &places);
        resolve(profile, options, progress);
        self.remember(profile, places);
        profile.symbols.frames.retain(|_, functions| !functions.is_empty());
    }

    /// Returns the cached symbols of the addresses in `places`. An address that is known to have no name has an empty
    /// list.
    fn known(&self, profile: &Profile, places: &[(u64, usize, u64)]) -> Symbols {
        let mut symbols = Symbols { strings: self.strings.clone(), ..Symbols::default() };
        for (address, module, offset) in places {
            let object = self.objects.get(&profile.modules[*module].build_id);
            if let Some(functions) = object.and_then(|object| object.get(offset)) {
                symbols.frames.insert(*address, functions.clone());
            }
        }
        symbols
    }

    fn remember(&mut self, profile: &Profile, places: Vec<(u64, usize, u64)>) {
        if profile.symbols.strings.len() > self.strings.len() {
            self.strings.clone_from(&profile.symbols.strings);
        }
        for (address, module, offset) in places {
            let build_id = &profile.modules[module].build_id;
            if !self.objects.contains_key(build_id) {
                self.objects.insert(build_id.clone(), HashMap::new());
            }
            let Some(object) = self.objects.get_mut(build_id) else { continue };
            self.addresses += usize::from(!object.contains_key(&offset));
            object.entry(offset).or_insert_with(|| profile.symbols.at(address).to_vec());
        }
    }
}

/// Returns the distinct addresses whose module is certain and has a build id. Each address has the index of its module
/// and its offset in the module.
fn places(profile: &Profile) -> Vec<(u64, usize, u64)> {
    let frames = profile.stacks.iter().flat_map(|stack| stack.frames.iter().copied());
    let mut addresses: Vec<u64> = frames.filter(|address| scope_of_address(*address).is_none()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let holder = holders(&profile.modules);
    let late = Late::of(&profile.modules);
    let is_certain: Vec<bool> = profile.modules.iter().map(|module| !late.may_be_another(module)).collect();
    let place = |address: u64| {
        let module = holder(address)?;
        let found =
            profile.modules.get(module).filter(|found| !found.build_id.is_empty() && is_certain[module])?;
        Some((address, module, address.wrapping_sub(found.bias)))
    };
    addresses.into_iter().filter_map(place).collect()
}
