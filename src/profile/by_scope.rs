//! Figures of a profile by scope.

use super::model::{Profile, Stack};
use super::scopes::{Scope, scope_of_address};

impl Stack {
    /// Returns the number of the stack's innermost scope; 0 if the stack is in no scope.
    pub(crate) fn scope(&self) -> u32 {
        self.frames.iter().rev().map_while(|address| scope_of_address(*address)).last().unwrap_or(0)
    }
}

impl Profile {
    /// Returns the number of a stack's innermost scope; 0 if the stack is in no scope.
    pub fn scope_of_stack(&self, stack: u32) -> u32 {
        self.stacks.get(stack as usize).map_or(0, Stack::scope)
    }

    /// Returns the scope with this number, counted from 1. Returns `None` if there is no such scope.
    pub fn scope(&self, number: u32) -> Option<&Scope> {
        self.scopes.get((number as usize).checked_sub(1)?)
    }

    /// Computes the sums of each scope anew from the figures of the scope's sites. Called after the sites were computed
    /// anew. Leaves the peaks of the scopes unchanged; the caller corrects them.
    pub(crate) fn sum_scopes(&mut self) {
        for scope in &mut self.scopes {
            (scope.total_blocks, scope.total_bytes, scope.reallocs) = (0, 0, 0);
            (scope.freed_blocks, scope.freed_bytes) = (0, 0);
        }
        for site in 0..self.sites.len() {
            let site = &self.sites[site];
            let mut number = self.scope_of_stack(site.stack);
            let sums = [
                site.total_blocks,
                site.total_bytes,
                site.freed_blocks,
                site.freed_bytes,
                site.reallocs.count,
            ];
            while let Some(scope) = self.scopes.get_mut((number as usize).wrapping_sub(1)) {
                let figures = [
                    &mut scope.total_blocks,
                    &mut scope.total_bytes,
                    &mut scope.freed_blocks,
                    &mut scope.freed_bytes,
                    &mut scope.reallocs,
                ];
                for (figure, sum) in figures.into_iter().zip(sums) {
                    *figure = figure.wrapping_add(sum);
                }
                // The parent of a scope is an older scope, except in a damaged file.
                number = Some(scope.parent).filter(|parent| *parent < number).unwrap_or(0);
            }
        }
    }

    /// Returns the sum of a figure over the scopes that are in no other scope.
    pub(super) fn over_scopes(&self, figure: impl Fn(&Scope) -> u64) -> u128 {
        self.scopes.iter().filter(|scope| scope.parent == 0).map(|scope| u128::from(figure(scope))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scopes::scope_address;
    use super::*;

    #[test]
    fn the_scope_of_a_stack_is_the_innermost_of_its_outer_frames() {
        let frames = vec![0x1000, scope_address(9), 0x2000, scope_address(3), scope_address(2)];
        let stacks = vec![Stack::default(), Stack { frames, truncated: false }];
        let profile = Profile { stacks, ..Profile::default() };
        assert_eq!([0, 1, 2].map(|stack| profile.scope_of_stack(stack)), [0, 3, 0]);
    }
}
