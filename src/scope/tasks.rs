//! Tasks of tokio as scopes. A task's scope is named after the place that spawned the task.

use tokio::runtime::Builder;

/// A builder of runtimes whose tasks can be scopes. Only tokio's `Builder` implements the trait.
pub trait TaskHooks: sealed::Sealed {
    /// Whether this build of tokio has hooks around the polls of tasks.
    #[doc(hidden)]
    const EXIST: bool;

    #[doc(hidden)]
    fn add(&mut self) -> &mut Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for tokio::runtime::Builder {}
}

/// Makes every task of a runtime a scope, named after the place that spawned the task, such as `src/server.rs:40`.
/// Allocations during a poll of a task belong to the task's scope. Feature `tokio`.
///
/// The call sets the runtime's hooks before and after each poll. Tokio keeps one hook of each kind. A hook that the
/// program sets later replaces the hook of this call, and the tasks then have no scopes. Tokio has these hooks only if
/// the whole program is built with `RUSTFLAGS="--cfg tokio_unstable"`. Otherwise the call does not compile, and
/// [`Scope::wrap`](crate::Scope::wrap) can give the task a scope instead:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let index = heapledger::Scope::named("index");
/// tokio::spawn(index.wrap(async { vec![0u8; 1000] })).await.unwrap();
/// # });
/// ```
#[cfg_attr(not(tokio_unstable), doc = "```compile_fail")]
#[cfg_attr(tokio_unstable, doc = "```")]
/// let mut builder = tokio::runtime::Builder::new_current_thread();
/// let runtime = heapledger::scope::tasks_by_spawn_location(&mut builder).build().unwrap();
/// ```
pub fn tasks_by_spawn_location<B: TaskHooks>(builder: &mut B) -> &mut B {
    const {
        assert!(
            B::EXIST,
            "tokio has hooks for tasks only with RUSTFLAGS=\"--cfg tokio_unstable\": build the program with that, \
             or wrap the task's future by heapledger::Scope::wrap"
        );
    }
    builder.add()
}

#[cfg(not(tokio_unstable))]
impl TaskHooks for Builder {
    const EXIST: bool = false;

    fn add(&mut self) -> &mut Builder {
        self
    }
}

#[cfg(tokio_unstable)]
impl TaskHooks for Builder {
    const EXIST: bool = true;

    fn add(&mut self) -> &mut Builder {
        use super::cells::Cells;
        use super::place_name::PlaceName;
        use super::switch;
        use crate::recorder::scopes;

        let cells = Cells::new();
        self.on_before_task_poll(move |task| {
            let place = task.spawned_at();
            let key = std::ptr::from_ref(place).addr() as u64;
            let cell = match cells.get(key) {
                0 => {
                    let cell = scopes::cell_inside(0, PlaceName::of(place).as_bytes());
                    cells.set(key, cell);
                    cell
                }
                cell => cell,
            };
            switch::enter(key, cell);
        });
        self.on_after_task_poll(|task| switch::exit(std::ptr::from_ref(task.spawned_at()).addr() as u64))
    }
}
