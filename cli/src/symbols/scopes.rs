//! Names of scopes. Each scope around an allocation has a frame in the stack of the allocation. The function name of
//! this frame contains the name of the scope.

use super::image::Function;
use super::strings::Strings;
use heapledger::profile::{Profile, scope_address};

/// Names the frames of scopes, as in `[scope GET /search]`. The names of other frames stay unchanged.
///
/// ```
/// use heapledger::profile::{Scope, scope_address};
///
/// let mut profile = heapledger::Profile::default();
/// profile.scopes.push(Scope { name: "GET /search".into(), ..Scope::default() });
/// heapledger_cli::symbols::name_scopes(&mut profile);
/// let frame = profile.symbols.at(scope_address(1))[0];
/// assert_eq!(profile.symbols.text(frame.function), "[scope GET /search]");
/// ```
pub fn name_scopes(profile: &mut Profile) {
    if profile.scopes.is_empty() {
        return;
    }
    let mut symbols = std::mem::take(&mut profile.symbols);
    let mut strings = Strings::of(&mut symbols);
    for (number, scope) in (1u32..).zip(&profile.scopes) {
        let function = Function { name: scope_name(&scope.name), ..Function::default() };
        symbols.frames.insert(scope_address(number), strings.frames(vec![function]));
    }
    symbols.strings = strings.all;
    profile.symbols = symbols;
}

/// Returns the function name of the frame of a scope.
pub fn scope_name(name: &str) -> String {
    format!("[scope {name}]")
}
