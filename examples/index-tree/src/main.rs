//! An inverted index over a tree of text files, built by several threads and recorded by heapledger.
//!
//! ```text
//!            next file              bounded channel
//!  files ───────────────► readers ═════════════════► merger ──► index ──► query
//!  (sorted)               words of a file            takes them apart and frees what readers made
//! ```
//!
//! `cargo run --release --example index_tree [DIRECTORY [WORD...]]` indexes the directory (by default this repository),
//! prints the files that contain all words, and prints the completeness of the recording. The dump is then in the
//! working directory. The answer does not depend on the speed of the threads.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();

/// Number of threads that read files.
const READERS: usize = 4;
/// Maximum number of files that wait for the merger.
const QUEUE_FILES: usize = 32;
/// Maximum size of an indexed file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Maximum total size of the indexed files, in bytes, which bounds the index.
const TREE_BYTES_MAX: u64 = 64 << 20;
/// Maximum length of a word, in letters; the rest of a longer word is cut off.
const WORD_CHARS_MAX: usize = 40;
/// Maximum number of printed answers.
const HITS_SHOWN: usize = 5;
/// The words that are searched if the command line names none.
const QUESTION: [&str; 2] = ["ring", "ledger"];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(
        arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../..").to_owned()),
    );
    let mut question: Vec<String> = arguments.map(|word| word.to_lowercase()).collect();
    if question.is_empty() {
        question = QUESTION.map(str::to_owned).to_vec();
    }

    let files = text_files(&root)?;
    let index = build(&files);
    let hits = index.files_with_all(&question);
    println!(
        "{} files, {} words in all, {} different; {} files hold {}",
        index.files,
        index.words,
        index.postings.len(),
        hits.len(),
        question.join(" and "),
    );
    for hit in hits.iter().take(HITS_SHOWN) {
        let path = files[hit.file].strip_prefix(&root).unwrap_or(&files[hit.file]);
        println!("{:>6} times  {}:{}", hit.count, path.display(), hit.first_line);
    }

    heapledger::flush();
    println!("\n{}", heapledger::quality());
    Ok(())
}

/// Returns the regular files below `root` that may be text, in the order of their paths.
fn text_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let name = name.to_string_lossy();
            // Symbolic links are neither directories nor files here, so no directory is entered twice.
            if kind.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push((entry.path(), entry.metadata()?.len()));
            }
        }
    }
    files.sort_unstable();
    let mut room = TREE_BYTES_MAX;
    files.retain(|(_, bytes)| {
        let fits = *bytes <= FILE_BYTES_MAX.min(room);
        room -= if fits { *bytes } else { 0 };
        fits
    });
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The lines on which each word of one file occurs.
struct FileWords {
    file: usize,
    lines: HashMap<String, Vec<u32>>,
}

/// A file that contains a word.
struct Posting {
    file: usize,
    count: usize,
    first_line: u32,
}

#[derive(Default)]
struct Index {
    files: usize,
    words: usize,
    postings: BTreeMap<String, Vec<Posting>>,
}

/// A file that contains all words of the query.
struct Hit {
    file: usize,
    count: usize,
    first_line: u32,
}

fn build(files: &[PathBuf]) -> Index {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = sync_channel(QUEUE_FILES);
    thread::scope(|scope| {
        for number in 0..READERS {
            let (next, sender) = (&next, sender.clone());
            let reader = thread::Builder::new().name(format!("reader-{number}"));
            reader.spawn_scoped(scope, move || read_files(files, next, &sender)).expect("a thread");
        }
        // The merger ends when the last reader has dropped its sender.
        drop(sender);
        let merger = thread::Builder::new().name("merger".to_owned());
        let merger = merger.spawn_scoped(scope, move || merge(&receiver)).expect("a thread");
        merger.join().expect("the merger does not panic")
    })
}

/// Reads files one after the other, except the files that another reader has taken.
fn read_files(files: &[PathBuf], next: &AtomicUsize, sender: &SyncSender<FileWords>) {
    loop {
        let file = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = files.get(file) else { return };
        let Ok(bytes) = fs::read(path) else { continue };
        let text = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            _ => continue,
        };
        if sender.send(FileWords { file, lines: words_of(&text) }).is_err() {
            return;
        }
    }
}

fn words_of(text: &str) -> HashMap<String, Vec<u32>> {
    let mut lines: HashMap<String, Vec<u32>> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words {
            let word: String = word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect();
            lines.entry(word).or_default().push(number);
        }
    }
    lines
}

/// Merges the words of all files into one index, and frees what the readers allocated.
fn merge(receiver: &Receiver<FileWords>) -> Index {
    let mut index = Index::default();
    for FileWords { file, lines } in receiver {
        index.files += 1;
        for (word, lines) in lines {
            index.words += lines.len();
            let posting = Posting { file, count: lines.len(), first_line: lines[0] };
            index.postings.entry(word).or_default().push(posting);
        }
    }
    // Files arrive in the order in which readers finish.
    for postings in index.postings.values_mut() {
        postings.sort_unstable_by_key(|posting| posting.file);
    }
    index
}

impl Index {
    /// Returns the files that contain every word of the query, those with the most occurrences first.
    fn files_with_all(&self, question: &[String]) -> Vec<Hit> {
        let Some((first, others)) = question.split_first() else { return Vec::new() };
        let mut hits: Vec<Hit> = self
            .postings(first)
            .iter()
            .map(|posting| Hit { file: posting.file, count: posting.count, first_line: posting.first_line })
            .collect();
        for word in others {
            let postings = self.postings(word);
            hits.retain_mut(|hit| {
                let found = postings.binary_search_by_key(&hit.file, |posting| posting.file);
                if let Ok(place) = found {
                    hit.count += postings[place].count;
                    hit.first_line = hit.first_line.min(postings[place].first_line);
                }
                found.is_ok()
            });
        }
        hits.sort_by_key(|hit| (std::cmp::Reverse(hit.count), hit.file));
        hits
    }

    fn postings(&self, word: &str) -> &[Posting] {
        self.postings.get(word).map_or(&[], Vec::as_slice)
    }
}
