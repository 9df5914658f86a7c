//! Spans of `tracing` as scopes.

use heapledger::Scope;
use heapledger::scope::ScopeLayer;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

use super::case::Case;
use super::laws::complete;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::new("spans_are_scopes_and_nest_as_they_do", nest_spans, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        let used = profile.scopes.iter().filter(|scope| scope.total_blocks > 0);
        let names: Vec<_> = used.map(|scope| (scope.name.as_str(), scope.parent)).collect();
        let scopes = [("request /a", 0), ("query", 2), ("late", 0), ("late /b", 0), ("inner", 0)];
        assert_eq!(names, scopes);
        assert_eq!(profile.scope_counts.out_of_order, 1);
    }),
    Case::new("spans_of_tasks_count_on_whichever_worker_polls", poll_in_spans, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("more_spans_than_slots_keep_their_scopes", open_many_spans, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
];

fn bytes(name: &str) -> u64 {
    Scope::named(name).usage().bytes
}

fn nest_spans() {
    let layer = ScopeLayer::new().field("route").only(|metadata| metadata.name() != "hidden");
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    info_span!("request", route = "/a", user = 7).in_scope(|| {
        free(block(1000), 1000);
        info_span!("query").in_scope(|| {
            free(block(100), 100);
            info_span!("hidden").in_scope(|| free(block(10), 10));
            // A span inside one of the same name changes nothing.
            info_span!("query").in_scope(|| free(block(1), 1));
        });
    });
    free(block(50), 50);
    // Spans allocate for themselves: in the scope around them.
    assert_eq!(bytes("query"), 111);
    assert!((1111..3000).contains(&bytes("request /a")), "{}", bytes("request /a"));
    let late = info_span!("late", route = tracing::field::Empty);
    late.in_scope(|| free(block(3), 3));
    late.record("route", "/b");
    late.in_scope(|| free(block(4), 4));
    assert_eq!((bytes("late"), bytes("late /b")), (3, 4));
    // Left in the order of entering.
    let (outer, inner) = (info_span!("outer"), info_span!(parent: None, "inner"));
    let (first, second) = (outer.enter(), inner.enter());
    drop(first);
    free(block(20), 20);
    drop(second);
    free(block(30), 30);
    assert_eq!((bytes("outer"), bytes("inner")), (0, 20));
}

fn poll_in_spans() {
    let layer = ScopeLayer::new().field("route");
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let work = |size: usize| async move {
        for _ in 0..50 {
            free(block(size), size);
            tokio::task::yield_now().await;
        }
    };
    let request = info_span!("server");
    let tasks: Vec<_> = request.in_scope(|| {
        (0..20)
            .map(|n| {
                let (route, size) = if n % 2 == 0 { ("/a", 10) } else { ("/b", 1000) };
                runtime.spawn(work(size).instrument(info_span!("request", route)))
            })
            .collect()
    });
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(runtime);
    let [a, b] = ["request /a", "request /b"].map(|name| Scope::named(name).usage());
    // A poll that first makes its worker wait allocates for the runtime.
    assert!(a.allocations - 500 < 10 && a.bytes - 5_000 < 5_000, "{a:?}");
    assert!(b.allocations - 500 < 10 && b.bytes - 500_000 < 5_000, "{b:?}");
    let server = Scope::named("server").usage();
    assert!(server.bytes > 505_000, "{server:?}");
}

fn open_many_spans() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(ScopeLayer::new()));
    let spans: Vec<_> = (0..10_000).map(|_| info_span!("many")).collect();
    spans.iter().for_each(|span| span.in_scope(|| free(block(5), 5)));
    assert_eq!(bytes("many"), 50_000);
    drop(spans);
    info_span!("many").in_scope(|| free(block(7), 7));
    assert_eq!(bytes("many"), 50_007);
}
