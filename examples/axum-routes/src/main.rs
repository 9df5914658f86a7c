//! Starts the service, sends it requests over loopback, and prints the allocations and live blocks of each route.
//!
//! ```text
//! cargo run --release -p axum-routes
//! heapledger report          # the same by call stack, in the dump that the program leaves behind
//! ```

use axum_routes::{ROUTES, drive, service};
use heapledger::Scope;

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, service()).await });
    let clients: Vec<_> = (0..4).map(|_| std::thread::spawn(move || drive(address, 750))).collect();
    clients.into_iter().for_each(|client| assert!(client.join().is_ok(), "a client failed"));
    println!(
        "{:<14} {:>12} {:>14} {:>12} {:>12}",
        "route", "allocations", "bytes", "live blocks", "live bytes"
    );
    for (_, name) in ROUTES {
        let usage = Scope::named(name).usage();
        println!(
            "{name:<14} {:>12} {:>14} {:>12} {:>12}",
            usage.allocations, usage.bytes, usage.retained_blocks, usage.retained_bytes
        );
    }
    Ok(())
}
