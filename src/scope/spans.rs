//! Spans of `tracing` as scopes.

use std::fmt::{self, Debug, Write};

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Field, Metadata, Subscriber, field::Visit};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::cells::Cells;
use super::switch;
use crate::ledger::scopes::SCOPE_NAME_BYTES_MAX;
use crate::recorder::scopes;

type Filter = Box<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>;

/// A layer that makes each span of `tracing` a scope. Allocations of a thread that is in a span belong to the span's
/// scope. Nested spans are nested scopes. Feature `tracing`.
///
/// The scope has the name of the span. With [`ScopeLayer::field`], the value of one field follows the name. The number
/// of scopes is limited ([`scope`](crate::scope)), so choose a field with few values, such as a route, and not a URL.
/// Spans with the same name in the same scope share their figures.
///
/// ```
/// use heapledger::scope::ScopeLayer;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let layer = ScopeLayer::new().field("route").only(|metadata| metadata.name() == "request");
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     let _entered = tracing::info_span!("request", route = "/search").entered();
///     let hits = vec![0u8; 1000]; // In the scope `request /search`.
/// });
/// # assert_eq!(heapledger::Scope::named("request /search").usage().lost, 0);
/// ```
pub struct ScopeLayer {
    cells: Cells,
    field: Option<&'static str>,
    filter: Option<Filter>,
}

impl Debug for ScopeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeLayer").field("field", &self.field).finish_non_exhaustive()
    }
}

impl Default for ScopeLayer {
    fn default() -> ScopeLayer {
        ScopeLayer::new()
    }
}

impl ScopeLayer {
    /// Creates a layer that makes every span a scope with the span's name.
    pub fn new() -> ScopeLayer {
        ScopeLayer { cells: Cells::new(), field: None, filter: None }
    }

    /// Appends the value of the field `name` to the names of the spans that have the field, such as `request /search`.
    /// If a value is recorded after the span was created, the new name applies when the span is entered the next time.
    pub fn field(mut self, name: &'static str) -> ScopeLayer {
        self.field = Some(name);
        self
    }

    /// Makes scopes only of the spans for which `filter` returns `true`. Allocations in another span belong to the
    /// scope around that span.
    pub fn only(mut self, filter: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static) -> ScopeLayer {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Stores the cell of the scope `name` inside `parent` as the cell of the span `id`. Counts the span if there is no
    /// room.
    fn place(&self, id: &Id, parent: u32, name: &Name) {
        let cell = scopes::cell_inside(parent, name.as_bytes());
        if cell != 0 && !self.cells.set(id.into_u64(), cell) {
            scopes::note_without_cell();
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ScopeLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if self.filter.as_ref().is_some_and(|wants| !wants(metadata)) {
            return;
        }
        let mut name = Name::of(metadata.name());
        if let Some(field) = self.field {
            attributes.record(&mut FieldValue { field, name: &mut name });
        }
        let parent = match attributes.parent() {
            Some(parent) => match self.cells.get(parent.into_u64()) {
                0 => scopes::current(),
                cell => cell,
            },
            None if attributes.is_root() => 0,
            None => scopes::current(),
        };
        self.place(id, parent, &name);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let (Some(field), cell) = (self.field, self.cells.get(id.into_u64())) else { return };
        let Some(metadata) = context.metadata(id).filter(|_| cell != 0) else { return };
        let mut name = Name::of(metadata.name());
        let mut value = FieldValue { field, name: &mut name };
        values.record(&mut value);
        if name.length > Name::of(metadata.name()).length {
            self.place(id, scopes::parent_of(cell), &name);
        }
    }

    #[inline]
    fn on_enter(&self, id: &Id, _context: Context<'_, S>) {
        let key = id.into_u64();
        match self.cells.get(key) {
            0 => {}
            cell => switch::enter(key, cell),
        }
    }

    #[inline]
    fn on_exit(&self, id: &Id, _context: Context<'_, S>) {
        switch::exit(id.into_u64());
    }

    fn on_close(&self, id: Id, _context: Context<'_, S>) {
        self.cells.remove(id.into_u64());
    }
}

/// The name of a scope, made without an allocation. A name that is too long is cut.
struct Name {
    bytes: [u8; SCOPE_NAME_BYTES_MAX],
    length: usize,
}

impl Name {
    fn of(text: &str) -> Name {
        let mut name = Name { bytes: [0; SCOPE_NAME_BYTES_MAX], length: 0 };
        // `write_str` does not fail.
        let _ = name.write_str(text);
        name
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.floor_char_boundary(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        Ok(())
    }
}

/// Appends the value of one field to a name.
struct FieldValue<'a> {
    field: &'static str,
    name: &'a mut Name,
}

impl Visit for FieldValue<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.field {
            // `write_str` does not fail.
            let _ = write!(self.name, " {value}");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == self.field {
            // As above. A value whose formatting fails is cut.
            let _ = write!(self.name, " {value:?}");
        }
    }
}
