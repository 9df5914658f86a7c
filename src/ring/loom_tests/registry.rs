//! Models of the registry: a lane is published once, and then passes from thread to thread.

use super::{Plain, explore, explore_three, run_all};
use crate::ring::registry::{Claimed, Registry};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};

/// A registry and the content of its lanes.
struct Lanes<const N: usize> {
    registry: Registry<N>,
    /// Words that the thread of a lane and its folder have written.
    contents: [Plain; N],
}

impl<const N: usize> Lanes<N> {
    fn new() -> Arc<Self> {
        let contents = std::array::from_fn(|_| Plain::new(0));
        Arc::new(Lanes { registry: Registry::new(), contents })
    }
}

type Publish<const N: usize> = fn(&Registry<N>, u32, u32);
type Retire<const N: usize> = fn(&Registry<N>, u32);
type Claim<const N: usize> = fn(&Registry<N>) -> Claimed;

fn publishing(publish: Publish<2>) -> impl Fn() {
    move || {
        let lanes = Lanes::<2>::new();
        // The content is written with plain stores before it is published, like a lane's first words.
        let page_of = |index: u32| index + 7;
        let make = |lanes: Arc<Lanes<2>>| -> Box<dyn FnOnce() + Send> {
            Box::new(move || {
                let Claimed::Fresh(index) = lanes.registry.claim() else { panic!("no fresh lane") };
                lanes.contents[index as usize].set(1);
                publish(&lanes.registry, index, page_of(index));
            })
        };
        let seen = Arc::clone(&lanes);
        run_all([
            make(Arc::clone(&lanes)),
            make(Arc::clone(&lanes)),
            Box::new(move || {
                for index in 0..seen.registry.count() {
                    if let Some(page) = seen.registry.page(index) {
                        assert_eq!(page, page_of(index));
                        assert_eq!(seen.contents[index as usize].get(), 1);
                    }
                }
            }),
        ]);
        assert_eq!(lanes.registry.count(), 2);
        assert_eq!(lanes.registry.claim(), Claimed::Full);
    }
}

#[test]
fn who_sees_the_page_of_a_lane_sees_the_lane() {
    explore_three(6_000, publishing(Registry::publish));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_lane_that_is_published_weakly_is_found_out() {
    explore_three(0, publishing(Registry::publish_weakly));
}

/// Returns a model of threads that start and end, and use one lane in succession.
fn handing_over(retire: Retire<1>) -> impl Fn() {
    move || {
        let lanes = Lanes::<1>::new();
        let uses = Arc::new(AtomicU64::new(0));
        let live = || -> Box<dyn FnOnce() + Send> {
            let (lanes, uses) = (Arc::clone(&lanes), Arc::clone(&uses));
            Box::new(move || {
                for _ in 0..2 {
                    let index = match lanes.registry.claim() {
                        Claimed::Full => continue,
                        Claimed::Fresh(index) => {
                            lanes.registry.publish(index, 7);
                            index
                        }
                        Claimed::Reused(index) => {
                            assert!(lanes.registry.page(index).is_some(), "taken over before it was made");
                            index
                        }
                    };
                    let content = &lanes.contents[index as usize];
                    content.set(content.get() + 1);
                    uses.fetch_add(1, Ordering::Relaxed);
                    retire(&lanes.registry, index);
                }
            })
        };
        run_all([live(), live()]);
        assert!(matches!(lanes.registry.claim(), Claimed::Reused(0)));
        assert_eq!(lanes.contents[0].get(), uses.load(Ordering::Relaxed), "two threads had one lane");
    }
}

#[test]
fn a_lane_goes_from_thread_to_thread_with_all_that_is_in_it() {
    explore(17_000, handing_over(Registry::retire));
}

#[test]
#[should_panic(expected = "taken over before it was made")]
fn a_lane_that_is_retired_weakly_is_found_out() {
    explore(0, handing_over(Registry::retire_weakly));
}

/// Returns a model of two free lanes. While one thread is between its load of the stack's top and its exchange, another
/// thread claims both lanes and retires the lane that was on top.
fn coming_back(claim: Claim<2>, retire: Retire<2>) -> impl Fn() {
    move || {
        let lanes = Lanes::<2>::new();
        for index in 0..2 {
            assert_eq!(lanes.registry.claim(), Claimed::Fresh(index));
            lanes.registry.publish(index, 7);
        }
        retire(&lanes.registry, 0);
        retire(&lanes.registry, 1);
        let (one, other) = (Arc::clone(&lanes), Arc::clone(&lanes));
        let enter = |lanes: &Lanes<2>, claimed: &Claimed| {
            if let Claimed::Reused(index) = claimed {
                let content = &lanes.contents[*index as usize];
                assert_eq!(content.get(), 0, "two threads have one lane");
                content.set(1);
            }
        };
        let leave = move |lanes: &Lanes<2>, claimed: Claimed| {
            if let Claimed::Reused(index) = claimed {
                lanes.contents[index as usize].set(0);
                retire(&lanes.registry, index);
            }
        };
        run_all([
            Box::new(move || {
                let mine = [claim(&one.registry), claim(&one.registry)];
                mine.iter().for_each(|claimed| enter(&one, claimed));
                let [first, _kept] = mine;
                leave(&one, first);
            }),
            Box::new(move || {
                let mine = [claim(&other.registry), claim(&other.registry)];
                mine.iter().for_each(|claimed| enter(&other, claimed));
            }),
        ]);
    }
}

#[test]
fn a_lane_that_left_and_came_back_is_not_given_to_two() {
    explore(1_800, coming_back(Registry::claim, Registry::retire));
}

#[test]
#[should_panic(expected = "two threads have one lane")]
fn a_stack_that_does_not_count_its_changes_is_found_out() {
    explore(0, coming_back(Registry::claim_uncounted, Registry::retire_uncounted));
}
