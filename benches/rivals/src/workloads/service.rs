//! A service on a multi-threaded tokio runtime: clients send documents, workers parse, change and print them.

use std::hint::black_box;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::AppCpu;
use crate::common::clock::thread_cpu_ns;

const CLIENTS: usize = 64;
const REQUESTS: usize = 150;
/// Number of concurrent requests.
const AT_ONCE: usize = 32;

struct Request {
    body: String,
    answer: oneshot::Sender<String>,
}

/// Serves all clients, and counts the time of the runtime's threads.
pub fn serve(app: &AppCpu) {
    // The hook must outlive the runtime's threads, so it has a separate counter.
    let counted = Arc::new(AppCpu::default());
    let hook = Arc::clone(&counted);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_stop(move || hook.add(thread_cpu_ns()))
        .build()
        .expect("a runtime");
    let client = runtime.spawn(all_clients());
    app.count(|| runtime.block_on(client)).expect("no client panics");
    drop(runtime);
    app.add(counted.total_ns());
}

async fn all_clients() {
    let (requests, mut received) = mpsc::channel::<Request>(AT_ONCE);
    let server = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(request) = received.recv().await {
            let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            tokio::spawn(async move {
                // A client that has gone needs no answer.
                let _ = request.answer.send(answer(&request.body));
                drop(permit);
            });
        }
    });
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(client(number, requests.clone()))).collect();
    drop(requests);
    for client in clients {
        client.await.expect("no client panics");
    }
    server.await.expect("the server does not panic");
}

async fn client(number: usize, requests: mpsc::Sender<Request>) {
    for request in 0..REQUESTS {
        let (answer, answered) = oneshot::channel();
        let body = format!(
            r#"{{"client":{number},"request":{request},"tags":["alpha","beta","gamma"],"n":[1,2,3]}}"#
        );
        if requests.send(Request { body, answer }).await.is_err() {
            return;
        }
        black_box(answered.await.map_or(0, |answer| answer.len()));
    }
}

fn answer(body: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(body).expect("clients send sound documents");
    value["answer"] = serde_json::Value::from(format!("to request {}", value["request"]));
    value.to_string()
}
